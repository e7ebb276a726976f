"""What all pods of a cluster hold of its nodes, ours and everybody's, as sums per node.

Of a pod that is not ours only its node and what it asks for is remembered, and only in memory.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import orjson

from deployments.domain.errors import InvalidInput
from deployments.domain.pod_requests import Amounts, counts_for_scheduling, effective_requests
from deployments.observer.trimming import Raw, mapping, mappings, text_of

MOST_SHAPES = 4096
LARGEST = 2**63 - 1  # what the scheduler counts to, and JSON is written with


@dataclass(frozen=True)
class NodeSum:
    """What the pods of one node ask for, in the scheduler's units, and how many they are."""

    node: str
    requested: Amounts
    pods: int


class PodSums:
    """Fed by the watch of pods, read by the thread of the cluster. Nothing is told before the first
    complete list: half a sum looks like free room."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pods: dict[str, tuple[str, Amounts]] = {}  # uid -> node, requests
        self._nodes: dict[str, tuple[dict[str, int], int]] = {}  # node -> sums, pods
        self._changed: set[str] = set()
        self._listing: set[str] | None = None
        self._complete = False
        self._shapes: dict[bytes, Amounts] = {}

    def begin(self) -> None:
        """A list begins: what it does not hold is gone when it ends."""
        with self._lock:
            self._listing = set()

    def end(self) -> None:
        """The list is complete."""
        with self._lock:
            listed = self._listing or set()
            for uid in [uid for uid in self._pods if uid not in listed]:
                self._drop(uid)
            self._listing = None
            self._complete = True

    def forget(self) -> None:
        """The pods of the whole cluster can no longer be seen."""
        with self._lock:
            self._pods.clear()
            self._nodes.clear()
            self._changed.clear()
            self._listing = None
            self._complete = False

    def put(self, obj: Raw) -> None:
        """A pod as it is now. One that no node holds, or that ran to its end, counts nowhere. So does
        one whose amounts cannot be read, which no API server lets in."""
        uid = text_of(mapping(obj.get("metadata")).get("uid"), 64)
        node = text_of(mapping(obj.get("spec")).get("nodeName"), 253)
        try:
            held = self._requests(obj) if node and counts_for_scheduling(obj) else None
        except (InvalidInput, orjson.JSONEncodeError):  # the latter where it is nested too deeply
            held = None
        with self._lock:
            if self._listing is not None:
                self._listing.add(uid)
            if held is None:
                self._drop(uid)
            elif self._pods.get(uid) != (node, held):
                self._drop(uid)
                self._pods[uid] = (node, held)
                self._add(node, held, 1)

    def drop(self, obj: Raw) -> None:
        """A pod that was deleted."""
        with self._lock:
            self._drop(text_of(mapping(obj.get("metadata")).get("uid"), 64))

    def renew(self, node: str) -> None:
        """Tell of this node again: its row is new."""
        with self._lock:
            self._changed.add(node)

    def take(self) -> list[NodeSum]:
        """The nodes whose sums have changed since the last call; none while a list is incomplete."""
        with self._lock:
            if not self._complete or not self._changed:
                return []
            names, self._changed = self._changed, set()
            found = ((name, *self._nodes.get(name, ({}, 0))) for name in names)
            return [NodeSum(name, _bounded(sums), pods) for name, sums, pods in found]

    def _drop(self, uid: str) -> None:
        known = self._pods.pop(uid, None)
        if known is not None:
            self._add(*known, -1)

    def _add(self, node: str, held: Amounts, sign: int) -> None:
        sums, pods = self._nodes.get(node, ({}, 0))
        for name, amount in held.items():
            left = sums.get(name, 0) + sign * amount
            if left:
                sums[name] = left
            else:
                sums.pop(name, None)
        if pods + sign:
            self._nodes[node] = (sums, pods + sign)
        else:
            self._nodes.pop(node, None)
        self._changed.add(node)

    def _requests(self, obj: Raw) -> Amounts:
        """The pods of one workload ask for the same: worked out once, and kept once."""
        spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
        shape = _shape(spec, status)
        known = self._shapes.get(shape)
        if known is None:
            known = effective_requests(obj)
            if len(self._shapes) >= MOST_SHAPES:
                self._shapes.clear()
            self._shapes[shape] = known
        return known


def _bounded(sums: dict[str, int]) -> Amounts:
    """Sums that can be stored: pods may ask for more together than a number can say, or one alone for more
    millicores."""
    return {text_of(name, 120): max(-LARGEST, min(LARGEST, amount)) for name, amount in sums.items()}


def _shape(spec: Raw, status: Raw) -> bytes:
    """Everything that :func:`effective_requests` reads of a pod, as one key."""
    parts: list[Any] = [spec.get("overhead"), spec.get("resources")]
    for field in ("containers", "initContainers"):
        entries = spec.get(field)
        for one in entries if isinstance(entries, list) else []:
            one = mapping(one)
            parts.append((field, one.get("name"), one.get("restartPolicy"), one.get("resources")))
    for field in ("containerStatuses", "initContainerStatuses"):
        entries = status.get(field)
        for one in entries if isinstance(entries, list) else []:
            one = mapping(one)
            parts.append((one.get("name"), one.get("resources"), one.get("allocatedResources")))
    parts += [one for one in mappings(status.get("conditions")) if one.get("type") == "PodResizePending"]
    return orjson.dumps(parts)
