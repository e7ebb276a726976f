"""DaemonSets: one pod on each node that its template allows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import selectors
from sandbox.store import Event
from sandbox.world import predicates
from sandbox.world.controllers.base import Controller, Key
from sandbox.world.controllers.replicaset import available, by_owner
from sandbox.world.objects import (
    controlled_by,
    deleting,
    finished,
    is_ready,
    name_of,
    namespace_of,
    percent,
    pod_from_template,
    spec_of,
    status_of,
    template_hash,
)

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
HASH = "controller-revision-hash"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)


def _bound_for(pod: Object) -> str:
    """The node that a daemon pod was made for."""
    affinity = (spec_of(pod).get("affinity") or {}).get("nodeAffinity") or {}
    terms = (affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}).get(
        "nodeSelectorTerms"
    ) or []
    for term in terms:
        for field in term.get("matchFields") or []:
            if field.get("key") == "metadata.name":
                return str(field["values"][0])
    return str(spec_of(pod).get("nodeName", ""))


class DaemonSets(Controller):
    name = "daemonset-controller"
    kinds = ("DaemonSet", "Pod", "Node")

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "DaemonSet":
            return [(namespace_of(event.object), name_of(event.object))]
        if event.kind.kind == "Pod":
            return by_owner(event, "DaemonSet")
        return [(namespace_of(found), name_of(found)) for found in self.store.each("DaemonSet")]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        found = self.store.get("DaemonSet", namespace, name)
        if found is None:
            return
        digest = template_hash(spec_of(found)["template"])
        selector = selectors.from_object(spec_of(found)["selector"])
        pods = [pod for pod in self.store.list("Pod", namespace, selector) if controlled_by(pod, found)]
        probe = pod_from_template(spec_of(found)["template"], namespace, found)
        self._tolerate(probe)
        wanted = [
            name_of(node)
            for node in self.store.each("Node")
            if predicates.matches_node(probe, node) and not predicates.untolerated(probe, node)
        ]
        if not deleting(found):
            self._manage(found, probe, pods, wanted, digest)
            pods = [pod for pod in self.store.list("Pod", namespace, selector) if controlled_by(pod, found)]
        self._status(found, [pod for pod in pods if not deleting(pod)], wanted, digest)

    @staticmethod
    def _tolerate(pod: Object) -> None:
        tolerations = pod["spec"].setdefault("tolerations", [])
        for key, effect in _TOLERATED:
            tolerations.append({"key": key, "operator": "Exists", "effect": effect})

    def _manage(
        self, found: Object, probe: Object, pods: list[Object], wanted: list[str], digest: str
    ) -> None:
        alive: dict[str, Object] = {}
        for pod in pods:
            node = _bound_for(pod)
            if deleting(pod):
                alive.setdefault(node, pod)
            elif node not in wanted or finished(pod):
                self._delete(found, pod)
            else:
                alive[node] = pod
        for node in wanted:
            if node not in alive:
                self._create(found, probe, node, digest)
        strategy = spec_of(found).get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        most = max(
            1, percent((strategy.get("rollingUpdate") or {}).get("maxUnavailable", 1), len(wanted), up=True)
        )
        down = sum(deleting(pod) or not is_ready(pod) for pod in alive.values()) + len(
            set(wanted) - set(alive)
        )
        for pod in alive.values():
            old = pod["metadata"].get("labels", {}).get(HASH) != digest
            if not old or deleting(pod):
                continue
            if not is_ready(pod) or down < most:
                down += is_ready(pod)
                self._delete(found, pod)

    def _create(self, found: Object, probe: Object, node: str, digest: str) -> None:
        pod = {**probe, "metadata": {**probe["metadata"]}, "spec": {**probe["spec"]}}
        pod["metadata"]["generateName"] = f"{name_of(found)}-"
        pod["metadata"]["labels"] = {
            **(probe["metadata"].get("labels") or {}),
            HASH: digest,
            "pod-template-generation": "1",
        }
        field = {"key": "metadata.name", "operator": "In", "values": [node]}
        required = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        pod["spec"]["affinity"] = {
            **(probe["spec"].get("affinity") or {}),
            "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required},
        }
        made = self.store.create("Pod", pod, manager=MANAGER)
        self.event(found, "Normal", "SuccessfulCreate", f"Created pod: {name_of(made)}")

    def _delete(self, found: Object, pod: Object) -> None:
        self.store.delete("Pod", namespace_of(pod), name_of(pod))
        self.event(found, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _status(self, found: Object, pods: list[Object], wanted: list[str], digest: str) -> None:
        placed = [pod for pod in pods if _bound_for(pod) in wanted]
        now = self.store.clock()
        ready = sum(is_ready(pod) for pod in placed)
        present = sum(available(pod, int(spec_of(found).get("minReadySeconds") or 0), now) for pod in placed)
        updated = sum(pod["metadata"].get("labels", {}).get(HASH) == digest for pod in placed)
        state: Object = {
            "currentNumberScheduled": len(placed),
            "numberMisscheduled": len(pods) - len(placed),
            "desiredNumberScheduled": len(wanted),
            "numberReady": ready,
            "observedGeneration": found["metadata"].get("generation", 0),
        }
        if updated:
            state["updatedNumberScheduled"] = updated
        if present:
            state["numberAvailable"] = present
        if len(wanted) > present:
            state["numberUnavailable"] = len(wanted) - present
        if state == status_of(found):
            return

        def write(obj: Object) -> None:
            obj["status"] = state

        self.store.mutate("DaemonSet", namespace_of(found), name_of(found), write, "status", MANAGER)
