"""Pages: accounts, for site admins. The list with invitations to the site, one account."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard.access import actor
from dashboard.forms.faults import place
from dashboard.forms.teams import AddressForm, ReasonForm, SiteInviteForm, SiteRoleForm
from dashboard.mail import send_invitation
from dashboard.presenters.parts import Column
from deployments.commands import addresses as address_commands
from deployments.commands import invitations
from deployments.commands import users as commands
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.subjects import Subject
from deployments.models import User
from deployments.policies import Action, require
from deployments.selectors import teams as selector
from deployments.selectors.addresses import holds

COLUMNS = (
    Column(gettext_lazy("Account")),
    Column(gettext_lazy("Site role")),
    Column(gettext_lazy("Teams")),
    Column(gettext_lazy("Last sign-in"), numeric=True),
)


@require_GET
def users(request: HttpRequest) -> HttpResponse:
    """All accounts, and the open invitations that belong to no team."""
    return _users(request)


def _users(request: HttpRequest, *, status: int = 200, **more: Any) -> HttpResponse:
    who, query = actor(request), request.GET
    text = query.get("q", "").strip()[:80]
    values = {
        "page": selector.user_list(who, text=text, page=query.get("page")),
        "invitations": selector.site_invitations(who),
        "columns": COLUMNS,
        "text": text,
        "invite": SiteInviteForm(),
        "mail": settings.MAIL_CONFIGURED,
        **more,
    }
    return render(request, "users/list.html", values, status=status)


@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Make a link to an account without a team; shown once."""
    who = actor(request)
    require(who, Action.MANAGE_USERS, Subject("invitation"))
    form = SiteInviteForm(request.POST)
    if form.is_valid():
        try:
            made, token = invitations.invite_to_site(who, **form.cleaned_data)
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="email")
        else:
            link = request.build_absolute_uri(reverse("join", args=[token]))
            sent = send_invitation(made, link, by=who.name)
            return _users(request, link=link, invited=made, sent=sent)
    return _users(request, status=422, invite=form)


@require_GET
def user(request: HttpRequest, pk: int) -> HttpResponse:
    """One account: its teams, its site role, and what an admin can do about it."""
    return _user(request, pk)


def _user(request: HttpRequest, pk: int, *, status: int = 200, **more: Any) -> HttpResponse:
    found = selector.user(actor(request), pk)
    role = "admin" if found.is_superuser else found.site_role
    values = {
        "found": found,
        "form": SiteRoleForm(initial={"site_role": role}),
        "address": AddressForm(initial={"email": found.email}),
        "confirmed": bool(found.email) and holds(found, found.email),
        "site_role": role,
        **more,
    }
    return render(request, "users/user.html", values, status=status)


@require_POST
def site_role(request: HttpRequest, pk: int) -> HttpResponse:
    """Make somebody a site admin, an auditor, or neither."""
    form = SiteRoleForm(request.POST)
    if not form.is_valid():
        return _user(request, pk, status=422, form=form)
    try:
        commands.set_site_role(actor(request), user_id=pk, **form.cleaned_data)
    except Conflict as error:
        return _user(request, pk, status=409, refused=error)
    messages.success(request, _("The site role was changed."))
    return HttpResponseRedirect(reverse("user", args=[pk]))


@require_POST
def address(request: HttpRequest, pk: int) -> HttpResponse:
    """Give an account another e-mail address, which the admin vouches for."""
    form = AddressForm(request.POST)
    who = actor(request)
    require(who, Action.MANAGE_USERS, Subject("user", str(pk)))
    if form.is_valid():
        try:
            address_commands.set_address(who, user_id=pk, **form.cleaned_data)
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="email")
        else:
            messages.success(request, _("The address was changed."))
            return HttpResponseRedirect(reverse("user", args=[pk]))
    return _user(request, pk, status=422, address=form)


@require_http_methods(["GET", "HEAD", "POST"])
def disable(request: HttpRequest, pk: int) -> HttpResponse:
    """End an account's sessions and let it sign in no more."""
    found = selector.user(actor(request), pk)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            commands.disable_user(actor(request), user_id=pk, reason=form.cleaned_data["reason"])
        except Conflict as error:
            refused = error
        else:
            messages.success(request, _("%(name)s cannot sign in any more.") % {"name": found})
            return HttpResponseRedirect(reverse("user", args=[pk]))
    values = {"found": found, "form": form, "refused": refused}
    return render(request, "users/disable.html", values, status=409 if refused else 200)


@require_POST
def enable(request: HttpRequest, pk: int) -> HttpResponse:
    """Let a disabled account sign in again."""
    found = commands.enable_user(actor(request), user_id=pk)
    messages.success(request, _("%(name)s can sign in again.") % {"name": found})
    return HttpResponseRedirect(reverse("user", args=[pk]))


@require_POST
def new_password(request: HttpRequest, pk: int) -> HttpResponse:
    """A link with which the person sets a new password; shown once, good for three days."""
    try:
        found = commands.allow_new_password(actor(request), user_id=pk)
    except Conflict as error:
        return _user(request, pk, status=409, refused=error)
    return _user(request, pk, link=request.build_absolute_uri(password_path(found)))


def password_path(user: User) -> str:
    """Where this person can set a new password now; a used or outdated path is refused."""
    return reverse(
        "account_reset_password_from_key",
        kwargs={"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)},
    )


urlpatterns = [
    path("", users, name="users"),
    path("invite", invite, name="user_invite"),
    path("<int:pk>/", user, name="user"),
    path("<int:pk>/site-role", site_role, name="user_site_role"),
    path("<int:pk>/address", address, name="user_address"),
    path("<int:pk>/disable", disable, name="user_disable"),
    path("<int:pk>/enable", enable, name="user_enable"),
    path("<int:pk>/new-password", new_password, name="user_new_password"),
]
