"""The rows of a cluster's nodes: the nodes themselves, and the sums of what pods hold of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from django.db import connection

from deployments.models import ClusterNode
from deployments.observer.podsums import NodeSum
from deployments.observer.reading import Seen

_SUMS = ("requested", "pods", "summed_at")


def upsert(cluster_id: int, nodes: Sequence[Seen], now: datetime) -> bool:
    """Store nodes as they are; what pods hold of them stays. True where that changed anything."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id, name__in=[node.name for node in nodes])
    before = {
        name: (uid, version) for name, uid, version in rows.values_list("name", "uid", "resource_version")
    }
    changed = [node for node in nodes if before.get(node.name) != (node.uid, node.resource_version)]
    ClusterNode.objects.bulk_create(
        (
            ClusterNode(
                cluster_id=cluster_id,
                name=node.name,
                uid=node.uid,
                data=node.data,
                resource_version=node.resource_version,
                changed_at=now,
            )
            for node in changed
        ),
        update_conflicts=True,
        unique_fields=["cluster", "name"],
        update_fields=["uid", "data", "resource_version", "changed_at"],
    )
    return bool(changed)


def sweep(cluster_id: int, present: Collection[str]) -> bool:
    """Delete the nodes that are not there any more."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id)
    gone = [pk for pk, name in rows.values_list("pk", "name") if name not in present]
    return bool(gone) and bool(ClusterNode.objects.filter(pk__in=gone).delete()[0])


def write_sums(cluster_id: int, sums: Sequence[NodeSum], now: datetime) -> None:
    """Store sums at the nodes that have a row; one statement, prepared once. An upsert would make rows
    of nodes that are gone."""
    fields = [field for field in ClusterNode._meta.concrete_fields if field.name in _SUMS]
    sets = ", ".join(f"{connection.ops.quote_name(str(field.column))} = %s" for field in fields)
    table = connection.ops.quote_name(ClusterNode._meta.db_table)
    values = [
        [
            *(field.get_db_prep_save(getattr(one, field.name, now), connection) for field in fields),
            cluster_id,
            one.node,
        ]
        for one in sums
    ]
    with connection.cursor() as cursor:
        cursor.executemany(f"UPDATE {table} SET {sets} WHERE cluster_id = %s AND name = %s", values)  # noqa: S608


def forget_sums(cluster_id: int) -> bool:
    """Sums that nobody can keep up to date are not known. True where there were any."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id, requested__isnull=False)
    return bool(rows.update(requested=None, pods=0, summed_at=None))
