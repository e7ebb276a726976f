"""What the scheduler looks at: nodes and pods, without everything else that these objects carry.

Amounts are those of :mod:`deployments.domain.pod_requests`: millicores, bytes, pieces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.domain.pod_requests import PODS, Amounts, add_amounts, allocatable, effective_requests

DEFAULT_SCHEDULER = "default-scheduler"
HOSTNAME = "kubernetes.io/hostname"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
MAX_LABELS = 512

Terms = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Taint:
    """``effect`` is NoSchedule, PreferNoSchedule or NoExecute."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


@dataclass(frozen=True)
class Neighbours:
    """What pods that are there already mean for one pod's rules about other pods.

    ``wanted`` names the nodes with a pod that matches every required affinity term, ``avoided[i]`` those
    with one that matches the i-th anti-affinity term; ``repelled`` (topology key, node name) of pods
    whose own anti-affinity is against this pod.
    """

    wanted: frozenset[str] = frozenset()
    avoided: tuple[frozenset[str], ...] = ()
    repelled: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Node:
    """One node. ``requested`` sums what the pods on it ask for, None where they cannot be seen;
    ``capacity`` counts devices that are broken as well; ``ready`` is None where nobody said."""

    name: str
    allocatable: Mapping[str, int]
    capacity: Mapping[str, int] = field(default_factory=dict)
    requested: Mapping[str, int] | None = field(default_factory=dict)
    pods: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool | None = True
    pressure: tuple[str, ...] = ()

    def free(self, resource: str) -> int | None:
        """What is left of a resource, None where the pods cannot be seen. Negative where a node was
        promised out twice."""
        if self.requested is None:
            return None
        if resource == PODS:
            return self.allocatable.get(PODS, 0) - self.pods
        return self.allocatable.get(resource, 0) - self.requested.get(resource, 0)

    def holding(self, requests: Mapping[str, int]) -> Node:
        """The node with one pod more on it."""
        if self.requested is None:
            return replace(self, pods=self.pods + 1)
        taken = dict(self.requested)
        add_amounts(taken, requests)
        return replace(self, requested=taken, pods=self.pods + 1)


@dataclass(frozen=True)
class PodShape:
    """What of a pod the scheduler looks at.

    ``volumes`` are alternatives of node selector terms, one entry for each volume that is bound to
    places: a node must match one term of every entry. ``unknown`` are clauses about what may speak for a
    node or against it ("a scheduler of its own decides"), ``unseen`` about what can only speak against
    ("it wants ports of the node"). ``neighbours`` is for its rules about others.
    """

    requests: Mapping[str, int]
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_terms: Terms | None = None
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Terms = ()
    anti_affinity: Terms = ()
    volumes: tuple[Terms, ...] = ()
    neighbours: Neighbours = Neighbours()
    unknown: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


def node_of(node: Mapping[str, Any], requested: Amounts | None, pods: int = 0) -> Node:
    """From the API server's Node object and the sum of what its pods ask for.

    Raises :class:`InvalidInput` for amounts that are no quantities.
    """
    spec, status = node.get("spec") or {}, node.get("status") or {}
    metadata = node.get("metadata") or {}
    conditions = {str(item.get("type")): str(item.get("status")) for item in status.get("conditions") or []}
    labels = list((metadata.get("labels") or {}).items())[:MAX_LABELS]
    return Node(
        name=str(metadata.get("name", "")),
        allocatable=allocatable(node),
        capacity=allocatable({"status": {"capacity": status.get("capacity")}}),
        requested=requested,
        pods=pods,
        labels={str(key): str(value) for key, value in labels},
        taints=tuple(
            Taint(str(item.get("key", "")), str(item.get("value") or ""), str(item.get("effect", "")))
            for item in spec.get("taints") or []
        ),
        unschedulable=bool(spec.get("unschedulable")),
        ready=conditions["Ready"] == "True" if "Ready" in conditions else None,
        pressure=tuple(
            kind
            for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
            if conditions.get(kind) == "True"
        ),
    )


def shape_of(template: Mapping[str, Any], namespace: str) -> PodShape:
    """From a pod template (``metadata.labels`` and ``spec``).

    Raises :class:`InvalidInput` for amounts that are no quantities.
    """
    spec = template.get("spec") or {}
    affinity = spec.get("affinity") or {}
    node_affinity = (affinity.get("nodeAffinity") or {}).get(REQUIRED)
    return PodShape(
        requests=effective_requests({"spec": spec}),
        namespace=namespace,
        labels=dict((template.get("metadata") or {}).get("labels") or {}),
        node_selector=dict(spec.get("nodeSelector") or {}),
        node_terms=None if node_affinity is None else tuple(node_affinity.get("nodeSelectorTerms") or ()),
        tolerations=tuple(spec.get("tolerations") or ()),
        affinity=_required(affinity, "podAffinity"),
        anti_affinity=_required(affinity, "podAntiAffinity"),
        unknown=tuple(_unknown(spec, affinity)),
        unseen=tuple(_unseen(spec)),
    )


def _required(affinity: Mapping[str, Any], kind: str) -> Terms:
    return tuple((affinity.get(kind) or {}).get(REQUIRED) or ())


def _unknown(spec: Mapping[str, Any], affinity: Mapping[str, Any]) -> Sequence[str]:
    """What no arithmetic here covers, and may be milder or stricter."""
    found = []
    # The API server writes the default one where none is named.
    if (spec.get("schedulerName") or DEFAULT_SCHEDULER) != DEFAULT_SCHEDULER:
        found.append(f"the scheduler {spec['schedulerName']} decides")
    if any(
        term.get("namespaceSelector") or term.get("matchLabelKeys") or term.get("mismatchLabelKeys")
        for kind in ("podAffinity", "podAntiAffinity")
        for term in _required(affinity, kind)
    ):
        found.append("its rules about other pods choose by labels that are not known here")
    return found


def _unseen(spec: Mapping[str, Any]) -> Sequence[str]:
    """What no arithmetic here covers, and can only be stricter."""
    found = []
    if spec.get("resourceClaims"):
        found.append("its devices come from resource claims")
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    if any(port.get("hostPort") for item in containers for port in item.get("ports") or []):
        found.append("it wants ports of the node")
    if any(
        item.get("whenUnsatisfiable") == "DoNotSchedule"
        for item in spec.get("topologySpreadConstraints") or []
    ):
        found.append("its replicas must be spread evenly")
    return found
