"""Writing objects of one cluster: rows of deployments' objects and of what tells about the cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, Q

from deployments.models import ClusterNode, ObservedObject, OwnedObject
from deployments.observer import bulk, noderows
from deployments.observer.backlog import Change, Gone, Listed, Summed, Unlisted, Upsert
from deployments.observer.owners import CLUSTERS_OWN, NOBODYS, Owners, record_claims
from deployments.observer.reading import Kept
from deployments.observer.scopes import Scope

CHUNK = 500  # primary keys in one statement
KEPT_EVENTS = 200  # of one deployment, and of the nodes of one cluster
NODE = "Node"
EVENT = "Event"
CLAIMS_AND_SETS = ("PersistentVolumeClaim", "StatefulSet")
_PLACE = ("cluster", "kind", "namespace", "name")
_COLUMNS = (
    "cluster",
    "deployment",
    "kind",
    "namespace",
    "name",
    "uid",
    "data",
    "resource_version",
    "changed_at",
)


class Touched:
    """What a batch of changes has changed: deployments, and the cluster's inventory."""

    def __init__(self) -> None:
        self.deployments: set[int] = set()
        self.inventory = False

    def add(self, owners: Iterable[int | None]) -> None:
        for owner in owners:
            if owner is None:
                self.inventory = True
            else:
                self.deployments.add(owner)


def write_objects(cluster_id: int, changes: Sequence[Change], now: datetime) -> Touched:
    """Write objects in the order in which they were seen, with a number of queries that hardly
    grows with theirs."""
    touched = Touched()
    run: list[Kept] = []
    gone: list[Gone] = []

    def settle() -> None:
        # Of one object at most one change waits, so additions and deletions do not concern each other.
        if run:
            _upsert(cluster_id, run, now, touched)
            run.clear()
        if gone:
            _delete_named(cluster_id, gone, now, touched)
            gone.clear()

    for change in changes:
        if isinstance(change, Upsert):
            run.append(change.seen)
        elif isinstance(change, Gone):
            gone.append(change)
        elif isinstance(change, Listed):
            settle()
            _sweep(cluster_id, change.scope, change.present, now, touched)
        elif isinstance(change, Unlisted):
            settle()
            if change.scope.all_pods:
                touched.inventory |= noderows.forget_sums(cluster_id)
                others = ObservedObject.objects.filter(cluster_id=cluster_id, kind="Pod", deployment=None)
                _delete(list(others.values_list("pk", flat=True)), now, touched)
            else:
                _sweep(cluster_id, change.scope, frozenset(), now, touched)
    settle()
    sums = [change.sum for change in changes if isinstance(change, Summed)]
    if sums:
        noderows.write_sums(cluster_id, sums, now)
        touched.inventory = True
    return touched


def _upsert(cluster_id: int, seen: list[Kept], now: datetime, touched: Touched) -> None:
    nodes = [one for one in seen if one.kind == NODE]
    if nodes:
        touched.inventory |= noderows.upsert(cluster_id, nodes, now)
    others = [one for one in seen if one.kind != NODE]
    if not others:
        return
    owners = Owners(cluster_id, others)
    before = {
        (kind, namespace, name): (uid, version, owner)
        for kind, namespace, name, uid, version, owner in _named(
            cluster_id, others, "kind", "namespace", "name", "uid", "resource_version", "deployment_id"
        )
    }
    rows: list[tuple[Kept, int | None]] = []
    left: list[Gone | Kept] = []
    for one in others:
        owner = owners.of(one)
        place = (one.kind, one.namespace, one.name)
        if owner is NOBODYS:
            if place in before:  # its label was taken away, or its deployment was removed
                left.append(one)
            continue
        deployment_id = None if owner is CLUSTERS_OWN else owner
        if before.get(place) == (one.uid, one.resource_version, deployment_id):
            continue
        touched.add([deployment_id])
        rows.append((one, deployment_id))
    bulk.upsert(
        ObservedObject,
        _COLUMNS,
        (
            (
                cluster_id,
                deployment_id,
                one.kind,
                one.namespace,
                one.name,
                one.uid,
                one.text,
                one.resource_version,
                now,
            )
            for one, deployment_id in rows
        ),
        unique=_PLACE,
    )
    if left:
        _delete_named(cluster_id, left, now, touched)
    # A claim may be seen before its set is noted; the set's own status changes after that.
    changed = {owner for one, owner in rows if owner is not None and one.kind in CLAIMS_AND_SETS}
    if changed:
        record_claims(cluster_id, changed)
    events = {deployment_id for one, deployment_id in rows if one.kind == EVENT}
    if events:
        _keep_newest_events(cluster_id, events)


def _named(cluster_id: int, which: Iterable[Kept | Gone], *columns: str) -> Iterator[tuple[Any, ...]]:
    """What is stored of these objects."""
    places = {(cluster_id, one.kind, one.namespace, one.name) for one in which}
    return bulk.standing(ObservedObject, columns, _PLACE, places)


def _keep_newest_events(cluster_id: int, owners: set[int | None]) -> None:
    events = ObservedObject.objects.filter(kind=EVENT, cluster_id=cluster_id)
    some = Q(deployment_id__in=[owner for owner in owners if owner is not None])
    if None in owners:
        some |= Q(deployment_id=None)
    full = events.filter(some).values("deployment_id").annotate(n=Count("pk")).filter(n__gt=KEPT_EVENTS)
    for owner in full.values_list("deployment_id", flat=True):
        old = events.filter(deployment_id=owner).order_by("-changed_at", "-pk")
        ids = list(old.values_list("pk", flat=True)[KEPT_EVENTS:])
        for chunk in _chunks(ids):
            ObservedObject.objects.filter(pk__in=chunk).delete()


def _delete_named(cluster_id: int, which: Collection[Kept | Gone], now: datetime, touched: Touched) -> None:
    places = {(one.kind, one.namespace, one.name) for one in which}
    nodes = [name for kind, _, name in places if kind == NODE]
    if nodes:
        touched.inventory |= bool(
            ClusterNode.objects.filter(cluster_id=cluster_id, name__in=nodes).delete()[0]
        )
    _delete([pk for (pk,) in _named(cluster_id, which, "id")], now, touched)


def _sweep(
    cluster_id: int, scope: Scope, present: frozenset[tuple[str, str]], now: datetime, touched: Touched
) -> None:
    """Delete what a complete list no longer holds."""
    if scope.kind.kind == NODE:
        touched.inventory |= noderows.sweep(cluster_id, {name for _, name in present})
        return
    rows = ObservedObject.objects.filter(cluster_id=cluster_id, kind=scope.kind.kind)
    if scope.namespace:
        rows = rows.filter(namespace=scope.namespace)
    if scope.kind.kind == EVENT:
        rows = rows.filter(deployment__isnull=scope.of_nodes)
    vanished = [
        pk
        for pk, namespace, name in rows.values_list("pk", "namespace", "name").iterator()
        if (namespace, name) not in present
    ]
    _delete(vanished, now, touched)


def _delete(ids: list[int], now: datetime, touched: Touched) -> None:
    for chunk in _chunks(ids):
        rows = ObservedObject.objects.filter(pk__in=chunk)
        gone = list(rows.values_list("deployment_id", "uid"))
        rows.delete()
        touched.add(owner for owner, _ in gone)
        OwnedObject.objects.filter(
            deployment_id__in={owner for owner, _ in gone if owner is not None},
            uid__in=[uid for _, uid in gone],
            gone_at=None,
        ).update(gone_at=now)


def _chunks(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]
