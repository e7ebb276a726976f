"""The simulated life behind the API: clock, controllers, scheduler, nodes, containers, faults."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from aiohttp import web

from sandbox import selectors, status
from sandbox.backend import Backend, BackendRequest, BackendResponse, closing, one
from sandbox.proxying import port_number
from sandbox.store import Store
from sandbox.world import control, scenarios
from sandbox.world.clock import Clock
from sandbox.world.controllers.autoscalers import Autoscalers
from sandbox.world.controllers.base import Manager
from sandbox.world.controllers.claims import Claims
from sandbox.world.controllers.daemonset import DaemonSets
from sandbox.world.controllers.deployment import Deployments
from sandbox.world.controllers.edges import DisruptionBudgets, Ingresses, NodeTaints
from sandbox.world.controllers.endpoints import EndpointsOfServices
from sandbox.world.controllers.garbage import GarbageCollector
from sandbox.world.controllers.namespaces import Namespaces
from sandbox.world.controllers.replicaset import ReplicaSets
from sandbox.world.controllers.statefulset import StatefulSets
from sandbox.world.events import Recorder
from sandbox.world.faults import Faults
from sandbox.world.gpus import Devices
from sandbox.world.kubelet import Addresses, Kubelet
from sandbox.world.modelstore import Volume, Volumes
from sandbox.world.nodes import Nodes
from sandbox.world.objects import is_ready, name_of, namespace_of, spec_of, status_of
from sandbox.world.process import Process
from sandbox.world.pulls import BYTES_PER_SECOND
from sandbox.world.reactions import Reactions
from sandbox.world.scheduler import Scheduler
from sandbox.world.watch_faults import WatchEnder, WatchFaults

logger = logging.getLogger(__name__)

Object = dict[str, Any]
MODELS_FILE = "models.json"


def _hardware(store: Store) -> str:
    """What the serial numbers of this cluster's GPUs are made of: a cluster that was stopped and started
    again has the same cards."""
    space = store.get("Namespace", None, "kube-system")
    return str(space["metadata"]["uid"]) if space else str(random.randrange(2**32))


class World:
    """speed: factor of simulated time. scenario: a name of SCENARIOS. data_dir: keeps models over restarts."""

    def __init__(
        self,
        store: Store,
        *,
        speed: float = 1.0,
        seed: int | None = None,
        scenario: str = "practice",
        data_dir: Path | None = None,
    ) -> None:
        if scenario not in scenarios.SCENARIOS:
            raise ValueError(
                f"there is no scenario {scenario!r}; there are: {', '.join(scenarios.SCENARIOS)}"
            )
        self.store = store
        self.scenario = scenario
        self.data_dir = data_dir
        self.seed = seed if seed is not None else random.randrange(2**32)
        self.clock = Clock(speed)
        self.recorder = Recorder(store)
        self.devices = Devices(self.seed if seed is not None else _hardware(store))
        self.addresses = Addresses()
        self.volumes = Volumes(store)
        self.nodes = Nodes(store, self.recorder, self.devices)
        self.images: dict[str, set[str]] = {}
        self.silent: set[str] = set()
        self.download_rate = BYTES_PER_SECOND
        self.watch_faults = WatchFaults()
        self.reactions = Reactions(self)
        self.faults = Faults(self.reactions.changed)
        self.manager = Manager(store, self.clock, self.recorder)
        self.kubelet = Kubelet(self)
        for kind in (
            GarbageCollector,
            Namespaces,
            NodeTaints,
            Deployments,
            ReplicaSets,
            StatefulSets,
            DaemonSets,
            EndpointsOfServices,
            Autoscalers,
            Ingresses,
            DisruptionBudgets,
        ):
            self.manager.add(kind(self.manager))
        self.manager.add(
            Claims(
                self.manager,
                lambda claim: self.faults.find("unbound_claims", pod=claim) is not None,
                self.volumes.claim_lost,
            )
        )
        self.manager.add(Scheduler(self.manager, self.reactions.refused))

    def attach(self, server: WatchEnder) -> None:
        """Learn of the server, for faults that end watches."""
        self.watch_faults.server = server

    # ---- running

    async def start(self) -> None:
        """Furnish the cluster and bring it to life."""
        self._load()
        self.nodes.furnish(scenarios.SCENARIOS[self.scenario])
        scenarios.furnish(self.store, self.scenario)
        self.manager.start()
        self.kubelet.start()

    async def stop(self) -> None:
        self._save()
        await self.manager.stop()
        await self.kubelet.stop()
        await self.clock.stop()

    def _load(self) -> None:
        if self.data_dir is not None and (self.data_dir / MODELS_FILE).exists():
            self.volumes.load(orjson.loads((self.data_dir / MODELS_FILE).read_bytes()))

    def _save(self) -> None:
        if self.data_dir is None:
            return
        self.data_dir.mkdir(parents=True, exist_ok=True)
        path = self.data_dir / MODELS_FILE
        temporary = path.with_suffix(".new")
        temporary.write_bytes(orjson.dumps(self.volumes.dump()))
        os.replace(temporary, path)

    def now_text(self) -> str:
        """The time with nine fraction digits, as Ollama writes it."""
        seconds = self.store.clock()
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1e9):09d}Z"

    # ---- nodes and containers

    async def node_alive(self, node: str) -> None:
        """Wait while a fault keeps the node silent."""
        while node in self.silent:
            await self.faults.until_changed()

    def break_container(self, runner: Any, process: Process) -> None:
        self.reactions.break_container(runner, process)

    def volumes_of(self, process: Process) -> list[Volume]:
        """The file systems of Ollama servers of a container."""
        found = [getattr(backend, "volume", None) for backend in process.ports.values()]
        return [volume for volume in found if isinstance(volume, Volume)]

    def listening(self, process: Process, port: int) -> Backend | None:
        """What listens on a port of the process's pod; containers of a pod share their network."""
        worker = self.kubelet.worker(process.pod)
        found = worker.process_on(port) if worker is not None else process
        return found.ports.get(port) if found is not None else None

    def backend(self, pod: Object, port: int) -> Backend | None:
        """What answers on a pod's port; None: connection refused."""
        worker = self.kubelet.worker(pod)
        if worker is None:
            return None
        if worker.node in self.silent:
            return Unreachable()
        process = worker.process_on(port)
        return Guarded(self, worker.pod, process, process.ports[port]) if process is not None else None

    def by_address(self, host: str, port: int, namespace: str) -> Backend | None:
        """What a pod of namespace reaches under a host name and port: a Service by name or address, or a pod."""
        name, _, rest = host.partition(".")
        home = rest.partition(".")[0] or namespace
        service = self.store.get("Service", home, name)
        if service is None:
            service = next(
                (found for found in self.store.each("Service") if spec_of(found).get("clusterIP") == host),
                None,
            )
        if service is None:
            pod = next(
                (found for found in self.store.each("Pod") if status_of(found).get("podIP") == host), None
            )
            return self.backend(pod, port) if pod is not None else None
        selector = spec_of(service).get("selector")
        entry = next((found for found in spec_of(service).get("ports") or [] if found["port"] == port), None)
        if not selector or entry is None:
            return None
        for pod in self.store.each("Pod", namespace_of(service), selectors.from_labels(selector)):
            ready = is_ready(pod) or spec_of(service).get("publishNotReadyAddresses")
            number = port_number(pod, entry.get("targetPort", port))
            backend = self.backend(pod, number) if ready and number is not None else None
            if backend is not None:
                return backend
        return None

    # ---- logs

    async def logs(
        self,
        pod: Object,
        container: str,
        *,
        follow: bool,
        previous: bool,
        tail_lines: int | None,
        since_seconds: int | None,
        limit_bytes: int | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Lines of a container. Raises ApiError (400, 500) before the first one."""
        name = name_of(pod)
        worker = self.kubelet.worker(pod)
        node = spec_of(pod).get("nodeName", "")
        if worker is None or node in self.silent:
            address = self.nodes.address(node)
            why = "i/o timeout" if node in self.silent else "connect: connection refused"
            raise status.internal(
                f'Get "https://{address}:10250/containerLogs/{namespace_of(pod)}/{name}/{container}": '
                f"dial tcp {address}:10250: {why}"
            )
        log = worker.log_of(container, previous)
        if log is None:
            if previous:
                raise status.bad_request(
                    f'previous terminated container "{container}" in pod "{name}" not found'
                )
            runner = worker.runners.get(container)
            reason = (
                (runner.state.get("waiting") or {}).get("reason", "")
                if runner is not None
                else "ContainerCreating"
            )
            if reason in ("ErrImagePull", "ImagePullBackOff"):
                reason = "trying and failing to pull image"
            raise status.bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
        lines = log.read(
            follow=follow,
            tail_lines=tail_lines,
            since_seconds=since_seconds,
            limit_bytes=limit_bytes,
            timestamps=timestamps,
        )
        async with closing(lines):
            async for line in lines:
                yield line

    # ---- control

    async def control(self, request: web.BaseRequest) -> web.StreamResponse:
        """GET/PUT/DELETE /sandbox/faults[/NAME] and GET/PUT /sandbox/clock."""
        return await control.handle(self, request)


class Unreachable:
    """A pod on a node that does not answer."""

    async def handle(self, request: BackendRequest) -> BackendResponse:
        raise TimeoutError


class Guarded:
    """A back end whose answers end with its process, or in the middle when a fault says so."""

    def __init__(self, world: World, pod: Object, process: Process, backend: Backend) -> None:
        self.world = world
        self.pod = pod
        self.process = process
        self.inner = backend

    async def handle(self, request: BackendRequest) -> BackendResponse:
        answer = await self.inner.handle(request)
        after = self.world.faults.breaks_after(self.pod, request.path)
        body = one(answer.body) if isinstance(answer.body, bytes) else answer.body
        if after is not None:
            answer.body = _broken(body, after)
        return answer


async def _broken(body: AsyncIterator[bytes], after: int) -> AsyncIterator[bytes]:
    async with closing(body):
        async for part in body:
            if len(part) >= after:
                yield part[:after]
                raise ConnectionResetError("a fault broke the connection")
            after -= len(part)
            yield part
    raise ConnectionResetError("a fault broke the connection")


__all__ = ["World"]
