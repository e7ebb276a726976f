"""How long to leave a cluster alone that fails."""

from __future__ import annotations

import random
import threading
import time

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
RANDOM = random.SystemRandom()


class Backoff:
    """Shared by all that watches a cluster: doubling, with jitter. What fails together counts once:
    ten watches of a cluster that dies are one failure, not ten."""

    def __init__(self, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._first, self._longest = first, longest
        self._failures = 0
        self._until = 0.0
        self._lock = threading.Lock()

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait now. A server's own wish is obeyed where it is longer."""
        now = time.monotonic()
        with self._lock:
            if now >= self._until:
                self._failures = min(self._failures + 1, 16)
            pause: float = min(self._longest, self._first * 2 ** (self._failures - 1))
            self._until = max(self._until, now + pause / 2)
        return max(retry_after or 0.0, pause * RANDOM.uniform(0.5, 1.0))

    def worked(self) -> None:
        with self._lock:
            self._failures, self._until = 0, 0.0
