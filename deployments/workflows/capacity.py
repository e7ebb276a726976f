"""What a cluster's nodes have left, asked of the API server now.

Pods are read page by page and kept as sums: what somebody else runs is nobody's business here beyond
what it takes of its node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.domain.errors import ClusterForbids, Expired, InvalidInput, ObjectMissing
from deployments.domain.fit import Neighbours, Node, PodShape, node_of
from deployments.domain.fit.matching import repels, selects
from deployments.domain.pod_requests import GPU_RESOURCES, Amounts, add_amounts, effective_requests
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind

NODE = ResourceKind("v1", "Node")
POD = ResourceKind("v1", "Pod")
DEVICE_CLASS = ResourceKind("resource.k8s.io/v1", "DeviceClass")
# What the scheduler's own informer leaves out (kube-scheduler, scheduler.go).
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
AUTOSCALER_STATUS = ObjectRef("v1", "ConfigMap", "cluster-autoscaler-status", "kube-system")
KARPENTER = "karpenter.sh/nodepool"
LONGEST = 30.0

Pod = Mapping[str, Any]


@dataclass(frozen=True)
class Capacity:
    """The nodes as they stand. ``unseen`` says why nobody knows what their pods hold, "" where that is
    known; ``neighbours`` belong to the shapes that were asked about, in their order; ``waiting`` counts
    unplaced pods that want GPUs; ``grows`` names what may add nodes, "" where nothing is known to."""

    nodes: tuple[Node, ...]
    unseen: str = ""
    neighbours: tuple[Neighbours, ...] = ()
    waiting: int = 0
    grows: str = ""


@dataclass
class _Sums:
    """What is kept of pods while their pages go by."""

    shapes: Sequence[PodShape]
    held: dict[str, Amounts] = field(default_factory=dict)
    pods: dict[str, int] = field(default_factory=dict)
    unreadable: set[str] = field(default_factory=set)
    waiting: int = 0
    wanted: list[set[str]] = field(default_factory=list)
    avoided: list[list[set[str]]] = field(default_factory=list)
    repelled: list[set[tuple[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for shape in self.shapes:
            self.wanted.append(set())
            self.avoided.append([set() for _ in shape.anti_affinity])
            self.repelled.append(set())

    def add(self, pod: Pod) -> None:
        spec = pod.get("spec") or {}
        node = str(spec.get("nodeName") or "")
        try:
            asked = effective_requests(pod)
        except InvalidInput:
            self.unreadable.add(node)
            return
        if not node:
            self.waiting += any(asked.get(name) for name in GPU_RESOURCES)
            return
        add_amounts(self.held.setdefault(node, {}), asked)
        self.pods[node] = self.pods.get(node, 0) + 1
        self._compare(pod, spec, node)

    def _compare(self, pod: Pod, spec: Mapping[str, Any], node: str) -> None:
        metadata = pod.get("metadata") or {}
        labels, home = metadata.get("labels") or {}, str(metadata.get("namespace", ""))
        against = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
        for index, shape in enumerate(self.shapes):
            if shape.affinity and all(
                selects(term, shape.namespace, labels, home) for term in shape.affinity
            ):
                self.wanted[index].add(node)
            for term, names in zip(shape.anti_affinity, self.avoided[index], strict=True):
                if selects(term, shape.namespace, labels, home):
                    names.add(node)
            if against:
                self.repelled[index].update((key, node) for key in repels(against, home, shape))

    def neighbours(self) -> tuple[Neighbours, ...]:
        return tuple(
            Neighbours(frozenset(wanted), tuple(frozenset(names) for names in avoided), frozenset(repelled))
            for wanted, avoided, repelled in zip(self.wanted, self.avoided, self.repelled, strict=True)
        )


def read_capacity(
    client: ClusterClient,
    shapes: Sequence[PodShape] = (),
    *,
    leave_out: Callable[[Pod], bool] = lambda _: False,
    longest: float = LONGEST,
    pulse: Callable[[], None] = lambda: None,
) -> Capacity | ClusterForbids:
    """The nodes with what is left on them, or the refusal where nodes may not be listed.

    ``shapes`` are what will be placed, for their rules about other pods; ``leave_out`` says which pods
    will make room (those that the apply replaces). Reading pods takes ``longest`` seconds at most; then,
    or without the right to list them everywhere, nodes come without sums and ``unseen`` says why.
    ``pulse`` is called after each page and may raise to stop.
    """
    try:
        bare = [node for page in client.list_pages(NODE) for node in _nodes(page.items)]
    except ClusterForbids as refusal:
        return refusal
    sums = _Sums(shapes)
    unseen = _read_pods(client, sums, leave_out, time.monotonic() + longest, pulse)
    grows = _grows(client, bare)
    if unseen:
        return Capacity(tuple(replace(node, requested=None) for node in bare), unseen, grows=grows)
    nodes = tuple(
        replace(
            node,
            requested=None if node.name in sums.unreadable else sums.held.get(node.name, {}),
            pods=sums.pods.get(node.name, 0),
        )
        for node in bare
    )
    return Capacity(nodes, "", sums.neighbours(), sums.waiting, grows)


def given_as_claims(client: ClusterClient, resource: str) -> bool:
    """Whether a device class hands out this resource, so that no node lists it (KEP-5004). False where
    that cannot be seen: then it is as if nobody did."""
    try:
        return any(
            (item.get("spec") or {}).get("extendedResourceName") == resource
            for page in client.list_pages(DEVICE_CLASS)
            for item in page.items
        )
    except (ObjectMissing, ClusterForbids):
        return False


def _nodes(items: list[dict[str, Any]]) -> list[Node]:
    found = []
    for item in items:
        try:
            found.append(node_of(item, {}))
        except InvalidInput:
            continue  # a node whose figures are no figures can take nothing
    return found


def _read_pods(
    client: ClusterClient,
    sums: _Sums,
    leave_out: Callable[[Pod], bool],
    deadline: float,
    pulse: Callable[[], None],
) -> str:
    """Add up all pods; why that was not possible, or ""."""
    try:
        for page in client.list_pages(POD, field_selector=UNFINISHED):
            for pod in page.items:
                if not leave_out(pod):
                    sums.add(pod)
            pulse()
            if time.monotonic() > deadline:
                return "reading all pods took too long"
    except ClusterForbids as refusal:
        return refusal.answered or "pods may not be listed in all namespaces"
    except Expired:
        return "the list of pods changed faster than it could be read"
    return ""


def _grows(client: ClusterClient, nodes: Sequence[Node]) -> str:
    if any(KARPENTER in node.labels for node in nodes):
        return "Karpenter"
    try:
        client.get(AUTOSCALER_STATUS)
    except (ObjectMissing, ClusterForbids):
        return ""
    return "the cluster autoscaler"
