"""GPUs as the scheduler counts them: what each node offers, and what of it is free."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models.fields.json import KeyTransform

from deployments.domain.actors import Actor
from deployments.domain.gpus import is_gpu
from deployments.models import ClusterNode
from deployments.selectors import scope


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
    # The database picks these parts out of each Node: reading the whole of 500 takes longer than a page may.
    labels = KeyTransform("labels", "data")
    rows = nodes.annotate(
        nvidia=KeyTransform("nvidia.com/gpu.product", labels),
        amd=KeyTransform("amd.com/gpu.product-name", labels),
    ).order_by("cluster__name", "name")
    found: list[NodeGpus] = []
    for row in rows.values_list(
        "cluster_id",
        "cluster__name",
        "name",
        "data__capacity",
        "data__allocatable",
        "requested",
        "nvidia",
        "amd",
    ):
        found += _node(*row)
    return found


def _node(
    cluster_id: int,
    cluster_name: str,
    name: str,
    capacity: dict[str, str] | None,
    allocatable: dict[str, str] | None,
    asked: dict[str, int] | None,
    nvidia: str | None,
    amd: str | None,
) -> list[NodeGpus]:
    capacity, allocatable = capacity or {}, allocatable or {}
    found = []
    for resource in sorted(name for name in capacity if is_gpu(name)):
        whole, usable = _count(capacity.get(resource)), _count(allocatable.get(resource))
        if not whole:
            continue
        requested = None if asked is None else _count(asked.get(resource, 0))
        product = (nvidia if resource.startswith("nvidia.com/") else amd) or ""
        found.append(
            NodeGpus(
                cluster_id=cluster_id,
                cluster_name=cluster_name,
                node=name,
                resource=resource,
                product=str(product),
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
