"""One list-and-watch of one scope of a cluster.

As the API's concepts page "Efficient detection of changes" describes it: list, in pages or as a stream
where the server has streaming lists, watch from the list's resourceVersion, go on from the last event
or bookmark, list anew after 410.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.domain.errors import (
    ClusterError,
    ClusterForbids,
    Expired,
    PilothouseError,
    RightMissing,
    WatchBroken,
    WatchSilent,
)
from deployments.gateways.kubernetes import ClusterClient
from deployments.observer.backoff import RANDOM, Backoff
from deployments.observer.intake import Intake
from deployments.observer.scopes import Scope

WATCH_SECONDS = 240
# A bookmark comes about once a minute (recorded transcript 12), but none of events, and none that is later
# than where the watch began of a kind that nobody changes. So after this silence only a list tells whether
# all is as it was or the connection is dead; well before what is known counts as old.
SILENT_SECONDS = 90.0
CONFIRM_EVERY = 5.0  # seconds; a busy watch does not confirm with each event
# Whatever was missed on the way, however that was, is found after so long.
LIST_AGAIN_AFTER = 3600.0
DENIED_AGAIN = 3.0  # seconds
SHORTEST = 1.0  # seconds from the beginning of one watch to the next

log = logging.getLogger(__name__)


@dataclass
class Server:
    """What is found out about the API server while talking to it."""

    version: str = ""
    streams_lists: bool = False


@dataclass(frozen=True)
class Surroundings:
    """What the watches of one cluster share.

    ``verify`` asks whether this is still the same cluster, before each list and each watch: another one
    at the same address must not empty what is stored of this one. ``confirm`` is told (scope, resource
    version, whether it was a list) each time the server spoke; ``refused`` that a scope is forbidden;
    ``failed`` what else went wrong.
    """

    cluster_id: int
    client: ClusterClient
    intake: Intake
    backoff: Backoff
    stop: threading.Event
    verify: Callable[[], str]
    confirm: Callable[[Scope, str, bool], None]
    refused: Callable[[Scope, ClusterForbids], None]
    failed: Callable[[Scope, PilothouseError], None]
    server: Server = field(default_factory=Server)
    silent_seconds: float = SILENT_SECONDS


class Watch(threading.Thread):
    """Runs until its own ``stop`` or the cluster's is set."""

    def __init__(self, scope: Scope, around: Surroundings) -> None:
        super().__init__(name=f"watch {around.cluster_id} {scope}", daemon=True)
        self.scope = scope
        self._around = around
        self._ended = threading.Event()
        self._version = ""
        self._confirmed: float | None = None  # by the monotonic clock
        self._in_vain = 0  # watches in a row that told nothing
        self._list_again = 0.0
        self._denied = False  # a right was missing when it was last asked for
        # Apart from the cluster's own, which every other watch that works sets back.
        self._pauses = Backoff()

    def stop(self) -> None:
        self._ended.set()

    @property
    def _over(self) -> bool:
        return self._ended.is_set() or self._around.stop.is_set()

    def run(self) -> None:
        while not self._over:
            try:
                self._around.verify()
                if time.monotonic() >= self._list_again:
                    self._version = ""
                if not self._version and not self._around.server.streams_lists:
                    self._list()
                self._watch()
                self._around.backoff.worked()
            except Expired:
                self._version = ""
                self._pause(self._pauses.failed())  # it may forget at once what it has just listed
            except WatchSilent:
                log.debug("cluster %s: %s: nothing was heard", self._around.cluster_id, self.scope)
                if self._version:
                    self._version = ""
                else:
                    self._doubt()
            except ClusterForbids as error:
                if isinstance(error, RightMissing) and not self._denied:
                    # A server that has just started has yet to read its roles, and what may not be
                    # listed is forgotten.
                    self._denied = True
                    self._pause(DENIED_AGAIN)
                    continue
                if not self._over:
                    self._around.refused(self.scope, error)
                self._pause(max(30.0, self._around.backoff.failed()))
            except ClusterError as error:
                if self._over:
                    return
                if not self._version and error.status in (400, 422) and self._around.server.streams_lists:
                    self._around.server.streams_lists = False
                    continue
                log.info("cluster %s: %s: %s", self._around.cluster_id, self.scope, error.sentence)
                self._around.failed(self.scope, error)
                pause = self._around.backoff.failed(error.retry_after)
                if isinstance(error, WatchBroken) or error.status not in (None, 429):
                    self._doubt()
                    pause = max(pause, self._pauses.failed())
                self._pause(pause)
            except Exception:
                # What an object holds must never end the watch for good: list again, later.
                log.exception("cluster %s: %s: the watch failed", self._around.cluster_id, self.scope)
                self._version = ""
                self._pause(self._around.backoff.failed())

    def _doubt(self) -> None:
        """Before an event that cannot be read nothing else is ever heard: the second time in a row it is
        listed anew; a list that was to come as a stream then comes in pages."""
        self._in_vain += 1
        if self._in_vain > 1:
            if not self._version:
                self._around.server.streams_lists = False
            self._in_vain, self._version = 0, ""

    def _pause(self, seconds: float) -> None:
        if not self._over:
            self._ended.wait(seconds)

    def _list(self) -> None:
        around, scope = self._around, self.scope
        around.intake.begin(scope)
        version = ""
        for page in around.client.list_pages(
            scope.kind,
            scope.namespace or None,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
        ):
            version = page.resource_version
            for item in page.items:
                around.intake.put(scope, item)
            page.items.clear()
            if self._over:
                return
        self._listed(version)

    def _listed(self, version: str) -> None:
        self._around.intake.end(self.scope)
        self._version, self._denied = version, False
        self._list_again = time.monotonic() + LIST_AGAIN_AFTER * RANDOM.uniform(0.8, 1.2)
        self._confirm(listed=True)
        self._around.backoff.worked()

    def _watch(self) -> None:
        around, scope = self._around, self.scope
        if self._over:
            return
        listing, heard, began = not self._version, False, time.monotonic()
        if listing:
            around.intake.begin(scope)
        for event in around.client.watch(
            scope.kind,
            scope.namespace or None,
            resource_version=self._version,
            label_selector=scope.label_selector,
            field_selector=scope.field_selector,
            # Spread out, so that the watches of a cluster do not all end at once.
            timeout_seconds=WATCH_SECONDS + RANDOM.randrange(50),
            stop=_Either(self._ended, around.stop),
            initial_events=listing,
            silent_seconds=around.silent_seconds,
        ):
            heard, self._denied = True, False
            if event.type == "DELETED":
                around.intake.drop(scope, event.object)
            elif event.type in ("ADDED", "MODIFIED"):
                around.intake.put(scope, event.object)
            elif listing and event.ends_initial:
                listing = False
                self._listed(event.resource_version)
            if not listing:
                self._in_vain = 0
                self._version = event.resource_version or self._version
                self._confirm(always=event.type == "BOOKMARK")
        if self._over:
            return
        lasted = time.monotonic() - began
        if listing or (not heard and lasted < SHORTEST):
            # Nothing was said that would show this to be how things are.
            raise WatchBroken("The watch ended before it told anything.")
        self._confirm(always=True)  # the server ended the watch in the usual way
        self._in_vain = 0
        self._pauses.worked()
        self._pause(SHORTEST - lasted)

    def _confirm(self, *, listed: bool = False, always: bool = False) -> None:
        now = time.monotonic()
        due = self._confirmed is None or now - self._confirmed >= CONFIRM_EVERY
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
