"""Profiles and their revisions as pages show them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.models import Cluster, Deployment, Profile, Revision, Team
from deployments.policies import Action, may, may_write_profile, usable_by
from deployments.selectors import lookup, scope

PER_PAGE = 25
SORTS = {"name": "name", "team": "team__name", "changed": "changed", "used": "used"}


@dataclass(frozen=True)
class ProfilePage:
    """A profile, its revisions newest first (each with ``used``), and the deployments made from it."""

    profile: Profile
    revisions: list[Any]
    deployments: list[Deployment]
    may_write: bool
    may_archive: bool
    may_install: bool
    may_share: bool
    origin_seen: bool
    """Whether the caller may see the profile that it was copied from, and so its name."""

    @property
    def latest(self) -> Revision:
        newest: Revision = self.revisions[0]
        return newest


def profile_list(
    actor: Actor, *, team: int | None = None, text: str = "", sort: str = "name", page: int | str | None = 1
) -> Page[Any]:
    """A page of the profiles that are not archived, each with ``used``, ``number``, ``changed`` and
    ``spec`` of its newest revision."""
    rows = scope.profiles(actor).filter(archived_at=None)
    if team is not None:
        rows = rows.filter(team_id=team)
    if text:
        rows = rows.filter(Q(name__icontains=text) | Q(description__icontains=text))
    down, key = ("-" if sort.startswith("-") else ""), sort.removeprefix("-")
    asked = _of_each(Revision.objects.all())
    # All profiles are looked at for the order: only what it goes by is worked out for all of them.
    ordered = rows.annotate(**{key: asked[key]} if key in asked else {})
    found = Paginator(
        ordered.order_by(down + SORTS.get(key, "name"), "pk").values_list("pk", flat=True), PER_PAGE
    ).get_page(page)
    asked = _of_each(scope.revisions(actor))
    shown = Profile.objects.select_related("team").annotate(**asked).in_bulk(list(found.object_list))
    rows_of_page = [shown[pk] for pk in found.object_list if pk in shown]
    return Page(rows_of_page, found.number, found.paginator)


def _of_each(revisions: QuerySet[Revision]) -> dict[str, Any]:
    """What a list says of each profile beside its own columns."""
    newest = revisions.filter(profile=OuterRef("pk")).order_by("-number")
    running = (
        Deployment.objects.filter(revision__profile=OuterRef("pk"), removed_at=None)
        .order_by()
        .values("revision__profile")
        .annotate(n=Count("pk"))
    )
    return {
        "number": Subquery(newest.values("number")[:1]),
        "changed": Subquery(newest.values("created_at")[:1]),
        "spec": Subquery(newest.values("spec")[:1]),
        "used": Coalesce(Subquery(running.values("n")), 0),
    }


def profile_page(actor: Actor, pk: int) -> ProfilePage:
    """One profile. Raises :class:`NotFound`."""
    profile = lookup.profile(actor, pk)
    running = Q(deployments__removed_at=None, deployments__isnull=False)
    revisions = (
        scope.revisions(actor)
        .filter(profile=profile)
        .select_related("created_by")
        .annotate(used=Count("deployments", filter=running))
        .order_by("-number")
    )
    made = (
        scope.deployments(actor)
        .filter(revision__profile=profile, removed_at=None)
        .select_related("cluster", "team", "revision")
        .order_by("name")
    )
    return ProfilePage(
        profile=profile,
        revisions=list(revisions),
        deployments=list(made),
        may_write=may_write_profile(actor, profile),
        may_archive=may(actor, Action.ARCHIVE_PROFILE, profile.team_id),
        may_install=bool(installing_teams(actor, profile)),
        may_share=may(actor, Action.SHARE_PROFILE, profile.team_id),
        origin_seen=profile.origin is not None
        and scope.profiles(actor).filter(pk=profile.origin.profile_id).exists(),
    )


def revision(actor: Actor, profile_id: int, number: int | None = None) -> Revision:
    """A revision of a profile, the newest one without a number. Raises :class:`NotFound`."""
    profile = lookup.profile(actor, profile_id)
    rows = scope.revisions(actor).filter(profile=profile).order_by("-number")
    rows = rows.select_related("profile__team", "created_by")
    found = (rows if number is None else rows.filter(number=number)).first()
    if found is None:
        raise NotFound("There is no such revision.")
    return found


def revision_by_id(actor: Actor, pk: int) -> Revision:
    """A revision by its own id. Raises :class:`NotFound`."""
    return lookup.revision(actor, pk)


def installable(actor: Actor, team: int | None = None) -> list[Profile]:
    """Profiles that the caller may install from, with their revisions newest first; two queries."""
    teams = [t for t in teams_that_may(actor, Action.INSTALL) if team is None or t.pk == team]
    usable = reduce(or_, (usable_by(team.pk) for team in teams), Q(pk__in=[]))
    rows = scope.profiles(actor).filter(usable, archived_at=None).select_related("team").distinct()
    newest_first = Prefetch("revisions", Revision.objects.defer("secrets").order_by("-number"))
    return list(rows.prefetch_related(newest_first).order_by("name"))


def installable_on(actor: Actor, cluster: Cluster) -> list[Profile]:
    """Those of :func:`installable` whose team may use the cluster; three queries."""
    teams = set(cluster.grants.values_list("team_id", flat=True))
    return [profile for profile in installable(actor) if profile.team_id in teams]


def may_upgrade(actor: Actor, deployment: Deployment) -> bool:
    return may(actor, Action.UPGRADE, deployment.team_id)


def installing_teams(actor: Actor, profile: Profile) -> list[Team]:
    """The caller's teams that may install from a profile and in which he may, by name; the profile's
    own team first."""
    teams = teams_that_may(actor, Action.INSTALL)
    if profile.catalog_at is None:
        shared = set(profile.shares.values_list("team_id", flat=True)) | {profile.team_id}
        teams = [team for team in teams if team.pk in shared]
    return sorted(teams, key=lambda team: (team.pk != profile.team_id, team.name))


def teams_that_may(actor: Actor, action: Action) -> list[Team]:
    """The caller's teams in which he may do this, by name."""
    return [team for team in scope.teams(actor) if may(actor, action, team.pk)]


def profile_named(actor: Actor, name: str) -> list[Profile]:
    """Profiles of that name that are not archived, in any of the caller's teams."""
    return list(scope.profiles(actor).filter(archived_at=None, name__iexact=name).select_related("team"))
