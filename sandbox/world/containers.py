"""One container of a pod through its lives: image, configuration, start, probes, exit, back-off.

Texts and times: kubelet (pkg/kubelet/images, pkg/kubelet/kuberuntime); back-off 10 s doubling to 5 minutes.
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

from sandbox.world import environment, images, probes, programs
from sandbox.world.environment import ConfigError
from sandbox.world.images import Image
from sandbox.world.logs import LogBuffer
from sandbox.world.objects import name_of, namespace_of, spec_of, uid_of
from sandbox.world.process import Exit, Process

if TYPE_CHECKING:
    from sandbox.world.podworker import PodWorker

Object = dict[str, Any]

FIRST_BACKOFF = 10.0
LAST_BACKOFF = 300.0
FORGIVEN_SECONDS = 600.0
PULL_BYTES_PER_SECOND = 150e6
CONFIG_RETRY_SECONDS = 5.0


class ContainerRunner:
    """kind: main, init or sidecar. The public fields are what the pod's status shows."""

    def __init__(self, worker: PodWorker, container: Object, kind: str) -> None:
        self.worker = worker
        self.world = worker.world
        self.container = container
        self.kind = kind
        self.name: str = container["name"]
        self.state: Object = {
            "waiting": {"reason": "PodInitializing" if worker.has_init else "ContainerCreating"}
        }
        self.last_state: Object = {}
        self.ready = False
        self.started = False
        self.restarts = 0
        self.image_id = ""
        self.container_id = ""
        self.process: Process | None = None
        self.previous_log: LogBuffer | None = None
        self.log: LogBuffer | None = None
        self.running = asyncio.Event()
        self._life = 0
        self._backoff = 0.0

    # ---- what is shown

    def status(self) -> Object:
        return {
            "name": self.name,
            "state": self.state,
            "lastState": self.last_state,
            "ready": self.ready,
            "restartCount": self.restarts,
            "image": self._image_name(),
            "imageID": self.image_id,
            **({"containerID": self.container_id} if self.container_id else {}),
            "started": self.started,
        }

    def _image_name(self) -> str:
        image = images.parse(self.container["image"])
        return image.full if image is not None and self.image_id else self.container["image"]

    def _wait(self, reason: str, message: str = "") -> None:
        self.state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
        self.worker.publish()

    def _event(self, type_: str, reason: str, message: str) -> None:
        member = "containers" if self.kind == "main" else "initContainers"
        self.worker.event(type_, reason, message, f"spec.{member}{{{self.name}}}")

    # ---- lives

    async def run(self) -> int:
        """Until the container has ended for good; its exit code. Cancelled when the pod goes."""
        while True:
            image = await self._pull()
            env = await self._configure()
            await self._allowed()
            process = await self._start(image, env)
            began = self.world.clock.elapsed()
            watching = asyncio.get_running_loop().create_task(probes.run(self, process))
            try:
                end = await asyncio.shield(process.exited)
            finally:
                watching.cancel()
            self._ended(end)
            if not self._again(end):
                self.worker.publish()
                return end.code
            if self.world.clock.elapsed() - began > FORGIVEN_SECONDS:
                self._backoff = 0.0
            await self._back_off()

    def _again(self, end: Exit) -> bool:
        if self.worker.failure is not None:
            return False  # its node has given the whole pod up
        policy = spec_of(self.worker.pod).get("restartPolicy", "Always")
        if self.kind == "sidecar":
            return True
        if self.kind == "init":
            return end.code != 0 and policy != "Never"
        return policy == "Always" or (policy == "OnFailure" and end.code != 0)

    def _ended(self, end: Exit) -> None:
        self.state = {"terminated": self._terminated(end)}
        self.ready = self.started = False
        self.running.clear()
        self.process = None

    def _terminated(self, end: Exit) -> Object:
        running = self.state.get("running") or {}
        return {
            "exitCode": end.code,
            "reason": end.reason,
            **({"message": end.message} if end.message else {}),
            "startedAt": running.get("startedAt") or self.world.store.now(),
            "finishedAt": self.world.store.now(),
            "containerID": self.container_id,
        }

    async def _back_off(self) -> None:
        """The first restart is immediate; later ones wait, visibly."""
        if self._backoff:
            pod = self.worker.pod
            where = f"{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})"
            self.last_state = self.state
            text = f"back-off {_duration(self._backoff)} restarting failed container={self.name} pod={where}"
            self._wait("CrashLoopBackOff", text)
            self._event(
                "Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod {where}"
            )
            await self.world.clock.sleep(self._backoff)
        else:
            self.worker.publish()
        self._backoff = min(LAST_BACKOFF, self._backoff * 2) if self._backoff else FIRST_BACKOFF
        self.restarts += 1

    # ---- image

    async def _pull(self) -> Image:
        text = self.container["image"]
        wait = FIRST_BACKOFF
        while True:
            image = images.parse(text)
            if image is None:
                why = images.invalid_message(text)
                self._wait("InvalidImageName", why)
                self._event("Warning", "InspectFailed", why)
                self._event("Warning", "Failed", "Error: InvalidImageName")
                await self.world.clock.sleep(wait)
                continue
            why = await self._attempt(image)
            if not why:
                digest = hashlib.sha256(image.full.encode()).hexdigest()
                self.image_id = f"{image.host}/{image.path}@sha256:{digest}"
                return image
            await self.world.clock.sleep(1.0)
            self._event("Normal", "BackOff", f'Back-off pulling image "{text}"')
            self._event("Warning", "Failed", "Error: ImagePullBackOff")
            self._wait("ImagePullBackOff", f'Back-off pulling image "{text}": ErrImagePull: {why}')
            await self.world.clock.sleep(wait)
            wait = min(LAST_BACKOFF, wait * 2)

    async def _attempt(self, image: Image) -> str:
        """Pull if needed; why it failed, or an empty text."""
        present = self.world.images.setdefault(self.worker.node, set())
        policy = self.container.get("imagePullPolicy", "IfNotPresent")
        text = self.container["image"]
        pod = self.worker.pod
        fault = self.world.faults.find("image_pull_error", pod=pod, image=text)
        if image.full in present and policy != "Always":
            self._event("Normal", "Pulled", f'Container image "{text}" already present on machine')
            return ""
        if policy == "Never":
            why = f'Container image "{text}" is not present with pull policy of Never'
            self._event("Warning", "ErrImageNeverPull", why)
            self._event("Warning", "Failed", "Error: ErrImageNeverPull")
            self._wait("ErrImageNeverPull", why)
            return why
        self._event("Normal", "Pulling", f'Pulling image "{text}"')
        began = self.world.clock.elapsed()
        seconds = 0.3 if image.full in present else 0.5 + image.bytes / PULL_BYTES_PER_SECOND
        why = images.failure(image, self._has_secret())
        if fault is not None:
            why = fault.text("text", f'failed to pull image "{image.full}": i/o timeout')
        await self.world.clock.sleep(0.5 if why else seconds)
        if why:
            self._event("Warning", "Failed", f'Failed to pull image "{text}": {why}')
            self._event("Warning", "Failed", "Error: ErrImagePull")
            self._wait("ErrImagePull", why)
            return why
        present.add(image.full)
        took = _duration(round(self.world.clock.elapsed() - began, 3))
        size = f"Image size: {image.bytes} bytes."
        self._event(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{text}" in {took} ({took} including waiting). {size}',
        )
        return ""

    def _has_secret(self) -> bool:
        pod = self.worker.pod
        return any(
            self.world.store.get("Secret", namespace_of(pod), entry.get("name", "")) is not None
            for entry in spec_of(pod).get("imagePullSecrets") or []
        )

    # ---- configuration and start

    async def _configure(self) -> dict[str, str]:
        told = ""
        while True:
            try:
                environment.check_user(self.worker.pod, self.container)
                return environment.resolve(self.world.store, self.worker.pod, self.container)
            except ConfigError as error:
                if str(error) != told:
                    self._wait("CreateContainerConfigError", str(error))
                told = str(error)
                self._event("Warning", "Failed", f"Error: {error}")
            await self.world.clock.sleep(CONFIG_RETRY_SECONDS)

    async def _allowed(self) -> None:
        """Wait while a fault makes the runtime refuse the container."""
        while (
            fault := self.world.faults.find(
                "container_error", pod=self.worker.pod, image=self.container["image"]
            )
        ) is not None:
            self.world.faults.use(fault)
            reason = fault.text("reason", "RunContainerError")
            text = fault.text(
                "text",
                "failed to create containerd task: failed to create shim task: OCI runtime create failed: "
                "nvidia-container-cli: initialization error: nvml error: driver not loaded",
            )
            self._wait(reason, text)
            self._event("Warning", "Failed", f"Error: {text}")
            await self.world.clock.sleep(CONFIG_RETRY_SECONDS)

    async def _start(self, image: Image, env: dict[str, str]) -> Process:
        self._life += 1
        pod = self.worker.pod
        identity = f"{uid_of(pod)}/{self.name}/{self._life}"
        self.container_id = f"containerd://{hashlib.sha256(identity.encode()).hexdigest()}"
        self._event("Normal", "Created", f"Created container: {self.name}")
        await self.world.clock.sleep(programs.START_SECONDS)
        process = Process(
            self.world,
            pod,
            self.container,
            image,
            env,
            identity,
            self.worker.node,
            self.worker.address,
            self.worker.devices_of(self.name),
        )
        self.previous_log, self.log = self.log, process.log
        self.process = process
        if "terminated" in self.state:
            self.last_state = self.state
        programs.launch(process, one_shot=self.kind == "init")
        self.state = {"running": {"startedAt": self.world.store.now()}}
        self.started = not self.container.get("startupProbe")
        self.ready = self.started and self.kind != "init" and not self.container.get("readinessProbe")
        self._event("Normal", "Started", f"Started container {self.name}")
        self.running.set()
        self.worker.publish()
        self.world.break_container(self, process)
        return process

    # ---- probes

    def unhealthy(self, kind: str, text: str) -> None:
        self._event("Warning", "Unhealthy", f"{kind.capitalize()} probe failed: {text}")

    def probed(self, kind: str, ok: bool) -> bool:
        """A probe has made up its mind; True if that is the end of a startup probe."""
        if kind == "readiness":
            ready = ok and self.started
            if ready != self.ready:
                self.ready = ready
                self.worker.publish()
            return False
        if ok:
            if kind == "startup" and not self.started:
                self.started = True
                self.ready = not self.container.get("readinessProbe")
                self.worker.publish()
            return kind == "startup"
        self._event("Normal", "Killing", f"Container {self.name} failed {kind} probe, will be restarted")
        if self.process is not None:
            self.process.end(137, "Error")
        return kind == "startup"

    def stop(self, code: int = 0) -> None:
        """The end that the pod's deletion brings."""
        if self.process is None:
            return
        process = self.process
        process.end(code)
        self._ended(process.exited.result())


def _duration(seconds: float) -> str:
    """As Go prints it: 10s, 1m20s, 2.345s."""
    if seconds >= 60:
        minutes, rest = divmod(int(seconds), 60)
        return f"{minutes}m{rest}s"
    return f"{seconds:g}s" if seconds >= 1 else f"{int(seconds * 1000)}ms"
