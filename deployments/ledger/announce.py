"""One line on a Redis channel for each committed change: which object, at which version. No data.

Losing a line is harmless: pages refresh on reconnecting and poll without the stream. So a broken
Redis never fails a change; it is logged, at most once a minute.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from functools import cache

import orjson
import redis
from django.conf import settings
from django.db import transaction

CHANNEL = "pilothouse:changes"

log = logging.getLogger(__name__)
_quiet = {"until": 0.0}


@cache
def _client() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


def announce(kind: str, identity: int, version: int, *, team: int | None = None) -> None:
    """Tell every open page, once the current transaction is committed.

    ``kind`` is operation, deployment, cluster, profile or list; ``team`` lets streams of other teams
    drop the line without asking the database.
    """
    announce_all([(kind, identity, version, team)])


def announce_lists(*teams: int | None) -> None:
    """Tell the pages, of these teams or where one is None of all, that what belongs on a list has changed:
    something is new, gone, or counts among others now. A page that lists what is ill, say, follows what it
    shows and cannot know what it does not."""
    announce_all([("list", 0, int(time.time() * 1000), team) for team in teams])


def announce_all(changes: Iterable[tuple[str, int, int, int | None]]) -> None:
    """Like :func:`announce` for many changes (kind, identity, version, team), in one round trip."""
    lines = [
        orjson.dumps({"o": f"{kind}:{identity}", "v": version, "t": team})
        for kind, identity, version, team in changes
    ]
    if lines:
        transaction.on_commit(lambda: _publish(lines))


def _publish(lines: Sequence[bytes]) -> None:
    if time.monotonic() < _quiet["until"]:
        return
    try:
        pipe = _client().pipeline(transaction=False)
        for line in lines:
            pipe.publish(CHANNEL, line)
        pipe.execute()
    except redis.RedisError as error:
        # Without this pause a dead Redis would cost every change a second of waiting.
        _quiet["until"] = time.monotonic() + 5
        log.warning("changes are not announced for now: %s", error)
