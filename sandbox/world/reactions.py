"""What a fault changes in the world at the moment it is switched: nodes, quotas, containers, models, watches."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

from sandbox.world import modelname, scenarios
from sandbox.world.controllers.claims import Claims
from sandbox.world.faults import Fault
from sandbox.world.objects import name_of, namespace_of, spec_of, status_of
from sandbox.world.scheduler import Scheduler

if TYPE_CHECKING:
    from sandbox.world.containers import ContainerRunner
    from sandbox.world.process import Process
    from sandbox.world.world import World

Object = dict[str, Any]

TAINT_KEY = "sandbox/taint"
QUOTA = "sandbox-fault"
EVICTION_SECONDS = 300.0
# How long pods of a node without an object stay: pkg/controller/podgc, quarantine time.
ORPHANED_SECONDS = 40.0
UNSCHEDULABLE = (
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: "
    "0/3 nodes are available: 3 No preemption victims found for incoming pod."
)
EVICTED = (
    "The node was low on resource: ephemeral-storage. Threshold quantity: 42949672960, available: 31Gi. "
    "Container main was using 180Gi, request is 0, has larger consumption of ephemeral-storage. "
)


def _unprotect(volume: Object) -> None:
    volume["metadata"].pop("finalizers", None)


class Reactions:
    """Calls itself for each switched fault, by name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._tainted: dict[str, tuple[str, str]] = {}
        self._quotas: set[str] = set()
        self._cordoned: set[str] = set()
        self._labels: dict[str, dict[str, str | None]] = {}

    def changed(self, name: str) -> None:
        self.world.watch_faults.changed(self.world.faults, name)
        react = getattr(self, f"_{name}", None)
        if react is not None:
            react(self.world.faults.get(name))

    def _nodes(self, fault: Fault | None) -> set[str]:
        """Names of the nodes that a fault covers."""
        if fault is None:
            return set()
        pattern = str(fault.params.get("node", "*"))
        return {name for name in self.world.nodes.specs if fnmatch.fnmatchcase(name, pattern)}

    # ---- nodes

    def _no_gpu(self, fault: Fault | None) -> None:
        gone = self._nodes(fault)
        for name in self.world.nodes.specs:
            left = int(fault.number("left", 0)) if fault is not None and name in gone else None
            self.world.nodes.set_devices(name, left)

    def _node_labels(self, fault: Fault | None) -> None:
        """Labels as they were, then those of the fault."""
        for name, labels in self._labels.items():
            self.world.nodes.set_labels(name, labels)
        self._labels.clear()
        if fault is None:
            return
        for name in self._nodes(fault):
            before = self.world.nodes.set_labels(name, fault.params["labels"])
            if before is not None:
                self._labels[name] = before

    def _node_not_ready(self, fault: Fault | None) -> None:
        world = self.world
        self._hush()
        for name in world.nodes.specs:
            world.nodes.set_ready(name, name not in world.silent)
        for worker in tuple(world.kubelet.workers.values()):
            worker.publish()
        if fault is not None:
            world.clock.call_later(EVICTION_SECONDS, lambda: self._drain(fault))

    def _hush(self) -> None:
        """The nodes from which nothing is heard: those that are silent, and those that are gone."""
        self.world.silent = {
            name
            for fault in ("node_not_ready", "node_lost")
            for name in self._nodes(self.world.faults.get(fault))
        }

    def _drain(self, fault: Fault) -> None:
        """Pods of a node that stays away are deleted; they stay Terminating until it is back."""
        if self.world.faults.get(fault.name) is not fault:
            return
        for worker in tuple(self.world.kubelet.workers.values()):
            if worker.node in self.world.silent:
                self.world.recorder.event(
                    worker.pod,
                    "Normal",
                    "TaintManagerEviction",
                    f"Marking for deletion Pod {namespace_of(worker.pod)}/{name_of(worker.pod)}",
                    "taint-eviction-controller",
                )
                self.world.store.delete("Pod", namespace_of(worker.pod), name_of(worker.pod))

    def _node_lost(self, fault: Fault | None) -> None:
        """A machine that is gone: nothing on it answers, its pods were found not ready, the cloud's controller has
        deleted the node object, and pod garbage collection forgets the pods after a while."""
        world = self.world
        lost = self._nodes(fault)
        self._hush()
        for name in lost:
            world.images.pop(name, None)
            if world.store.get("Node", None, name) is not None:
                world.store.delete("Node", None, name)
        world.nodes.furnish(list(world.nodes.specs.values()), without=lost)
        for worker in tuple(world.kubelet.workers.values()):
            worker.publish()
        if fault is not None:
            world.clock.call_later(ORPHANED_SECONDS, lambda: self._collect(fault))

    def _collect(self, fault: Fault) -> None:
        if self.world.faults.get(fault.name) is not fault:
            return
        lost = self._nodes(fault)
        for pod in self.world.store.list("Pod"):
            if spec_of(pod).get("nodeName") in lost:
                self.world.store.delete("Pod", namespace_of(pod), name_of(pod), grace=0)

    def _node_pressure(self, fault: Fault | None) -> None:
        under = self._nodes(fault)
        type_ = fault.text("type", "MemoryPressure") if fault is not None else ""
        for name in self.world.nodes.specs:
            for each in ("MemoryPressure", "DiskPressure", "PIDPressure"):
                self.world.nodes.set_pressure(name, each, name in under and each == type_)

    def _cordon(self, fault: Fault | None) -> None:
        closed = self._nodes(fault)
        for name in sorted(closed | self._cordoned):
            self.world.nodes.cordon(name, name in closed)
        self._cordoned = closed

    def _taint(self, fault: Fault | None) -> None:
        store = self.world.store
        for name, (key, effect) in self._tainted.items():

            def untaint(node: Object, key: str = key, effect: str = effect) -> None:
                kept = [
                    taint
                    for taint in spec_of(node).get("taints") or []
                    if (taint["key"], taint["effect"]) != (key, effect)
                ]
                if kept:
                    node["spec"]["taints"] = kept
                else:
                    node["spec"].pop("taints", None)

            store.mutate("Node", None, name, untaint)
        self._tainted.clear()
        if fault is None:
            return
        key, effect = fault.text("key", TAINT_KEY), fault.text("effect", "NoSchedule")

        def taint(node: Object) -> None:
            node["spec"].setdefault("taints", []).append({"key": key, "effect": effect})

        for name in self._nodes(fault):
            store.mutate("Node", None, name, taint)
            self._tainted[name] = (key, effect)

    # ---- namespaces

    def _quota(self, fault: Fault | None) -> None:
        store = self.world.store
        for namespace in self._quotas:
            if store.get("ResourceQuota", namespace, QUOTA) is not None:
                store.delete("ResourceQuota", namespace, QUOTA)
        self._quotas.clear()
        if fault is None:
            return
        pattern = str(fault.params.get("namespace", "default"))
        for found in store.list("Namespace"):
            name = name_of(found)
            if fnmatch.fnmatchcase(name, pattern) and status_of(found).get("phase") == "Active":
                hard = fault.params.get("hard") or {"pods": "0"}
                store.create(
                    "ResourceQuota", {"metadata": {"name": QUOTA, "namespace": name}, "spec": {"hard": hard}}
                )
                self._quotas.add(name)

    def _unbound_claims(self, fault: Fault | None) -> None:
        if fault is not None:
            return
        for controller in self.world.manager.controllers:
            if isinstance(controller, Claims):
                controller.retry()

    def _exporters_gone(self, fault: Fault | None) -> None:
        world = self.world
        vendors = scenarios.vendors(world.scenario)
        gone = {
            vendor for vendor in vendors if fault is not None and fault.params.get("vendor", vendor) == vendor
        }
        for vendor in sorted(vendors - gone):
            scenarios.furnish_exporters(world.store, (vendor,))
        for vendor in sorted(gone):
            for kind, obj in scenarios.exporter_objects(vendor):
                namespace, name = namespace_of(obj), name_of(obj)
                if kind != "Namespace" and world.store.get(kind, namespace, name) is not None:
                    world.store.delete(kind, namespace, name, propagation="Background")

    def _lost_claims(self, fault: Fault | None) -> None:
        """The volumes of bound claims are gone, and what was on them."""
        store = self.world.store
        for claim in store.list("PersistentVolumeClaim") if fault is not None else []:
            volume = store.get("PersistentVolume", None, spec_of(claim).get("volumeName", ""))
            if volume is None or self.world.faults.find("lost_claims", pod=claim) is None:
                continue
            store.mutate("PersistentVolume", None, name_of(volume), _unprotect)
            store.delete("PersistentVolume", None, name_of(volume))

    # ---- scheduling

    def refused(self, pod: Object) -> str:
        """What the scheduler says of a pod while a fault keeps it from being scheduled."""
        fault = self.world.faults.find("unschedulable", pod=pod)
        return fault.text("text", UNSCHEDULABLE) if fault is not None else ""

    def _unschedulable(self, fault: Fault | None) -> None:
        for controller in self.world.manager.controllers:
            if isinstance(controller, Scheduler):
                controller.retry()

    # ---- containers and models

    def _crash_loop(self, fault: Fault | None) -> None:
        if fault is None:
            return
        for worker in tuple(self.world.kubelet.workers.values()):
            for runner in worker.runners.values():
                if runner.process is not None:
                    self.break_container(runner, runner.process)

    _oom = _crash_loop

    def break_container(self, runner: ContainerRunner, process: Process) -> None:
        """End a container soon if a fault says so."""
        world = self.world
        for name in ("crash_loop", "oom"):
            fault = world.faults.find(name, pod=process.pod, image=runner.container["image"])
            if fault is None or process.exited.done():
                continue

            async def end(fault: Fault = fault, name: str = name) -> None:
                await world.clock.sleep(fault.number("seconds", 1.0))
                world.faults.use(fault)
                if name == "oom":
                    process.end(137, "OOMKilled")
                else:
                    process.log.write(
                        fault.text("text", "SIMULATED crash: the practice cluster was told to fail")
                    )
                    process.end(int(fault.number("code", 1)))

            process.spawn(end())

    def _evict(self, fault: Fault | None) -> None:
        if fault is None:
            return
        for worker in tuple(self.world.kubelet.workers.values()):
            if self.world.faults.find("evict", pod=worker.pod) is fault:
                worker.evict(fault.text("reason", "Evicted"), fault.text("text", EVICTED))

    def _lost_model(self, fault: Fault | None) -> None:
        if fault is None:
            return
        for worker in tuple(self.world.kubelet.workers.values()):
            for runner in worker.runners.values():
                if runner.process is None or self.world.faults.find("lost_model", pod=worker.pod) is None:
                    continue
                for volume in self.world.volumes_of(runner.process):
                    for key in tuple(volume.models):
                        name = modelname.parse(key)
                        if name is not None and fault.matches(model=name.shortest):
                            volume.remove(key)
