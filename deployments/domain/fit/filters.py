"""Why a node does not take a pod: the filters of kube-scheduler's default profile, one after another.

The scheduler stops at a node's first failing filter; here all of them speak, so that who removes one
obstacle knows whether the next one waits behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from deployments.domain.fit.matching import node_matches, selects, tolerates
from deployments.domain.fit.shapes import Node, PodShape, Taint
from deployments.domain.pod_requests import CPU, PODS
from deployments.domain.quantities import gib

UNSCHEDULABLE = Taint("node.kubernetes.io/unschedulable")
_NOT_READY = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class Why(StrEnum):
    """What stands in the way, in the order of the scheduler's filters."""

    NOT_READY = "not_ready"
    CORDONED = "cordoned"
    TAINT = "taint"
    SELECTOR = "selector"
    AFFINITY = "affinity"
    PODS = "pods"
    RESOURCE = "resource"
    VOLUME = "volume"
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


@dataclass
class Places:
    """Where the pods are that a shape's rules about other pods mean, as values of topology labels: for
    each required affinity term, for each anti-affinity term, and by topology key for the pods whose own
    rules are against this one."""

    wanted: list[set[str]]
    avoided: list[set[str]]
    repelled: dict[str, set[str]]
    alone: bool  # no pod anywhere is meant by the affinity, and the pod itself would be

    @classmethod
    def of(cls, shape: PodShape, nodes: Iterable[Node]) -> Places:
        by_name = {node.name: node for node in nodes}
        there = shape.neighbours
        avoided = there.avoided or tuple(frozenset[str]() for _ in shape.anti_affinity)
        repelled: dict[str, set[str]] = {}
        for key, name in there.repelled:
            repelled.setdefault(key, set()).update(_values(key, [name], by_name))
        return cls(
            wanted=[_values(topology(term), there.wanted, by_name) for term in shape.affinity],
            avoided=[
                _values(topology(term), names, by_name)
                for term, names in zip(shape.anti_affinity, avoided, strict=True)
            ],
            repelled=repelled,
            alone=not there.wanted and means_itself(shape, shape.affinity),
        )

    def add(self, shape: PodShape, node: Node) -> None:
        """A pod of this shape stands on the node now."""
        for term, values in zip(shape.anti_affinity, self.avoided, strict=True):
            if means_itself(shape, [term]):
                values |= _values(topology(term), [node.name], {node.name: node})
        if means_itself(shape, shape.affinity):
            self.alone = False
            for term, values in zip(shape.affinity, self.wanted, strict=True):
                values |= _values(topology(term), [node.name], {node.name: node})


def topology(term: Mapping[str, Any]) -> str:
    """The label whose values make the domains of a term."""
    return str(term.get("topologyKey", ""))


def means_itself(shape: PodShape, terms: Iterable[Mapping[str, Any]]) -> bool:
    """Whether all these terms mean pods of the very same shape."""
    return all(selects(term, shape.namespace, shape.labels, shape.namespace) for term in terms)


def _values(key: str, names: Iterable[str], by_name: Mapping[str, Node]) -> set[str]:
    return {by_name[name].labels[key] for name in names if name in by_name and key in by_name[name].labels}


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
    found += _room(shape, node, here)
    if not all(node_matches(terms, node) for terms in shape.volumes):
        found.append(Reason(Why.VOLUME, "the volume cannot be reached from this node", never=True))
    found += _others(shape, node, places)
    if node.requested is None and not found:
        found.append(Reason(Why.UNSEEN, "what its pods hold cannot be seen"))
    return found


def _taints(shape: PodShape, node: Node) -> list[Reason]:
    found = []
    for taint in node.taints:
        if taint.effect not in ("NoSchedule", "NoExecute") or tolerates(shape.tolerations, taint):
            continue
        # A cordon and an absent kubelet show as taints too; said once is enough.
        if taint.key == UNSCHEDULABLE.key and node.unschedulable:
            continue
        if taint.key in _NOT_READY and node.ready is False:
            continue
        found.append(
            Reason(Why.TAINT, f"taint {taint} is not tolerated", taint.key, taint.key not in _NOT_READY)
        )
    return found


def _labels(shape: PodShape, node: Node) -> list[Reason]:
    found = []
    for key, value in shape.node_selector.items():
        if node.labels.get(key) != value:
            has = f"it has {node.labels[key]}" if key in node.labels else "it has no such label"
            found.append(Reason(Why.SELECTOR, f"label {key}={value} is wanted, {has}", key, True))
    if shape.node_terms is not None and not node_matches(shape.node_terms, node):
        found.append(Reason(Why.AFFINITY, "the required node affinity does not match", never=True))
    return found


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


def _others(shape: PodShape, node: Node, places: Places) -> list[Reason]:
    found = []
    for term, values in zip(shape.affinity, places.wanted, strict=True):
        key = topology(term)
        place = node.labels.get(key)
        if place is None or (place not in values and not places.alone):
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
        Why.TAINT: f"with taint {reason.subject}",
        Why.SELECTOR: f"without label {reason.subject}",
        Why.AFFINITY: "outside the node affinity",
        Why.PODS: "full of pods",
        Why.RESOURCE: f"with too little {reason.subject}{'' if reason.never else ' free'}",
        Why.VOLUME: "away from the volume",
        Why.POD_AFFINITY: "away from the pods to stand beside",
        Why.ANTI_AFFINITY: "kept apart by anti-affinity",
        Why.UNSEEN: "with pods that cannot be seen",
    }[reason.why]
