"""ReplicaSets: so many pods of one template. Recorded transcripts 20 and 21."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sandbox import selectors, status
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key
from sandbox.world.objects import (
    condition,
    controlled_by,
    controller_of,
    deleting,
    finished,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    owner_reference,
    phase,
    pod_from_template,
    spec_of,
    status_of,
)

Object = dict[str, Any]


def stamp_seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def available(pod: Object, min_ready: int, now: float) -> bool:
    """Ready for at least min_ready seconds."""
    if not is_ready(pod):
        return False
    found = condition(pod, "Ready")
    return min_ready <= 0 or (
        found is not None and now - stamp_seconds(found["lastTransitionTime"]) >= min_ready
    )


def by_owner(event: Event, kind: str) -> list[Key]:
    """Keys of the owners of this kind of a changed pod, old and new."""
    found: list[Key] = []
    for obj in (event.object, event.old):
        reference = controller_of(obj) if obj is not None else None
        if reference is not None and reference.get("kind") == kind:
            key = (namespace_of(event.object), reference["name"])
            if key not in found:
                found.append(key)
    return found


def expendable(pod: Object) -> tuple[int, int, int, str]:
    """Which pod goes first: without a node, not running, not ready, youngest."""
    return (
        1 if spec_of(pod).get("nodeName") else 0,
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        1 if is_true(pod, "Ready") else 0,
        "".join(chr(0x10FFFF - ord(letter)) for letter in pod["metadata"]["creationTimestamp"]),
    )


class ReplicaSets(Controller):
    name = "replicaset-controller"
    kinds = ("ReplicaSet", "Pod")

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "ReplicaSet":
            return [(namespace_of(event.object), name_of(event.object))]
        return by_owner(event, "ReplicaSet") or self._orphan(event)

    def _orphan(self, event: Event) -> list[Key]:
        if event.type != "ADDED":
            return []
        labels = event.object["metadata"].get("labels")
        namespace = namespace_of(event.object)
        return [
            (namespace, name_of(found))
            for found in self.store.each("ReplicaSet", namespace)
            if labels and selectors.from_object(spec_of(found)["selector"]).matches(labels)
        ]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        replica_set = self.store.get("ReplicaSet", namespace, name)
        if replica_set is None:
            return
        pods, terminating = self._pods(replica_set)
        failure: status.ApiError | None = None
        if not deleting(replica_set):
            failure = self._manage(replica_set, pods)
            pods, terminating = self._pods(replica_set)
        self._status(replica_set, pods, terminating, failure)
        if failure is not None:
            raise failure

    def _pods(self, replica_set: Object) -> tuple[list[Object], list[Object]]:
        """(alive, terminating) pods of the set; matching orphans are adopted."""
        namespace = namespace_of(replica_set)
        selector = selectors.from_object(spec_of(replica_set)["selector"])
        alive: list[Object] = []
        terminating: list[Object] = []
        for pod in self.store.list("Pod", namespace, selector):
            if (
                controller_of(pod) is None
                and not deleting(pod)
                and not deleting(replica_set)
                and not finished(pod)
            ):

                def adopt(orphan: Object) -> None:
                    references = orphan["metadata"].setdefault("ownerReferences", [])
                    references.append(owner_reference(replica_set))

                adopted = self.store.mutate(
                    "Pod", namespace, name_of(pod), adopt, manager="kube-controller-manager"
                )
                pod = adopted or pod
            if not controlled_by(pod, replica_set):
                continue
            if deleting(pod):
                if not finished(pod):
                    terminating.append(pod)
            elif not finished(pod):
                alive.append(pod)
        return alive, terminating

    def _manage(self, replica_set: Object, pods: list[Object]) -> status.ApiError | None:
        wanted = int(spec_of(replica_set).get("replicas", 1))
        namespace, name = namespace_of(replica_set), name_of(replica_set)
        for _ in range(wanted - len(pods)):
            pod = pod_from_template(spec_of(replica_set)["template"], namespace, replica_set)
            pod["metadata"]["generateName"] = f"{name}-"
            try:
                made = self.store.create("Pod", pod, manager="kube-controller-manager")
            except status.ApiError as refused:
                if any(
                    cause.get("reason") == "NamespaceTerminating"
                    for cause in (refused.details or {}).get("causes", [])
                ):
                    return None
                self.event(replica_set, "Warning", "FailedCreate", f"Error creating: {refused}")
                return refused
            self.event(replica_set, "Normal", "SuccessfulCreate", f"Created pod: {name_of(made)}")
        for pod in sorted(pods, key=expendable)[: max(0, len(pods) - wanted)]:
            self.store.delete("Pod", namespace, name_of(pod))
            self.event(replica_set, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return None

    def _status(
        self,
        replica_set: Object,
        pods: list[Object],
        terminating: list[Object],
        failure: status.ApiError | None,
    ) -> None:
        spec = spec_of(replica_set)
        min_ready = int(spec.get("minReadySeconds") or 0)
        now = self.store.clock()
        labels = selectors.from_labels((spec["template"].get("metadata") or {}).get("labels") or {})
        ready = [pod for pod in pods if is_ready(pod)]
        counts = {
            "fullyLabeledReplicas": sum(labels.matches(pod["metadata"].get("labels")) for pod in pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(available(pod, min_ready, now) for pod in ready),
        }
        conditions = [
            found
            for found in status_of(replica_set).get("conditions") or []
            if found["type"] != "ReplicaFailure"
        ]
        if failure is not None:
            old = condition(replica_set, "ReplicaFailure")
            conditions.append(
                old
                if old is not None
                else {
                    "type": "ReplicaFailure",
                    "status": "True",
                    "lastTransitionTime": self.store.now(),
                    "reason": "FailedCreate",
                    "message": str(failure),
                }
            )
        wanted: Object = {
            "replicas": len(pods),
            **{name: count for name, count in counts.items() if count},
            "terminatingReplicas": len(terminating),
            "observedGeneration": replica_set["metadata"].get("generation", 0),
        }
        if conditions:
            wanted["conditions"] = conditions

        def write(obj: Object) -> None:
            obj["status"] = wanted

        if status_of(replica_set) != wanted:
            namespace, name = namespace_of(replica_set), name_of(replica_set)
            self.store.mutate("ReplicaSet", namespace, name, write, "status", "kube-controller-manager")
        if min_ready and counts["availableReplicas"] < len(ready):
            self.enqueue((namespace_of(replica_set), name_of(replica_set)), 1.0)
