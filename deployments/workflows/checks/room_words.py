"""What is said of a fit: the finding with its evidence and remedy, and the table by node."""

from __future__ import annotations

from typing import Any

from deployments.domain.errors import ClusterForbids
from deployments.domain.findings import Finding
from deployments.domain.fit import Answer, Fit, Node, NodeAnswer, PodShape, Reason, Why, amount
from deployments.domain.pod_requests import CPU, MEMORY
from deployments.workflows.capacity import Capacity
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS

SOURCE = "scheduler arithmetic"
MOST_ROWS = 40
_WORST_FIRST = (Answer.DOES_NOT_FIT, Answer.CANNOT_TELL, Answer.FITS)


def asks(shape: PodShape) -> str:
    """What one pod wants: "2 nvidia.com/gpu, 12 cpu, 64 GiB memory"."""
    order = sorted(shape.requests, key=lambda name: (name in (CPU, MEMORY), name))
    return ", ".join(f"{amount(name, shape.requests[name])} {name}" for name in order) or "nothing"


def nodes_forbidden(refusal: ClusterForbids) -> Finding:
    return Finding(
        "fit",
        CANNOT_TELL,
        "Whether the pods would find nodes cannot be told",
        refusal.answered or "nodes may not be listed",
        "Grant list on nodes and on pods of all namespaces (deploy/rbac.yaml). No harm in going on.",
        source=SOURCE,
    )


def fit_finding(
    what: str, check: str, fit: Fit, shape: PodShape, capacity: Capacity, *, claims: bool = False
) -> Finding:
    """The finding about one kind of pod; ``claims`` where its GPUs are handed out another way."""
    wanted = len(fit.placed)
    if fit.answer is Answer.FITS:
        on = ", ".join(f"{count} on {name}" for name, count in sorted(fit.on.items())[:4])
        more = f" and {len(fit.on) - 4} more nodes" if len(fit.on) > 4 else ""
        title = f"{_all(wanted, what)} a node"
        evidence = f"{on}{more}; {'each' if wanted > 1 else 'it'} asks for {asks(shape)}"
        return Finding(check, PASS, title, evidence, source=SOURCE)
    refusal = _evidence(fit, shape, capacity)
    if fit.answer is Answer.CANNOT_TELL:
        why = capacity.unseen or "; ".join(fit.unknown)
        return Finding(
            check,
            CANNOT_TELL,
            f"Whether {_the(wanted, what)} would find a node cannot be told",
            "; ".join(part for part in (why, refusal) if part)[:900],
            "Grant list on pods of all namespaces (deploy/rbac.yaml) to know. No harm in going on."
            if capacity.unseen
            else "No harm in going on: a pod that finds no node stays pending and says why.",
            source=SOURCE,
        )
    title = _nowhere(wanted, what) if fit.never else f"{_missing(fit, what)} no node"
    grows = capacity.grows
    if claims or (grows and capacity.nodes):
        evidence = f"{grows} may add a node" if grows else "a device class hands the GPUs out as claims"
        return Finding(
            check,
            CANNOT_TELL,
            f"{_missing(fit, what)} no node now, which may change by itself",
            f"{evidence}; {refusal}"[:900],
            "Going on is fine if it adds nodes of this kind.",
            source=SOURCE,
        )
    return Finding(check, FAIL, title, refusal[:900], _remedy(fit), source=SOURCE)


def _all(wanted: int, what: str) -> str:
    return f"The {what} pod finds" if wanted == 1 else f"All {wanted} {what} pods find"


def _the(wanted: int, what: str) -> str:
    return f"the {what} pod" if wanted == 1 else f"{wanted} {what} pods"


def _nowhere(wanted: int, what: str) -> str:
    which = f"the {what} pod" if wanted == 1 else f"one of {wanted} {what} pods"
    return f"No node can ever take {which}"


def _missing(fit: Fit, what: str) -> str:
    wanted, missing = len(fit.placed), fit.placed.count("")
    if wanted == 1:
        return f"The {what} pod finds"
    return f"{missing} of {wanted} {what} pods {'finds' if missing == 1 else 'find'}"


def _evidence(fit: Fit, shape: PodShape, capacity: Capacity) -> str:
    """All nodes in a line, then the one that lacks least."""
    if not capacity.nodes:
        return "the cluster has no nodes"
    total, out = len(fit.nodes), [item for item in fit.nodes if item.reasons]
    parts = [f"of {total} nodes: {fit.why_not}"] if out else []
    near = fit.closest
    if near is not None:
        parts.append(f"closest is {near.node.name}: {'; '.join(reason.text for reason in near.reasons[:3])}")
    else:
        parts.append(f"{'each' if len(fit.placed) > 1 else 'it'} asks for {asks(shape)}")
    if capacity.waiting:
        parts.append(f"{capacity.waiting} other pods wait for GPUs already")
    return "; ".join(parts)


_PAST_TAINT = "Add the toleration in the profile, or take the taint away."


def _remedy(fit: Fit) -> str:
    if not fit.nodes:
        return "Add a node."
    near = fit.closest
    if near is None:
        blocking = [reason for item in fit.nodes for reason in item.reasons]
        kinds = {reason.why for reason in blocking}
        if any(item.reasons and {reason.why for reason in item.reasons} == {Why.TAINT} for item in fit.nodes):
            return _PAST_TAINT
        if kinds & {Why.TAINT, Why.SELECTOR, Why.AFFINITY} and not _all_too_small(fit):
            return "Change node selector, affinity or tolerations in the profile, or label or free a node."
        return "No node is ever large enough: choose a smaller model or lower requests, or add a larger node."
    return " ".join(dict.fromkeys(_way_out(near, reason) for reason in near.reasons))


def _all_too_small(fit: Fit) -> bool:
    return all(
        any(reason.why is Why.RESOURCE and reason.never for reason in item.reasons) for item in fit.nodes
    )


def _way_out(near: NodeAnswer, reason: Reason) -> str:
    name = near.node.name
    if reason.why is Why.RESOURCE and "/" in reason.subject:
        return f"Free {reason.short} more {reason.subject} on {name}, ask for fewer, or wait."
    return {
        Why.NOT_READY: f"See why {name} is not ready.",
        Why.CORDONED: f"Uncordon it: kubectl uncordon {name}.",
        Why.PRESSURE: f"Free {reason.subject} on {name}: its kubelet keeps new pods off until then.",
        Why.TAINT: _PAST_TAINT,
        Why.PORT: f"Free port {reason.subject} on {name}, or do not ask for ports of the node.",
        Why.PODS: "Remove other pods, or add a node.",
        Why.RESOURCE: f"Free {reason.subject} on {name}, or lower the request in the profile.",
        Why.VOLUME: "Bring volume and room into one place.",
        Why.SPREAD: "Add a node where fewer of these pods are, or make the rule a preference.",
        Why.POD_AFFINITY: "Change the affinity in the profile.",
        Why.ANTI_AFFINITY: "Ask for at most as many replicas as there are fitting nodes.",
    }.get(reason.why, "Change the placement in the profile.")


# -- the table ----------------------------------------------------------------------------------------


def table(
    nodes: tuple[Node, ...], server: Fit, chat: Fit | None, shape: PodShape, gpu: str
) -> dict[str, Any]:
    """The nodes for the page, JSON-ready: worst first, at most MOST_ROWS, those that take pods among
    them in any case.

    ``answer``, ``found`` of ``wanted``, ``asks``, ``gpu`` (the resource or ""), ``hidden`` (how many nodes
    are left out), ``rows`` of ``name, answer, takes, chats, never, reasons, cpu, memory, gpus``, where
    ``gpus`` is None or counts ``held, new, free, broken``.
    """
    before = {node.name: node for node in nodes}
    chats = chat.on if chat is not None else {}
    ranked = sorted(
        server.nodes, key=lambda item: (not item.takes, item.never, len(item.reasons), item.node.name)
    )
    shown = sorted(
        ranked[:MOST_ROWS],
        key=lambda item: (
            _WORST_FIRST.index(item.answer),
            bool(item.takes),
            not item.never,
            -len(item.reasons),
            item.node.name,
        ),
    )
    return {
        "answer": str(server.answer),
        "found": server.found,
        "wanted": len(server.placed),
        "asks": asks(shape),
        "gpu": gpu,
        "line": server.why_not,
        "hidden": len(ranked) - len(shown),
        "rows": [
            _row(item, before[item.node.name], chats.get(item.node.name, 0), shape, gpu) for item in shown
        ],
    }


def _row(item: NodeAnswer, before: Node, chats: int, shape: PodShape, gpu: str) -> dict[str, Any]:
    return {
        "name": before.name,
        "answer": str(item.answer),
        "takes": item.takes,
        "chats": chats,
        "never": item.never,
        "reasons": [reason.text for reason in item.reasons][:8],
        "cpu": _free(before, CPU),
        "memory": _free(before, MEMORY),
        "gpus": _gpus(item, before, shape.requests.get(gpu, 0), gpu) if gpu else None,
    }


def _free(node: Node, resource: str) -> str:
    free = node.free(resource)
    return "" if free is None else amount(resource, max(free, 0))


def _gpus(item: NodeAnswer, before: Node, each: int, gpu: str) -> dict[str, int] | None:
    has, most = before.allocatable.get(gpu, 0), before.capacity.get(gpu, 0)
    free = before.free(gpu)
    if not (has or most) or free is None:
        return None
    new = item.takes * each
    held = min(has, has - free)
    return {"held": held, "new": new, "free": max(free - new, 0), "broken": max(most - has, 0)}
