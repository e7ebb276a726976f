"""What a cluster has: its nodes and what is free on them, classes, exporters, what its nodes complain of.

Nodes are the same for everybody who may use the cluster. Of other teams' pods there are sums only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput
from deployments.domain.pod_requests import GPU_RESOURCES, allocatable
from deployments.models import ClusterNode, ObservedObject, WatchState
from deployments.selectors import lookup

MOST_EVENTS = 100
_ROLE = "node-role.kubernetes.io/"
_KINDS = ("StorageClass", "IngressClass", "Ingress", "Pod", "Event")
_NORMAL_IS_FALSE = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


@dataclass(frozen=True)
class NodeResource:
    """One resource of a node: millicores for cpu, bytes for memory and storage, else pieces.
    ``requested`` and ``free`` are None where the pods of the whole cluster may not be seen; ``free`` is
    below 0 where a node has less than what already runs on it."""

    name: str
    capacity: int
    allocatable: int
    requested: int | None

    @property
    def free(self) -> int | None:
        return None if self.requested is None else self.allocatable - self.requested

    @property
    def unhealthy(self) -> int:
        """Devices that the node has and does not offer: a device plugin reports those as broken."""
        return max(0, self.capacity - self.allocatable) if self.is_gpu else 0

    @property
    def is_gpu(self) -> bool:
        return is_gpu(self.name)


@dataclass(frozen=True)
class NodeRow:
    """One node. ``ready`` is None where its kubelet fell silent; ``trouble`` are the conditions that
    are not as they should be. ``driver`` and ``cuda`` are "" where no label tells them. ``data`` is the
    trimmed Node object."""

    name: str
    ready: bool | None
    unschedulable: bool
    roles: tuple[str, ...]
    instance_type: str
    zone: str
    architecture: str
    version: str
    gpu_product: str
    driver: str
    cuda: str
    taints: tuple[Mapping[str, str], ...]
    trouble: tuple[Mapping[str, str], ...]
    resources: tuple[NodeResource, ...]
    pods: int | None
    summed_at: datetime | None
    changed_at: datetime
    data: Mapping[str, Any]

    def resource(self, name: str) -> NodeResource | None:
        return next((found for found in self.resources if found.name == name), None)

    @property
    def gpus(self) -> tuple[NodeResource, ...]:
        """Whole GPUs and parts of them, by the names that the device plugins give."""
        return tuple(found for found in self.resources if found.is_gpu)


@dataclass(frozen=True)
class Exporter:
    """A pod that tells about GPUs. ``kind`` is dcgm, amd or prometheus."""

    kind: str
    namespace: str
    name: str
    node: str
    ready: bool
    ports: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Inventory:
    """Everything of one cluster. ``sums_known`` is False where only granted namespaces may be listed.
    ``seen`` maps a kind to its watch: when it was last current, and what is wrong with it."""

    cluster_id: int
    nodes: tuple[NodeRow, ...]
    storage_classes: tuple[ObservedObject, ...]
    ingress_classes: tuple[ObservedObject, ...]
    hosts: tuple[str, ...]
    exporters: tuple[Exporter, ...]
    events: tuple[ObservedObject, ...]
    sums_known: bool
    seen: Mapping[str, WatchState]

    def total(self, resource: str) -> NodeResource:
        """The sum over nodes that take pods; ``requested`` None where not every node's is known."""
        parts = [
            found
            for node in self.nodes
            if node.ready and not node.unschedulable
            if (found := node.resource(resource)) is not None
        ]
        asked = [part.requested for part in parts]
        known = [value for value in asked if value is not None]
        return NodeResource(
            resource,
            sum(part.capacity for part in parts),
            sum(part.allocatable for part in parts),
            sum(known) if len(known) == len(asked) else None,
        )


def inventory(actor: Actor, cluster_id: int, *, with_nodes: bool = True) -> Inventory:
    """Four queries, however big the cluster is; three without its nodes. Raises :class:`NotFound`."""
    cluster = lookup.cluster(actor, cluster_id)
    seen = {state.kind: state for state in WatchState.objects.filter(cluster=cluster)}
    found: dict[str, list[ObservedObject]] = {kind: [] for kind in _KINDS}
    rows = ObservedObject.objects.filter(cluster=cluster, deployment=None, kind__in=_KINDS)
    for row in rows.order_by("kind", "namespace", "name"):
        found[row.kind].append(row)
    pods = seen.get("Pod")
    events = sorted(found["Event"], key=lambda row: str(row.data.get("lastSeen") or ""), reverse=True)
    return Inventory(
        cluster_id=cluster.pk,
        nodes=tuple(_node(row) for row in ClusterNode.objects.filter(cluster=cluster)) if with_nodes else (),
        storage_classes=tuple(found["StorageClass"]),
        ingress_classes=tuple(found["IngressClass"]),
        hosts=tuple(sorted({host for row in found["Ingress"] for host in row.data.get("hosts", [])})),
        exporters=tuple(_exporter(row) for row in found["Pod"]),
        events=tuple(events[:MOST_EVENTS]),
        sums_known=pods is not None and pods.cluster_wide and pods.listed_at is not None,
        seen=seen,
    )


def nodes(actor: Actor, cluster_id: int) -> list[NodeRow]:
    """The nodes alone, by name. Raises :class:`NotFound`."""
    cluster = lookup.cluster(actor, cluster_id)
    return [_node(row) for row in ClusterNode.objects.filter(cluster=cluster)]


def is_gpu(resource: str) -> bool:
    """Whether a resource is a GPU or a part of one: ``nvidia.com/gpu``, ``nvidia.com/gpu.shared``,
    ``nvidia.com/mig-1g.10gb``, ``amd.com/gpu``, ``amd.com/cpx_nps4``."""
    return resource.startswith(("nvidia.com/gpu", "nvidia.com/mig-", "amd.com/"))


def driver_of(labels: Mapping[str, str]) -> str:
    """The driver's version, as GPU feature discovery or AMD's node labeller wrote it, or ""."""
    return (
        labels.get("nvidia.com/cuda.driver-version.full", "")
        or _dotted(labels, "nvidia.com/cuda.driver-version.", ("major", "minor", "revision"))
        or _dotted(labels, "nvidia.com/cuda.driver.", ("major", "minor", "rev"))
        or labels.get("amd.com/gpu.driver-version", "")
    )


def cuda_of(labels: Mapping[str, str]) -> str:
    """The newest CUDA that the driver supports, or "". Both generations of labels mean that, not an
    installed toolkit (gpu-feature-discovery reads it from NVML's SystemGetCudaDriverVersion)."""
    return (
        labels.get("nvidia.com/cuda.runtime-version.full", "")
        or _dotted(labels, "nvidia.com/cuda.runtime-version.", ("major", "minor"))
        or _dotted(labels, "nvidia.com/cuda.runtime.", ("major", "minor"))
    )


def _dotted(labels: Mapping[str, str], prefix: str, parts: Iterable[str]) -> str:
    return ".".join(value for part in parts if (value := labels.get(prefix + part, "")))


def _node(row: ClusterNode) -> NodeRow:
    data = row.data
    labels = data.get("labels", {})
    conditions = {item["type"]: item for item in data.get("conditions", [])}
    status = conditions.get("Ready", {}).get("status", "Unknown")
    info = data.get("nodeInfo", {})
    return NodeRow(
        name=row.name,
        ready={"True": True, "False": False}.get(status),
        unschedulable=bool(data.get("unschedulable")),
        roles=tuple(sorted(key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE))),
        instance_type=labels.get("node.kubernetes.io/instance-type", ""),
        zone=labels.get("topology.kubernetes.io/zone", ""),
        architecture=info.get("architecture", ""),
        version=info.get("kubeletVersion", ""),
        gpu_product=labels.get("nvidia.com/gpu.product", "") or labels.get("amd.com/gpu.product-name", ""),
        driver=driver_of(labels),
        cuda=cuda_of(labels),
        taints=tuple(data.get("taints", [])),
        trouble=tuple(item for item in conditions.values() if _is_trouble(item)),
        resources=_resources(row),
        pods=None if row.requested is None else row.pods,
        summed_at=row.summed_at,
        changed_at=row.changed_at,
        data=data,
    )


def _is_trouble(condition: Mapping[str, str]) -> bool:
    if condition["type"] == "Ready":
        return condition["status"] != "True"
    return condition["type"] in _NORMAL_IS_FALSE and condition["status"] != "False"


def _resources(row: ClusterNode) -> tuple[NodeResource, ...]:
    """What pods may take, GPUs first. A quantity that cannot be read leaves its resource out; so does a
    kind of pages in memory that the node does not have, as most have none."""
    offered = _amounts(row.data.get("allocatable") or row.data.get("capacity"))
    capacity = _amounts(row.data.get("capacity"))
    asked = row.requested
    if asked is not None:
        asked = {**asked, "pods": row.pods}
    found = [
        NodeResource(name, capacity.get(name, amount), amount, None if asked is None else asked.get(name, 0))
        for name, amount in offered.items()
        if amount or capacity.get(name) or (asked or {}).get(name) or not name.startswith("hugepages-")
    ]
    order = {name: place for place, name in enumerate((*GPU_RESOURCES, "cpu", "memory", "pods"))}
    return tuple(sorted(found, key=lambda one: (order.get(one.name, 1 if one.is_gpu else 9), one.name)))


def _amounts(resources: object) -> dict[str, int]:
    given = resources if isinstance(resources, dict) else {}
    found: dict[str, int] = {}
    for name, amount in given.items():
        try:
            found |= allocatable({"status": {"allocatable": {name: amount}}})
        except InvalidInput:
            continue
    return found


def _exporter(row: ObservedObject) -> Exporter:
    data = row.data
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in data.get("conditions", []))
    return Exporter(
        kind=data.get("exporter", ""),
        namespace=row.namespace,
        name=row.name,
        node=data.get("node", ""),
        ready=ready,
        ports=tuple(data.get("ports", [])),
    )
