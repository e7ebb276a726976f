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

from deployments.domain.errors import ClusterError, ClusterForbids, PilothouseError, not_listed
from deployments.gateways.kubernetes import (
    ClusterClient,
    ClusterCredential,
    ResourceKind,
    ServerVersion,
    connect,
)
from deployments.observer.backlog import Backlog, Broken, Confirmed, Reached, Unlisted
from deployments.observer.backoff import Backoff
from deployments.observer.intake import Intake
from deployments.observer.leases import Held
from deployments.observer.reading import EVENT
from deployments.observer.scopes import NODE_EVENTS, Scope, everywhere, optional, wanted
from deployments.observer.watcher import Server, Surroundings, Watch

CHECK_EVERY = 15.0  # seconds between two questions whether the cluster answers
# A server that takes this long to say its version or its identity is as good as gone, whatever its
# connections say.
ANSWERS_WITHIN = 10.0  # seconds
TICK = 1.0  # also the least time between two sums of one node
# Rights are granted later, too; an expensive way round is not kept for ever.
FORBIDDEN_AGAIN = 300.0
# Kubernetes documentation, feature gate WatchList: on by default from 1.34 on.
STREAMS_LISTS = (1, 34)

log = logging.getLogger(__name__)


class ForeignCluster(ClusterError):
    """Another cluster answers at the address of the one that is watched; ``uid`` is its own."""

    def __init__(self, uid: str) -> None:
        super().__init__(
            "Another cluster answers at this address: its kube-system namespace has another uid.",
            tried="compare the cluster's identity with the one first seen",
            answered=uid[:64],
            remedy="If the cluster was rebuilt, connect it again under another name; what was "
            "installed on the old one is gone.",
            retryable=False,
        )
        self.uid = uid


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
        answers_within: float = ANSWERS_WITHIN,
    ) -> None:
        super().__init__(name=f"cluster {target.cluster_id}", daemon=True)
        self.target = target
        self.lease = lease
        self._backlog = backlog
        self._cache_dir = cache_dir
        self._allow_loopback = allow_loopback
        self._check_every = check_every
        self._answers_within = answers_within
        self._ended = threading.Event()
        self._suspect = threading.Event()
        self._backoff = Backoff()
        self._lock = threading.Lock()
        self._watches: dict[Scope, Watch] = {}
        self._current: dict[Scope, datetime] = {}
        self._versions: dict[ResourceKind, str] = {}
        self._listed: set[ResourceKind] = set()  # and not told yet
        self._forbidden: dict[Scope, float] = {}  # when to ask again
        self._uid = target.uid
        self._server = Server()

    def stop(self) -> None:
        self._ended.set()
        self._suspect.set()

    def retarget(self, target: Target) -> None:
        self.target = target

    @property
    def listed(self) -> bool:
        """Whether everything that it watches was listed once."""
        with self._lock:
            return bool(self._current) and all(scope in self._current for scope in self._scopes())

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
        intake = Intake(self.target.cluster_id, self.lease, self._backlog)
        around = Surroundings(
            cluster_id=self.target.cluster_id,
            client=client,
            intake=intake,
            backoff=self._backoff,
            stop=self._ended,
            verify=lambda: self._verify(client),
            confirm=self._confirm,
            refused=self._refused,
            failed=self._failed,
            server=self._server,
        )
        # One that is gone is asked no less often than one that is there: its page says that it is gone.
        pauses = Backoff(first=2.0, longest=self._check_every)
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
                    self._ask_again(client)
                    self._reconcile(around)
                    intake.tell_sums()
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
            version = client.version(within=self._answers_within)
            uid = self._verify(client)
        except ClusterError as error:
            if not self._ended.is_set():
                self._tell(error)
            return False
        self._knows(version)
        self._backlog.put(
            Reached(
                self.target.cluster_id,
                self.lease,
                timezone.now(),
                uid=uid,
                version=version.git_version,
                clock_ahead=version.clock_ahead,
            )
        )
        return True

    def _knows(self, version: ServerVersion) -> None:
        """What the server can do, by its version; the first time, and after an upgrade."""
        if version.git_version != self._server.version:
            self._server.version = version.git_version
            self._server.streams_lists = (version.major, version.minor) >= STREAMS_LISTS

    def _verify(self, client: ClusterClient) -> str:
        """The cluster's uid, "" where we may not ask. Raises :class:`ClusterError` for another one."""
        try:
            uid = client.cluster_uid(within=self._answers_within)
        except ClusterForbids:
            return ""
        with self._lock:
            self._uid = self._uid or uid
            known = self._uid
        if uid != known:
            raise ForeignCluster(uid)
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
                foreign_uid=error.uid if isinstance(error, ForeignCluster) else "",
            )
        )

    # -- which watches there should be ---------------------------------------------------------------

    def _scopes(self) -> set[Scope]:
        return wanted(self.target.namespaces, self._forbidden)

    def _ask_again(self, client: ClusterClient) -> None:
        """Rights that were missing may have been granted since."""
        now = time.monotonic()
        with self._lock:
            due = [scope for scope, at in self._forbidden.items() if now >= at]
        for scope in due:
            try:
                next(client.list_pages(scope.kind, field_selector=scope.field_selector, page_size=1))
            except ClusterError:
                with self._lock:
                    self._forbidden[scope] = now + FORBIDDEN_AGAIN
            else:
                with self._lock:
                    self._forbidden.pop(scope, None)

    def _reconcile(self, around: Surroundings) -> None:
        with self._lock:
            scopes = self._scopes()
        for scope in set(self._watches) - scopes:
            self._watches.pop(scope).stop()
            around.intake.forget(scope)
            with self._lock:
                self._current.pop(scope, None)
            self._tell_current(scope.kind)  # which may have waited for this one only
        for scope in scopes - set(self._watches):
            watch = Watch(scope, around)
            self._watches[scope] = watch
            watch.start()

    # -- what the watches say ------------------------------------------------------------------------

    def _confirm(self, scope: Scope, version: str, listed: bool) -> None:
        with self._lock:
            self._current[scope] = timezone.now()
            self._versions[scope.kind] = version
            if listed:
                self._listed.add(scope.kind)
        self._tell_current(scope.kind)

    def _tell_current(self, kind: ResourceKind) -> None:
        """A kind is as current as the least current of its watches; what nodes complain of is extra."""
        with self._lock:
            needed = [scope for scope in self._scopes() if scope.kind is kind and not scope.of_nodes]
            if any(scope not in self._current for scope in needed or [NODE_EVENTS]):
                return
            at = min(self._current[scope] for scope in needed or [NODE_EVENTS])
            whole = {everywhere(kind), NODE_EVENTS} if kind is EVENT else {everywhere(kind)}
            wide = whole.isdisjoint(self._forbidden)
            listed = kind in self._listed
            self._listed.discard(kind)
            version = self._versions.get(kind, "")
        self._backlog.put(
            Confirmed(self.target.cluster_id, self.lease, kind.kind, at, version, listed, cluster_wide=wide)
        )

    def _refused(self, scope: Scope, error: ClusterForbids) -> None:
        if scope.namespace:
            self._failed(scope, error)
            return
        with self._lock:
            known = scope in self._forbidden
            self._forbidden[scope] = time.monotonic() + FORBIDDEN_AGAIN
        if not known:
            log.info("cluster %s: %s only by namespace", self.target.name, scope)
        if optional(scope) or scope.all_pods:
            words = not_listed(scope.kind.kind)
            self._backlog.put(Unlisted(self.target.cluster_id, self.lease, scope, words))
        self._suspect.set()

    def _failed(self, scope: Scope, error: PilothouseError) -> None:
        self._backlog.put(
            Broken(self.target.cluster_id, self.lease, scope.kind.kind, f"{scope}: {error.sentence}")
        )
        self._suspect.set()
