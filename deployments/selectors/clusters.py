"""Clusters as pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q, QuerySet

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.states import ACTIVE, OperationKind
from deployments.models import Cluster, ClusterGrant, Deployment, Operation, Team
from deployments.policies import Action, may
from deployments.selectors import lookup, scope
from deployments.selectors.deployments import BADNESS

MOST_SHOWN = 12  # deployments on a cluster's page


@dataclass(frozen=True)
class ClusterPage:
    """A cluster with what stands around it. ``deployments`` are the worst of the ``installed`` ones;
    ``check`` is the newest connection check that is still known, with its steps; ``rights`` the result of
    the newest one that ended well, or None."""

    cluster: Cluster
    grants: list[ClusterGrant]
    deployments: list[Deployment]
    installed: int
    check: Operation | None
    rights: Operation | None
    may_manage: bool
    may_check: bool


def cluster_list(actor: Actor) -> QuerySet[Cluster]:
    """The caller's clusters, each with ``installed``, the number of deployments that he may see."""
    seen = Q(deployments__removed_at=None, deployments__isnull=False)
    if not actor.sees_everything:
        seen &= Q(deployments__team_id__in=actor.roles)
    return (
        scope.clusters(actor)
        .annotate(installed=Count("deployments", filter=seen, distinct=True))
        .order_by("name")
    )


def checking(actor: Actor) -> set[int]:
    """The ids of clusters whose connection is being checked now."""
    rows = Operation.objects.filter(
        kind=OperationKind.CHECK_CONNECTION, state__in=ACTIVE, cluster__in=scope.clusters(actor)
    )
    return {pk for pk in rows.values_list("cluster_id", flat=True) if pk is not None}


def cluster_page(actor: Actor, pk: int) -> ClusterPage:
    """One cluster. Raises :class:`NotFound`.

    Any member who may use a cluster sees how its last check ended, whoever asked for it: what it says
    is about the cluster. Grants of other teams are shown to those who see everything only.
    """
    cluster = lookup.cluster(actor, pk)
    checks = Operation.objects.filter(cluster=cluster, kind=OperationKind.CHECK_CONNECTION).prefetch_related(
        "steps"
    )
    grants = cluster.grants.select_related("team").order_by("team__name")
    if not actor.sees_everything:
        grants = grants.filter(team_id__in=actor.roles)
    installed = scope.deployments(actor).filter(cluster=cluster, removed_at=None)
    worst = (
        installed.select_related("team", "revision__profile")
        .only("name", "namespace", "health", "team__name", "revision__number", "revision__profile__name")
        .order_by(BADNESS, "namespace", "name")
    )
    granted = list(grants)
    return ClusterPage(
        cluster=cluster,
        grants=granted,
        deployments=list(worst[:MOST_SHOWN]),
        installed=installed.count(),
        check=checks.order_by("-id").first(),
        rights=checks.filter(state="succeeded").order_by("-id").first(),
        may_manage=may(actor, Action.MANAGE_CLUSTERS),
        may_check=actor.admin or any(may(actor, Action.CHECK, grant.team_id) for grant in granted),
    )


def may_ask(actor: Actor, pk: int) -> tuple[Cluster, bool]:
    """A cluster, and whether the caller may have questions asked of it. Raises :class:`NotFound`."""
    cluster = lookup.cluster(actor, pk)
    teams = cluster.grants.values_list("team_id", flat=True)
    return cluster, actor.admin or any(may(actor, Action.CHECK, team) for team in teams)


def teams_to_grant(actor: Actor) -> QuerySet[Team]:
    """Teams that a site admin may grant a cluster to; nobody else grants."""
    return scope.teams(actor) if actor.admin else Team.objects.none()


def teams_without_grant(actor: Actor, cluster: Cluster) -> QuerySet[Team]:
    """Teams that a site admin may still grant a cluster to."""
    return teams_to_grant(actor).exclude(grants__cluster=cluster)


def grant(actor: Actor, cluster: Cluster, team_id: int) -> ClusterGrant:
    """What a team may use of a cluster. Raises :class:`NotFound` where it may use nothing."""
    team = lookup.team(actor, team_id)
    found = cluster.grants.filter(team=team).select_related("team").first()
    if found is None:
        raise NotFound(f"{team.name} may not use {cluster.name}.")
    return found


def installed_of(cluster: Cluster, team: Team) -> list[Deployment]:
    """What a team has installed on a cluster."""
    rows = cluster.deployments.filter(team=team, removed_at=None)
    return list(rows.order_by("namespace", "name"))


def clusters_for_team(actor: Actor, team_id: int) -> QuerySet[Cluster]:
    """Clusters that are granted to a team, with ``patterns`` to be read from its grant."""
    return scope.clusters(actor).filter(grants__team_id=team_id).distinct().order_by("name")


def grants_of(cluster_ids: list[int], team_id: int) -> dict[int, ClusterGrant]:
    """Cluster id -> what the team may use there."""
    rows = ClusterGrant.objects.filter(cluster_id__in=cluster_ids, team_id=team_id)
    return {row.cluster_id: row for row in rows.select_related("team", "cluster")}
