"""Simulated time: seconds of the practice cluster pass `speed` times as fast as real ones.

Durations (image pulls, starts, probe periods, downloads, back-off) are simulated; time stamps in objects are real.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Clock:
    """One per world. speed is a factor above 0 and may be changed at any time; sleepers follow."""

    def __init__(self, speed: float = 1.0) -> None:
        self._check(speed)
        self._speed = speed
        self._base = 0.0
        self._since = time.monotonic()
        self._sleepers: set[asyncio.Future[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    def _check(speed: float) -> None:
        if not 0.001 <= speed <= 100_000:
            raise ValueError(f"speed must be between 0.001 and 100000, not {speed}")

    @property
    def speed(self) -> float:
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Raises ValueError for a factor that is not usable."""
        self._check(speed)
        self._base = self.elapsed()
        self._since = time.monotonic()
        self._speed = speed
        for sleeper in tuple(self._sleepers):
            if not sleeper.done():
                sleeper.set_result(None)

    def elapsed(self) -> float:
        """Simulated seconds since the world began; never goes back."""
        return self._base + (time.monotonic() - self._since) * self._speed

    async def sleep(self, seconds: float) -> None:
        """Wait so many simulated seconds."""
        due = self.elapsed() + seconds
        loop = asyncio.get_running_loop()
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        while (rest := due - self.elapsed()) > 0:
            sleeper: asyncio.Future[None] = loop.create_future()
            self._sleepers.add(sleeper)
            timer = loop.call_later(rest / self._speed, _wake, sleeper)
            try:
                await sleeper
            finally:
                timer.cancel()
                self._sleepers.discard(sleeper)

    def call_later(self, seconds: float, action: Callable[[], object]) -> asyncio.Task[None]:
        """Call action after so many simulated seconds; cancel the task to prevent it."""

        async def wait() -> None:
            await self.sleep(seconds)
            action()

        task = asyncio.get_running_loop().create_task(wait())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Drop all timers."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _wake(sleeper: asyncio.Future[None]) -> None:
    if not sleeper.done():
        sleeper.set_result(None)
