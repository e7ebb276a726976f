"""Teams and their members: made, renamed, given other roles, left."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils.text import slugify

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_team, of_user
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.states import Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.domain.team_names import require_team_name, skeleton
from deployments.ledger import audit
from deployments.models import Membership, Team, User
from deployments.policies import Action, require
from deployments.selectors import lookup
from deployments.selectors.actors import account_of


@command(Action.MANAGE_TEAMS)
def create_team(actor: Actor, *, name: str) -> Team:
    """Make an empty team. Raises :class:`InvalidInput` (name) and :class:`Conflict` where another
    team's name looks the same."""
    require(actor, Action.MANAGE_TEAMS, Subject("team", name=name[:80]))
    name = require_team_name(name)
    try:
        with transaction.atomic():
            team = Team.objects.create(name=name, skeleton=skeleton(name), slug=_slug(name))
    except IntegrityError as error:
        raise _taken(name) from error
    audit.record(actor, "team.create", of_team(team), after={"name": name})
    return team


@command(Action.MANAGE_TEAM)
def rename_team(actor: Actor, *, team_id: int, name: str) -> Team:
    """Give a team another name. What belongs to it stays as it is."""
    team = lookup.team(actor, team_id)
    require(actor, Action.MANAGE_TEAM, of_team(team))
    name, before = require_team_name(name), team.name
    if name == before:
        return team
    try:
        with transaction.atomic():
            Team.objects.filter(pk=team.pk).update(name=name, skeleton=skeleton(name))
    except IntegrityError as error:
        raise _taken(name) from error
    team.refresh_from_db()
    audit.record(actor, "team.rename", of_team(team), before={"name": before}, after={"name": name})
    return team


@command(Action.MANAGE_TEAMS)
def add_member(actor: Actor, *, team_id: int, username: str, role: Role) -> Membership:
    """Put somebody who has an account into a team. For site admins, who see all accounts; an owner
    invites by e-mail address. Raises :class:`InvalidInput` (username) and :class:`Conflict`."""
    team = lookup.team(actor, team_id)
    require(actor, Action.MANAGE_TEAMS, of_team(team))
    user = User.objects.filter(username=username.strip(), is_active=True).first()
    if user is None:
        raise InvalidInput("There is no active account of that name.", field="username")
    try:
        with transaction.atomic():
            membership = Membership.objects.create(team=team, user=user, role=role)
    except IntegrityError as error:
        raise Conflict(f"{user} is a member of {team} already.", remedy="Change the role instead.") from error
    audit.record(actor, "team.add_member", of_team(team), after={"member": user.get_username(), "role": role})
    return membership


@command(Action.MANAGE_TEAM)
def change_role(actor: Actor, *, team_id: int, user_id: int, role: Role, reason: str = "") -> Membership:
    """Give a member another role. Raises :class:`Conflict` where the team would lose its last owner or
    the identity provider decides."""
    team, membership = _member(actor, team_id, user_id)
    reason = checked_reason(reason)
    before = Role(membership.role)
    if before is role:
        return membership
    if before is Role.OWNER:
        _require_another_owner(team, membership)
    membership.role = role
    membership.save(update_fields=["role"])
    audit.record(
        actor,
        "team.change_role",
        of_team(team),
        before={"member": membership.user.get_username(), "role": before},
        after={"member": membership.user.get_username(), "role": role},
        reason=reason,
    )
    return membership


@command(Action.MANAGE_TEAM)
def remove_member(actor: Actor, *, team_id: int, user_id: int, reason: str = "") -> None:
    """Take somebody out of a team; his account and what he did stay. Raises :class:`Conflict` as
    :func:`change_role` does."""
    team, membership = _member(actor, team_id, user_id)
    reason = checked_reason(reason)
    if membership.role == Role.OWNER:
        _require_another_owner(team, membership)
    before = {"member": membership.user.get_username(), "role": membership.role}
    membership.delete()
    audit.record(actor, "team.remove_member", of_team(team), before=before, reason=reason)


def leave_team(actor: Actor, *, team_id: int) -> None:
    """Leave a team oneself: nobody needs a right for that. The last owner cannot."""
    with transaction.atomic():
        team = lookup.team(actor, team_id)
        membership = _locked(team).filter(user=account_of(actor)).first()
        if membership is None:
            raise NotFound("You are no member of this team.")
        _require_not_from_claims(membership)
        if membership.role == Role.OWNER:
            _require_another_owner(team, membership)
        before = {"member": actor.name, "role": membership.role}
        membership.delete()
        audit.record(actor, "team.leave", of_team(team), before=before)


def apply_claims(
    actor: Actor, *, user: User, roles: dict[str, Role], site_role: SiteRole | None = None
) -> None:
    """Make the memberships that the identity provider decides be ``roles`` (a team's slug to the role),
    and the site role be ``site_role`` where it is not None.

    What people decided stays, also where a claim speaks of the same team: the nearer hand counts.
    Written with one audit entry, and only where something changed. Slugs of no team are left out.
    """
    with transaction.atomic():
        teams = {team.pk: (team, roles[team.slug]) for team in Team.objects.filter(slug__in=roles)}
        mine = {row.team_id: row for row in Membership.objects.select_for_update().filter(user=user)}
        before = {row.team.name: row.role for row in mine.values() if row.from_claims}
        wanted = {pk: role for pk, (_, role) in teams.items() if pk not in mine or mine[pk].from_claims}
        after = {teams[pk][0].name: str(role) for pk, role in wanted.items()}
        if site_role is not None and SiteRole(user.site_role) is not site_role:
            before["site"], after["site"] = user.site_role, str(site_role)
            User.objects.filter(pk=user.pk).update(site_role=site_role)
            user.site_role = site_role
        if before == after:
            return
        Membership.objects.filter(user=user, from_claims=True).exclude(team_id__in=wanted).delete()
        for team_id, role in wanted.items():
            Membership.objects.update_or_create(
                user=user, team_id=team_id, defaults={"role": role, "from_claims": True}
            )
        audit.record(actor, "user.apply_claims", of_user(user), before=before, after=after)


def _member(actor: Actor, team_id: int, user_id: int) -> tuple[Team, Membership]:
    team = lookup.team(actor, team_id)
    require(actor, Action.MANAGE_TEAM, of_team(team))
    membership = _locked(team).filter(user_id=user_id).select_related("user").first()
    if membership is None:
        raise NotFound("There is no such member.")
    _require_not_from_claims(membership)
    return team, membership


def _locked(team: Team) -> QuerySet[Membership]:
    # Of two owners who demote each other at once the second one must see what the first one did.
    Team.objects.select_for_update().get(pk=team.pk)
    return Membership.objects.filter(team=team)


def _require_not_from_claims(membership: Membership) -> None:
    if membership.from_claims:
        raise Conflict(
            f"{membership.user} is a member by what the identity provider says.",
            remedy="Change the groups there; it counts from the next sign-in on.",
        )


def _require_another_owner(team: Team, membership: Membership) -> None:
    others = Membership.objects.filter(team=team, role=Role.OWNER, user__is_active=True)
    if not others.exclude(pk=membership.pk).exists():
        raise Conflict(
            f"{membership.user} is the only owner of {team}.",
            remedy="Make somebody else an owner first.",
        )


def _taken(name: str) -> Conflict:
    return Conflict(
        f"There is a team whose name looks the same as {name}.", remedy="Choose a name that nobody mistakes."
    )


def _slug(name: str) -> str:
    """An address-safe form of the name that no team has; names without Latin letters get a number."""
    base = slugify(name)[:70] or "team"
    taken = set(Team.objects.filter(slug__startswith=base).values_list("slug", flat=True))
    return (
        base if base not in taken else next(s for n in range(2, 10_000) if (s := f"{base}-{n}") not in taken)
    )
