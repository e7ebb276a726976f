"""Whether replicas find nodes, one after another: each one that is placed takes its share.

A check of each replica by itself promises too much: two pods of two GPUs fit a node with two free GPUs
one at a time. Replicas of one shape fit if and only if this finds places, whichever node the real
scheduler takes first; which node that will be is a guess by its own preferences (spread, then the
emptier node).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from deployments.domain.fit.filters import (
    Places,
    Reason,
    Why,
    dominant,
    means_itself,
    obstacles,
    topology,
)
from deployments.domain.fit.matching import tolerates
from deployments.domain.fit.shapes import HOSTNAME, Node, PodShape
from deployments.domain.pod_requests import CPU, MEMORY


class Answer(StrEnum):
    """Best last."""

    DOES_NOT_FIT = "does_not_fit"
    CANNOT_TELL = "cannot_tell"
    FITS = "fits"


@dataclass(frozen=True)
class NodeAnswer:
    """One node after the placing. ``takes`` replicas stand on it; ``reasons`` keep the next one off,
    none where it would take another one."""

    node: Node
    takes: int
    reasons: tuple[Reason, ...]

    @property
    def answer(self) -> Answer:
        if self.takes or not self.reasons:
            return Answer.FITS
        unseen = all(reason.why is Why.UNSEEN for reason in self.reasons)
        return Answer.CANNOT_TELL if unseen else Answer.DOES_NOT_FIT

    @property
    def never(self) -> bool:
        """Whether no pod that goes away would make it fit."""
        return any(reason.never for reason in self.reasons)


@dataclass(frozen=True)
class Fit:
    """``placed`` is the node of each replica in order, "" for none; ``unknown`` are clauses about what
    nobody can tell; ``nodes`` are in the order given, as they stand with the placed replicas on them."""

    answer: Answer
    placed: tuple[str, ...]
    nodes: tuple[NodeAnswer, ...]
    unknown: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """Replicas that have a node."""
        return sum(bool(name) for name in self.placed)

    @property
    def on(self) -> dict[str, int]:
        """Node -> replicas on it."""
        return dict(Counter(name for name in self.placed if name))

    @property
    def left(self) -> tuple[Node, ...]:
        """The nodes with what was placed, for the next shape."""
        return tuple(item.node for item in self.nodes)

    @property
    def why_not(self) -> str:
        """One line over all nodes: "3 short of nvidia.com/gpu, 1 cordoned"."""
        refused = [item.reasons for item in self.nodes if item.reasons]
        return ", ".join(f"{count} {words}" for words, count in dominant(refused)[:6])

    @property
    def closest(self) -> NodeAnswer | None:
        """The node that lacks least, where some node lacks something only."""
        near = [item for item in self.nodes if item.reasons and not item.never]
        return min(near, key=_distance) if near else None

    @property
    def never(self) -> bool:
        """Whether no node could take a pod even if it were empty."""
        return bool(self.nodes) and all(item.never and not item.takes for item in self.nodes)


def place(nodes: Sequence[Node], shapes: Sequence[PodShape]) -> Fit:
    """Place pods, given in the order in which they come. Replicas are the same shape several times."""
    standing = {node.name: node for node in nodes}
    taken: Counter[str] = Counter()
    placed: list[str] = []
    maybe = 0
    shape: PodShape | None = None
    places = Places(PodShape({}), nodes)
    standing_pods: list[tuple[PodShape, Node]] = []
    answers: dict[str, list[Reason]] = {}
    for wanted in shapes:
        if wanted is not shape:
            shape, places, answers = wanted, Places(wanted, nodes), {}
            for pod, node in standing_pods:
                places.add(pod, node)
        elif wanted.affinity or wanted.anti_affinity or wanted.spread:
            answers = {}
        for name, node in standing.items():
            if name not in answers:
                answers[name] = obstacles(wanted, node, places, taken[name])
        free = [standing[name] for name, reasons in answers.items() if not reasons]
        if free:
            chosen = min(free, key=lambda node: _preference(wanted, node, taken[node.name]))
        else:
            unseen = [standing[name] for name, reasons in answers.items() if _only_unseen(reasons)]
            maybe += bool(unseen)
            placed.append("")
            if not unseen:
                continue
            chosen = min(unseen, key=lambda node: (node.pods, node.name))
            standing[chosen.name] = _with_less(chosen, wanted)
            answers.pop(chosen.name)
            continue
        placed.append(chosen.name)
        taken[chosen.name] += 1
        standing[chosen.name] = chosen.holding(wanted)
        standing_pods.append((wanted, chosen))
        places.add(wanted, chosen)
        answers.pop(chosen.name)
    return _judge(nodes, shapes, placed, maybe, standing, taken, places)


def replicas(nodes: Sequence[Node], shape: PodShape, count: int) -> Fit:
    """Place ``count`` pods of one shape."""
    return place(nodes, [shape] * count)


# -- inside -------------------------------------------------------------------------------------------


def _judge(
    nodes: Sequence[Node],
    shapes: Sequence[PodShape],
    placed: list[str],
    maybe: int,
    standing: dict[str, Node],
    taken: Counter[str],
    places: Places,
) -> Fit:
    last = shapes[-1] if shapes else PodShape({})
    originals = {node.name: node for node in nodes}
    answers = []
    for name, node in standing.items():
        # A node whose pods cannot be seen was charged for what might stand on it; show it as it was.
        shown = node if node.requested is not None else originals[name]
        answers.append(NodeAnswer(shown, taken[name], tuple(obstacles(last, shown, places, taken[name]))))
    unknown = list(dict.fromkeys(clause for shape in shapes for clause in shape.unknown))
    unseen = list(dict.fromkeys(clause for shape in shapes for clause in shape.unseen))
    if any(placed) and len(shapes) > 1 and any(_first_decides(shape) for shape in shapes):
        unknown.append("where the first replica goes decides for the others")
    missing = placed.count("")
    if not missing and not unknown and not unseen:
        answer = Answer.FITS
    elif (missing - maybe > 0 and not unknown) or (shapes and not nodes):
        answer = Answer.DOES_NOT_FIT
    else:
        answer = Answer.CANNOT_TELL
    if missing and maybe:
        unseen.append("what the pods hold cannot be seen on every node")
    return Fit(answer, tuple(placed), tuple(answers), (*unknown, *unseen))


def _first_decides(shape: PodShape) -> bool:
    """Whether another order of the same replicas may find places for more or fewer of them: a group that
    stands together, or rules about domains that cut across each other. One replica a node at most is no
    such rule, since it takes nothing from any other node."""
    if shape.affinity and means_itself(shape, shape.affinity):
        return True
    apart = {topology(term) for term in shape.anti_affinity if means_itself(shape, [term])} - {HOSTNAME}
    return len(apart | {rule.key for rule in shape.spread}) > 1


def _only_unseen(reasons: Iterable[Reason]) -> bool:
    return all(reason.why is Why.UNSEEN for reason in reasons)


def _with_less(node: Node, shape: PodShape) -> Node:
    """A node whose pods cannot be seen, with a pod on it that might fit: what it could give at most."""
    left = {
        name: value - shape.requests.get(name, 0) if name in shape.requests else value
        for name, value in node.allocatable.items()
    }
    return replace(node, allocatable=left, pods=node.pods + 1)


def _preference(shape: PodShape, node: Node, here: int) -> tuple[int, int, float, str]:
    """Smaller is better."""
    unwanted = sum(
        taint.effect == "PreferNoSchedule" and not tolerates(shape.tolerations, taint)
        for taint in node.taints
    )
    shares = []
    for resource in (CPU, MEMORY):
        has, free = node.allocatable.get(resource, 0), node.free(resource)
        if has and free is not None:
            shares.append(1 - (free - shape.requests.get(resource, 0)) / has)
    return here, unwanted, sum(shares) / len(shares) if shares else 0.0, node.name


def _distance(item: NodeAnswer) -> tuple[int, float, str]:
    relative = sum(
        reason.short / max(item.node.allocatable.get(reason.subject, 0), 1) for reason in item.reasons
    )
    return len(item.reasons), relative, item.node.name
