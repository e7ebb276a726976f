"""One reader of the changes' channel for all event streams of this process, and one checker of rights.

A stream gets the lines that concern its teams. Whoever loses a role, the session or the account loses
the stream within five seconds; the browser then asks again and gets what he may see now.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import orjson
import redis.asyncio
from django.conf import settings
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connections
from django.utils import timezone
from redis.exceptions import RedisError

from deployments.domain.actors import Actor
from deployments.ledger.announce import CHANNEL
from deployments.selectors.standing import Standing, standings

CHECK_EVERY = 3.0  # seconds
PING_AFTER = 5.0  # seconds in which Redis said nothing
DEAF_AFTER = 15.0  # seconds; by then it would have answered
MOST_STREAMS = 2000  # of one process
QUEUE = 100  # lines that wait for one slow reader
SITE_WIDE = frozenset({"cluster", "gpus", "list"})
REFRESH = b"event: refresh\ndata: {}\n\n"

log = logging.getLogger(__name__)


class Unavailable(Exception):
    """There is no stream now: the page polls."""


@dataclass(eq=False)
class Stream:
    """One open page. Lines wait in a bounded queue; where they do not fit, the page is told to ask for
    everything once instead."""

    actor: Actor
    session_key: str
    session_hash: str
    started: bool = False
    checks: int = 0
    ended: bool = False
    _lines: deque[bytes] = field(default_factory=deque)
    _ready: asyncio.Event = field(default_factory=asyncio.Event)

    def concerns(self, kind: str, team: object) -> bool:
        """Whether a line about an object of ``kind`` that belongs to ``team`` is this reader's."""
        if self.actor.sees_everything:
            return True
        return kind in SITE_WIDE if team is None else team in self.actor.roles

    def offer(self, line: bytes) -> None:
        if len(self._lines) >= QUEUE:
            self._lines.clear()
            line = REFRESH
        self._lines.append(line)
        self._ready.set()

    def end(self) -> None:
        self.ended = True
        self._ready.set()

    async def take(self, seconds: float) -> bytes | None:
        """The lines that wait, joined; b"" after ``seconds`` without one, None at the end."""
        try:
            await asyncio.wait_for(self._ready.wait(), seconds)
        except TimeoutError:
            return b""
        if self.ended:
            return None
        self._ready.clear()
        lines = b"".join(self._lines)
        self._lines.clear()
        return lines


class Checker:
    """Looks every few seconds whether those who read streams on one event loop still may."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._task: asyncio.Task[None] | None = None

    def watch(self, stream: Stream) -> None:
        """``stream`` is ended when its reader loses a role, the session or the account."""
        self._streams.add(stream)
        if self._task is None or self._task.done():
            # A task of its own context: it outlives the request that happened to start it.
            self._task = asyncio.get_running_loop().create_task(self._check(), context=Context())

    def forget(self, stream: Stream) -> None:
        self._streams.discard(stream)

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1, "stream-rights") as executor:
            while self._streams:
                await asyncio.sleep(CHECK_EVERY)
                streams = list(self._streams)
                try:
                    found = await loop.run_in_executor(executor, _standing_of, streams)
                except DatabaseError as error:
                    log.warning("rights cannot be checked, so all streams end: %s", error)
                    for stream in self._streams:
                        stream.end()
                    self._streams.clear()
                    return
                for stream in streams:
                    self._judge(stream, *found)

    def _judge(self, stream: Stream, sessions: set[str], people: dict[int, Standing]) -> None:
        stream.checks += 1
        now = people.get(stream.actor.user_id or 0)
        left = stream.checks > 5 and not stream.started  # gone before the first byte
        if (
            left
            or now is None
            or stream.session_key not in sessions
            or now.session_hash != stream.session_hash
            or not _keeps(stream.actor, now)
        ):
            stream.end()
            self._streams.discard(stream)
            return
        stream.actor = Actor(
            user_id=stream.actor.user_id,
            name=stream.actor.name,
            source=stream.actor.source,
            site_role=now.site_role,
            roles=now.roles,
        )


class Hub:
    """The streams of changes of one event loop."""

    def __init__(self) -> None:
        self._streams: set[Stream] = set()
        self._reader: asyncio.Task[None] | None = None
        self._joining = asyncio.Lock()

    async def join(self, stream: Stream) -> None:
        """Raises :class:`Unavailable` where Redis does not answer or there are too many streams."""
        if len(self._streams) >= MOST_STREAMS:
            raise Unavailable("too many streams are open")
        async with self._joining:
            if self._reader is None:
                await self._connect()
            self._streams.add(stream)
            checker().watch(stream)

    def leave(self, stream: Stream) -> None:
        self._streams.discard(stream)
        checker().forget(stream)

    async def _connect(self) -> None:
        client = redis.asyncio.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=1, socket_timeout=5)
        channel = client.pubsub()
        try:
            await channel.subscribe(CHANNEL)
            if await channel.get_message(timeout=1.0) is None:
                raise Unavailable("Redis does not confirm the subscription")
        except (RedisError, OSError, Unavailable) as error:
            await _close(channel, client)
            raise Unavailable(str(error)) from error
        # A task of its own context: it outlives the request that happened to start it.
        loop = asyncio.get_running_loop()
        self._reader = loop.create_task(self._read(channel, client), context=Context())

    async def _read(self, channel: redis.asyncio.client.PubSub, client: redis.asyncio.Redis) -> None:
        clock = asyncio.get_running_loop().time
        heard = asked = clock()
        try:
            while self._streams or self._joining.locked():
                message = await channel.get_message(timeout=min(1.0, PING_AFTER))
                if message is not None:
                    heard = clock()
                    if message.get("type") == "message":
                        self._spread(message["data"])
                elif clock() - heard > DEAF_AFTER:
                    raise redis.exceptions.TimeoutError(f"nothing was said for {DEAF_AFTER:g} s")
                elif clock() - max(heard, asked) > PING_AFTER:
                    # A connection that died without a word looks like one on which nothing happens.
                    asked = clock()
                    await channel.ping()
                self._streams -= {stream for stream in self._streams if stream.ended}
        except (RedisError, OSError) as error:
            log.warning("changes cannot be read for now: %s", error)
        finally:
            self._end_all()
            await _close(channel, client)

    def _spread(self, data: bytes) -> None:
        try:
            line = orjson.loads(data)
            about, version, team = str(line["o"]), int(line["v"]), line.get("t")
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError):
            log.warning("a line on the channel %s is not one of ours", CHANNEL)
            return
        kind = about.partition(":")[0]
        event = b"data: " + orjson.dumps({"o": about, "v": version}) + b"\n\n"
        for stream in self._streams:
            if stream.concerns(kind, team):
                stream.offer(event)

    def _end_all(self) -> None:
        for stream in self._streams:
            stream.end()
            checker().forget(stream)
        self._streams.clear()
        self._reader = None


def _keeps(actor: Actor, now: Standing) -> bool:
    """Whether somebody still has every role that the stream was opened with, or gained some."""
    return actor.site_role == now.site_role and all(
        team in now.roles and now.roles[team].rank >= role.rank for team, role in actor.roles.items()
    )


def _standing_of(streams: list[Stream]) -> tuple[set[str], dict[int, Standing]]:
    """Two answers from the database; run in the checker's thread, which keeps no connection."""
    try:
        sessions = set(
            Session.objects.filter(
                session_key__in={stream.session_key for stream in streams}, expire_date__gt=timezone.now()
            ).values_list("session_key", flat=True)
        )
        return sessions, standings({stream.actor.user_id or 0 for stream in streams})
    finally:
        connections.close_all()


async def _close(channel: redis.asyncio.client.PubSub, client: redis.asyncio.Redis) -> None:
    try:
        await channel.aclose()
        await client.aclose()
    except (RedisError, OSError) as error:
        log.debug("closing the channel: %s", error)


_hubs: WeakKeyDictionary[asyncio.AbstractEventLoop, Hub] = WeakKeyDictionary()
_checkers: WeakKeyDictionary[asyncio.AbstractEventLoop, Checker] = WeakKeyDictionary()


def hub() -> Hub:
    """The hub of the running event loop: one a process, as the server runs one loop."""
    return _hubs.setdefault(asyncio.get_running_loop(), Hub())


def checker() -> Checker:
    """The checker of the running event loop, for every kind of stream."""
    return _checkers.setdefault(asyncio.get_running_loop(), Checker())
