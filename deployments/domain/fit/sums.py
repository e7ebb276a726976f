"""What the pods of a cluster hold, added up as they go by, so that none of them has to be kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.fit.matching import counted, repels, selects
from deployments.domain.fit.shapes import HostPort, Neighbours, PodShape, host_ports
from deployments.domain.pod_requests import GPU_RESOURCES, Amounts, add_amounts, effective_requests


class PodSums:
    """Sums by node, and what the pods mean for the rules of the ``shapes`` that are to be placed.

    ``pods`` counts by node, ``ports`` are those that they hold of it; ``waiting`` counts pods without a
    node that want GPUs.
    """

    def __init__(self, shapes: Sequence[PodShape] = ()) -> None:
        self.shapes = tuple(shapes)
        self.pods: dict[str, int] = {}
        self.ports: dict[str, frozenset[HostPort]] = {}
        self.waiting = 0
        self._held: dict[str, Amounts] = {}
        self._unreadable: set[str] = set()
        self._wanted: list[set[str]] = [set() for _ in self.shapes]
        self._avoided: list[list[set[str]]] = [[set() for _ in shape.anti_affinity] for shape in self.shapes]
        self._repelled: list[set[tuple[str, str]]] = [set() for _ in self.shapes]
        self._doubted: list[set[tuple[str, str]]] = [set() for _ in self.shapes]
        self._spread = [tuple(Counter[str]() for _ in shape.spread) for shape in self.shapes]

    def add(self, pod: Mapping[str, Any]) -> None:
        """Take in a pod object that counts for scheduling. Never raises: of a node with a pod that is
        none, nobody can say what is free."""
        node = ""
        try:
            spec = pod.get("spec") or {}
            node = str(spec.get("nodeName") or "")
            asked = effective_requests(pod)
            if not node:
                self.waiting += any(asked.get(name) for name in GPU_RESOURCES)
                return
            self._compare(pod, spec, node)
            ports = host_ports(spec)
        except (InvalidInput, AttributeError, TypeError, ValueError):
            self._unreadable.add(node)
            return
        if ports:
            self.ports[node] = self.ports.get(node, frozenset()) | ports
        add_amounts(self._held.setdefault(node, {}), asked)
        self.pods[node] = self.pods.get(node, 0) + 1

    def on(self, node: str) -> Amounts | None:
        """What the pods of a node hold together, None where one of them cannot be read."""
        return None if node in self._unreadable else self._held.get(node, {})

    def neighbours(self) -> tuple[Neighbours, ...]:
        """For each shape, in their order."""
        return tuple(
            Neighbours(
                frozenset(self._wanted[index]),
                tuple(frozenset(names) for names in self._avoided[index]),
                frozenset(self._repelled[index]),
                frozenset(self._doubted[index]),
                self._spread[index],
            )
            for index in range(len(self.shapes))
        )

    def _compare(self, pod: Mapping[str, Any], spec: Mapping[str, Any], node: str) -> None:
        metadata = pod.get("metadata") or {}
        labels, home = metadata.get("labels") or {}, str(metadata.get("namespace", ""))
        against = (spec.get("affinity") or {}).get("podAntiAffinity") or {}
        for index, shape in enumerate(self.shapes):
            if shape.affinity and all(
                selects(term, shape.namespace, labels, home) for term in shape.affinity
            ):
                self._wanted[index].add(node)
            for term, names in zip(shape.anti_affinity, self._avoided[index], strict=True):
                if selects(term, shape.namespace, labels, home):
                    names.add(node)
            for key, sure in repels(against, home, shape):
                (self._repelled if sure else self._doubted)[index].add((key, node))
            if metadata.get("deletionTimestamp"):
                continue  # it holds its room until it is gone, but is spread over no longer
            for rule, counts in zip(shape.spread, self._spread[index], strict=True):
                counts[node] += counted(rule, shape.namespace, labels, home)
