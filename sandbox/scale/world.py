"""The large practice cluster behind the API: whole objects, changes at a set rate, exporters; no controllers.

GET /sandbox/fleet tells the stacks that carry Pilothouse's labels; GET/PUT /sandbox/churn tells and sets the
changes a second ({"changes": 200}). Faults of requests and of exporters can be switched as usual.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any

from aiohttp import web

from sandbox import status
from sandbox.backend import Backend
from sandbox.scale.backends import Exporter, Figures, Ollama, Page
from sandbox.scale.churn import Churn
from sandbox.scale.fleet import EXPORTER_NAMESPACE, Fleet, Size
from sandbox.scale.objects import Writer
from sandbox.store import Store
from sandbox.world import control, scenarios
from sandbox.world.clock import Clock
from sandbox.world.events import Recorder
from sandbox.world.faults import OF_REQUESTS, FaultError, Faults
from sandbox.world.gpus import A100, Device, Devices
from sandbox.world.nodes import Nodes
from sandbox.world.objects import name_of, namespace_of, spec_of, status_of
from sandbox.world.prometheus import Prometheus
from sandbox.world.watch_faults import WatchEnder, WatchFaults

logger = logging.getLogger(__name__)

Object = dict[str, Any]

MAX_CHANGES = 5000.0


class ScaleWorld:
    """A world for a store that holds nothing yet; one that was kept on disk is refused with a ValueError."""

    def __init__(self, store: Store, size: Size) -> None:
        self.store = store
        self.fleet = Fleet(size)
        self.clock = Clock()
        self.watch_faults = WatchFaults()
        self.faults = Faults(self._switched, (*OF_REQUESTS, "gpu_exporter", "prometheus"))
        self.devices = Devices(size.seed)
        self.nodes = Nodes(store, Recorder(store), self.devices)
        self.writer = Writer(self.fleet, store.clock())
        self.churn = Churn(store, self.fleet, self.writer)
        self.figures = Figures(self.exporters, self.clock.elapsed, store.clock)
        self._unsubscribe = lambda: None

    def _switched(self, name: str) -> None:
        self.watch_faults.changed(self.faults, name)

    def attach(self, server: WatchEnder) -> None:
        """Learn of the server, for faults that end watches."""
        self.watch_faults.server = server

    # ---- running

    async def start(self) -> None:
        """Make everything, then begin to change it."""
        began = time.monotonic()
        if self.store.list("Node"):
            raise ValueError("a large practice cluster is made anew each time: leave out --state")
        self.nodes.furnish(self.fleet.nodes)
        scenarios.furnish_classes(self.store)
        for namespace in self.fleet.namespaces():
            if self.store.get("Namespace", None, namespace) is None:
                self.store.create("Namespace", {"metadata": {"name": namespace}})
        self._load()
        if self.fleet.size.gpus:
            scenarios.furnish_exporter_service(self.store, "nvidia")
        if self.fleet.size.prometheus:
            scenarios.furnish_prometheus(self.store, running=False)
        for pod in self.store.each("Pod"):
            self._hold(pod)
        self._unsubscribe = self.store.subscribe(lambda event: self._follow(event.type, event.object))
        self.churn.start()
        logger.info(
            "%d nodes, %d pods and %d GPUs made in %.1f s",
            len(self.fleet.nodes),
            len(self.fleet.pods),
            self.fleet.size.gpus,
            time.monotonic() - began,
        )

    def _load(self) -> None:
        """Put all planned objects into the store at once, without a past."""
        objects = [self.writer.set_of(workload)[1] for workload in self.fleet.workloads]
        objects += [self.writer.pod(planned) for planned in self.fleet.pods]
        version = self.store.rv
        for obj in objects:
            version += 1
            obj["metadata"]["resourceVersion"] = str(version)
        self.store.load({"resourceVersion": version, "objects": objects})

    async def stop(self) -> None:
        self._unsubscribe()
        await self.churn.stop()
        await self.clock.stop()

    # ---- GPUs

    def _follow(self, type_: str, obj: Object) -> None:
        if obj["kind"] != "Pod":
            return
        if type_ == "DELETED":
            self.devices.release_on(spec_of(obj).get("nodeName", ""), obj["metadata"]["uid"])
        elif type_ == "ADDED":
            self._hold(obj)

    def _hold(self, pod: Object) -> None:
        """Give a pod the GPUs that it asks for."""
        container = spec_of(pod)["containers"][0]
        count = ((container.get("resources") or {}).get("limits") or {}).get(A100.resource)
        node = spec_of(pod).get("nodeName")
        if count and node:
            place = (namespace_of(pod), name_of(pod), container["name"])
            self.devices.allocate(node, A100.resource, int(count), pod["metadata"]["uid"], place)

    def devices_of(self, node: str) -> list[Device]:
        return self.devices.nodes.get(node, [])

    def exporters(self) -> Iterator[tuple[Object, list[Device]]]:
        """Each exporter's pod and the devices of its node."""
        for pod in self.store.each("Pod", EXPORTER_NAMESPACE):
            yield pod, self.devices_of(spec_of(pod)["nodeName"])

    # ---- what the server asks

    def backend(self, pod: Object, port: int) -> Backend | None:
        """What answers on a pod's port; None: connection refused."""
        if status_of(pod).get("phase") != "Running":
            return None
        if namespace_of(pod) == EXPORTER_NAMESPACE and port == 9400:
            return Exporter(self.faults, pod, self.devices_of(spec_of(pod)["nodeName"]), self.clock.elapsed)
        if namespace_of(pod) == scenarios.MONITORING and port == 9090:
            return Prometheus(self.faults, pod, self.figures, self.store.clock)
        for container in spec_of(pod)["containers"]:
            if any(entry.get("containerPort") == port for entry in container.get("ports") or []):
                limits = (container.get("resources") or {}).get("limits") or {}
                return Ollama(A100.resource in limits) if port == 11434 else Page()
        return None

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
        """One line, and one a second for those who follow."""
        if previous:
            name = name_of(pod)
            raise status.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        line = f"SIMULATED {namespace_of(pod)}/{name_of(pod)}\n"
        while True:
            yield (f"{self.store.now()} {line}" if timestamps else line).encode()
            if not follow:
                return
            await asyncio.sleep(1.0)

    # ---- control

    async def control(self, request: web.BaseRequest) -> web.StreamResponse:
        """/sandbox/fleet, /sandbox/churn, and what every world has."""
        path = request.raw_path.partition("?")[0].rstrip("/")
        if path == "/sandbox/fleet":
            return control.answer(
                {
                    "size": asdict(self.fleet.size),
                    "stacks": [asdict(stack) for stack in self.fleet.stacks],
                    "pods": len(self.fleet.pods),
                }
            )
        if path == "/sandbox/churn":
            return await self._churn(request)
        return await control.handle(self, request)

    async def _churn(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PUT":
            try:
                self.churn.rate = _rate((await control.body(request)).get("changes"))
            except FaultError as error:
                return control.answer({"error": str(error)}, 400)
        made: defaultdict[str, int] = defaultdict(int, self.churn.made)
        return control.answer({"changes": self.churn.rate, "made": sum(made.values()), "by": dict(made)})


def _rate(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_CHANGES:
        raise FaultError(f"changes must be a number from 0 to {MAX_CHANGES:g}")
    return float(value)
