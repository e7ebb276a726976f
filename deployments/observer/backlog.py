"""What the watchers have seen and the writer has not written yet.

The newest state of an object replaces an older one that still waits, so a cluster in turmoil costs
memory and writes by its number of objects, not of events. A watcher that is too fast waits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime

from deployments.observer.leases import Held
from deployments.observer.podsums import NodeSum
from deployments.observer.reading import Kept
from deployments.observer.scopes import Scope

# What waits is memory: some three KB an object. A list of a large cluster goes through in portions.
MOST = 1_200


@dataclass(frozen=True)
class Upsert:
    """An object is there."""

    cluster_id: int
    lease: Held
    seen: Kept

    @property
    def key(self) -> Hashable:
        return ("object", self.cluster_id, self.seen.kind, self.seen.namespace, self.seen.name)


@dataclass(frozen=True)
class Gone:
    """An object is no longer there."""

    cluster_id: int
    lease: Held
    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> Hashable:
        return ("object", self.cluster_id, self.kind, self.namespace, self.name)


@dataclass(frozen=True)
class Listed:
    """A list is complete: of what ``scope`` covers, nothing but ``present`` (namespace, name) is there."""

    cluster_id: int
    lease: Held
    scope: Scope
    present: frozenset[tuple[str, str]]

    @property
    def key(self) -> Hashable:
        return ("list", self.cluster_id, self.scope)


@dataclass(frozen=True)
class Summed:
    """What the pods of a node hold of it."""

    cluster_id: int
    lease: Held
    sum: NodeSum

    @property
    def key(self) -> Hashable:
        return ("summed", self.cluster_id, self.sum.node)


@dataclass(frozen=True)
class Unlisted:
    """What ``scope`` covers may not be listed: what was stored of it is not known any more."""

    cluster_id: int
    lease: Held
    scope: Scope
    error: str

    @property
    def key(self) -> Hashable:
        return ("unlisted", self.cluster_id, self.scope)


@dataclass(frozen=True)
class Confirmed:
    """All watches of ``kind`` were current at ``at``; ``listed`` where one was listed anew.
    ``cluster_wide`` is False where only some namespaces are watched."""

    cluster_id: int
    lease: Held
    kind: str
    at: datetime
    resource_version: str
    listed: bool = False
    cluster_wide: bool = True

    @property
    def key(self) -> Hashable:
        return ("confirmed", self.cluster_id, self.kind, self.listed)


@dataclass(frozen=True)
class Broken:
    """A watch of ``kind`` does not work for now."""

    cluster_id: int
    lease: Held
    kind: str
    error: str

    @property
    def key(self) -> Hashable:
        return ("broken", self.cluster_id, self.kind)


@dataclass(frozen=True)
class Reached:
    """The cluster answered, or failed to: ``error`` and ``remedy`` say how, "" where all is well.
    ``uid`` and ``version`` are "" where they were not asked. ``foreign_uid`` is the one of another
    cluster that answers in its place; ``clock_ahead`` is in seconds, None where it was not seen."""

    cluster_id: int
    lease: Held
    at: datetime
    uid: str = ""
    version: str = ""
    error: str = ""
    remedy: str = ""
    foreign_uid: str = ""
    clock_ahead: float | None = None

    @property
    def key(self) -> Hashable:
        return ("reached", self.cluster_id)


Change = Upsert | Gone | Listed | Summed | Unlisted | Confirmed | Broken | Reached


class Backlog:
    """A bounded queue in which a newer change replaces an older one with the same key.

    The newer one goes to the end, so that what was said first is also written first: a list that
    ends after an object was deleted must not be overtaken by the object's next life.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._changes: OrderedDict[Hashable, Change] = OrderedDict()
        self._condition = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._changes)

    def put(self, change: Change) -> None:
        """Add a change; waits while the queue is full. Dropped once the queue is closed."""
        with self._condition:
            key = change.key
            while len(self._changes) >= self._most and not self._closed and key not in self._changes:
                self._condition.wait(1.0)
            if self._closed:
                return
            self._changes.pop(key, None)
            self._changes[key] = change
            self._condition.notify_all()

    def take(self, most: int, seconds: float) -> list[Change]:
        """Up to ``most`` changes in order; waits up to ``seconds`` for the first one."""
        with self._condition:
            if not self._changes and not self._closed:
                self._condition.wait(seconds)
            taken: list[Change] = []
            while self._changes and len(taken) < most:
                taken.append(self._changes.popitem(last=False)[1])
            self._condition.notify_all()
            return taken

    def give_back(self, changes: list[Change]) -> None:
        """Put back what could not be written, unless something newer has come for it."""
        with self._condition:
            for change in reversed(changes):
                if change.key not in self._changes:
                    self._changes[change.key] = change
                    self._changes.move_to_end(change.key, last=False)
            self._condition.notify_all()

    def close(self) -> None:
        """Wake everybody up; nothing is taken in any more."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()
