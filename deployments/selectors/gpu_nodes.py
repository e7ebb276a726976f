"""GPUs as the scheduler counts them: what each node offers, and what of it is free."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from django.db.models import TextField
from django.db.models.functions import Cast

from deployments.domain.actors import Actor
from deployments.domain.gpus import is_gpu
from deployments.models import ClusterNode
from deployments.selectors import scope

# A Node that mentions none of them offers no GPU: see :func:`is_gpu`.
_VENDORS = ("nvidia.com/", "amd.com/")


@dataclass(frozen=True)
class NodeGpus:
    """What a node offers of one kind of GPU, as the scheduler counts it. ``requested`` and ``free`` are
    None where the pods of the whole cluster may not be listed; ``unhealthy`` devices are in
    ``capacity`` and not in ``allocatable``."""

    cluster_id: int
    cluster_name: str
    node: str
    resource: str
    product: str
    capacity: int
    allocatable: int
    unhealthy: int
    requested: int | None
    free: int | None


def node_gpus(actor: Actor, cluster_id: int | None = None) -> list[NodeGpus]:
    """What each node with GPUs has free, by cluster and node; one query."""
    nodes = ClusterNode.objects.filter(cluster__in=scope.clusters(actor))
    if cluster_id is not None:
        nodes = nodes.filter(cluster_id=cluster_id)
    # As text: a JSON field decodes slowly, and picking parts out of 500 Nodes in the database takes
    # longer than reading them.
    rows = nodes.annotate(node=Cast("data", TextField()), asked=Cast("requested", TextField()))
    found: list[NodeGpus] = []
    for row in rows.order_by("cluster__name", "name").values_list(
        "cluster_id", "cluster__name", "name", "node", "asked"
    ):
        found += _node(*row)
    return found


def _node(cluster_id: int, cluster_name: str, name: str, node: str, asked: str | None) -> list[NodeGpus]:
    if not any(vendor in node for vendor in _VENDORS):
        return []
    data: dict[str, Any] = orjson.loads(node)
    capacity, allocatable = data.get("capacity") or {}, data.get("allocatable") or {}
    resources = sorted(name for name in capacity if is_gpu(name))
    if not resources:
        return []
    labels = data.get("labels") or {}
    sums: dict[str, int] | None = None if asked is None else orjson.loads(asked)
    found = []
    for resource in resources:
        whole, usable = _count(capacity.get(resource)), _count(allocatable.get(resource))
        if not whole:
            continue
        requested = None if sums is None else _count(sums.get(resource, 0))
        label = "nvidia.com/gpu.product" if resource.startswith("nvidia.com/") else "amd.com/gpu.product-name"
        found.append(
            NodeGpus(
                cluster_id=cluster_id,
                cluster_name=cluster_name,
                node=name,
                resource=resource,
                product=str(labels.get(label) or ""),
                capacity=whole,
                allocatable=usable,
                unhealthy=max(0, whole - usable),
                requested=requested,
                free=None if requested is None else max(0, usable - requested),
            )
        )
    return found


def _count(value: object) -> int:
    try:
        return int(str(value))
    except ValueError:
        return 0
