"""Gives pods a node, or says why not. Recorded transcripts 26a and 26b."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sandbox.store import Event
from sandbox.subresources import bind_pod
from sandbox.world import predicates
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.objects import (
    condition,
    deleting,
    finished,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
)
from sandbox.world.predicates import VolumeNeeds

Object = dict[str, Any]

MANAGER = "kube-scheduler"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_NODES = "no nodes available to schedule pods"


class Refusal(Exception):
    """A sentence that holds for all nodes."""


def claim_names(pod: Object) -> list[str]:
    """Claims that a pod mounts, those of generic ephemeral volumes included."""
    found: list[str] = []
    for volume in spec_of(pod).get("volumes") or []:
        if volume.get("persistentVolumeClaim"):
            found.append(volume["persistentVolumeClaim"]["claimName"])
        elif volume.get("ephemeral"):
            found.append(f"{name_of(pod)}-{volume['name']}")
    return found


def _shape(node: Object) -> tuple[Any, ...]:
    """What of a node matters to pods."""
    return spec_of(node), status_of(node).get("allocatable"), node["metadata"].get("labels")


class Scheduler(Controller):
    """refused(pod) is what a fault says instead of an answer, or an empty text."""

    name = "default-scheduler"
    kinds = ("Pod", "Node", "PersistentVolumeClaim", "PersistentVolume", "StorageClass")

    def __init__(self, manager: Manager, refused: Callable[[Object], str] = lambda pod: "") -> None:
        super().__init__(manager)
        self._refused = refused

    def retry(self) -> None:
        """Look at all waiting pods again."""
        for key in self._all():
            self.enqueue(key)

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "Pod":
            mine = self._waiting(event.object) and event.type != "DELETED"
            # Room was made, or anti-affinity is gone: the others may try again.
            freed = event.type == "DELETED" or finished(event.object)
            if freed or (event.old is not None and not mine and self._waiting(event.old)):
                return self._all()
            return [(namespace_of(event.object), name_of(event.object))] if mine else []
        if event.kind.kind == "Node" and event.old is not None and _shape(event.old) == _shape(event.object):
            return []
        return self._all()

    @staticmethod
    def _waiting(pod: Object) -> bool:
        spec = spec_of(pod)
        return (
            not spec.get("nodeName")
            and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
            and not deleting(pod)
            and not finished(pod)
        )

    def _all(self) -> list[Key]:
        return [(namespace_of(pod), name_of(pod)) for pod in self.store.each("Pod") if self._waiting(pod)]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        pod = self.store.get("Pod", namespace, name)
        if pod is None or not self._waiting(pod):
            return
        if spec_of(pod).get("schedulingGates"):
            self._gated(pod)
            return
        if text := self._refused(pod):
            self._fail(pod, text)
            return
        nodes = predicates.states(self.store.each("Node"), self.store.each("Pod"))
        if not nodes:
            self._fail(pod, NO_NODES)
            return
        try:
            needs, unbound = self._volumes(pod)
        except Refusal as refusal:
            self._fail(pod, f"0/{len(nodes)} nodes are available: {refusal}. not found")
            return
        verdicts = {}
        fitting = []
        for here in nodes:
            verdict = predicates.check(pod, here, nodes, needs)
            if verdict is None:
                fitting.append(here)
            else:
                verdicts[name_of(here.node)] = verdict
        if not fitting:
            self._fail(pod, predicates.message(verdicts))
            return
        best = max(fitting, key=lambda here: (predicates.score(pod, here, nodes), name_of(here.node)))
        node = name_of(best.node)
        if unbound:
            # The volumes are made near this node first; the pod comes again when they are bound.
            for claim in unbound:
                self._select(claim, node)
            return
        bind_pod(self.store, namespace, name, node, MANAGER)
        text = f"Successfully assigned {namespace}/{name} to {node}"
        self.recorder.scheduling(pod, "Normal", "Scheduled", text, "Binding")

    # ---- volumes

    def _volumes(self, pod: Object) -> tuple[VolumeNeeds, list[Object]]:
        """What the claims need of a node, and those that wait for a first consumer. Raises Refusal."""
        needs, unbound = VolumeNeeds(), []
        namespace = namespace_of(pod)
        for name in claim_names(pod):
            claim = self.store.get("PersistentVolumeClaim", namespace, name)
            if claim is None:
                raise Refusal(f'persistentvolumeclaim "{name}" not found')
            if status_of(claim).get("phase") == "Lost":
                volume = spec_of(claim).get("volumeName", "")
                raise Refusal(
                    f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{volume}"'
                )
            if deleting(claim):
                raise Refusal(f'persistentvolumeclaim "{name}" is being deleted')
            if "ReadWriteOncePod" in (spec_of(claim).get("accessModes") or []):
                needs.exclusive_in_use |= self._in_use(pod, namespace, name)
            if spec_of(claim).get("volumeName") and status_of(claim).get("phase") == "Bound":
                volume = self.store.get("PersistentVolume", None, spec_of(claim)["volumeName"])
                if volume is not None and spec_of(volume).get("nodeAffinity"):
                    needs.affinities.append(spec_of(volume)["nodeAffinity"])
                continue
            found = self.store.get("StorageClass", None, spec_of(claim).get("storageClassName") or "")
            if found is None or found.get("volumeBindingMode") != "WaitForFirstConsumer":
                raise Refusal("pod has unbound immediate PersistentVolumeClaims")
            if found.get("provisioner") == "kubernetes.io/no-provisioner":
                needs.topologies.append([])  # the claim would be bound by now if there were a volume for it
            if found.get("allowedTopologies"):
                needs.topologies.append(found["allowedTopologies"])
            unbound.append(claim)
        return needs, unbound

    def _in_use(self, pod: Object, namespace: str, claim: str) -> bool:
        return any(
            claim in claim_names(other)
            for other in self.store.each("Pod", namespace)
            if uid_of(other) != uid_of(pod) and spec_of(other).get("nodeName") and not finished(other)
        )

    def _select(self, claim: Object, node: str) -> None:
        if (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE):
            return

        def annotate(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {})[SELECTED_NODE] = node

        namespace, name = namespace_of(claim), name_of(claim)
        self.store.mutate("PersistentVolumeClaim", namespace, name, annotate, manager=MANAGER)

    # ---- saying why not

    def _fail(self, pod: Object, text: str) -> None:
        generation = pod["metadata"].get("generation")
        self._condition(pod, "Unschedulable", text, {"observedGeneration": generation} if generation else {})
        self.recorder.scheduling(pod, "Warning", "FailedScheduling", text, "Scheduling")

    def _gated(self, pod: Object) -> None:
        self._condition(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", {})

    def _condition(self, pod: Object, reason: str, text: str, more: Object) -> None:
        known = condition(pod, "PodScheduled")
        if known is not None and (known.get("reason"), known.get("message")) == (reason, text):
            return
        since = (
            known["lastTransitionTime"]
            if known is not None and known["status"] == "False"
            else self.store.now()
        )
        made = {
            "type": "PodScheduled",
            **more,
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": since,
            "reason": reason,
            "message": text,
        }

        def write(obj: Object) -> None:
            others = [
                found for found in status_of(obj).get("conditions") or [] if found["type"] != "PodScheduled"
            ]
            obj["status"]["conditions"] = [*others, made]

        self.store.mutate("Pod", namespace_of(pod), name_of(pod), write, "status", MANAGER)
