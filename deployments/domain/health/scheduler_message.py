"""Why the scheduler found no node, taken from its own sentence.

Form (kube-scheduler ``framework/types.go`` FitError and recorded transcript 26b of Kubernetes 1.36):
``0/<all> nodes are available: <n reason, n reason>. <post filter>``. A pre-filter message takes the
place of the reasons. Wordings differ between versions, so each cause knows several.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

_HEAD = re.compile(r"^0/(?P<all>[0-9]+) nodes are available: (?P<rest>.*)$", re.DOTALL)
# What the plugin of resource claims says before, from 1.31 on: "still not schedulable", later "no new claims...".
_TAIL = re.compile(r"\. (?:[^.:]+, )?preemption: ")
_REASON = re.compile(r"([0-9]+) (.+?)(?=, [0-9]+ |$)", re.DOTALL)
_NEVER = "Preemption is not helpful for scheduling"
_NO_NODES = "no nodes available to schedule pods"
_NAMELESS = re.compile(r"untolerated taint\(s\)")
_MOST_PARTS = 6


@dataclass(frozen=True)
class Reason:
    """How many nodes were ruled out by what. ``nodes`` 0: the message spoke of the pod, not of nodes."""

    nodes: int
    text: str


@dataclass(frozen=True)
class Unschedulable:
    """A scheduler's message in its parts. ``never`` is True where the scheduler says that no
    eviction would help: no node is ever big enough or allowed."""

    total: int
    reasons: tuple[Reason, ...]
    never: bool


def parse(message: str) -> Unschedulable:
    """Never raises: what cannot be taken apart comes back as one reason."""
    text = message.strip()
    if text.startswith((_NO_NODES, "0/0 nodes are available")):
        return Unschedulable(0, (Reason(0, _NO_NODES),), True)
    head = _HEAD.match(text)
    if head is None:
        return Unschedulable(0, (Reason(0, text),), False)
    body, *tail = _TAIL.split(head["rest"], maxsplit=1)
    body = body.rstrip().removesuffix(".")
    reasons = tuple(Reason(int(m[1]), m[2].strip()) for m in _REASON.finditer(body))
    if not reasons or not body[:1].isdigit():
        reasons = (Reason(0, body.removesuffix(". not found").strip()),)
    # A text that was cut for keeping says nothing of what was behind.
    whole = bool(tail) and not text.endswith("…")
    never = whole and _NEVER in tail[0] and "No preemption victims" not in tail[0]
    return Unschedulable(int(head["all"]), reasons, never)


def names_no_taint(message: str) -> bool:
    """Whether the scheduler speaks of taints without their names, as it does from Kubernetes 1.36 on."""
    return bool(_NAMELESS.search(message))


def with_taints(parsed: Unschedulable, kept_off: Sequence[str]) -> Unschedulable:
    """The same with the taints named, in the words of older schedulers. ``kept_off`` is the taint that keeps the
    pod off, one for each such node; where they are not as many as the scheduler counted, nobody knows which it
    meant."""
    reasons: list[Reason] = []
    for reason in parsed.reasons:
        if names_no_taint(reason.text) and reason.nodes == len(kept_off):
            for taint, count in Counter(kept_off).most_common():
                named = _NAMELESS.sub("untolerated taint ", reason.text) + "{" + taint + "}"
                reasons.append(Reason(count, named))
        else:
            reasons.append(reason)
    return replace(parsed, reasons=tuple(reasons))


@dataclass(frozen=True)
class _Obstacle:
    """``sentence`` is for where nothing else stands in the way, ``nodes`` says of nodes what keeps them out
    where several things do; ``never`` are sentence and remedy for where no node could ever do. ``hides`` is
    True of what the scheduler sees before it looks at resources: behind it there may be enough of them."""

    pattern: re.Pattern[str]
    sentence: str
    nodes: str
    remedy: str
    never: tuple[str, str] | None = None
    hides: bool = False


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


# By what a reason contains, in any version's words. The first match speaks for a reason, and the first of
# several for the pod.
_OBSTACLES = (
    _Obstacle(
        _words(r"Insufficient (nvidia\.com|amd\.com)/gpu"),
        "No node has enough free GPUs",
        "with too few free GPUs",
        "Free a GPU: the page of GPUs says who holds them.",
        never=(
            "No node offers that many GPUs",
            "Ask for fewer GPUs, or install the vendor's device plugin (GPU operator) on the nodes.",
        ),
    ),
    _Obstacle(
        _words(r"Insufficient (?P<what>memory|cpu|ephemeral-storage)"),
        "No node has enough free {what}",
        "with too little {what} free",
        "Lower the requests in the profile.",
        never=("No node offers that much {what}", "Lower the requests in the profile."),
    ),
    _Obstacle(
        _words(r"Insufficient (?P<what>\S+)"),
        "No node has enough free {what}",
        "with too little {what} free",
        "Lower the request or add nodes.",
        never=("No node offers that much {what}", "Lower the request or add nodes that offer it."),
    ),
    _Obstacle(
        _words(r"cannot allocate all claims|resourceclaim|device class|deviceclass"),
        "Its resource claims are not met",
        "without what its resource claims ask for",
        "The evidence says why: free a device, or install the driver that offers such devices.",
    ),
    _Obstacle(
        _words(r"Too many pods"),
        "The nodes hold as many pods as they may",
        "full of pods",
        "Add nodes or remove other pods.",
    ),
    _Obstacle(
        _words(r"taint \{node\.kubernetes\.io/(not-ready|unreachable|network-unavailable)"),
        "The nodes are not ready",
        "not ready",
        "Repair the nodes: their kubelet or network does not work.",
        hides=True,
    ),
    _Obstacle(
        _words(r"taint \{node\.kubernetes\.io/(?P<what>disk|memory|pid)-pressure"),
        "The nodes have run short of {what}",
        "short of {what}",
        "Free on the nodes what they lack.",
        hides=True,
    ),
    _Obstacle(
        # Such a node is not where the work is done: a toleration for it would seldom help.
        _words(r"taint \{node-role\.kubernetes\.io/(control-plane|master)"),
        "The nodes are kept for the control plane",
        "kept for the control plane",
        "Add nodes for the work, or add the toleration in the profile.",
    ),
    _Obstacle(
        _words(r"untolerated taint|had taint"),
        "The nodes are reserved by taints that the pod does not tolerate",
        "with taints that it does not tolerate",
        "Add the toleration in the profile.",
        hides=True,
    ),
    _Obstacle(
        # The last is for nodes that were not even looked at, since the affinity names others (metadata.name).
        _words(
            r"didn't match Pod's node affinity|didn't match node selector"
            r"|didn't satisfy plugin\(s\) \[NodeAffinity\]"
        ),
        "No node has the labels that the profile asks for",
        "without the labels that it asks for",
        "Label a node, or change node selector and affinity in the profile.",
    ),
    _Obstacle(
        _words(r"scheduler-enforced node affinity"),
        "The scheduler's own settings allow no node",
        "left out by the scheduler's settings",
        "Label a node as they want it, or change addedAffinity in the scheduler's configuration.",
    ),
    _Obstacle(
        _words(r"missing required label"),
        "No node has the label over which the replicas are to be spread",
        "without the label to spread over",
        "Label the nodes with the topology key, or make the rule a preference.",
    ),
    _Obstacle(
        _words(r"existing pods'? anti-affinity"),
        "Other pods do not want this one beside them",
        "kept apart by other pods' rules",
        "Move the pods whose anti-affinity means this one, or add nodes.",
    ),
    _Obstacle(
        _words(r"anti-affinity|topology spread"),
        "The rules that keep replicas apart leave no node",
        "kept apart by anti-affinity",
        "Use at most as many replicas as there are fitting nodes, or make the rule a preference.",
    ),
    _Obstacle(
        _words(r"didn't match pod affinity"),
        "No node has the pods that this one wants beside it",
        "away from the pods to stand beside",
        "Start those pods first, or make the rule a preference.",
    ),
    _Obstacle(
        _words(r"were unschedulable"),
        "The nodes are cordoned",
        "cordoned off",
        "Uncordon a node.",
        hides=True,
    ),
    _Obstacle(
        _words(r"free ports"),
        "A port of the node is taken",
        "with the port taken",
        "Do not ask for host ports.",
    ),
    _Obstacle(
        _words(r"unbound immediate PersistentVolumeClaims"),
        "The claim for the models has no volume yet",
        "without the volume",
        "Look at the claim: a usable storage class may be missing.",
    ),
    _Obstacle(
        _words(r"persistentvolumeclaim \"?(?P<what>[^\" ]+)\"? not found"),
        "The claim {what} does not exist",
        "without the claim {what}",
        "Create the claim in the namespace.",
    ),
    _Obstacle(
        _words(r"persistentvolumeclaim .*is being deleted"),
        "The claim is being deleted",
        "without the claim",
        "Wait until it is gone, then install again.",
    ),
    _Obstacle(
        _words(r"ReadWriteOncePod"),
        "The claim allows a single pod, and another one holds it",
        "kept from the claim by another pod",
        "Use one replica, or another claim.",
    ),
    _Obstacle(
        _words(r"volume node affinity conflict|PersistentVolume's node affinity|no available volume zone"),
        "The volume lies on another node or in another zone than the free capacity",
        "away from the volume",
        "Bring disk and GPU into one zone, or use a class that binds at the first consumer.",
    ),
    _Obstacle(
        _words(r"non-existent (persistentvolume|pv)"),
        "The volume behind the claim is gone",
        "without the volume",
        "Delete the claim and apply the last release again: the model is pulled anew.",
    ),
    _Obstacle(
        _words(r"max volume count"),
        "The nodes hold as many volumes as they may",
        "full of volumes",
        "Add nodes, or remove other pods that have volumes.",
    ),
    _Obstacle(
        _words(r"enough free storage"),
        "No node reaches a storage pool with enough room for the claim",
        "with too little storage",
        "Ask for a smaller claim, or free space in the storage pool.",
    ),
    _Obstacle(
        _words(r"persistent volumes to bind"),
        "No volume fits the claim",
        "without a volume that fits the claim",
        "Use another storage class or free some volumes.",
    ),
    _Obstacle(_words(_NO_NODES), "The cluster has no nodes", "", "Add a node."),
)


def explain(message: str, kept_off: Sequence[str] = ()) -> tuple[str, str]:
    """A sentence without its full stop, and a remedy. ``kept_off`` as for :func:`with_taints`."""
    parsed = with_taints(parse(message), kept_off)
    found = [_obstacle_of(reason) for reason in parsed.reasons]
    known = [item for item in found if item is not None]
    if not known:
        return "The scheduler finds no node", "Read the scheduler's own words in the evidence."
    speaks, words = min(known, key=lambda item: _rank(item[0], parsed.never))
    sentence, remedy = speaks.sentence, speaks.remedy
    if parsed.never and speaks.never:
        sentence, remedy = speaks.never
    counts: Counter[str] = Counter()
    for reason, item in zip(parsed.reasons, found, strict=True):
        counts[_filled(item[0].nodes, item[1]) if item else reason.text] += reason.nodes
    if len(counts) > 1:
        which = ", ".join(f"{count} {words}" for words, count in counts.most_common(_MOST_PARTS))
        return f"No node takes it ({which})", remedy
    return _filled(sentence, words), remedy


def _obstacle_of(reason: Reason) -> tuple[_Obstacle, dict[str, str]] | None:
    """What a reason means, with the words that go into the holes of its sentences."""
    for obstacle in _OBSTACLES:
        match = obstacle.pattern.search(reason.text)
        if match:
            return obstacle, match.groupdict()
    return None


def _rank(obstacle: _Obstacle, never: bool) -> tuple[bool, int]:
    """Smaller speaks first. Where no pod that goes away would help, what hides a node does."""
    return not (never and obstacle.hides), _OBSTACLES.index(obstacle)


def _filled(text: str, words: dict[str, str]) -> str:
    return text.format(**words) if words else text
