"""A running container: its environment, log, listening ports, exit. Programs (see programs.py) give it life."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sandbox.backend import Backend
from sandbox.world.gpus import Device
from sandbox.world.images import Image
from sandbox.world.logs import LogBuffer

if TYPE_CHECKING:
    from sandbox.world.world import World

Object = dict[str, Any]
Executor = Callable[[list[str]], tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Exit:
    code: int
    reason: str
    message: str = ""


@dataclass(eq=False, slots=True)
class Process:
    """identity: stands for this life of the container. executor: what `exec` probes run; None lets all succeed."""

    world: World
    pod: Object
    container: Object
    image: Image
    env: dict[str, str]
    identity: str
    node: str
    address: str
    devices: list[Device]
    log: LogBuffer = field(default_factory=LogBuffer)
    ports: dict[int, Backend] = field(default_factory=dict)
    executor: Executor | None = None
    exited: asyncio.Future[Exit] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)

    def end(self, code: int, reason: str = "", message: str = "") -> None:
        """Exit; a second exit changes nothing."""
        if self.exited.done():
            return
        self.exited.set_result(Exit(code, reason or ("Completed" if code == 0 else "Error"), message))
        self.ports.clear()
        for task in tuple(self._tasks):
            task.cancel()
        for device in self.devices:
            device.loaded.pop(self.identity, None)
            device.busy.discard(self.identity)
        self.log.close()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Work that ends with the process."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def run(self, command: list[str]) -> tuple[int, str]:
        """(exit code, output) of an exec probe."""
        return self.executor(command) if self.executor is not None else (0, "")
