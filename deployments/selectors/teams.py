"""Reads for the pages of teams and accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.models import ClusterGrant, Deployment, Invitation, Membership, Team, User
from deployments.policies import NEEDS, Action, may, require
from deployments.selectors import lookup, scope

PER_PAGE = 50
INVITING = [role for role in Role if role.rank >= NEEDS[Action.MANAGE_TEAM].rank]


@dataclass(frozen=True)
class TeamPage:
    """One team. ``invitations`` are the open ones, for those who may manage the team only."""

    team: Team
    members: Sequence[Membership]
    invitations: Sequence[Invitation]
    grants: Sequence[ClusterGrant]
    role: Role | None
    may_manage: bool


def team_list(actor: Actor, *, text: str = "", page: str | int | None = 1) -> Page[Team]:
    """The caller's teams by name, each with ``members``, ``profiles_held`` and ``installed``."""
    rows = scope.teams(actor).order_by("name")
    if text:
        rows = rows.filter(name__icontains=text)
    rows = rows.annotate(
        members=_count(Membership.objects.filter(team=OuterRef("pk"))),
        installed=_count(Deployment.objects.filter(team=OuterRef("pk"), removed_at=None)),
        clusters=_count(ClusterGrant.objects.filter(team=OuterRef("pk"), cluster__removed_at=None)),
    )
    # The stubs know of the annotations; whoever reads the page need not.
    return cast("Page[Team]", Paginator(rows, PER_PAGE).get_page(page))


def _count(rows: QuerySet) -> Coalesce:  # type: ignore[type-arg]
    counted = rows.order_by().values("team").annotate(n=Count("pk")).values("n")
    return Coalesce(Subquery(counted), 0)


def team_page(actor: Actor, pk: int, *, now: datetime | None = None) -> TeamPage:
    team = lookup.team(actor, pk)
    may_manage = may(actor, Action.MANAGE_TEAM, team.pk)
    invitations = open_invitations(now=now).filter(team=team).select_related("created_by")
    members = list(Membership.objects.filter(team=team).select_related("user"))
    members.sort(key=lambda row: (-Role(row.role).rank, row.user.get_username().casefold()))
    return TeamPage(
        team=team,
        members=members,
        invitations=list(invitations) if may_manage else [],
        grants=list(
            ClusterGrant.objects.filter(team=team, cluster__removed_at=None)
            .select_related("cluster")
            .order_by("cluster__name")
        ),
        role=actor.roles.get(team.pk),
        may_manage=may_manage,
    )


def member(actor: Actor, team_id: int, user_id: int) -> Membership:
    """One membership, for those who see the team."""
    team = lookup.team(actor, team_id)
    return lookup.one(
        Membership.objects.filter(team=team).select_related("user", "team"), "member", user_id=user_id
    )


def user_list(actor: Actor, *, text: str = "", page: str | int | None = 1) -> Page[User]:
    """All accounts, for site admins. Raises :class:`Denied` for anybody else."""
    require(actor, Action.MANAGE_USERS, Subject("user"))
    rows = User.objects.order_by("username").prefetch_related("memberships__team")
    if text:
        rows = rows.filter(Q(username__icontains=text) | Q(email__icontains=text))
    return Paginator(rows, PER_PAGE).get_page(page)


def open_invitations(*, now: datetime | None = None) -> QuerySet[Invitation]:
    """Those that can still be accepted. One whose maker may not invite any more cannot: else a link kept
    back would be a way in again for whoever was put out."""
    rows = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=now or timezone.now())
    owns = Membership.objects.filter(
        team=OuterRef("team"), user=OuterRef("created_by"), role__in=INVITING, user__is_active=True
    )
    admins = User.objects.filter(is_active=True).filter(Q(is_superuser=True) | Q(site_role=SiteRole.ADMIN))
    by_program = Q(created_by=None)
    return rows.filter(by_program | Q(created_by__in=admins) | Exists(owns))


def site_invitations(actor: Actor, *, now: datetime | None = None) -> Sequence[Invitation]:
    """The open invitations that belong to no team."""
    require(actor, Action.MANAGE_USERS, Subject("user"))
    return list(open_invitations(now=now).filter(team=None).select_related("created_by"))


def user(actor: Actor, pk: int) -> User:
    """One account, for site admins."""
    require(actor, Action.MANAGE_USERS, Subject("user", str(pk)))
    return lookup.one(User.objects.prefetch_related("memberships__team"), "account", pk=pk)


def memberships_of(actor: Actor) -> Sequence[Membership]:
    """The caller's own places in teams."""
    rows = Membership.objects.filter(user_id=actor.user_id or 0)
    return list(rows.select_related("team").order_by("team__name"))
