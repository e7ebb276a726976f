"""What the scheduler looks at: nodes and pods, without everything else that these objects carry.

Amounts are those of :mod:`deployments.domain.pod_requests`: millicores, bytes, pieces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.domain.pod_requests import PODS, Amounts, add_amounts, allocatable, effective_requests

DEFAULT_SCHEDULER = "default-scheduler"
HOSTNAME = "kubernetes.io/hostname"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
MAX_LABELS = 512
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  compared with, not listened on

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
class HostPort:
    """A port of the node itself. ``ip`` "0.0.0.0" is all of its addresses."""

    port: int
    protocol: str = "TCP"
    ip: str = ANY_ADDRESS

    def clashes(self, other: HostPort) -> bool:
        return (self.port, self.protocol) == (other.port, other.protocol) and (
            self.ip == other.ip or ANY_ADDRESS in (self.ip, other.ip)
        )


@dataclass(frozen=True)
class Spread:
    """A rule that no domain of ``key`` may hold more than ``skew`` pods of ``selector`` above the emptiest
    one, which counts as empty where there are fewer domains than ``least``. Nodes that the pod's node
    affinity or taints keep it off count where ``by_affinity`` or ``by_taints`` is False."""

    key: str
    skew: int
    selector: Mapping[str, Any] | None
    least: int = 1
    by_affinity: bool = True
    by_taints: bool = False


@dataclass(frozen=True)
class Neighbours:
    """What pods that are there already mean for one pod's rules about other pods.

    ``wanted`` names the nodes with a pod that matches every required affinity term, ``avoided[i]`` those
    with one that matches the i-th anti-affinity term; ``repelled`` (topology key, node name) of pods
    whose own anti-affinity is against this pod, ``doubted`` of those that choose its namespace by labels;
    ``spread[i]`` counts by node the pods that the i-th spread rule means.
    """

    wanted: frozenset[str] = frozenset()
    avoided: tuple[frozenset[str], ...] = ()
    repelled: frozenset[tuple[str, str]] = frozenset()
    doubted: frozenset[tuple[str, str]] = frozenset()
    spread: tuple[Mapping[str, int], ...] = ()


@dataclass(frozen=True)
class Node:
    """One node. ``requested`` sums what the pods on it ask for, None where they cannot be seen; ``ports``
    are those that they hold of it; ``capacity`` counts devices that are broken as well; ``ready`` is None
    where nobody said."""

    name: str
    allocatable: Mapping[str, int]
    capacity: Mapping[str, int] = field(default_factory=dict)
    requested: Mapping[str, int] | None = field(default_factory=dict)
    pods: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    unschedulable: bool = False
    ready: bool | None = True
    ports: frozenset[HostPort] = frozenset()

    def free(self, resource: str) -> int | None:
        """What is left of a resource, None where the pods cannot be seen. Negative where a node was
        promised out twice."""
        if self.requested is None:
            return None
        if resource == PODS:
            return self.allocatable.get(PODS, 0) - self.pods
        return self.allocatable.get(resource, 0) - self.requested.get(resource, 0)

    def holding(self, shape: PodShape) -> Node:
        """The node with one pod more on it."""
        ports = self.ports | shape.ports
        if self.requested is None:
            return replace(self, pods=self.pods + 1, ports=ports)
        taken = dict(self.requested)
        add_amounts(taken, shape.requests)
        return replace(self, requested=taken, pods=self.pods + 1, ports=ports)


@dataclass(frozen=True)
class PodShape:
    """What of a pod the scheduler looks at.

    ``volumes`` are alternatives of node selector terms, one entry for each volume that is bound to
    places: a node must match one term of every entry. ``unknown`` are clauses about what may speak for a
    node or against it ("a scheduler of its own decides"), ``unseen`` about what can only speak against
    ("its devices come from resource claims"). ``neighbours`` is for its rules about others.
    """

    requests: Mapping[str, int]
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    node_terms: Terms | None = None
    tolerations: tuple[Mapping[str, Any], ...] = ()
    affinity: Terms = ()
    anti_affinity: Terms = ()
    ports: frozenset[HostPort] = frozenset()
    spread: tuple[Spread, ...] = ()
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
    )


def shape_of(template: Mapping[str, Any], namespace: str) -> PodShape:
    """From a pod template (``metadata.labels`` and ``spec``).

    Raises :class:`InvalidInput` for amounts that are no quantities.
    """
    spec = template.get("spec") or {}
    affinity = spec.get("affinity") or {}
    node_affinity = (affinity.get("nodeAffinity") or {}).get(REQUIRED)
    labels = dict((template.get("metadata") or {}).get("labels") or {})
    return PodShape(
        requests=effective_requests({"spec": spec}),
        namespace=namespace,
        labels=labels,
        node_selector=dict(spec.get("nodeSelector") or {}),
        node_terms=None if node_affinity is None else tuple(node_affinity.get("nodeSelectorTerms") or ()),
        tolerations=tuple(spec.get("tolerations") or ()),
        affinity=tuple(_same_keys(term, labels) for term in _required(affinity, "podAffinity")),
        anti_affinity=tuple(_same_keys(term, labels) for term in _required(affinity, "podAntiAffinity")),
        ports=host_ports(spec),
        spread=tuple(_spread(spec, labels)),
        unknown=tuple(_unknown(spec, affinity, labels)),
        unseen=tuple(_unseen(spec)),
    )


def _required(affinity: Mapping[str, Any], kind: str) -> Terms:
    return tuple((affinity.get(kind) or {}).get(REQUIRED) or ())


def host_ports(spec: Mapping[str, Any]) -> frozenset[HostPort]:
    """Ports of the node that a pod's spec asks for. Init containers that end before the others hold none
    (kube-scheduler, ``getHostPorts``); on the node's own network every port is one of the node."""
    sidecars = [item for item in spec.get("initContainers") or [] if item.get("restartPolicy") == "Always"]
    found = set()
    for container in [*(spec.get("containers") or []), *sidecars]:
        for item in container.get("ports") or []:
            port = item.get("hostPort") or (item.get("containerPort") if spec.get("hostNetwork") else None)
            if port:
                address = str(item.get("hostIP") or ANY_ADDRESS)
                found.add(HostPort(int(port), str(item.get("protocol") or "TCP"), address))
    return frozenset(found)


def _same_keys(rule: Mapping[str, Any], labels: Mapping[str, str]) -> Mapping[str, Any]:
    """The rule with matchLabelKeys and mismatchLabelKeys written into its selector, as the API server does it."""
    selector = rule.get("labelSelector")
    more = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for member, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in rule.get(member) or []
        if key in labels
    ]
    if selector is None or not more:
        return rule
    expressions = [*(selector.get("matchExpressions") or []), *more]
    return {**rule, "labelSelector": {**selector, "matchExpressions": expressions}}


def _spread(spec: Mapping[str, Any], labels: Mapping[str, str]) -> Iterator[Spread]:
    """The rules that keep pods off nodes."""
    for item in spec.get("topologySpreadConstraints") or []:
        if item.get("whenUnsatisfiable") != "DoNotSchedule":
            continue
        yield Spread(
            key=str(item.get("topologyKey", "")),
            skew=int(item.get("maxSkew") or 1),
            selector=_same_keys(item, labels).get("labelSelector"),
            least=int(item.get("minDomains") or 1),
            by_affinity=item.get("nodeAffinityPolicy") != "Ignore",
            by_taints=item.get("nodeTaintsPolicy") == "Honor",
        )


def _unknown(
    spec: Mapping[str, Any], affinity: Mapping[str, Any], labels: Mapping[str, str]
) -> Sequence[str]:
    """What no arithmetic here covers, and may be milder or stricter."""
    found = []
    # The API server writes the default one where none is named.
    if (spec.get("schedulerName") or DEFAULT_SCHEDULER) != DEFAULT_SCHEDULER:
        found.append(f"the scheduler {spec['schedulerName']} decides")
    rules = [*_required(affinity, "podAffinity"), *_required(affinity, "podAntiAffinity")]
    spread = spec.get("topologySpreadConstraints") or []
    rules += [item for item in spread if item.get("whenUnsatisfiable") == "DoNotSchedule"]
    if any(
        rule.get("namespaceSelector")
        # One that is not in the template a controller writes on its pods, another one for each revision.
        or any(
            key not in labels
            for key in [*(rule.get("matchLabelKeys") or ()), *(rule.get("mismatchLabelKeys") or ())]
        )
        for rule in rules
    ):
        found.append("its rules about other pods choose by labels that are not known here")
    return found


def _unseen(spec: Mapping[str, Any]) -> Sequence[str]:
    """What no arithmetic here covers, and can only be stricter."""
    found = []
    if spec.get("resourceClaims"):
        found.append("its devices come from resource claims")
    return found
