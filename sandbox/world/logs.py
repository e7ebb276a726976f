"""What containers wrote: kept lines with their times, read from the end, followed, limited, stamped."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime

KEPT_LINES = 5000


class LogBuffer:
    """The lines of one container instance. Each has a real time stamp; `close` ends those who follow."""

    def __init__(self) -> None:
        self.lines: deque[tuple[float, str]] = deque(maxlen=KEPT_LINES)
        self.written = 0
        self.closed = False
        self._followers: set[asyncio.Event] = set()

    def write(self, text: str) -> None:
        """Add a line (text without its end; line breaks inside make several)."""
        for line in text.split("\n"):
            self.lines.append((time.time(), line))
            self.written += 1
        self._tell()

    def close(self) -> None:
        self.closed = True
        self._tell()

    def _tell(self) -> None:
        for follower in self._followers:
            follower.set()

    async def read(
        self,
        *,
        follow: bool,
        tail_lines: int | None,
        since_seconds: int | None,
        limit_bytes: int | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Lines with their ends; with follow until the container ends. limit_bytes cuts inside a line."""
        chosen = list(self.lines)
        if since_seconds is not None:
            first = time.time() - since_seconds
            chosen = [entry for entry in chosen if entry[0] >= first]
        if tail_lines is not None:
            chosen = chosen[-tail_lines:] if tail_lines else []
        seen = self.written
        left = limit_bytes
        follower = asyncio.Event()
        self._followers.add(follower)
        try:
            while True:
                for stamp, line in chosen:
                    data = _rendered(stamp, line, timestamps)
                    if left is not None:
                        data = data[:left]
                        left -= len(data)
                    if data:
                        yield data
                    if left == 0:
                        return
                if not follow or (self.closed and self.written == seen):
                    return
                await follower.wait()
                follower.clear()
                new = min(self.written - seen, len(self.lines))
                chosen = list(self.lines)[-new:] if new else []
                seen = self.written
        finally:
            self._followers.discard(follower)


def _rendered(stamp: float, line: str, timestamps: bool) -> bytes:
    prefix = ""
    if timestamps:
        moment = datetime.fromtimestamp(stamp, UTC)
        prefix = f"{moment:%Y-%m-%dT%H:%M:%S}.{int(stamp % 1 * 1e9):09d}Z "
    # Programs write bytes: those that are no UTF-8 stand in the text as surrogates.
    return f"{prefix}{line}\n".encode("utf-8", "surrogateescape")
