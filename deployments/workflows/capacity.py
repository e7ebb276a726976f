"""What a cluster's nodes have left, asked of the API server now.

Pods are read page by page and kept as sums: what somebody else runs is nobody's business here beyond
what it takes of its node.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from deployments.domain.errors import ClusterForbids, Expired, InvalidInput, ObjectMissing
from deployments.domain.fit import Neighbours, Node, PodShape, PodSums, node_of
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

log = logging.getLogger(__name__)


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
    sums = PodSums(shapes)
    unseen = _read_pods(client, sums, leave_out, time.monotonic() + longest, pulse)
    grows = _grows(client, bare)
    if unseen:
        return Capacity(tuple(replace(node, requested=None) for node in bare), unseen, grows=grows)
    nodes = tuple(
        replace(
            node,
            requested=sums.on(node.name),
            pods=sums.pods.get(node.name, 0),
            ports=sums.ports.get(node.name, frozenset()),
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
        except (InvalidInput, AttributeError, TypeError):
            log.warning("a node that is none was left out of the list of nodes")
    return found


def _read_pods(
    client: ClusterClient,
    sums: PodSums,
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
