"""All watches of one cluster, and whether the cluster answers at all.

The thread of a cluster touches no database: what it must know is handed in, what it finds goes to the
backlog. So a cluster that hangs or fails costs others nothing.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.utils import timezone

from deployments.domain.errors import ClusterError, ClusterForbids, PilothouseError
from deployments.gateways.kubernetes import ClusterClient, ClusterCredential, ResourceKind, connect
from deployments.observer.backlog import Backlog, Broken, Confirmed, Reached
from deployments.observer.leases import Held
from deployments.observer.reading import EVENT, LABELLED
from deployments.observer.watcher import Backoff, Scope, Surroundings, Watch

CHECK_EVERY = 15.0  # seconds between two questions whether the cluster answers
TICK = 1.0
MOST_EVENT_WATCHES = 20
MOST_NAMESPACES = 100

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """A cluster to watch: ``uid`` is the one first seen, "" while none is known."""

    cluster_id: int
    name: str
    uid: str
    credential: ClusterCredential
    namespaces: tuple[str, ...]


class ClusterObserver(threading.Thread):
    """Runs until :meth:`stop`. ``retarget`` hands in changed namespaces; for a changed credential
    make a new one."""

    def __init__(
        self,
        target: Target,
        lease: Held,
        backlog: Backlog,
        *,
        cache_dir: Path,
        allow_loopback: bool,
        check_every: float = CHECK_EVERY,
    ) -> None:
        super().__init__(name=f"cluster {target.cluster_id}", daemon=True)
        self.target = target
        self.lease = lease
        self._backlog = backlog
        self._cache_dir = cache_dir
        self._allow_loopback = allow_loopback
        self._check_every = check_every
        self._ended = threading.Event()
        self._suspect = threading.Event()
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._watches: dict[Scope, Watch] = {}
        self._current: dict[Scope, datetime] = {}
        self._forbidden: set[ResourceKind] = set()
        self._uid = target.uid

    def stop(self) -> None:
        self._ended.set()
        self._suspect.set()

    def retarget(self, target: Target) -> None:
        self.target = target

    def run(self) -> None:
        while not self._ended.is_set():
            try:
                with connect(
                    self.target.credential,
                    cluster_uid=self._uid,
                    cache_dir=self._cache_dir,
                    allow_loopback=self._allow_loopback,
                ) as client:
                    self._observe(client)
            except PilothouseError as error:  # a client certificate that cannot be loaded
                self._tell(error)
            except Exception:
                log.exception("cluster %s: the observation failed", self.target.name)
            self._ended.wait(self._backoff.failed())

    def _observe(self, client: ClusterClient) -> None:
        around = Surroundings(
            cluster_id=self.target.cluster_id,
            lease=self.lease,
            client=client,
            backlog=self._backlog,
            backoff=self._backoff,
            stop=self._ended,
            verify=lambda: self._verify(client),
            confirm=self._confirm,
            refused=self._refused,
            failed=self._failed,
        )
        pauses = Backoff(first=2.0)
        check_at = 0.0
        reached = False
        try:
            while not self._ended.is_set():
                now = time.monotonic()
                if now >= check_at:
                    self._suspect.clear()
                    answers = self._check(client)
                    reached = reached or answers
                    if answers:
                        pauses.worked()
                    pause = self._check_every if answers else pauses.failed()
                    check_at = time.monotonic() + pause
                if reached:
                    self._reconcile(around)
                if self._suspect.wait(TICK):
                    # A watch failed: ask now, but no more than once in two ticks.
                    self._suspect.clear()
                    self._ended.wait(TICK)
                    check_at = min(check_at, time.monotonic() + TICK)
        finally:
            for watch in self._watches.values():
                watch.stop()
            self._watches.clear()

    # -- is it there, and is it still the same one ---------------------------------------------------

    def _check(self, client: ClusterClient) -> bool:
        try:
            uid = self._verify(client)
            version = client.version()
        except ClusterError as error:
            if not self._ended.is_set():
                self._tell(error)
            return False
        self._backlog.put(
            Reached(self.target.cluster_id, self.lease, timezone.now(), uid=uid, version=version.git_version)
        )
        return True

    def _verify(self, client: ClusterClient) -> str:
        """The cluster's uid, "" where we may not ask. Raises :class:`ClusterError` for another one."""
        try:
            uid = client.cluster_uid()
        except ClusterForbids:
            return ""
        with self._lock:
            self._uid = self._uid or uid
            known = self._uid
        if uid != known:
            raise ClusterError(
                "Another cluster answers at this address: its kube-system namespace has another uid.",
                tried="compare the cluster's identity with the one first seen",
                answered=uid[:64],
                remedy="If the cluster was rebuilt, connect it again under another name; what was "
                "installed on the old one is gone.",
                retryable=False,
            )
        return uid

    def _tell(self, error: PilothouseError) -> None:
        log.info("cluster %s: %s %s", self.target.name, error.sentence, error.answered)
        words = f"{error.sentence} ({error.answered})" if error.answered else error.sentence
        self._backlog.put(
            Reached(
                self.target.cluster_id,
                self.lease,
                timezone.now(),
                error=words,
                remedy=error.remedy,
            )
        )

    # -- which watches there should be ---------------------------------------------------------------

    def _scopes(self) -> set[Scope]:
        spaces = self.target.namespaces[:MOST_NAMESPACES]
        found: set[Scope] = set()
        for kind in LABELLED:
            if kind in self._forbidden:
                found |= {Scope(kind, space) for space in spaces}
            else:
                found.add(Scope(kind))
        if len(spaces) <= MOST_EVENT_WATCHES or EVENT in self._forbidden:
            found |= {Scope(EVENT, space) for space in spaces}
        else:
            found.add(Scope(EVENT))
        return found

    def _reconcile(self, around: Surroundings) -> None:
        with self._lock:
            wanted = self._scopes()
        for scope in set(self._watches) - wanted:
            self._watches.pop(scope).stop()
            with self._lock:
                self._current.pop(scope, None)
        for scope in wanted - set(self._watches):
            watch = Watch(scope, around)
            self._watches[scope] = watch
            watch.start()

    # -- what the watches say ------------------------------------------------------------------------

    def _confirm(self, scope: Scope, version: str, listed: bool) -> None:
        """A kind is as current as the least current of its watches."""
        with self._lock:
            self._current[scope] = timezone.now()
            needed = [other for other in self._scopes() if other.kind == scope.kind]
            if scope not in needed or any(other not in self._current for other in needed):
                return
            at = min(self._current[other] for other in needed)
        self._backlog.put(Confirmed(self.target.cluster_id, self.lease, scope.kind.kind, at, version, listed))

    def _refused(self, scope: Scope, error: ClusterForbids) -> None:
        if not scope.namespace:
            log.info("cluster %s: %s only by namespace", self.target.name, scope)
            with self._lock:
                self._forbidden.add(scope.kind)
            self._suspect.set()
            return
        self._failed(scope, error)

    def _failed(self, scope: Scope, error: PilothouseError) -> None:
        self._backlog.put(
            Broken(self.target.cluster_id, self.lease, scope.kind.kind, f"{scope}: {error.sentence}")
        )
        self._suspect.set()
