"""What happened to the objects of one kind: the versions, in order, that watches and later pages of a list need."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator
from typing import Any

from sandbox.encoding import encode

Object = dict[str, Any]


class Version:
    """One state of one object. Never changed; the encoded forms are made once and shared by all readers."""

    __slots__ = ("_item", "_whole", "object", "rv")

    def __init__(self, obj: Object, rv: int) -> None:
        self.object = obj
        self.rv = rv
        self._whole: bytes | None = None
        self._item: bytes | None = None

    def whole(self) -> bytes:
        """JSON with kind and apiVersion."""
        if self._whole is None:
            self._whole = encode(self.object)
        return self._whole

    def item(self) -> bytes:
        """JSON as an item of a list: without kind and apiVersion."""
        if self._item is None:
            bare = {key: value for key, value in self.object.items() if key not in ("kind", "apiVersion")}
            self._item = encode(bare)
        return self._item


class Change:
    """type: ADDED, MODIFIED or DELETED. A DELETED version is the last state under the deletion's resourceVersion."""

    __slots__ = ("_lines", "key", "old", "rv", "stamp", "type", "version")

    def __init__(self, type_: str, key: str, version: Version, old: Version | None, stamp: float) -> None:
        self.type = type_
        self.key = key
        self.version = version
        self.old = old
        self.rv = version.rv
        self.stamp = stamp
        self._lines: dict[str, bytes] = {}

    def line(self, type_: str) -> bytes:
        """The watch event as a line, seen as type_ (a selector may turn MODIFIED into ADDED or DELETED)."""
        line = self._lines.get(type_)
        if line is None:
            version = self.version
            if type_ == "DELETED" and self.type == "MODIFIED" and self.old is not None:
                version = renumbered(self.old, self.rv)
            line = b'{"type":"' + type_.encode() + b'","object":' + version.whole() + b"}\n"
            self._lines[type_] = line
        return line

    def seen_by(self, matches: Callable[[Object], bool]) -> tuple[str, Version] | None:
        """The event as somebody sees it who watches only the objects that match; None if it is none of theirs."""
        now = self.type != "DELETED" and matches(self.version.object)
        before = self.old is not None and matches(self.old.object)
        if now:
            return ("MODIFIED" if before else "ADDED"), self.version
        if before and self.old is not None:
            version = self.version if self.type == "DELETED" else renumbered(self.old, self.rv)
            return "DELETED", version
        return None


def renumbered(version: Version, rv: int) -> Version:
    """The same state under another resourceVersion."""
    obj = dict(version.object)
    obj["metadata"] = dict(obj["metadata"], resourceVersion=str(rv))
    return Version(obj, rv)


class Collection:
    """The objects of one kind in key order, with their recent past.

    `floor` is the oldest resourceVersion from which the past is complete.
    """

    def __init__(self, floor: int, limit: int, seconds: float) -> None:
        self.versions: dict[str, Version] = {}
        self.keys: list[str] = []
        self.changes: list[Change] = []
        self.watchers: set[Callable[[Change], None]] = set()
        self.floor = floor
        self._limit = limit
        self._seconds = seconds

    def record(self, change: Change) -> None:
        if change.type == "DELETED":
            del self.versions[change.key]
            del self.keys[bisect_left(self.keys, change.key)]
        else:
            if change.key not in self.versions:
                insort(self.keys, change.key)
            self.versions[change.key] = change.version
        self.changes.append(change)
        # Trimmed in chunks, since cutting the head of a list costs its length.
        if len(self.changes) > self._limit + 1000:
            self._forget(len(self.changes) - self._limit)
        elif len(self.changes) % 500 == 0:
            self.expire(change.stamp)
        for watcher in tuple(self.watchers):
            watcher(change)

    def expire(self, now: float) -> None:
        """Forget what is older than the window."""
        self._forget(bisect_left(self.changes, now - self._seconds, key=lambda change: change.stamp))

    def compact(self, rv: int) -> None:
        """Forget everything up to and including rv."""
        self._forget(bisect_right(self.changes, rv, key=lambda change: change.rv))
        self.floor = max(self.floor, rv)

    def _forget(self, count: int) -> None:
        if count > 0:
            self.floor = max(self.floor, self.changes[count - 1].rv)
            del self.changes[:count]

    def since(self, rv: int) -> list[Change]:
        return self.changes[bisect_right(self.changes, rv, key=lambda change: change.rv) :]

    def range(self, namespace: str | None) -> tuple[int, int]:
        """Where the keys of a namespace lie; all keys without one."""
        if namespace is None:
            return 0, len(self.keys)
        return bisect_left(self.keys, namespace + "/"), bisect_left(self.keys, namespace + "0")

    def now(self, namespace: str | None) -> Iterator[tuple[str, Version]]:
        start, end = self.range(namespace)
        for key in self.keys[start:end]:
            yield key, self.versions[key]

    def at(self, rv: int, namespace: str | None) -> list[tuple[str, Version]]:
        """The objects as they were at rv, which must not be below the floor."""
        later = self.since(rv)
        if not later:
            return list(self.now(namespace))
        then: dict[str, Version | None] = {}
        for change in later:
            then.setdefault(change.key, change.old)
        prefix = "" if namespace is None else namespace + "/"
        found = [(key, version) for key, version in self.now(namespace) if key not in then]
        found += [(key, old) for key, old in then.items() if old is not None and key.startswith(prefix)]
        found.sort(key=lambda entry: entry[0])
        return found
