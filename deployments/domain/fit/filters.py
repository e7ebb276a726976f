"""Why a node does not take a pod: the filters of kube-scheduler's default profile, one after another.

The scheduler stops at a node's first failing filter; here all of them speak, so that who removes one
obstacle knows whether the next one waits behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from deployments.domain.fit.matching import counted, label_selector, node_matches, selects, tolerates
from deployments.domain.fit.shapes import Node, PodShape, Spread, Taint
from deployments.domain.pod_requests import CPU, PODS
from deployments.domain.quantities import gib

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable")
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SHORT_OF = {
    "node.kubernetes.io/disk-pressure": "disk",
    "node.kubernetes.io/memory-pressure": "memory",
    "node.kubernetes.io/pid-pressure": "process ids",
}
# Taints that the cluster itself sets, and takes away when their cause is over.
_PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/")


class Why(StrEnum):
    """What stands in the way, in the order of the scheduler's filters."""

    NOT_READY = "not_ready"
    CORDONED = "cordoned"
    PRESSURE = "pressure"
    TAINT = "taint"
    SELECTOR = "selector"
    AFFINITY = "affinity"
    PORT = "port"
    PODS = "pods"
    RESOURCE = "resource"
    VOLUME = "volume"
    SPREAD = "spread"
    POD_AFFINITY = "pod_affinity"
    ANTI_AFFINITY = "anti_affinity"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Reason:
    """One obstacle. ``text`` is a clause with its figures; ``subject`` what it is about (a resource, a
    taint's key, a label). ``never``: not even an empty node of this kind would do. ``short`` is how much
    is missing, for RESOURCE."""

    why: Why
    text: str
    subject: str = ""
    never: bool = False
    short: int = 0


def amount(resource: str, value: int) -> str:
    """An amount for people: "3.5", "64 GiB", "2"."""
    if resource == CPU:
        return f"{Decimal(value) / 1000:f}".rstrip("0").rstrip(".") if value % 1000 else str(value // 1000)
    if resource in ("memory", "ephemeral-storage", "storage") or resource.startswith("hugepages-"):
        return gib(value)
    return str(value)


class Places:
    """Where the pods are that a shape's rules about other pods mean, as values of topology labels: for
    each required affinity term, for each anti-affinity term, by topology key for the pods whose own rules
    are against this one (``doubted``: may be), and for each spread rule how many are where."""

    def __init__(self, shape: PodShape, nodes: Iterable[Node]) -> None:
        there = shape.neighbours
        by_name = {node.name: node for node in nodes}
        self.shape = shape
        self.wanted = [_values(topology(term), there.wanted, by_name) for term in shape.affinity]
        avoided = there.avoided or tuple(frozenset[str]() for _ in shape.anti_affinity)
        self.avoided = [
            _values(topology(term), names, by_name)
            for term, names in zip(shape.anti_affinity, avoided, strict=True)
        ]
        self.repelled = _by_key(there.repelled, by_name)
        self.doubted = _by_key(there.doubted, by_name)
        # Domains of the nodes that count for a rule, those without such a pod among them.
        self.spread: list[dict[str, int]] = [{} for _ in shape.spread]
        for place, rule in enumerate(shape.spread):
            held = there.spread[place] if there.spread else {}
            for node in by_name.values():
                if _counts(shape, rule, node):
                    self._more(place, node, held.get(node.name, 0))

    @property
    def alone(self) -> bool:
        """Whether no pod anywhere is meant by the affinity, and the pod itself would be."""
        return not any(self.wanted) and means_itself(self.shape, self.shape.affinity)

    def add(self, pod: PodShape, node: Node) -> None:
        """A pod of that shape stands on the node now."""
        mine, here = self.shape, {node.name: node}
        if mine.affinity and all(_means(term, mine, pod) for term in mine.affinity):
            for term, values in zip(mine.affinity, self.wanted, strict=True):
                values |= _values(topology(term), here, here)
        for term, values in zip(mine.anti_affinity, self.avoided, strict=True):
            if _means(term, mine, pod):
                values |= _values(topology(term), here, here)
        if pod is not mine:
            for term in pod.anti_affinity:
                if _means(term, pod, mine):
                    values = self.repelled.setdefault(topology(term), set())
                    values |= _values(topology(term), here, here)
        for place, rule in enumerate(mine.spread):
            if _counts(mine, rule, node):
                self._more(place, node, counted(rule, mine.namespace, pod.labels, pod.namespace))

    def _more(self, place: int, node: Node, pods: int) -> None:
        counts, domain = self.spread[place], node.labels[self.shape.spread[place].key]
        counts[domain] = counts.get(domain, 0) + pods


def topology(term: Mapping[str, Any]) -> str:
    """The label whose values make the domains of a term."""
    return str(term.get("topologyKey", ""))


def means_itself(shape: PodShape, terms: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all these terms mean pods of the very same shape."""
    return all(_means(term, shape, shape) for term in terms)


def _means(term: Mapping[str, Any], owner: PodShape, pod: PodShape) -> bool:
    return selects(term, owner.namespace, pod.labels, pod.namespace)


def _values(key: str, names: Iterable[str], by_name: Mapping[str, Node]) -> set[str]:
    return {by_name[name].labels[key] for name in names if name in by_name and key in by_name[name].labels}


def _by_key(pairs: Iterable[tuple[str, str]], by_name: Mapping[str, Node]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, name in pairs:
        found.setdefault(key, set()).update(_values(key, [name], by_name))
    return found


def _counts(shape: PodShape, rule: Spread, node: Node) -> bool:
    """Whether a node is one of those over which a rule spreads: one with the labels of all rules."""
    if not all(other.key in node.labels for other in shape.spread):
        return False
    if rule.by_affinity and _labels(shape, node):
        return False
    return not rule.by_taints or not any(_untolerated(shape, node))


def obstacles(shape: PodShape, node: Node, places: Places, here: int = 0) -> list[Reason]:
    """Everything that keeps a pod of this shape off a node. ``here`` replicas were put on it already
    (for the words only)."""
    found: list[Reason] = []
    if node.ready is False:
        found.append(Reason(Why.NOT_READY, "the node is not ready"))
    if node.unschedulable and not tolerates(shape.tolerations, UNSCHEDULABLE):
        found.append(Reason(Why.CORDONED, "the node is cordoned"))
    found += _taints(shape, node)
    found += _labels(shape, node)
    found += _ports(shape, node)
    found += _room(shape, node, here)
    if not all(node_matches(terms, node) for terms in shape.volumes):
        found.append(Reason(Why.VOLUME, "the volume cannot be reached from this node", never=True))
    found += _evenly(shape, node, places)
    found += _others(shape, node, places)
    if node.requested is None and not found:
        found.append(Reason(Why.UNSEEN, "what its pods hold cannot be seen"))
    if not found and any(node.labels.get(key) in values for key, values in places.doubted.items()):
        found.append(
            Reason(Why.UNSEEN, "a pod there may keep it away: it chooses namespaces by their labels")
        )
    return found


def _taints(shape: PodShape, node: Node) -> list[Reason]:
    found = []
    for taint in _untolerated(shape, node):
        # A cordon and an absent kubelet show as taints too; said once is enough.
        if taint.key == UNSCHEDULABLE.key and node.unschedulable:
            continue
        if taint.key in _NOT_READY and node.ready is False:
            continue
        if taint.key in _SHORT_OF:
            what = _SHORT_OF[taint.key]
            found.append(Reason(Why.PRESSURE, f"the node has run short of {what}", what))
            continue
        never = not taint.key.startswith(_PASSING)
        found.append(Reason(Why.TAINT, f"taint {taint} is not tolerated", taint.key, never))
    return found


def _untolerated(shape: PodShape, node: Node) -> Iterator[Taint]:
    for taint in node.taints:
        if taint.effect in ("NoSchedule", "NoExecute") and not tolerates(shape.tolerations, taint):
            yield taint


def _labels(shape: PodShape, node: Node) -> list[Reason]:
    found = []
    for key, value in shape.node_selector.items():
        if node.labels.get(key) != value:
            has = f"it has {node.labels[key]}" if key in node.labels else "it has no such label"
            found.append(Reason(Why.SELECTOR, f"label {key}={value} is wanted, {has}", key, True))
    if shape.node_terms is not None and not node_matches(shape.node_terms, node):
        found.append(Reason(Why.AFFINITY, "the required node affinity does not match", never=True))
    return found


def _ports(shape: PodShape, node: Node) -> Iterator[Reason]:
    for wanted in sorted(shape.ports, key=lambda item: item.port):
        if any(wanted.clashes(held) for held in node.ports):
            yield Reason(Why.PORT, f"port {wanted.port} of the node is taken", str(wanted.port))


def _room(shape: PodShape, node: Node, here: int) -> list[Reason]:
    found = []
    most = node.allocatable.get(PODS, 0)
    if node.requested is not None and node.pods + 1 > most:
        found.append(Reason(Why.PODS, f"holds {node.pods} of {most} pods", PODS, most < 1))
    for resource, wanted in sorted(shape.requests.items()):
        has, free = node.allocatable.get(resource, 0), node.free(resource)
        if wanted > 0 and (wanted > has or (free is not None and wanted > free)):
            found.append(_short(resource, wanted, has, free, here))
    return found


def _short(resource: str, wanted: int, has: int, free: int | None, here: int) -> Reason:
    needs = f"needs {amount(resource, wanted)} {resource}"
    if wanted > has:
        text = f"{needs}, has {amount(resource, has)} in all" if has else f"{needs}, has none"
        return Reason(Why.RESOURCE, text, resource, True, wanted - has)
    assert free is not None
    left = amount(resource, max(free, 0))
    more = f" after {here} of these pods" if here else ""
    text = f"{needs}, {left} of {amount(resource, has)} free{more}"
    return Reason(Why.RESOURCE, text, resource, False, wanted - free)


def _evenly(shape: PodShape, node: Node, places: Places) -> Iterator[Reason]:
    for rule, counts in zip(shape.spread, places.spread, strict=True):
        if rule.key not in node.labels:
            yield Reason(Why.SPREAD, f"it has no label {rule.key} to spread over", rule.key, True)
            continue
        place = node.labels[rule.key]
        least = min(counts.values(), default=0) if len(counts) >= rule.least else 0
        own = rule.selector is not None and label_selector(rule.selector, shape.labels)
        ahead = counts.get(place, 0) + own - least
        if ahead > rule.skew:
            text = f"{rule.key}={place} would be {ahead} pods ahead, where {rule.skew} may be"
            yield Reason(Why.SPREAD, text, rule.key)


def _others(shape: PodShape, node: Node, places: Places) -> list[Reason]:
    found = []
    for term, values in zip(shape.affinity, places.wanted, strict=True):
        key = topology(term)
        place = node.labels.get(key)
        # Where pods cannot be seen, nobody knows whether one is there to stand beside.
        unseen = node.requested is None
        if place is None or not (place in values or places.alone or unseen):
            found.append(Reason(Why.POD_AFFINITY, f"no pod to stand beside shares its {key}", key))
    kept_apart = [
        (topology(term), values) for term, values in zip(shape.anti_affinity, places.avoided, strict=True)
    ]
    for key, values in [*kept_apart, *places.repelled.items()]:
        place = node.labels.get(key)
        if place in values:
            found.append(Reason(Why.ANTI_AFFINITY, f"{key}={place} holds a pod to be kept apart from", key))
    return found


def dominant(per_node: Sequence[Sequence[Reason]]) -> list[tuple[str, int]]:
    """Like the scheduler's own summary: how many nodes each obstacle keeps out, most first."""
    counts: dict[str, int] = {}
    for reasons in per_node:
        for words in {summary(reason) for reason in reasons}:
            counts[words] = counts.get(words, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def summary(reason: Reason) -> str:
    """A reason without its figures, to be counted over many nodes."""
    return {
        Why.NOT_READY: "not ready",
        Why.CORDONED: "cordoned",
        Why.PRESSURE: f"short of {reason.subject}",
        Why.TAINT: f"with taint {reason.subject}",
        Why.SELECTOR: f"without label {reason.subject}",
        Why.AFFINITY: "outside the node affinity",
        Why.PORT: "with the port taken",
        Why.PODS: "full of pods",
        Why.RESOURCE: f"with too little {reason.subject}{'' if reason.never else ' free'}",
        Why.VOLUME: "away from the volume",
        Why.SPREAD: "kept out by the rule to spread evenly",
        Why.POD_AFFINITY: "away from the pods to stand beside",
        Why.ANTI_AFFINITY: "kept apart by anti-affinity",
        Why.UNSEEN: "with pods that cannot be seen",
    }[reason.why]
