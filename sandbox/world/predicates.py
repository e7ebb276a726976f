"""Which nodes can take a pod, in the scheduler's order of plugins and words (recorded transcript 26b).

A node's first failing plugin decides; its reasons are counted. A failure that removing other pods could mend is not
`final`: the scheduler then speaks of preemption victims instead of "not helpful".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from sandbox import quantity, selectors
from sandbox.world.objects import ZERO, deleting, finished, namespace_of, pod_requests, spec_of, status_of

Object = dict[str, Any]

AFFINITY = "node(s) didn't match Pod's node affinity/selector"
NOT_NAMED = "node(s) didn't satisfy plugin(s) [NodeAffinity]"
TAINTS = "node(s) had untolerated taint(s)"
UNSCHEDULABLE = "node(s) were unschedulable"
PORTS = "node(s) didn't have free ports for the requested pod ports"
VOLUME_AFFINITY = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
_USED = "access mode already in-use by another pod"
EXCLUSIVE = f"node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod {_USED}"
ANTI_AFFINITY = "node(s) didn't match pod anti-affinity rules"
EXISTING_ANTI_AFFINITY = "node(s) didn't satisfy existing pods anti-affinity rules"
POD_AFFINITY = "node(s) didn't match pod affinity rules"
SPREAD = "node(s) didn't match pod topology spread constraints"
SPREAD_LABEL = f"{SPREAD} (missing required label)"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  compared with, not listened on
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a node does not take a pod. final: nothing that other pods could give up would help."""

    reasons: tuple[str, ...]
    final: bool


@dataclass(slots=True)
class NodeState:
    """A node and the pods on it that still count."""

    node: Object
    pods: list[Object] = field(default_factory=list)

    @property
    def labels(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.node["metadata"].get("labels") or {}
        return found

    def allocatable(self) -> dict[str, Decimal]:
        given = status_of(self.node).get("allocatable") or {}
        return {name: quantity.parse(value) for name, value in given.items()}

    def used(self) -> dict[str, Decimal]:
        total: dict[str, Decimal] = {}
        for pod in self.pods:
            for name, value in pod_requests(pod).items():
                total[name] = total.get(name, ZERO) + value
        return total


@dataclass(slots=True)
class VolumeNeeds:
    """What claims ask of nodes: affinities of bound volumes, topologies of unbound ones, claims in exclusive use."""

    affinities: list[Object] = field(default_factory=list)
    topologies: list[list[Object]] = field(default_factory=list)
    exclusive_in_use: bool = False


# ---- node affinity


def _expression(expression: Object, value: str | None) -> bool:
    operator, values = expression.get("operator"), expression.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def term_matches(term: Object, node: Object) -> bool:
    """One NodeSelectorTerm; an empty one matches nothing."""
    labels = node["metadata"].get("labels") or {}
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_expression(entry, labels.get(entry["key"])) for entry in expressions) and all(
        _expression(entry, node["metadata"]["name"]) for entry in fields
    )


def matches_node(pod: Object, node: Object) -> bool:
    """nodeSelector and required node affinity."""
    spec, labels = spec_of(pod), node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in (spec.get("nodeSelector") or {}).items()):
        return False
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    return required is None or any(
        term_matches(term, node) for term in required.get("nodeSelectorTerms") or []
    )


def named_nodes(pod: Object) -> set[str] | None:
    """The nodes that are looked at at all, where every term of the required affinity names some
    (nodeaffinity.go, PreFilter); None for all."""
    required = ((spec_of(pod).get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED)
    found: set[str] = set()
    for term in (required or {}).get("nodeSelectorTerms") or [{}]:
        names = [
            set(entry.get("values") or [])
            for entry in term.get("matchFields") or []
            if entry.get("key") == "metadata.name" and entry.get("operator") == "In"
        ]
        if not names:
            return None
        found |= set.intersection(*names)
    return found


# ---- taints


def tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint.get("key"):
        return False
    if toleration.get("operator") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def untolerated(
    pod: Object, node: Object, effects: Iterable[str] = ("NoSchedule", "NoExecute")
) -> list[Object]:
    tolerations = spec_of(pod).get("tolerations") or []
    return [
        taint
        for taint in spec_of(node).get("taints") or []
        if taint.get("effect") in effects
        and not any(tolerates(toleration, taint) for toleration in tolerations)
    ]


# ---- pods beside pods


def _selects(term: Object, home: str, pod: Object) -> bool:
    """Whether an affinity term of a pod in namespace home selects this pod."""
    names = term.get("namespaces") or []
    if term.get("namespaceSelector") is None:
        if namespace_of(pod) not in (names or [home]):
            return False
    elif term["namespaceSelector"] and namespace_of(pod) not in names:
        # Labels of namespaces are not looked at here: only the empty selector (all) and names are understood.
        return False
    if term.get("labelSelector") is None:
        return False
    return selectors.from_object(term["labelSelector"]).matches(pod["metadata"].get("labels"))


def _terms(pod: Object, kind: str) -> list[Object]:
    found: list[Object] = ((spec_of(pod).get("affinity") or {}).get(kind) or {}).get(_REQUIRED) or []
    return found


def _together(term: Object, here: NodeState, nodes: Iterable[NodeState]) -> list[NodeState]:
    """Nodes of the same topology domain."""
    domain = here.labels.get(term["topologyKey"])
    return [
        state for state in nodes if domain is not None and state.labels.get(term["topologyKey"]) == domain
    ]


def _affinity(pod: Object, here: NodeState, nodes: list[NodeState]) -> Verdict | None:
    home = namespace_of(pod)
    wanted = _terms(pod, "podAffinity")
    if wanted:

        def meant(other: Object) -> bool:
            return all(_selects(term, home, other) for term in wanted)

        beside = [state for state in nodes if any(meant(other) for other in state.pods)]
        if not all(_together(term, here, beside) for term in wanted):
            first = meant(pod) and not any(
                term["topologyKey"] in state.labels for state in beside for term in wanted
            )
            if not first or any(term["topologyKey"] not in here.labels for term in wanted):
                return Verdict((POD_AFFINITY,), True)
    for term in _terms(pod, "podAntiAffinity"):
        if any(_selects(term, home, other) for state in _together(term, here, nodes) for other in state.pods):
            return Verdict((ANTI_AFFINITY,), False)
    for state in nodes:
        for other in state.pods:
            for term in _terms(other, "podAntiAffinity"):
                if _selects(term, namespace_of(other), pod) and here in _together(term, state, nodes):
                    return Verdict((EXISTING_ANTI_AFFINITY,), False)
    return None


def _spread(pod: Object, here: NodeState, nodes: list[NodeState]) -> Verdict | None:
    rules = [
        rule
        for rule in spec_of(pod).get("topologySpreadConstraints") or []
        if rule.get("whenUnsatisfiable") == "DoNotSchedule"
    ]
    spread_over = [state for state in nodes if all(rule["topologyKey"] in state.labels for rule in rules)]
    for rule in rules:
        key = rule["topologyKey"]
        if key not in here.labels:
            return Verdict((SPREAD_LABEL,), True)
        selector = _spread_selector(rule, pod)
        counts: dict[str, int] = {}
        for state in spread_over:
            if rule.get("nodeAffinityPolicy") != "Ignore" and not matches_node(pod, state.node):
                continue
            if rule.get("nodeTaintsPolicy") == "Honor" and untolerated(pod, state.node):
                continue
            domain = state.labels[key]
            # A selector of everything counts nothing (podtopologyspread/common.go, countPodsMatchSelector).
            matching = (
                0
                if selector.empty
                else sum(
                    namespace_of(other) == namespace_of(pod)
                    and not deleting(other)
                    and selector.matches(other["metadata"].get("labels"))
                    for other in state.pods
                )
            )
            counts[domain] = counts.get(domain, 0) + matching
        own = 1 if selector.matches(pod["metadata"].get("labels")) else 0
        least = min(counts.values(), default=0) if len(counts) >= int(rule.get("minDomains") or 1) else 0
        if counts.get(here.labels[key], 0) + own - least > int(rule.get("maxSkew", 1)):
            return Verdict((SPREAD,), False)
    return None


def _spread_selector(rule: Object, pod: Object) -> selectors.Selector:
    """The rule's labels, with the pod's own values of matchLabelKeys."""
    wanted, labels = rule.get("labelSelector"), pod["metadata"].get("labels") or {}
    same = {key: labels[key] for key in rule.get("matchLabelKeys") or [] if key in labels}
    if wanted is not None and same:
        wanted = {**wanted, "matchLabels": {**(wanted.get("matchLabels") or {}), **same}}
    return selectors.from_object(wanted)


# ---- resources, ports, volumes


def _host_ports(pod: Object) -> set[tuple[int, str, str]]:
    """Those of containers and sidecars; an init container that ends holds none."""
    setups = spec_of(pod).get("initContainers") or []
    sidecars = [container for container in setups if container.get("restartPolicy") == "Always"]
    return {
        (int(port["hostPort"]), port.get("protocol", "TCP"), port.get("hostIP") or ANY_ADDRESS)
        for container in [*(spec_of(pod).get("containers") or []), *sidecars]
        for port in container.get("ports") or []
        if port.get("hostPort")
    }


def _clash(ours: Iterable[tuple[int, str, str]], theirs: set[tuple[int, str, str]]) -> bool:
    return any(
        (port, protocol) == (other, other_protocol) and (ip == other_ip or ANY_ADDRESS in (ip, other_ip))
        for port, protocol, ip in ours
        for other, other_protocol, other_ip in theirs
    )


def _fit(pod: Object, here: NodeState) -> Verdict | None:
    allocatable, used = here.allocatable(), here.used()
    reasons: list[str] = []
    if len(here.pods) + 1 > allocatable.get("pods", Decimal(110)):
        reasons.append("Too many pods")
    wanted = {name: value for name, value in pod_requests(pod).items() if value > 0}
    for name, value in sorted(wanted.items()):
        if value > allocatable.get(name, ZERO) - used.get(name, ZERO):
            reasons.append(f"Insufficient {name}")
    if not reasons:
        return None
    # What not even an empty node could give, no preemption can mend.
    return Verdict(tuple(reasons), any(value > allocatable.get(name, ZERO) for name, value in wanted.items()))


def _volumes(needs: VolumeNeeds, here: NodeState) -> Verdict | None:
    if needs.exclusive_in_use:
        return Verdict((EXCLUSIVE,), False)
    for affinity in needs.affinities:
        terms = (affinity.get("required") or {}).get("nodeSelectorTerms") or []
        if not any(term_matches(term, here.node) for term in terms):
            return Verdict((VOLUME_AFFINITY,), True)
    for topologies in needs.topologies:
        if not any(
            all(
                here.labels.get(entry["key"]) in entry["values"]
                for entry in term.get("matchLabelExpressions") or []
            )
            for term in topologies
        ):
            return Verdict((NO_VOLUME,), True)
    return None


def check(pod: Object, here: NodeState, nodes: list[NodeState], needs: VolumeNeeds) -> Verdict | None:
    """None if the node takes the pod."""
    node = here.node
    named = named_nodes(pod)
    if named is not None and node["metadata"]["name"] not in named:
        return Verdict((NOT_NAMED,), True)
    if spec_of(node).get("unschedulable"):
        taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        if not any(tolerates(toleration, taint) for toleration in spec_of(pod).get("tolerations") or []):
            return Verdict((UNSCHEDULABLE,), True)
    if untolerated(pod, node):
        return Verdict((TAINTS,), True)
    if not matches_node(pod, node):
        return Verdict((AFFINITY,), True)
    ports = _host_ports(pod)
    if ports and any(_clash(ports, _host_ports(other)) for other in here.pods):
        return Verdict((PORTS,), False)
    for found in (
        _fit(pod, here),
        _volumes(needs, here),
        _spread(pod, here, nodes),
        _affinity(pod, here, nodes),
    ):
        if found is not None:
            return found
    return None


# ---- preference


def score(pod: Object, here: NodeState, nodes: list[NodeState]) -> float:
    """Higher is better: preferred affinities first, then the emptier node."""
    affinity = spec_of(pod).get("affinity") or {}
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    points = 0.0
    for entry in (affinity.get("nodeAffinity") or {}).get(preferred) or []:
        points += entry.get("weight", 1) if term_matches(entry["preference"], here.node) else 0
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for entry in (affinity.get(kind) or {}).get(preferred) or []:
            term = entry["podAffinityTerm"]
            beside = [other for state in _together(term, here, nodes) for other in state.pods]
            points += (
                sign
                * entry.get("weight", 1)
                * sum(_selects(term, namespace_of(pod), other) for other in beside)
            )
    points -= 100 * len(untolerated(pod, here.node, ("PreferNoSchedule",)))
    allocatable, used = here.allocatable(), here.used()
    shares = [used.get(name, ZERO) / allocatable[name] for name in ("cpu", "memory") if allocatable.get(name)]
    emptiness = 1 - float(sum(shares) / len(shares)) if shares else 0.0
    idle_gpus = any(name.endswith("/gpu") and value > 0 for name, value in allocatable.items())
    wants_gpu = any(name.endswith("/gpu") for name in pod_requests(pod))
    return 100 * points + 10 * emptiness - len(here.pods) * 0.1 - (5 if idle_gpus and not wants_gpu else 0)


def message(verdicts: Mapping[str, Verdict]) -> str:
    """The scheduler's sentence for a pod that no node takes."""
    total = len(verdicts)
    counts: dict[str, int] = {}
    for verdict in verdicts.values():
        for reason in verdict.reasons:
            counts[reason] = counts.get(reason, 0) + 1
    listed = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    final = sum(verdict.final for verdict in verdicts.values())
    tail = {
        "Preemption is not helpful for scheduling": final,
        "No preemption victims found for incoming pod": total - final,
    }
    tried = ", ".join(sorted(f"{count} {text}" for text, count in tail.items() if count))
    return (
        f"0/{total} nodes are available: {listed}. no new claims to deallocate, "
        f"preemption: 0/{total} nodes are available: {tried}."
    )


def states(nodes: Iterable[Object], pods: Iterable[Object]) -> list[NodeState]:
    """Nodes with the pods that count on them: all that are not finished, terminating ones included."""
    found = {node["metadata"]["name"]: NodeState(node) for node in nodes}
    for pod in pods:
        name = spec_of(pod).get("nodeName")
        if name in found and not finished(pod):
            found[name].pods.append(pod)
    return list(found.values())
