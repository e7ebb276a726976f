"""All nodes' kubelets in one: a worker for each pod that has a node here, pod addresses, heartbeats."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from sandbox.store import Event
from sandbox.world import images
from sandbox.world.nodes import RENEW_SECONDS
from sandbox.world.objects import finished, spec_of, status_of, uid_of
from sandbox.world.podworker import PodWorker

if TYPE_CHECKING:
    from sandbox.world.world import World

Object = dict[str, Any]


class Addresses:
    """Pod addresses, one range a node."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._kept: set[str] = set()
        self._next: dict[str, int] = {}
        self._nodes: list[str] = []

    def keep(self, address: str) -> None:
        """Hold an address for the pod that had it before the cluster was restarted."""
        self._taken.add(address)
        self._kept.add(address)

    def take(self, node: str, wanted: str = "") -> str:
        """A free address of the node, or the wanted one if it was kept."""
        if wanted in self._kept:
            self._kept.discard(wanted)
            return wanted
        if node not in self._nodes:
            self._nodes.append(node)
        block = self._nodes.index(node)
        for _ in range(65_000):
            number = self._next.get(node, 2)
            self._next[node] = number + 1 if number < 65_000 else 2
            address = (
                f"10.{244 + block // 200}.{block % 200}.{number}"
                if number < 255
                else f"10.{200 + block % 40}.{number // 256}.{number % 256}"
            )
            if address not in self._taken:
                self._taken.add(address)
                return address
        raise RuntimeError(f"no pod address left on node {node}")

    def release(self, address: str) -> None:
        self._taken.discard(address)


class Kubelet:
    """workers by pod uid."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.workers: dict[str, PodWorker] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        self.world.store.subscribe(self.follow)
        pods = self.world.store.list("Pod")
        for pod in pods:
            self._remember(pod)
        for pod in pods:
            self._adopt(pod)
        self._spawn(self._beat())

    def _remember(self, pod: Object) -> None:
        """What a node knows of its pods after a restart: their addresses and the images that it has."""
        state = status_of(pod)
        if state.get("podIP") and not finished(pod):
            self.world.addresses.keep(state["podIP"])
        for container in state.get("containerStatuses") or []:
            image = images.parse(container["image"])
            if container.get("imageID") and image is not None:
                self.world.images.setdefault(spec_of(pod).get("nodeName", ""), set()).add(image.full)

    async def stop(self) -> None:
        workers = tuple(self.workers.values())
        self.workers.clear()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*(worker.vanish() for worker in workers), *self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _beat(self) -> None:
        while True:
            await self.world.clock.sleep(RENEW_SECONDS)
            # Real seconds between renewals stay above five, however fast simulated time goes.
            await asyncio.sleep(max(0.0, 5.0 - RENEW_SECONDS / self.world.clock.speed))
            self.world.nodes.renew(self.world.silent)
            self.world.recorder.expire()

    def follow(self, event: Event) -> None:
        if event.kind.kind != "Pod":
            return
        uid = uid_of(event.object)
        worker = self.workers.get(uid)
        if event.type == "DELETED":
            if worker is not None:
                del self.workers[uid]
                # At once: the scheduler may give the room to the next pod before the worker has ended.
                self.world.devices.release(uid)
                self._spawn(worker.vanish())
                self.world.volumes.drop(f"pod/{uid}/")
                self.world.volumes.drop(f"container/{uid}/")
        elif worker is not None:
            worker.follow(event.object)
        else:
            self._adopt(event.object)

    def _adopt(self, pod: Object) -> None:
        node = spec_of(pod).get("nodeName")
        if node and node in self.world.nodes.specs and uid_of(pod) not in self.workers:
            self.workers[uid_of(pod)] = PodWorker(self.world, pod)

    def worker(self, pod: Object) -> PodWorker | None:
        return self.workers.get(uid_of(pod))
