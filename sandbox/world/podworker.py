"""The life of one pod on its node: admission, volumes, containers, status, deletion. Texts: kubelet."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from sandbox import status
from sandbox.world.containers import ContainerRunner
from sandbox.world.gpus import Device
from sandbox.world.logs import LogBuffer
from sandbox.world.objects import (
    container_limit,
    deleting,
    finished,
    name_of,
    namespace_of,
    spec_of,
    status_of,
    uid_of,
)
from sandbox.world.process import Process
from sandbox.world.scheduler import claim_names

if TYPE_CHECKING:
    from sandbox.world.world import World

logger = logging.getLogger(__name__)

Object = dict[str, Any]

VOLUME_RETRY_SECONDS = 2.0
SANDBOX_SECONDS = 0.3
STOP_SECONDS = 0.6
_START_TEXTS = {
    "FailedMount": 'MountVolume.SetUp failed for volume "models" : mount failed: exit status 32: mount.nfs: Connection timed out',
    "FailedAttachVolume": 'Multi-Attach error for volume "pvc-simulated" Volume is already exclusively attached to one node '
    "and can't be attached to another",
    "FailedCreatePodSandBox": "Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: "
    'no runtime for "nvidia" is configured',
}


class PodWorker:
    """pod is the latest state; `follow` takes a new one, `vanish` its end without a goodbye."""

    def __init__(self, world: World, pod: Object) -> None:
        self.world = world
        self.pod = pod
        self.node: str = spec_of(pod)["nodeName"]
        self.address = ""
        self.has_init = bool(spec_of(pod).get("initContainers"))
        self.runners: dict[str, ContainerRunner] = {}
        self.sandboxed = False
        self.failure: tuple[str, str] | None = None
        self._devices: dict[str, list[Device]] = {}
        self._going = asyncio.Event()
        self._initialized = False
        self._told: set[str] = set()
        self._task = asyncio.get_running_loop().create_task(self._run())
        self.follow(pod)

    # ---- what happens to the pod from outside

    def follow(self, pod: Object) -> None:
        self.pod = pod
        if deleting(pod):
            self._going.set()

    async def vanish(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def evict(self, reason: str, text: str) -> None:
        """The node ends the pod (Evicted, Terminated, DeadlineExceeded, ...); the object stays, failed."""
        if finished(self.pod) or deleting(self.pod) or not self.sandboxed:
            return
        self.failure = (reason, text)
        self.event("Warning", reason, text)
        for runner in self.runners.values():
            runner.stop(137)
        self.publish()

    # ---- for containers

    def event(self, type_: str, reason: str, message: str, field_path: str = "") -> None:
        self.world.recorder.event(self.pod, type_, reason, message, "kubelet", self.node, field_path)

    def devices_of(self, container: str) -> list[Device]:
        return self._devices.get(container, [])

    def process_on(self, port: int) -> Process | None:
        for runner in self.runners.values():
            if runner.process is not None and port in runner.process.ports:
                return runner.process
        return None

    def log_of(self, container: str, previous: bool) -> LogBuffer | None:
        runner = self.runners.get(container)
        if runner is None:
            return None
        return runner.previous_log if previous else runner.log

    # ---- life

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        life = loop.create_task(self._live())
        going = loop.create_task(self._going.wait())
        try:
            await asyncio.wait({life, going}, return_when=asyncio.FIRST_COMPLETED)
            if life.done() and not life.cancelled() and life.exception() is not None:
                logger.error(
                    "pod %s/%s broke down",
                    namespace_of(self.pod),
                    name_of(self.pod),
                    exc_info=life.exception(),
                )
            await going
            await self._terminate(life)
        finally:
            for task in (life, going):
                task.cancel()
            await asyncio.gather(life, going, return_exceptions=True)
            for runner in self.runners.values():
                runner.stop(137)
            self.world.devices.release(uid_of(self.pod))
            self.world.addresses.release(self.address)

    async def _live(self) -> None:
        if finished(self.pod):
            return
        await self.world.node_alive(self.node)
        if not self._admit():
            return
        spec = spec_of(self.pod)
        for container in spec.get("initContainers") or []:
            kind = "sidecar" if container.get("restartPolicy") == "Always" else "init"
            self.runners[container["name"]] = ContainerRunner(self, container, kind)
        for container in spec["containers"]:
            self.runners[container["name"]] = ContainerRunner(self, container, "main")
        self.publish()
        await self._mount()
        await self.world.clock.sleep(SANDBOX_SECONDS)
        self.address = self.world.addresses.take(self.node, status_of(self.pod).get("podIP", ""))
        self.sandboxed = True
        self.publish()
        tasks: list[asyncio.Task[int]] = []
        try:
            await self._start_all(tasks)
            mains = [
                task for task, runner in zip(tasks, self._order(tasks), strict=True) if runner.kind == "main"
            ]
            await asyncio.gather(*mains)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self.publish()

    def _order(self, tasks: list[asyncio.Task[int]]) -> list[ContainerRunner]:
        return [self.runners[task.get_name()] for task in tasks]

    async def _start_all(self, tasks: list[asyncio.Task[int]]) -> None:
        """Init containers one after another, then the main ones together. Started tasks go into `tasks`."""
        loop = asyncio.get_running_loop()
        for runner in self.runners.values():
            if runner.kind == "init":
                code = await runner.run()
                if code != 0:
                    self.failure = ("", "")
                    self.publish()
                    await asyncio.Event().wait()
            elif runner.kind == "sidecar":
                tasks.append(loop.create_task(runner.run(), name=runner.name))
                await runner.running.wait()
        self._initialized = True
        self.publish()
        for runner in self.runners.values():
            if runner.kind == "main":
                tasks.append(loop.create_task(runner.run(), name=runner.name))

    # ---- admission and volumes

    def _admit(self) -> bool:
        """Take the GPUs that the containers ask for. False: the pod has failed."""
        pod, spec = self.pod, spec_of(self.pod)
        for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
            for resource in ("nvidia.com/gpu", "amd.com/gpu"):
                count = int(container_limit(container, resource) or 0)
                if not count:
                    continue
                key = (namespace_of(pod), name_of(pod), container["name"])
                holder = f"{uid_of(pod)}/{container['name']}"
                found = self.world.devices.allocate(self.node, resource, count, holder, key)
                if found is None:
                    free = self.world.devices.free(self.node, resource)
                    text = (
                        f"Allocate failed due to requested number of devices unavailable for {resource}. "
                        f"Requested: {count}, Available: {free}, which is unexpected"
                    )
                    self.failure = ("UnexpectedAdmissionError", text)
                    self.event("Warning", "UnexpectedAdmissionError", text)
                    self.publish()
                    return False
                self._devices.setdefault(container["name"], []).extend(found)
        return True

    async def _mount(self) -> None:
        while True:
            problem = self._problem()
            if problem is None:
                return
            self.event("Warning", *problem)
            await self.world.clock.sleep(VOLUME_RETRY_SECONDS)

    def _problem(self) -> tuple[str, str] | None:
        """(reason, message) of the first volume that cannot be mounted now."""
        store, namespace = self.world.store, namespace_of(self.pod)
        fault = self.world.faults.find("pod_start_error", pod=self.pod)
        if fault is not None:
            reason = fault.text("reason", "FailedMount")
            return reason, fault.text("text", _START_TEXTS[reason])
        for volume in spec_of(self.pod).get("volumes") or []:
            for kind, member, field in (
                ("ConfigMap", "configMap", "name"),
                ("Secret", "secret", "secretName"),
            ):
                source = volume.get(member)
                if source is None or source.get("optional"):
                    continue
                found = store.get(kind, namespace, source[field])
                why = f'{kind.lower()} "{source[field]}" not found' if found is None else ""
                data = {**(found or {}).get("data", {}), **(found or {}).get("binaryData", {})}
                missing = [item["key"] for item in source.get("items") or [] if item["key"] not in data]
                if found is not None and missing:
                    why = f"references non-existent {kind.lower()} key: {missing[0]}"
                if why:
                    return "FailedMount", f'MountVolume.SetUp failed for volume "{volume["name"]}" : {why}'
        for name in claim_names(self.pod):
            claim = store.get("PersistentVolumeClaim", namespace, name)
            if claim is None or status_of(claim).get("phase") != "Bound":
                return (
                    "FailedMount",
                    f'MountVolume.SetUp failed for volume "{name}" : claim "{name}" is not bound',
                )
            others = self._elsewhere(claim)
            if others:
                error = f'Multi-Attach error for volume "{spec_of(claim).get("volumeName", "")}"'
                return "FailedAttachVolume", f"{error} Volume is already used by pod(s) {', '.join(others)}"
        return None

    def _elsewhere(self, claim: Object) -> list[str]:
        """Pods on other nodes that hold a claim which one node at a time may mount."""
        if set(spec_of(claim).get("accessModes") or []) & {"ReadWriteMany", "ReadOnlyMany"}:
            return []
        return [
            name_of(worker.pod)
            for worker in self.world.kubelet.workers.values()
            if worker is not self
            and worker.node != self.node
            and worker.sandboxed
            and namespace_of(worker.pod) == namespace_of(claim)
            and name_of(claim) in claim_names(worker.pod)
        ]

    # ---- the end

    async def _terminate(self, life: asyncio.Task[None]) -> None:
        await self.world.node_alive(self.node)
        for runner in self.runners.values():
            if runner.process is not None:
                self.event(
                    "Normal",
                    "Killing",
                    f"Stopping container {runner.name}",
                    f"spec.containers{{{runner.name}}}",
                )
        grace = float(self.pod["metadata"].get("deletionGracePeriodSeconds") or 0)
        if any(runner.process is not None for runner in self.runners.values()):
            await self.world.clock.sleep(min(grace, STOP_SECONDS))
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        for runner in self.runners.values():
            runner.stop(0)
        self.publish()
        namespace, name, uid = namespace_of(self.pod), name_of(self.pod), uid_of(self.pod)
        try:
            self.world.store.delete("Pod", namespace, name, grace=0, uid=uid)
        except status.ApiError as refused:
            if refused.code not in (404, 409):
                raise

    # ---- status

    def publish(self) -> None:
        """Write the pod's status if it has changed."""
        namespace, name = namespace_of(self.pod), name_of(self.pod)
        current = self.world.store.get("Pod", namespace, name)
        if current is None or uid_of(current) != uid_of(self.pod):
            return
        made = self._status(current)
        if made == status_of(current):
            return

        def write(pod: Object) -> None:
            pod["status"] = made

        if made["phase"] in ("Succeeded", "Failed"):
            self.world.devices.release(uid_of(self.pod))
        self.pod = self.world.store.mutate("Pod", namespace, name, write, "status", "kubelet") or self.pod

    def _status(self, current: Object) -> Object:
        old = status_of(current)
        if self.failure is not None and self.failure[0]:
            reason, text = self.failure
            failed = {
                **old,
                "phase": "Failed",
                "reason": reason,
                "message": text,
                "startTime": old.get("startTime") or self.world.store.now(),
            }
            return {**failed, **self._ended(old)} if self.sandboxed else failed
        mains = [runner for runner in self.runners.values() if runner.kind == "main"]
        state: Object = dict(old)
        state["phase"] = self._phase(mains)
        state["conditions"] = self._conditions(old, mains, state["phase"])
        state["hostIP"] = self.world.nodes.address(self.node)
        state["hostIPs"] = [{"ip": state["hostIP"]}]
        state["startTime"] = old.get("startTime") or self.world.store.now()
        if self.sandboxed:
            state["podIP"] = self.address
            state["podIPs"] = [{"ip": self.address}]
        starting = [runner for runner in self.runners.values() if runner.kind != "main"]
        if starting:
            state["initContainerStatuses"] = [runner.status() for runner in starting]
        state["containerStatuses"] = [
            runner.status() for runner in sorted(mains, key=lambda runner: runner.name)
        ]
        return state

    def _ended(self, old: Object) -> Object:
        """What the status of a pod that its node has ended shows besides: no container runs, and who did it."""
        mains = [runner for runner in self.runners.values() if runner.kind == "main"]
        conditions = self._conditions(old, mains, "Failed")
        if not any(found["type"] == "DisruptionTarget" for found in conditions):
            why: Object = {
                "reason": "TerminationByKubelet",
                "message": self.failure[1] if self.failure else "",
            }
            times = {"lastProbeTime": None, "lastTransitionTime": self.world.store.now()}
            conditions.append({"type": "DisruptionTarget", "status": "True", **times, **why})
        statuses = [runner.status() for runner in sorted(mains, key=lambda runner: runner.name)]
        return {"conditions": conditions, "containerStatuses": statuses}

    def _phase(self, mains: list[ContainerRunner]) -> str:
        if self.failure is not None:
            return "Failed"
        if not self._initialized:
            return "Pending"
        ended = [runner for runner in mains if "terminated" in runner.state]
        policy = spec_of(self.pod).get("restartPolicy", "Always")
        over = len(ended) == len(mains) and policy != "Always"
        if over and not deleting(self.pod):
            codes = [runner.state["terminated"]["exitCode"] for runner in ended]
            if not any(codes):
                return "Succeeded"
            if policy == "Never":
                return "Failed"
        if any("waiting" not in runner.state or runner.last_state for runner in mains):
            return "Running"
        return "Pending"

    def _conditions(self, old: Object, mains: list[ContainerRunner], phase: str) -> list[Object]:
        unready = [runner.name for runner in mains if not runner.ready]
        unready += [
            runner.name for runner in self.runners.values() if runner.kind == "sidecar" and not runner.ready
        ]
        waiting = [
            runner.name for runner in self.runners.values() if runner.kind != "main" and not self._initialized
        ]
        why: tuple[str, str] = ("", "")
        if phase in ("Succeeded", "Failed"):
            why = ("PodCompleted" if phase == "Succeeded" else "PodFailed", "")
        elif unready:
            why = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
        ready = not unready and phase == "Running"
        if ready and not self.world.nodes.is_ready(self.node):
            ready, why = False, ("NodeNotReady", "")
        starting = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waiting)}]")
        wanted = [
            ("PodReadyToStartContainers", self.sandboxed, "", ""),
            ("Initialized", not waiting, *(starting if waiting else ("", ""))),
            ("Ready", ready, *(why if not ready else ("", ""))),
            ("ContainersReady", ready, *(why if not ready else ("", ""))),
            ("PodScheduled", True, "", ""),
        ]
        known = {found["type"]: found for found in old.get("conditions") or []}
        conditions = []
        for type_, value, reason, message in wanted:
            text = "True" if value else "False"
            before = known.pop(type_, None)
            same = before is not None and before["status"] == text
            made: Object = {
                "type": type_,
                "status": text,
                "lastProbeTime": None,
                "lastTransitionTime": before["lastTransitionTime"]
                if same and before is not None
                else self.world.store.now(),
            }
            if reason:
                made["reason"] = reason
            if message:
                made["message"] = message
            conditions.append(made)
        return [*known.values(), *conditions]
