"""Pages: what opens when somebody follows an invitation's link."""

from __future__ import annotations

from allauth.account.utils import perform_login
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from dashboard.access import actor, address
from dashboard.forms.faults import place
from dashboard.forms.teams import JoinForm
from deployments.commands import invitations
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.models import Invitation


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """Accept with the account that is signed in, or make the account."""
    try:
        found = invitations.find_invitation(token)
    except NotFound as error:
        return render(request, "users/join_over.html", {"error": error}, status=404)
    if request.user.is_authenticated:
        return _as_member(request, token, found)
    return _as_new(request, token, found)


def _as_member(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    refused: Denied | Conflict | None = None
    if request.method == "POST":
        try:
            invitations.accept_as_member(actor(request), token=token)
        except (Denied, Conflict) as error:
            refused = error
        else:
            messages.success(request, _("Welcome to %(team)s.") % {"team": found.team or "Pilothouse"})
            return HttpResponseRedirect(_first_page(found))
    values = {"found": found, "refused": refused, "mine": request.user}
    status = 403 if isinstance(refused, Denied) else 409 if refused else 200
    return render(request, "users/join_member.html", values, status=status)


def _as_new(request: HttpRequest, token: str, found: Invitation) -> HttpResponse:
    form = JoinForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            made = invitations.accept_as_new(token=token, source=address(request), **form.cleaned_data)
        except (InvalidInput, Conflict) as error:
            place(form, error)
        else:
            # By the library, so that this session stands in the list of sessions and ends with the others.
            answer: HttpResponse = perform_login(request, made, redirect_url=_first_page(found))
            return answer
    values = {"found": found, "form": form, "sign_in": f"{reverse('account_login')}?next={request.path}"}
    return render(request, "users/join_new.html", values, status=422 if request.method == "POST" else 200)


def _first_page(found: Invitation) -> str:
    return reverse("team", args=[found.team_id]) if found.team_id else reverse("overview")


urlpatterns = [path("<str:token>/", join, name="join")]
