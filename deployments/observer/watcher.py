"""One list-and-watch: a kind, on a cluster, everywhere or in one namespace.

As the API's concepts page "Efficient detection of changes" describes it: list in pages, watch from the
list's resourceVersion, go on from the last event or bookmark, list anew after 410.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from deployments.domain.errors import ClusterError, ClusterForbids, Expired, PilothouseError
from deployments.gateways.kubernetes import ClusterClient, ResourceKind
from deployments.observer.backlog import Backlog, Gone, Listed, Upsert
from deployments.observer.leases import Held
from deployments.observer.reading import DEPLOYMENT_LABEL, EVENT, read

# Claims that a StatefulSet's controller makes carry the template's labels only, among them this one.
SELECTOR = DEPLOYMENT_LABEL
WATCH_SECONDS = 240
CONFIRM_EVERY = 5.0  # seconds; a busy watch does not confirm with each event
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0

log = logging.getLogger(__name__)
_RANDOM = random.SystemRandom()


class Backoff:
    """How long to leave a cluster alone, shared by all that watches it: doubling, with jitter."""

    def __init__(self, first: float = FIRST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        self._first, self._longest = first, longest
        self._failures = 0
        self._lock = threading.Lock()

    def failed(self, retry_after: float | None = None) -> float:
        """Seconds to wait now. A server's own wish is obeyed where it is longer."""
        with self._lock:
            self._failures = min(self._failures + 1, 16)
            pause: float = min(self._longest, self._first * 2 ** (self._failures - 1))
        return max(retry_after or 0.0, pause * _RANDOM.uniform(0.5, 1.0))

    def worked(self) -> None:
        with self._lock:
            self._failures = 0


@dataclass(frozen=True)
class Scope:
    """What one watch covers; ``namespace`` "" is everywhere."""

    kind: ResourceKind
    namespace: str = ""

    def __str__(self) -> str:
        return f"{self.kind.kind} in {self.namespace}" if self.namespace else self.kind.kind


@dataclass(frozen=True)
class Surroundings:
    """What the watches of one cluster share.

    ``verify`` asks whether this is still the same cluster, before each list and each watch: another one
    at the same address must not empty what is stored of this one. ``confirm`` is told (scope, resource
    version, whether it was a list) each time the server spoke; ``refused`` that a scope is forbidden;
    ``failed`` what else went wrong.
    """

    cluster_id: int
    lease: Held
    client: ClusterClient
    backlog: Backlog
    backoff: Backoff
    stop: threading.Event
    verify: Callable[[], str]
    confirm: Callable[[Scope, str, bool], None]
    refused: Callable[[Scope, ClusterForbids], None]
    failed: Callable[[Scope, PilothouseError], None]


class Watch(threading.Thread):
    """Runs until its own ``stop`` or the cluster's is set."""

    def __init__(self, scope: Scope, around: Surroundings) -> None:
        super().__init__(name=f"watch {around.cluster_id} {scope}", daemon=True)
        self.scope = scope
        self._around = around
        self._ended = threading.Event()
        self._version = ""
        self._confirmed: datetime | None = None

    def stop(self) -> None:
        self._ended.set()

    @property
    def _over(self) -> bool:
        return self._ended.is_set() or self._around.stop.is_set()

    def run(self) -> None:
        while not self._over:
            try:
                self._around.verify()
                if not self._version:
                    self._list()
                self._watch()
                self._around.backoff.worked()
            except Expired:
                self._version = ""
            except ClusterForbids as error:
                if not self._over:
                    self._around.refused(self.scope, error)
                self._pause(max(30.0, self._around.backoff.failed()))
            except ClusterError as error:
                if self._over:
                    return
                log.info("cluster %s: %s: %s", self._around.cluster_id, self.scope, error.sentence)
                self._around.failed(self.scope, error)
                self._pause(self._around.backoff.failed(error.retry_after))
            except Exception:
                # What an object holds must never end the watch for good: list again, later.
                log.exception("cluster %s: %s: the watch failed", self._around.cluster_id, self.scope)
                self._version = ""
                self._pause(self._around.backoff.failed())

    def _pause(self, seconds: float) -> None:
        if not self._over:
            self._ended.wait(seconds)

    @property
    def _selector(self) -> str:
        return "" if self.scope.kind == EVENT else SELECTOR

    @property
    def _field_selector(self) -> str:
        # Everybody's events of a whole cluster are too many; the warnings among them are few.
        return "type!=Normal" if self.scope.kind == EVENT and not self.scope.namespace else ""

    def _list(self) -> None:
        around, scope = self._around, self.scope
        present: set[tuple[str, str]] = set()
        version = ""
        for page in around.client.list_pages(
            scope.kind,
            scope.namespace or None,
            label_selector=self._selector,
            field_selector=self._field_selector,
        ):
            version = page.resource_version
            for item in page.items:
                seen = read(scope.kind, item)
                if seen is not None:
                    present.add((seen.namespace, seen.name))
                    around.backlog.put(Upsert(around.cluster_id, around.lease, seen))
            if self._over:
                return
        around.backlog.put(
            Listed(around.cluster_id, around.lease, scope.kind.kind, scope.namespace, frozenset(present))
        )
        self._version = version
        self._confirm(listed=True)
        around.backoff.worked()

    def _watch(self) -> None:
        around, scope = self._around, self.scope
        if self._over:
            return
        stop = _Either(self._ended, around.stop)
        for event in around.client.watch(
            scope.kind,
            scope.namespace or None,
            resource_version=self._version,
            label_selector=self._selector,
            field_selector=self._field_selector,
            # Spread out, so that the watches of a cluster do not all end at once.
            timeout_seconds=WATCH_SECONDS + _RANDOM.randrange(50),
            stop=stop,
        ):
            if event.type != "BOOKMARK":
                seen = read(scope.kind, event.object)
                if seen is not None and event.type == "DELETED":
                    around.backlog.put(
                        Gone(around.cluster_id, around.lease, seen.kind, seen.namespace, seen.name)
                    )
                elif seen is not None:
                    around.backlog.put(Upsert(around.cluster_id, around.lease, seen))
            self._version = event.resource_version or self._version
            self._confirm(always=event.type == "BOOKMARK")
        if not self._over:
            self._confirm(always=True)  # the server ended the watch in the usual way

    def _confirm(self, *, listed: bool = False, always: bool = False) -> None:
        now = timezone.now()
        due = self._confirmed is None or (now - self._confirmed).total_seconds() >= CONFIRM_EVERY
        if listed or always or due:
            self._confirmed = now
            self._around.confirm(self.scope, self._version, listed)


class _Either(threading.Event):
    """Set when one of two is."""

    def __init__(self, *events: threading.Event) -> None:
        super().__init__()
        self._events = events

    def is_set(self) -> bool:
        return any(event.is_set() for event in self._events)
