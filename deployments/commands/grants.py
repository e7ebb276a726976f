"""Which teams may use a cluster, and in which namespaces: granted, changed, taken back."""

from __future__ import annotations

import fnmatch

from django.db.models import F, QuerySet

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, NotFound
from deployments.domain.names import require_namespace_patterns
from deployments.domain.quota import Limits, words
from deployments.ledger import audit
from deployments.ledger.announce import announce, announce_lists
from deployments.models import Cluster, ClusterGrant, Deployment, Team
from deployments.policies import Action, require
from deployments.selectors import lookup

NAMED = 3  # deployments that a refusal names before it counts the rest


@command(Action.MANAGE_CLUSTERS)
def grant(
    actor: Actor, *, cluster_id: int, team_id: int, namespaces: list[str], limits: Limits | None = None
) -> ClusterGrant:
    """Let a team use a cluster in the namespaces that match one of the patterns, or change which, and up
    to which ``limits`` (None leaves them as they are).

    What is installed stays covered: :class:`Conflict` is raised where the patterns would leave out a
    namespace that the team has a deployment in, or take by name one that another team has one in.
    Raises :class:`InvalidInput` at ``namespaces``.
    """
    cluster, team = _both(actor, cluster_id, team_id)
    patterns = require_namespace_patterns(namespaces)
    _refuse_left_out(_installed(cluster).filter(team=team), patterns, team)
    _refuse_taken(cluster, team, patterns)
    before = ClusterGrant.objects.select_related("team").filter(cluster=cluster, team=team).first()
    values: dict[str, object] = {"namespaces": patterns, **(vars(limits) if limits is not None else {})}
    if before is not None and all(getattr(before, name) == value for name, value in values.items()):
        return before
    row, _made = ClusterGrant.objects.update_or_create(cluster=cluster, team=team, defaults=values)
    _changed(cluster)
    audit.record(
        actor,
        "cluster.grant",
        of_cluster(cluster),
        before=_words(before) if before else None,
        after=_words(row),
    )
    return row


@command(Action.MANAGE_CLUSTERS)
def revoke(actor: Actor, *, cluster_id: int, team_id: int, reason: str = "") -> None:
    """Take a cluster away from a team. Raises :class:`Conflict` while the team has deployments there:
    it could no longer see where they run."""
    cluster, team = _both(actor, cluster_id, team_id)
    row = ClusterGrant.objects.filter(cluster=cluster, team=team).first()
    if row is None:
        raise NotFound(f"{team.name} may not use {cluster.name}.")
    installed = _installed(cluster).filter(team=team)
    if installed.exists():
        raise Conflict(
            f"{team.name} has {_named(installed)} there.",
            remedy="Uninstall first. To stop new installs elsewhere, leave only the namespaces in use.",
        )
    row.delete()
    _changed(cluster)
    audit.record(
        actor,
        "cluster.revoke",
        of_cluster(cluster),
        reason=checked_reason(reason),
        before=_words(row),
    )


def _both(actor: Actor, cluster_id: int, team_id: int) -> tuple[Cluster, Team]:
    cluster = lookup.cluster(actor, cluster_id)
    require(actor, Action.MANAGE_CLUSTERS, of_cluster(cluster))
    return cluster, lookup.team(actor, team_id)


def _installed(cluster: Cluster) -> QuerySet[Deployment]:
    return Deployment.objects.filter(cluster=cluster, removed_at=None).order_by("namespace", "name")


def _refuse_left_out(installed: QuerySet[Deployment], patterns: list[str], team: Team) -> None:
    out = [row for row in installed if not any(fnmatch.fnmatchcase(row.namespace, each) for each in patterns)]
    if out:
        spaces = ", ".join(dict.fromkeys(row.namespace for row in out))
        raise Conflict(
            f"{team.name} has {_named(out)} outside of these.",
            remedy=f"Keep {spaces} among them, or uninstall first.",
        )


def _refuse_taken(cluster: Cluster, team: Team, patterns: list[str]) -> None:
    """A namespace that is granted by its name is closed to teams that have it by a pattern only."""
    for row in _installed(cluster).filter(namespace__in=patterns).exclude(team=team).select_related("team"):
        theirs = ClusterGrant.objects.filter(cluster=cluster, team=row.team).first()
        if theirs is None or row.namespace not in theirs.namespaces:
            raise Conflict(
                f"{row.team.name} has {_named([row])}, and naming {row.namespace} here would close it to them.",
                remedy="Choose another namespace, or name it for both teams.",
            )


def _named(rows: QuerySet[Deployment] | list[Deployment]) -> str:
    found = list(rows)
    names = ", ".join(f"{row.namespace}/{row.name}" for row in found[:NAMED])
    return names + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")


def _words(row: ClusterGrant) -> dict[str, object]:
    said: dict[str, object] = {"team": row.team.name, "namespaces": row.namespaces}
    said |= {name: words(name, amount) for name, amount in sorted(row.quota.items())}
    said |= {
        name: hosts for name in ("model_registries", "image_registries") if (hosts := getattr(row, name))
    }
    if row.approver:
        said |= {"approver": row.approver, "approve_over_gpus": row.approve_over_gpus}
    return said


def _changed(cluster: Cluster) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(version=F("version") + 1)
    announce("cluster", cluster.pk, cluster.version + 1)
    announce_lists(None)
