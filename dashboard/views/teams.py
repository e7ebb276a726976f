"""Pages: teams. The list, one team with its members and invitations, one member."""

from __future__ import annotations

from typing import Any

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
from dashboard.forms.teams import AddMemberForm, InviteForm, ReasonForm, RoleForm, TeamForm
from dashboard.mail import send_invitation
from dashboard.presenters.parts import Column
from dashboard.presenters.quota import quota_rows
from dashboard.presenters.teams import role_table
from deployments.commands import invitations
from deployments.commands import teams as commands
from deployments.commands.subjects import of_team
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.subjects import Subject
from deployments.policies import Action, may, require
from deployments.selectors import lookup
from deployments.selectors import teams as selector
from deployments.selectors.quotas import used_of

COLUMNS = (
    Column(gettext_lazy("Team")),
    Column(gettext_lazy("Your role")),
    Column(gettext_lazy("Members"), numeric=True),
    Column(gettext_lazy("Deployments"), numeric=True),
    Column(gettext_lazy("Clusters"), numeric=True),
)


@require_GET
def teams(request: HttpRequest) -> HttpResponse:
    """The caller's teams; admins and auditors see all."""
    who, query = actor(request), request.GET
    text = query.get("q", "").strip()[:80]
    page = selector.team_list(who, text=text, page=query.get("page"))
    values = {
        "page": page,
        "rows": [{"team": team, "role": who.roles.get(team.pk)} for team in page.object_list],
        "columns": COLUMNS,
        "text": text,
        "may_create": may(who, Action.MANAGE_TEAMS),
    }
    return render(request, "teams/list.html", values)


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """A team without members yet."""
    who = actor(request)
    require(who, Action.MANAGE_TEAMS, Subject("team"))
    form = TeamForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            made = commands.create_team(who, name=form.cleaned_data["name"])
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="name")
        else:
            messages.success(request, _("%(name)s was made. Invite its members.") % {"name": made.name})
            return HttpResponseRedirect(reverse("team", args=[made.pk]))
    values = {"form": form, "heading": _("New team"), "verb": _("Make the team"), "back": reverse("teams")}
    return render(request, "teams/form.html", values, status=_status(request))


@require_GET
def team(request: HttpRequest, pk: int) -> HttpResponse:
    """One team: members, invitations, what it may use."""
    return _team(request, pk)


def _team(request: HttpRequest, pk: int, *, status: int = 200, **more: Any) -> HttpResponse:
    who = actor(request)
    found = selector.team_page(who, pk)
    taken = used_of(pk, [grant.cluster_id for grant in found.grants])
    values = {
        "found": found,
        "grants": [(grant, quota_rows(grant, taken[grant.cluster_id])) for grant in found.grants],
        "me": who,
        "may_add": may(who, Action.MANAGE_TEAMS),
        "invite": InviteForm(),
        "add": AddMemberForm(),
        "mail": settings.MAIL_CONFIGURED,
        "roles": role_table(),
        **more,
    }
    return render(request, "teams/team.html", values, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    """Another name for a team."""
    who = actor(request)
    found = selector.team_page(who, pk)
    require(who, Action.MANAGE_TEAM, of_team(found.team))
    form = TeamForm(request.POST if request.method == "POST" else None, initial={"name": found.team.name})
    if request.method == "POST" and form.is_valid():
        try:
            commands.rename_team(who, team_id=pk, name=form.cleaned_data["name"])
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="name")
        else:
            messages.success(request, _("The team has its new name."))
            return HttpResponseRedirect(reverse("team", args=[pk]))
    values = {
        "form": form,
        "team": found.team,
        "heading": _("Rename %(name)s") % {"name": found.team.name},
        "verb": _("Rename"),
        "back": reverse("team", args=[pk]),
    }
    return render(request, "teams/form.html", values, status=_status(request))


@require_POST
def invite(request: HttpRequest, pk: int) -> HttpResponse:
    """Make a link. It is on the answer's page, once; where mail is set up it is sent too."""
    who = actor(request)
    require(who, Action.MANAGE_TEAM, of_team(lookup.team(who, pk)))
    form = InviteForm(request.POST)
    if form.is_valid():
        try:
            made, token = invitations.invite_to_team(
                who, team_id=pk, email=form.cleaned_data["email"], role=form.cleaned_data["role"]
            )
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="email")
        else:
            link = request.build_absolute_uri(reverse("join", args=[token]))
            sent = send_invitation(made, link, by=who.name)
            return _team(request, pk, link=link, invited=made, sent=sent)
    return _team(request, pk, status=422, invite=form)


@require_POST
def add(request: HttpRequest, pk: int) -> HttpResponse:
    """Put somebody with an account into the team."""
    who = actor(request)
    require(who, Action.MANAGE_TEAMS, of_team(lookup.team(who, pk)))
    form = AddMemberForm(request.POST)
    if form.is_valid():
        try:
            made = commands.add_member(
                who,
                team_id=pk,
                username=form.cleaned_data["username"],
                role=form.cleaned_data["role"],
            )
        except (InvalidInput, Conflict) as error:
            place(form, error, conflict_field="username")
        else:
            messages.success(request, _("%(name)s is a member now.") % {"name": made.user})
            return HttpResponseRedirect(reverse("team", args=[pk]))
    return _team(request, pk, status=422, add=form)


@require_http_methods(["GET", "HEAD", "POST"])
def member(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """One member: another role, or out of the team."""
    who = actor(request)
    found = selector.member(who, pk, user)
    require(who, Action.MANAGE_TEAM, of_team(found.team))
    form = RoleForm(request.POST if request.method == "POST" else None, initial={"role": found.role})
    refused = None
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        try:
            commands.change_role(who, team_id=pk, user_id=user, role=given["role"], reason=given["reason"])
        except Conflict as error:
            refused = error
        else:
            messages.success(request, _("%(name)s has another role now.") % {"name": found.user})
            return HttpResponseRedirect(reverse("team", args=[pk]))
    values = {"membership": found, "form": form, "refused": refused, "roles": role_table()}
    return render(request, "teams/member.html", values, status=409 if refused else _status(request))


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, pk: int, user: int) -> HttpResponse:
    """Take a member out of the team."""
    who = actor(request)
    found = selector.member(who, pk, user)
    require(who, Action.MANAGE_TEAM, of_team(found.team))
    form = ReasonForm(request.POST if request.method == "POST" else None)
    refused = None
    if request.method == "POST" and form.is_valid():
        try:
            commands.remove_member(who, team_id=pk, user_id=user, reason=form.cleaned_data["reason"])
        except Conflict as error:
            refused = error
        else:
            messages.success(request, _("%(name)s is no member any more.") % {"name": found.user})
            return HttpResponseRedirect(reverse("team", args=[pk]))
    values = {"membership": found, "form": form, "refused": refused}
    return render(request, "teams/remove.html", values, status=409 if refused else _status(request))


@require_http_methods(["GET", "HEAD", "POST"])
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    """Leave a team oneself, after asking."""
    who = actor(request)
    found = selector.team_page(who, pk)
    if found.role is None:
        raise NotFound(_("You are no member of this team."))
    if request.method != "POST":
        return render(request, "teams/leave.html", {"team": found.team})
    try:
        commands.leave_team(who, team_id=pk)
    except Conflict as error:
        return render(request, "teams/leave.html", {"team": found.team, "refused": error}, status=409)
    messages.success(request, _("You left %(name)s.") % {"name": found.team.name})
    return HttpResponseRedirect(reverse("overview"))


@require_POST
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    """Take an invitation back."""
    gone = invitations.revoke_invitation(actor(request), invitation_id=pk)
    messages.success(request, _("The link for %(email)s does not work any more.") % {"email": gone.email})
    back = reverse("team", args=[gone.team_id]) if gone.team_id else reverse("users")
    return HttpResponseRedirect(back)


def _status(request: HttpRequest) -> int:
    return 422 if request.method == "POST" else 200


urlpatterns = [
    path("", teams, name="teams"),
    path("new", new, name="team_new"),
    path("invitations/<int:pk>/revoke", revoke, name="invitation_revoke"),
    path("<int:pk>/", team, name="team"),
    path("<int:pk>/rename", rename, name="team_rename"),
    path("<int:pk>/invite", invite, name="team_invite"),
    path("<int:pk>/add", add, name="team_add"),
    path("<int:pk>/leave", leave, name="team_leave"),
    path("<int:pk>/members/<int:user>/", member, name="team_member"),
    path("<int:pk>/members/<int:user>/remove", remove, name="team_remove"),
]
