"""Pages: profiles between teams. Sharing, the catalog, copies, and one revision for many deployments."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard.access import actor
from dashboard.forms.faults import place
from dashboard.forms.sharing import ApplyForm, CopyForm, ShareForm
from deployments.commands import batches, sharing
from deployments.commands.subjects import of_profile
from deployments.domain.errors import Conflict, Denied, InvalidInput
from deployments.domain.states import OperationState
from deployments.policies import Action, require_seen
from deployments.selectors import profiles as profile_selector
from deployments.selectors import sharing as selector
from deployments.sentences import said


@require_http_methods(["GET", "HEAD", "POST"])
def share(request: HttpRequest, pk: int) -> HttpResponse:
    """Who may use the profile, and one more team."""
    who = actor(request)
    page = selector.share_page(who, pk)
    require_seen(who, Action.SHARE_PROFILE, of_profile(page.profile))
    form = ShareForm(request.POST if request.method == "POST" else None)
    status = 422 if request.method == "POST" else 200
    if request.method == "POST" and form.is_valid():
        try:
            made = sharing.share_profile(who, profile_id=pk, **form.cleaned_data)
        except InvalidInput as error:
            place(form, error)
        except Denied as error:
            form.add_error("level", said(f"{error.sentence} {error.remedy}"))
            status = 403
        else:
            messages.success(request, _("%(team)s may use it now.") % {"team": made.team})
            return HttpResponseRedirect(reverse("profile_share", args=[pk]))
    values = {"page": page, "form": form}
    return render(request, "profiles/share.html", values, status=status)


@require_POST
def withdraw(request: HttpRequest, pk: int, team: int) -> HttpResponse:
    """End a sharing."""
    sharing.withdraw_share(actor(request), profile_id=pk, team_id=team)
    messages.success(request, _("The sharing ended. What runs goes on."))
    return HttpResponseRedirect(reverse("profile_share", args=[pk]))


@require_POST
def ask(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for a place in the catalog."""
    return _catalog(request, pk, sharing.ask_for_catalog, _("The site's admins were asked."))


@require_POST
def publish(request: HttpRequest, pk: int) -> HttpResponse:
    """Put the profile into the catalog."""
    return _catalog(request, pk, sharing.publish_profile, _("Every team may use it now."))


@require_POST
def unpublish(request: HttpRequest, pk: int) -> HttpResponse:
    """Take the profile out of the catalog, or turn the wish down."""
    return _catalog(request, pk, sharing.withdraw_from_catalog, _("It is not in the catalog."))


def _catalog(request: HttpRequest, pk: int, command: Any, answer: str) -> HttpResponse:
    command(actor(request), profile_id=pk)
    messages.success(request, answer)
    return HttpResponseRedirect(reverse("profile", args=[pk]))


@require_http_methods(["GET", "HEAD", "POST"])
def copy(request: HttpRequest, pk: int) -> HttpResponse:
    """The newest revision as a profile of a team of one's own."""
    who = actor(request)
    page = profile_selector.profile_page(who, pk)
    teams = profile_selector.teams_that_may(who, Action.WRITE_PROFILE)
    if not teams:
        raise Denied("Copying a profile needs the role maintainer.", remedy="Ask an owner of your team.")
    given = request.POST if request.method == "POST" else None
    form = CopyForm(given, teams=teams, initial={"team": teams[0].pk, "name": page.profile.name})
    if form.is_valid():
        try:
            made = sharing.clone_profile(
                who,
                revision_id=page.latest.pk,
                team_id=form.cleaned_data["team"].pk,
                name=form.cleaned_data["name"],
            )
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="name")
        else:
            messages.success(request, _("The copy is yours to change."))
            return HttpResponseRedirect(reverse("profile", args=[made.profile_id]))
    values = {"page": page, "form": form, "loses": bool(page.latest.secrets) and not page.may_write}
    return render(request, "profiles/copy.html", values, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def apply(request: HttpRequest, pk: int) -> HttpResponse:
    """The newest revision for several of the deployments that are made from the profile."""
    who = actor(request)
    page = profile_selector.profile_page(who, pk)
    offered = [row for row in page.deployments if profile_selector.may_upgrade(who, row)]
    if not offered:
        raise Denied("None of its deployments are yours to upgrade.", remedy="Ask an owner of the team.")
    given = request.POST if request.method == "POST" else None
    form = ApplyForm(given, offered=[row.pk for row in offered], initial={"revision": page.latest.pk})
    newer = form.is_valid() and form.cleaned_data["revision"] != page.latest.pk
    if newer:
        # Somebody saved another one since: nobody has looked at it yet.
        said = _("Revision %(n)s was saved meanwhile. Look at it, then apply that one.")
        form.add_error(None, said % {"n": page.latest.number})
    elif form.is_valid():
        try:
            made = batches.apply_to_many(
                who,
                revision_id=page.latest.pk,
                deployment_ids=form.cleaned_data["deployments"],
                reason=form.cleaned_data["reason"],
            )
        except InvalidInput as error:
            place(form, error)
        else:
            return HttpResponseRedirect(reverse("batch", args=[made.pk]))
    chosen = set(request.POST.getlist("deployments")) if form.is_bound else None
    rows = [
        {
            "deployment": row,
            "chosen": str(row.pk) in chosen if chosen is not None else row.revision_id != page.latest.pk,
        }
        for row in offered
    ]
    values = {"page": page, "form": form, "rows": rows}
    status = 409 if newer else 422 if form.is_bound else 200
    return render(request, "profiles/apply.html", values, status=status)


@require_GET
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """What became of each of them; with X-Fragment the table alone."""
    found = selector.batch(actor(request), pk)
    operations = selector.operations_of(found)
    states = [OperationState(operation.state) for operation in operations]
    values = {
        "batch": found,
        "operations": operations,
        "done": sum(state is OperationState.SUCCEEDED for state in states),
        "failed": sum(state in (OperationState.FAILED, OperationState.CANCELLED) for state in states),
        "open": sum(not state.terminal for state in states),
        "live": " ".join(f"operation:{operation.pk}" for operation in operations),
    }
    fragment = bool(request.headers.get("X-Fragment"))
    return render(request, "operations/batch_live.html" if fragment else "operations/batch.html", values)


urlpatterns = [
    path("<int:pk>/share", share, name="profile_share"),
    path("<int:pk>/share/<int:team>/withdraw", withdraw, name="profile_withdraw"),
    path("<int:pk>/catalog/ask", ask, name="profile_ask"),
    path("<int:pk>/catalog/publish", publish, name="profile_publish"),
    path("<int:pk>/catalog/withdraw", unpublish, name="profile_unpublish"),
    path("<int:pk>/copy", copy, name="profile_copy"),
    path("<int:pk>/apply", apply, name="profile_apply"),
    path("batches/<int:pk>/", batch, name="batch"),
]
