"""The rows of a cluster's nodes: the nodes themselves, and the sums of what pods hold of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from deployments.models import ClusterNode
from deployments.observer import bulk
from deployments.observer.podsums import NodeSum
from deployments.observer.reading import Kept


def upsert(cluster_id: int, nodes: Sequence[Kept], now: datetime) -> bool:
    """Store nodes as they are; what pods hold of them stays. True where that changed anything."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id, name__in=[node.name for node in nodes])
    before = {
        name: (uid, version) for name, uid, version in rows.values_list("name", "uid", "resource_version")
    }
    changed = [node for node in nodes if before.get(node.name) != (node.uid, node.resource_version)]
    bulk.upsert(
        ClusterNode,
        ("cluster", "name", "uid", "data", "resource_version", "changed_at", "pods"),
        ((cluster_id, node.name, node.uid, node.text, node.resource_version, now, 0) for node in changed),
        unique=("cluster", "name"),
        once=("pods",),
    )
    return bool(changed)


def sweep(cluster_id: int, present: Collection[str]) -> bool:
    """Delete the nodes that are not there any more."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id)
    gone = [pk for pk, name in rows.values_list("pk", "name") if name not in present]
    return bool(gone) and bool(ClusterNode.objects.filter(pk__in=gone).delete()[0])


def write_sums(cluster_id: int, sums: Sequence[NodeSum], now: datetime) -> None:
    """Store sums at the nodes that have a row: an upsert would make rows of nodes that are gone."""
    bulk.update(
        ClusterNode,
        ("requested", "pods", "summed_at"),
        ("cluster", "name"),
        ((one.requested, one.pods, now, cluster_id, one.node) for one in sums),
    )


def forget_sums(cluster_id: int) -> bool:
    """Sums that nobody can keep up to date are not known. True where there were any."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id, requested__isnull=False)
    return bool(rows.update(requested=None, pods=0, summed_at=None))
