"""Watches: where they begin, what they see through selectors, bookmarks, and how they end.

Recorded transcripts 09 (expired), 11 (as tables) and 12 (everything else).
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Any

from sandbox import status
from sandbox.encoding import encode
from sandbox.history import Change, Version
from sandbox.kinds import Kind
from sandbox.listing import PATIENCE, Options, wrong_version
from sandbox.store import Store

Object = dict[str, Any]

BOOKMARK_SECONDS = 60.0
# An API server keeps no events in memory, and bookmarks come of what it keeps there alone.
UNCACHED = frozenset({"Event"})
# Bookmarks shortly before the end let the client resume without a list.
LAST_BOOKMARKS = (2.0, 1.0)
DEFAULT_SECONDS = (1800, 3600)
# A client that reads slower than this falls behind is cut off, as the API server cuts off a slow watcher.
MAX_BACKLOG = 20_000
PIECE_LINES = 200


def error_line(error: status.ApiError) -> bytes:
    """The event that ends a watch which cannot go on."""
    return b'{"type":"ERROR","object":' + encode(error.body()) + b"}\n"


class Watch:
    """One open watch. `form` turns a version into the bytes of an event's object; None means the plain object."""

    def __init__(
        self,
        store: Store,
        kind: Kind,
        namespace: str | None,
        options: Options,
        form: Callable[[Object], Object] | None = None,
    ) -> None:
        self.store = store
        self.kind = kind
        self.namespace = namespace
        self.options = options
        self.form = form
        self._lines: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._plain = form is None and not options.selects()
        self._prefix = "" if namespace is None else namespace + "/"

    def check(self) -> None:
        """Refuse what is refused before the stream begins. Raises 500 for a resourceVersion that is no number."""
        version = self.options.resource_version
        if version and not version.isdigit():
            raise status.internal(wrong_version(version))

    def close(self) -> None:
        """End the stream after what is already queued."""
        self._closed = True
        self._wake.set()

    def fail(self, error: status.ApiError) -> None:
        """Send an ERROR event and end the stream."""
        self._lines.append(error_line(error))
        self.close()

    def _on_change(self, change: Change) -> None:
        if not change.key.startswith(self._prefix):
            return
        line = self._line(change)
        if line is None:
            return
        if len(self._lines) >= MAX_BACKLOG:
            self._lines.clear()
            self.close()
            return
        self._lines.append(line)
        self._wake.set()

    def _line(self, change: Change) -> bytes | None:
        if self._plain:
            return change.line(change.type)
        seen = change.seen_by(self.options.matches)
        if seen is None:
            return None
        type_, version = seen
        if self.form is None:
            return change.line(type_)
        return self._formed(type_, version.object)

    def _formed(self, type_: str, obj: Object) -> bytes:
        body = self.form(obj) if self.form else obj
        return b'{"type":"' + type_.encode() + b'","object":' + encode(body) + b"}\n"

    def _added(self, version: Version) -> bytes:
        if self.form is None:
            return b'{"type":"ADDED","object":' + version.whole() + b"}\n"
        return self._formed("ADDED", version.object)

    def _bookmark(self, initial: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(self.store.rv)}
        if initial:
            metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
        return self._formed(
            "BOOKMARK", {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        )

    def _begin(self, number: int) -> None:
        """Queue what the stream begins with; runs in one go with the registration, so that nothing is missed."""
        options, collection = self.options, self.store.collection(self.kind)
        initial = options.send_initial if options.send_initial is not None else number == 0
        if initial:
            for _, version in collection.now(self.namespace):
                if options.matches(version.object):
                    self._lines.append(self._added(version))
            if options.bookmarks and (options.send_initial or options.resource_version == "0"):
                self._lines.append(self._bookmark(initial=True))
        elif number and number < collection.floor:
            self.fail(status.expired(f"too old resource version: {number} ({collection.floor})"))
        elif number:
            for change in collection.since(number):
                self._on_change(change)

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The stream, several events in one piece where they come together."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        end = begin + (self.options.timeout or random.uniform(*DEFAULT_SECONDS))
        number = int(self.options.resource_version or 0)
        collection = self.store.collection(self.kind)
        if number > self.store.rv:
            # From the future: silent until the store gets there or the time is up (recorded transcript 08).
            if self.options.send_initial:
                # A streamed list cannot be empty in the meantime: like a list, it is refused after a while.
                await self._until(number, min(end, begin + PATIENCE))
                if self.store.rv < number:
                    yield error_line(status.too_large_resource_version(number, self.store.rv))
                    return
            else:
                await self._until(number, end)
            if self.store.rv < number:
                return
        collection.watchers.add(self._on_change)
        try:
            self._begin(number)
            due = self._bookmark_times(begin, end)
            while True:
                if self._lines:
                    yield self._piece()
                    continue
                if self._closed:
                    return
                now = loop.time()
                if now >= end:
                    return
                if due and now >= due[0]:
                    due.popleft()
                    yield self._bookmark()
                    continue
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), min(end, due[0] if due else end) - now)
                except TimeoutError:
                    pass
        finally:
            collection.watchers.discard(self._on_change)

    def _piece(self) -> bytes:
        """Lines that wait, not many at once: the beginning of a watch may be tens of megabytes."""
        if len(self._lines) <= PIECE_LINES:
            piece = b"".join(self._lines)
            self._lines.clear()
            return piece
        return b"".join(self._lines.popleft() for _ in range(PIECE_LINES))

    async def _until(self, number: int, end: float) -> None:
        """Wait for a resourceVersion, the end of the time, or the end of the watch."""
        loop = asyncio.get_running_loop()
        stop = self.store.subscribe(lambda event: self._wake.set())
        try:
            while self.store.rv < number and not self._closed and (rest := end - loop.time()) > 0:
                self._wake.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), rest)
        finally:
            stop()

    def _bookmark_times(self, begin: float, end: float) -> deque[float]:
        if not self.options.bookmarks or self.kind.kind in UNCACHED:
            return deque()
        seconds = end - begin
        times = {BOOKMARK_SECONDS * count for count in range(1, int(seconds // BOOKMARK_SECONDS) + 1)}
        # Very short watches get none (recorded transcript 12: 3 s).
        times |= {seconds - last for last in LAST_BOOKMARKS if seconds - last > LAST_BOOKMARKS[0]}
        return deque(sorted(begin + time for time in times if time < seconds))
