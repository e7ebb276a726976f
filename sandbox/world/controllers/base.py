"""How controllers run: changes become keys in a queue, one loop reconciles one by one, failures come again later."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any

from sandbox import status
from sandbox.store import Event, Store
from sandbox.world.clock import Clock
from sandbox.world.events import Recorder

logger = logging.getLogger(__name__)

Object = dict[str, Any]
Key = tuple[str, ...]
FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 30.0


class Controller(ABC):
    """Brings the world nearer to what objects ask for. `kinds` are those whose changes matter."""

    name = ""
    kinds: tuple[str, ...] = ()

    def __init__(self, manager: Manager) -> None:
        self.manager = manager
        self.store: Store = manager.store
        self.clock: Clock = manager.clock
        self.recorder: Recorder = manager.recorder

    @abstractmethod
    def keys(self, event: Event) -> Iterable[Key]:
        """What has to be reconciled because of a change."""

    @abstractmethod
    def reconcile(self, key: Key) -> None:
        """Make one step or several. May raise ApiError: tried again with back-off."""

    def enqueue(self, key: Key, after: float = 0.0) -> None:
        """Reconcile key, at once or after so many simulated seconds."""
        self.manager.enqueue(self, key, after)

    def event(self, obj: Object, type_: str, reason: str, message: str) -> None:
        self.recorder.event(obj, type_, reason, message, self.name)


class Manager:
    """Runs all controllers in one task."""

    def __init__(self, store: Store, clock: Clock, recorder: Recorder) -> None:
        self.store = store
        self.clock = clock
        self.recorder = recorder
        self.controllers: list[Controller] = []
        self._by_kind: dict[str, list[Controller]] = {}
        self._queue: dict[tuple[Controller, Key], None] = {}
        self._later: dict[tuple[Controller, Key], tuple[float, asyncio.Task[None]]] = {}
        self._failures: dict[tuple[Controller, Key], int] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, controller: Controller) -> None:
        self.controllers.append(controller)
        for kind in controller.kinds:
            self._by_kind.setdefault(kind, []).append(controller)

    def start(self) -> None:
        """Look at everything there is, then follow changes."""
        self.store.subscribe(self.follow)
        for name in self._by_kind:
            kind = self.store.kind(name)
            for obj in self.store.list(kind):
                self.follow(Event("ADDED", kind, obj, None))
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def follow(self, event: Event) -> None:
        for controller in self._by_kind.get(event.kind.kind, ()):
            for key in controller.keys(event):
                self.enqueue(controller, key)

    def enqueue(self, controller: Controller, key: Key, after: float = 0.0) -> None:
        entry = (controller, key)
        if after <= 0:
            self._queue.setdefault(entry)
            self._wake.set()
            return
        due = self.clock.elapsed() + after
        known = self._later.get(entry)
        if known is not None and not known[1].done():
            if known[0] <= due:
                return
            known[1].cancel()

        def ripe() -> None:
            self._later.pop(entry, None)
            self.enqueue(controller, key)

        self._later[entry] = (due, self.clock.call_later(after, ripe))

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                entry = next(iter(self._queue))
                del self._queue[entry]
                self._one(*entry)
                await asyncio.sleep(0)

    def _one(self, controller: Controller, key: Key) -> None:
        entry = (controller, key)
        try:
            controller.reconcile(key)
        except Exception as error:
            # One object that cannot be served must not stop the others: it is logged and tried again.
            failures = self._failures[entry] = self._failures.get(entry, 0) + 1
            if not isinstance(error, status.ApiError):
                logger.exception("%s failed on %s", controller.name, key)
            elif error.code not in (403, 404, 409):
                logger.warning("%s on %s: %s", controller.name, key, error)
            self.enqueue(controller, key, min(LAST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**failures))
        else:
            self._failures.pop(entry, None)
