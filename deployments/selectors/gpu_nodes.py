"""GPUs as the scheduler counts them: what each node offers, and what of it is free."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from deployments.domain.gpus import is_gpu
from deployments.models import ClusterNode

# A Node that mentions none of them offers no GPU: see :func:`is_gpu`.
_VENDORS = ("nvidia.com/", "amd.com/")


# What so many nodes offer and have free is remembered: most are the same from one page to the next.
_REMEMBERED = 8192


class NodeGpus(
    NamedTuple
):  # made by the hundred for a page, where a frozen dataclass takes ten times as long
    """What a node offers of one kind of GPU, as the scheduler counts it. ``requested`` and ``free`` are
    None where the pods of the whole cluster may not be listed; ``unhealthy`` devices are in
    ``capacity`` and not in ``allocatable``. A ``closed`` node takes no new pods, whatever it has free."""

    cluster_id: int
    node: str
    resource: str
    product: str
    capacity: int
    allocatable: int
    unhealthy: int
    requested: int | None
    free: int | None
    closed: bool


class _Offer(NamedTuple):
    """What a Node says of one kind of its GPUs."""

    resource: str
    product: str
    capacity: int
    allocatable: int
    closed: bool


class _Row(NamedTuple):
    pk: int
    cluster_id: int
    name: str
    uid: str
    resource_version: str
    asked: str | None


_COLUMNS = ("pk", "cluster_id", "name", "uid", "resource_version", "asked")
_Version = tuple[int, str, str]
_offered: dict[_Version, tuple[_Offer, ...]] = {}
_made: dict[tuple[Any, ...], tuple[NodeGpus, ...]] = {}


def node_gpus(cluster_ids: Iterable[int]) -> list[NodeGpus]:
    """What each node with GPUs has free, in no order, in clusters that the caller is known to see; one
    query, and one for the Nodes that have changed since they were read here."""
    nodes = ClusterNode.objects.filter(cluster_id__in=list(cluster_ids))
    # As text: a JSON field decodes slowly.
    rows = nodes.annotate(asked=Cast("requested", TextField())).order_by().values_list(*_COLUMNS)
    several = [_made.get(row) for row in rows]
    new = [row for row, known in zip(rows, several, strict=True) if known is None]
    if new:
        made = _make(new)
        several = [
            known if known is not None else made[row] for row, known in zip(rows, several, strict=True)
        ]
    return [each for known in several if known for each in known]


def _make(read: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[NodeGpus, ...]]:
    """Rows of nodes -> what stands in each, which is remembered as long as nothing in the row changes."""
    nodes = [_Row._make(row) for row in read]
    offered = _offers_of(nodes)
    found: dict[tuple[Any, ...], tuple[NodeGpus, ...]] = {}
    for node in nodes:
        sums: dict[str, int] | None = None if node.asked is None else orjson.loads(node.asked)
        found[node] = tuple(_node_gpus(node, offer, sums) for offer in offered[node.pk])
    if len(_made) + len(found) > _REMEMBERED:
        _made.clear()
    _made.update(found)
    return found


def _node_gpus(row: _Row, offer: _Offer, sums: dict[str, int] | None) -> NodeGpus:
    requested = None if sums is None else _count(sums.get(offer.resource, 0))
    return NodeGpus(
        cluster_id=row.cluster_id,
        node=row.name,
        resource=offer.resource,
        product=offer.product,
        capacity=offer.capacity,
        allocatable=offer.allocatable,
        unhealthy=max(0, offer.capacity - offer.allocatable),
        requested=requested,
        free=None if requested is None else max(0, offer.allocatable - requested),
        closed=offer.closed,
    )


def _offers_of(rows: Sequence[_Row]) -> dict[int, tuple[_Offer, ...]]:
    """What each of these nodes offers. A whole Node is read once for each of its versions."""
    found: dict[int, tuple[_Offer, ...]] = {}
    unknown = []
    for row in rows:
        offers = _offered.get((row.pk, row.uid, row.resource_version))
        if offers is None:
            unknown.append(row.pk)
        else:
            found[row.pk] = offers
    if unknown:
        if len(_offered) + len(unknown) > _REMEMBERED:
            _offered.clear()
        several = ClusterNode.objects.filter(pk__in=unknown).annotate(node=Cast("data", TextField()))
        # One that has gone meanwhile offers nothing.
        found |= dict.fromkeys(unknown, ())
        for pk, uid, version, node in several.order_by().values_list("pk", "uid", "resource_version", "node"):
            found[pk] = _offered[pk, uid, version] = _offers(node)
    return found


def _offers(node: str) -> tuple[_Offer, ...]:
    """What a Node, as JSON, offers."""
    if not any(vendor in node for vendor in _VENDORS):
        return ()
    data: dict[str, Any] = orjson.loads(node)
    capacity, allocatable = data.get("capacity") or {}, data.get("allocatable") or {}
    labels = data.get("labels") or {}
    found = []
    for resource in sorted(name for name in capacity if is_gpu(name)):
        whole, usable = _count(capacity.get(resource)), _count(allocatable.get(resource))
        if whole:
            label = f"{resource.partition('/')[0]}/gpu.product"
            product = labels.get(label) or labels.get(f"{label}-name") or ""
            found.append(_Offer(resource, str(product), whole, usable, _closed(data)))
    return tuple(found)


def _closed(data: dict[str, Any]) -> bool:
    """Whether a Node is cordoned, or is known not to be ready."""
    ready = [each.get("status") for each in data.get("conditions") or [] if each.get("type") == "Ready"]
    return data.get("unschedulable") is True or (bool(ready) and ready[0] != "True")


def _count(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0
