"""Logs on their way from a cluster to browsers.

A followed log is read as fast as it may be and kept for its reader in a ring of lines: whoever cannot
take them in time is told how many he missed. Nothing grows with the size of a log or of a line.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import orjson
from django.utils import translation

from dashboard.streams import Stream, checker
from deployments.domain.errors import InvalidInput, PilothouseError
from deployments.domain.loglines import LineSplitter, LogLine, Place, parse
from deployments.gateways.kubernetes import LogQuery, open_log
from deployments.selectors.pods import LogSource
from deployments.sentences import said

MOST_PER_PERSON = 4  # of one process; a browser has six connections to a host, one is the page's own
MOST_LINES = 5000  # that wait for one reader
MOST_BYTES = 2 * 1024 * 1024
HEARTBEAT = 15.0  # seconds
LONGEST_STREAM = 3600.0  # seconds; the browser then goes on where it was
SECONDS_A_LINE = 1 / 20_000  # what reading one line may cost this process, at most
SECONDS_A_BYTE = 1 / 50_000_000
LEAST_SLEEP = 0.02  # seconds; a shorter sleep costs more than it is worth
PAUSE = 0.1  # between two messages to one browser
LINES_A_SECOND = 5000  # that a browser is given

log = logging.getLogger(__name__)


class Pace:
    """Lets others have their turn, so that no log takes all of this process: what reading has cost is
    slept off, a little at a time."""

    def __init__(self) -> None:
        self._owed = 0.0

    async def keep(self, lines: int, size: int) -> None:
        """Note what was read: so many lines, so many bytes."""
        self._owed += lines * SECONDS_A_LINE + size * SECONDS_A_BYTE
        if self._owed > LEAST_SLEEP:
            owed, self._owed = self._owed, 0.0
            await asyncio.sleep(owed)


@dataclass(eq=False)
class LogStream(Stream):
    """One reader of one log. ``place`` is where he is."""

    place: Place = field(default_factory=Place)
    ring: deque[LogLine] = field(default_factory=deque)
    bytes: int = 0
    missed: int = 0
    opened: bool = False
    told_open: bool = False
    outcome: dict[str, Any] | None = None

    def put(self, line: LogLine) -> None:
        """Keep a line for the reader; the oldest make room."""
        self.ring.append(line)
        self.bytes += len(line.text) + 64
        while len(self.ring) > MOST_LINES or self.bytes > MOST_BYTES:
            self.bytes -= len(self.ring.popleft().text) + 64
            self.missed += 1
        self._ready.set()

    def tell(self, outcome: dict[str, Any] | None = None) -> None:
        """Note that the log was opened, or how it ended."""
        if outcome is None:
            self.opened = True
        else:
            self.outcome = outcome
        self._ready.set()

    async def wait(self, seconds: float) -> None:
        """Until there is something to say, ``seconds`` at most."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds)
        except TimeoutError:
            return
        self._ready.clear()

    def take_lines(self) -> tuple[list[LogLine], int]:
        """The lines that wait, and how many before them were missed."""
        lines, missed = list(self.ring), self.missed
        self.ring.clear()
        self.bytes = self.missed = 0
        for line in lines:
            self.place.pass_to(line)
        return lines, missed


class Desk:
    """Counts who reads how many logs, on one event loop."""

    def __init__(self) -> None:
        self._open: set[Stream] = set()

    def admit(self, stream: Stream) -> bool:
        """Whether its reader may have one more; if so, his rights are watched until :meth:`dismiss`."""
        self._open = {each for each in self._open if not each.ended}
        if sum(each.actor.user_id == stream.actor.user_id for each in self._open) >= MOST_PER_PERSON:
            return False
        self._open.add(stream)
        checker().watch(stream)
        return True

    def dismiss(self, stream: Stream) -> None:
        self._open.discard(stream)
        checker().forget(stream)


_desks: WeakKeyDictionary[asyncio.AbstractEventLoop, Desk] = WeakKeyDictionary()


def desk() -> Desk:
    """The desk of the running event loop."""
    return _desks.setdefault(asyncio.get_running_loop(), Desk())


def query_of(source: LogSource, **wanted: Any) -> LogQuery:
    return LogQuery(source.namespace, source.pod, source.container, **wanted)


async def messages(stream: LogStream, source: LogSource, query: LogQuery) -> AsyncIterator[bytes]:
    """Server-sent events until the log or the reader's right ends:

    ``open``     the cluster answered
    ``lines``    {"lines": [[stamp, text, bytes cut, mark], ...], "missed": n}; the id is the place
    ``problem``  {"sentence", "answered", "remedy", "retryable"}: there is no (more) log, and why
    ``end``      {"again": bool}: the container ended or the stream is old; whether to ask again
    """
    stream.started = True
    language = translation.get_language()
    # Of its own context: it must not carry the request's.
    pump = asyncio.get_running_loop().create_task(_pump(stream, source, query), context=Context())
    try:
        yield b": log\n\n"
        while not stream.ended:
            await stream.wait(HEARTBEAT)
            if stream.ended:
                return
            if stream.opened and not stream.told_open:
                stream.told_open = True
                yield _message("open", {})
            finished = stream.outcome
            lines, missed = stream.take_lines()
            if lines or missed:
                shown = [[line.stamp, line.text, line.cut, line.mark] for line in lines]
                yield _message("lines", {"lines": shown, "missed": missed}, str(stream.place))
                await asyncio.sleep(PAUSE + len(lines) / LINES_A_SECOND)
            elif finished is None:
                yield b":\n\n"
            if finished is not None and not stream.ring:
                with translation.override(language):
                    ended = _message(finished["event"], spoken(finished["data"]))
                yield ended
                return
    finally:
        desk().dismiss(stream)
        pump.cancel()
        await asyncio.gather(pump, return_exceptions=True)


def _message(event: str, data: dict[str, Any], place: str = "") -> bytes:
    identity = f"id: {place}\n".encode() if place else b""
    return b"event: " + event.encode() + b"\n" + identity + b"data: " + orjson.dumps(data) + b"\n\n"


async def _pump(stream: LogStream, source: LogSource, query: LogQuery) -> None:
    """Read the log into the ring."""
    splitter, has, pace = LineSplitter(), stream.place.known(), Pace()
    try:
        async with asyncio.timeout(LONGEST_STREAM):
            async with open_log(source.credential, query, allow_loopback=source.allow_loopback) as opened:
                stream.tell()
                async for piece in opened.pieces():
                    lines = [parse(raw) for raw in splitter.feed(piece)]
                    for line in lines:
                        if not has(line):
                            stream.put(line)
                    await pace.keep(len(lines), len(piece))
        rest = splitter.rest()
        if rest is not None and not has(line := parse(rest)):
            stream.put(line)
        stream.tell({"event": "end", "data": {"again": query.follow}})
    except TimeoutError:
        stream.tell({"event": "end", "data": {"again": query.follow}})
    except PilothouseError as error:
        stream.tell({"event": "problem", "data": problem(error)})
    except Exception:
        log.exception("a log could not be read")
        stream.tell(
            {
                "event": "problem",
                "data": {"sentence": "Something went wrong while the log was read.", "retryable": False},
            }
        )


def problem(error: PilothouseError) -> dict[str, Any]:
    """A refusal as the page shows it."""
    return {
        "sentence": error.sentence,
        "answered": error.answered,
        "remedy": error.remedy,
        "retryable": error.retryable,
    }


def spoken(data: dict[str, Any]) -> dict[str, Any]:
    """What is told of the end of a log, in the reader's language."""
    return {name: said(value) if isinstance(value, str) else value for name, value in data.items()}


@dataclass(frozen=True)
class Tail:
    """The end of a log. ``whole`` False: reading it took too long, and it stops somewhere before its end."""

    lines: list[LogLine]
    missed: int
    whole: bool


async def tail_of(stream: LogStream, source: LogSource, query: LogQuery, seconds: float) -> Tail:
    """The last lines, as many as are kept for a reader, read within ``seconds``. Raises what
    :func:`open_log` raises."""
    if query.follow:
        raise InvalidInput("A tail is not followed.")
    splitter, pace, whole = LineSplitter(), Pace(), True
    try:
        async with asyncio.timeout(seconds):
            async with open_log(source.credential, query, allow_loopback=source.allow_loopback) as opened:
                async for piece in opened.pieces():
                    lines = [parse(raw) for raw in splitter.feed(piece)]
                    for line in lines:
                        stream.put(line)
                    await pace.keep(len(lines), len(piece))
    except TimeoutError:
        whole = False
    rest = splitter.rest()
    if rest is not None:
        stream.put(parse(rest))
    return Tail(*stream.take_lines(), whole)


async def pieces(stream: Stream, source: LogSource, query: LogQuery) -> AsyncIterator[bytes]:
    """The log as it is, byte by byte, for a file. The first piece is always b"", once the cluster has
    agreed: what it refuses is raised before. A file that breaks off says so in its last line."""
    stream.started = True
    try:
        async with open_log(source.credential, query, allow_loopback=source.allow_loopback) as opened:
            yield b""
            try:
                async for piece in opened.pieces():
                    if stream.ended:
                        yield b"\n[The download broke off here: you may no longer read this log.]\n"
                        return
                    yield piece
            except PilothouseError as error:
                yield f"\n[The download broke off here: {error.sentence}]\n".encode()
    finally:
        desk().dismiss(stream)
