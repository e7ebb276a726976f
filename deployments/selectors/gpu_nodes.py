"""GPUs as the scheduler counts them: what each node offers, and what of it is free."""

from __future__ import annotations

from dataclasses import dataclass

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
    nodes = ClusterNode.objects.filter(cluster__in=scope.clusters(actor)).select_related("cluster")
    if cluster_id is not None:
        nodes = nodes.filter(cluster_id=cluster_id)
    found: list[NodeGpus] = []
    for node in nodes.order_by("cluster__name", "name"):
        found += _node(node)
    return found


def _node(node: ClusterNode) -> list[NodeGpus]:
    data = node.data if isinstance(node.data, dict) else {}
    labels = data.get("labels") or {}
    capacity, allocatable = data.get("capacity") or {}, data.get("allocatable") or {}
    found = []
    for resource in sorted(name for name in capacity if is_gpu(name)):
        whole, usable = _count(capacity.get(resource)), _count(allocatable.get(resource))
        if not whole:
            continue
        requested = None if node.requested is None else _count(node.requested.get(resource))
        vendor = resource.partition("/")[0]
        product = labels.get(f"{vendor}/gpu.product") or labels.get(f"{vendor}/gpu.product-name") or ""
        found.append(
            NodeGpus(
                cluster_id=node.cluster_id,
                cluster_name=node.cluster.name,
                node=node.name,
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
