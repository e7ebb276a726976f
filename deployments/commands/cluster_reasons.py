"""Whether a cluster asks for the reason of what is done on it."""

from __future__ import annotations

from django.db.models import F

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.ledger import audit
from deployments.ledger.announce import announce
from deployments.models import Cluster
from deployments.policies import Action, require
from deployments.selectors import lookup


@command(Action.MANAGE_CLUSTERS)
def require_reasons(actor: Actor, *, cluster_id: int, required: bool, reason: str = "") -> None:
    """From now on, refuse a change of what runs on the cluster that comes without a reason; or no more."""
    cluster = lookup.cluster(actor, cluster_id)
    require(actor, Action.MANAGE_CLUSTERS, of_cluster(cluster))
    if cluster.reason_required == required:
        return
    Cluster.objects.filter(pk=cluster.pk).update(reason_required=required, version=F("version") + 1)
    announce("cluster", cluster.pk, cluster.version + 1)
    audit.record(
        actor,
        "cluster.require_reasons",
        of_cluster(cluster),
        reason=checked_reason(reason),
        before={"reason_required": not required},
        after={"reason_required": required},
    )
