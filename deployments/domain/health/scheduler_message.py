"""Why the scheduler found no node, taken from its own sentence.

Form (kube-scheduler ``framework/types.go`` FitError and recorded transcript 26b of Kubernetes 1.36):
``0/<all> nodes are available: <n reason, n reason>. <post filter>``. A pre-filter message takes the
place of the reasons. Wordings differ between versions, so each cause knows several.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEAD = re.compile(r"^0/(?P<all>[0-9]+) nodes are available: (?P<rest>.*)$", re.DOTALL)
_TAIL = re.compile(r"\. (?:no new claims to deallocate, )?preemption: ")
_REASON = re.compile(r"([0-9]+) (.+?)(?=, [0-9]+ |$)", re.DOTALL)
_NEVER = "Preemption is not helpful for scheduling"


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
    if text.startswith("no nodes available to schedule pods"):
        return Unschedulable(0, (Reason(0, "no nodes available to schedule pods"),), True)
    head = _HEAD.match(text)
    if head is None:
        return Unschedulable(0, (Reason(0, text),), False)
    body, *tail = _TAIL.split(head["rest"], maxsplit=1)
    body = body.rstrip().removesuffix(".")
    reasons = tuple(Reason(int(m[1]), m[2].strip()) for m in _REASON.finditer(body))
    if not reasons or not body[:1].isdigit():
        reasons = (Reason(0, body.removesuffix(". not found").strip()),)
    never = bool(tail) and _NEVER in tail[0] and "No preemption victims" not in tail[0]
    return Unschedulable(int(head["all"]), reasons, never)


# (what the reason contains, in any version's words), sentence, remedy. The first match speaks.
_CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), sentence, remedy)
    for pattern, sentence, remedy in (
        (
            r"Insufficient (nvidia\.com|amd\.com)/gpu",
            "No node has enough free GPUs",
            "Free a GPU, ask for fewer, or install the vendor's device plugin (GPU operator) on the nodes.",
        ),
        (
            r"Insufficient (?P<what>memory|cpu|ephemeral-storage)",
            "No node has enough free {what}",
            "Lower the requests in the profile or add nodes.",
        ),
        (r"Insufficient (?P<what>\S+)", "No node has enough free {what}", "Lower the request or add nodes."),
        (r"Too many pods", "The nodes hold as many pods as they may", "Add nodes or remove other pods."),
        (
            r"untolerated taint|had taint",
            "The nodes are reserved by taints that the pod does not tolerate",
            "Add the toleration in the profile, or fix the node if the taint says it is not ready.",
        ),
        (
            r"didn't match Pod's node affinity|didn't match node selector|scheduler-enforced node affinity",
            "No node has the labels that the profile asks for",
            "Label a node, or change node selector and affinity in the profile.",
        ),
        (
            r"anti-affinity|didn't match pod affinity|topology spread",
            "The rules that keep replicas apart leave no node",
            "Use at most as many replicas as there are fitting nodes, or make the rule a preference.",
        ),
        (r"were unschedulable", "The nodes are cordoned", "Uncordon a node."),
        (r"free ports", "A port of the node is taken", "Do not ask for host ports."),
        (
            r"unbound immediate PersistentVolumeClaims",
            "The claim for the models has no volume yet",
            "Look at the claim: a usable storage class may be missing.",
        ),
        (
            r"persistentvolumeclaim \"?(?P<what>[^\" ]+)\"? not found",
            "The claim {what} does not exist",
            "Create the claim in the namespace, or choose another storage in the profile.",
        ),
        (r"is being deleted", "The claim is being deleted", "Wait until it is gone, then install again."),
        (
            r"ReadWriteOncePod",
            "The claim allows a single pod, and another one holds it",
            "Use one replica, or another claim.",
        ),
        (
            r"volume node affinity conflict|PersistentVolume's node affinity|no available volume zone",
            "The volume lies on another node or in another zone than the free capacity",
            "Bring disk and GPU into one zone, or use a class that binds at the first consumer.",
        ),
        (
            r"persistent volumes to bind|enough free storage|max volume count|non-existent persistentvolume",
            "No volume fits the claim",
            "Use another storage class or free some volumes.",
        ),
        (r"no nodes available", "The cluster has no nodes", "Add a node."),
    )
)


def explain(message: str) -> tuple[str, str]:
    """A sentence without its full stop, and a remedy."""
    parsed = parse(message)
    for pattern, sentence, remedy in _CAUSES:
        for reason in parsed.reasons:
            match = pattern.search(reason.text)
            if match:
                words = match.groupdict()
                return sentence.format(**words) if words else sentence, remedy
    return "The scheduler finds no node", "Read the scheduler's own words in the evidence."
