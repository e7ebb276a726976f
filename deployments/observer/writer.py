"""One thread that writes what the watchers have seen: at most five transactions a second.

Each transaction carries everything that has come together since the last one: objects, lists, how
current the watches are, the health that follows, and which parked operations have something new to
look at. A cluster whose lease another observer took meanwhile is left out.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import defaultdict
from datetime import datetime, timedelta

from django.db import DatabaseError, DataError, close_old_connections, connections, transaction
from django.db.models import F
from django.utils import timezone

from deployments.domain.states import OperationState
from deployments.ledger import transitions
from deployments.ledger.announce import announce, announce_lists
from deployments.models import Cluster, Deployment, Operation, WatchState
from deployments.observer.backlog import Backlog, Broken, Change, Confirmed, Reached, Unlisted
from deployments.observer.health import announce_deployments, reassess_all
from deployments.observer.leases import Held, still_held
from deployments.observer.objects import write_objects
from deployments.selectors import system

SPACING = 0.2  # seconds from one transaction to the next
# Changes in one transaction: a large cluster's first list goes through at this many five times a second,
# and others who want to write wait for no more than this many.
MOST = 1_200
BUSY = 500  # changes that were written at once or wait: a list comes in
LONGEST_UNJUDGED = 5.0  # seconds
JUDGED_AT_ONCE = 200
# A cluster that answers is written down again after so long, even if nothing else changed.
SEEN_AGAIN = 10.0  # seconds
WAKE_AGAIN = 1.0  # seconds
# Nodes and sums change all the time in a large cluster; its page is told of them no more often.
INVENTORY_AGAIN = 2.0  # seconds
CLOCK_MOVED = 1.5  # seconds; a Date header tells whole ones

log = logging.getLogger(__name__)


class Writer:
    """``run`` is a thread's body; ``flush`` writes once, for whoever has no thread."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._stop = threading.Event()
        self._noted: dict[int, float] = {}  # by the monotonic clock
        self._to_wake: set[int] = set()
        self._woken: dict[int, float] = {}
        self._unjudged: set[int] = set()
        self._judged_at = time.monotonic()
        self._latest: set[int] = set()
        self._inventory: dict[int, float] = {}
        self._untold: set[int] = set()

    def stop(self) -> None:
        self._stop.set()
        self._backlog.close()

    def run(self) -> None:
        """Until stopped; what is left then is seen again by whoever watches next."""
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.flush(wait=self._patience)
                self.wake()
                self.tell_inventory()
                pause = 1.0
            except DatabaseError:
                log.exception("observations could not be written; trying again in %.0f s", pause)
                connections.close_all()
                self._stop.wait(pause)
                pause = min(30.0, pause * 2)
            self._stop.wait(max(0.0, SPACING - (time.monotonic() - began)))
        connections.close_all()

    @property
    def _patience(self) -> float:
        """Seconds to wait for the next change."""
        if self._unjudged:
            return 0.0
        return SPACING if self._to_wake or self._untold else 1.0

    def flush(self, wait: float = 0.0) -> int:
        """Write what waits, in one transaction; returns how many changes that were."""
        changes = self._backlog.take(MOST, wait)
        if not changes and not self._unjudged:
            return 0
        close_old_connections()
        if not self._unjudged:
            self._judged_at = time.monotonic()  # from now on something waits for it
        now = timezone.now()
        try:
            with transaction.atomic():
                self._write(changes, now)
                judged = self._judge(now, len(changes))
        except DatabaseError:
            self._backlog.give_back(changes)
            raise
        self._unjudged -= judged
        return len(changes)

    def wake(self) -> int:
        """Wake what waits for something to happen to its deployment, at most once a second for each.

        What failed and is to be tried again (``attempts`` counts those) keeps its pause: a server that
        asked for patience gets it.
        """
        now = time.monotonic()
        self._woken = {pk: at for pk, at in self._woken.items() if now - at < WAKE_AGAIN}
        due = self._to_wake - set(self._woken)
        if not due:
            return 0
        # There are few who wait, and thousands who changed while a list comes in: asked for from that side.
        parked = Operation.objects.filter(state=OperationState.QUEUED, wake_at__isnull=False, attempts=0)
        waiting = due.intersection(parked.values_list("deployment_id", flat=True).order_by())
        woken = transitions.wake(parked.filter(deployment_id__in=waiting)) if waiting else 0
        self._to_wake -= due
        self._woken |= dict.fromkeys(due, now)
        return woken

    def _write(self, changes: list[Change], now: datetime) -> None:
        self._latest = set()
        held: dict[Held, bool] = {}
        for change in changes:
            if change.lease not in held:
                held[change.lease] = still_held(change.lease)
        known = set(
            Cluster.objects.filter(
                removed_at=None, pk__in={change.cluster_id for change in changes}
            ).values_list("pk", flat=True)
        )
        by_cluster: dict[int, list[Change]] = defaultdict(list)
        for change in changes:
            if held[change.lease] and change.cluster_id in known:
                by_cluster[change.cluster_id].append(change)
        for cluster_id, of_cluster in by_cluster.items():
            if not self._written(cluster_id, of_cluster, now):
                for change in of_cluster:
                    if not self._written(cluster_id, [change], now):
                        log.error("cluster %s: left out, as it cannot be written: %s", cluster_id, change.key)

    def _written(self, cluster_id: int, changes: list[Change], now: datetime) -> bool:
        """Whether changes could be written. What one cluster says, however strange, must not hold up what
        others say; that the database is away concerns them all, and is raised."""
        try:
            with transaction.atomic():
                self._write_cluster(cluster_id, changes, now)
        except DataError:
            log.exception("cluster %s: the database takes it not", cluster_id)
        except DatabaseError:
            raise
        except Exception:
            log.exception("cluster %s: what it says was not expected", cluster_id)
        else:
            return True
        return False

    def _write_cluster(self, cluster_id: int, changes: list[Change], now: datetime) -> None:
        touched = write_objects(cluster_id, changes, now)
        fresh = retold = False
        for change in changes:
            if isinstance(change, Confirmed):
                newly, over = _confirm(change)
                fresh |= newly
                retold |= over
            elif isinstance(change, Broken):
                retold |= _broken(change)
            elif isinstance(change, Unlisted):
                _unlisted(change)
            elif isinstance(change, Reached):
                fresh |= self._reached(change)
        if any(isinstance(change, Confirmed) for change in changes):
            self._seen(cluster_id, now)
        self._latest |= touched.deployments
        self._unjudged |= touched.deployments
        if fresh:
            self._unjudged |= set(system.installed_on(cluster_id).values_list("pk", flat=True))
        self._to_wake |= touched.deployments
        if touched.inventory or retold:
            self._untold.add(cluster_id)

    def _judge(self, now: datetime, written: int) -> set[int]:
        """Judge the deployments that have changed, the latest first, and tell the pages. While a large
        cluster's first list comes in that waits a while: most of it would be judged again and again."""
        judged: set[int] = set()
        calm = written + len(self._backlog) < BUSY
        if calm or time.monotonic() - self._judged_at > LONGEST_UNJUDGED:
            self._judged_at = time.monotonic()
            older = itertools.chain(self._latest, self._unjudged - self._latest)
            judged = set(itertools.islice(older, JUDGED_AT_ONCE))
        same = judged - reassess_all(judged, now)
        if same:
            # The words are the same, but the pods' table is not.
            Deployment.objects.filter(pk__in=same).update(version=F("version") + 1)
            announce_deployments(same)
        return judged

    def tell_inventory(self) -> None:
        """Tell the pages of clusters whose nodes have changed, every two seconds at most."""
        now = time.monotonic()
        due = {pk for pk in self._untold if now - self._inventory.get(pk, -60.0) >= INVENTORY_AGAIN}
        if not due:
            return
        with transaction.atomic():
            Cluster.objects.filter(pk__in=due).update(version=F("version") + 1)
            for pk, version in Cluster.objects.filter(pk__in=due).values_list("pk", "version"):
                announce("cluster", pk, version)
        self._untold -= due
        self._inventory |= dict.fromkeys(due, now)

    def _seen(self, cluster_id: int, now: datetime) -> None:
        """The watches speak: the cluster and what is installed on it were seen just now."""
        at = time.monotonic()
        if at - self._noted.get(cluster_id, at - SEEN_AGAIN) < SEEN_AGAIN:
            return
        self._noted[cluster_id] = at
        Cluster.objects.filter(pk=cluster_id).update(last_seen_at=now)
        confirmed = system.last_confirmed(cluster_id)
        if confirmed is not None:
            system.installed_on(cluster_id).update(observed_at=confirmed)

    def _reached(self, change: Reached) -> bool:
        """How the last attempt to talk to the cluster went; pages hear of it when the words change.
        True where all of its deployments are to be judged anew, whose pages say it too: it has become
        silent or speaks again, another cluster answers, or no longer."""
        row = Cluster.objects.get(pk=change.cluster_id)
        foreign = change.foreign_uid[:64]
        if change.error:
            same = (row.last_error, row.last_error_remedy) == (change.error[:1000], change.remedy[:1000])
            foreign = foreign or row.foreign_uid  # whoever does not answer has not said who he is
            Cluster.objects.filter(pk=row.pk).update(
                last_error=change.error[:1000],
                last_error_remedy=change.remedy[:1000],
                # Since when it is out of reach, whatever has been in the way meanwhile.
                last_error_at=row.last_error_at if row.last_error and row.last_error_at else change.at,
                foreign_uid=foreign,
                version=F("version") + (0 if same else 1),
            )
        else:
            same = not row.last_error and row.kubernetes_version == change.version and row.uid != ""
            Cluster.objects.filter(pk=row.pk).update(
                last_seen_at=change.at,
                last_error="",
                last_error_remedy="",
                last_error_at=None,
                foreign_uid="",
                kubernetes_version=change.version[:64] or row.kubernetes_version,
                uid=row.uid or change.uid[:64],
                version=F("version") + (0 if same else 1),
            )
            self._noted[row.pk] = time.monotonic()
            if row.last_error:
                # What watches said of a server that did not answer is over; what is still wrong they say anew.
                WatchState.objects.filter(cluster=row, listed_at__isnull=False).update(error="")
        if not same:
            announce("cluster", row.pk, row.version + 1)
        turned = bool(change.error) != bool(row.last_error)
        if turned:
            announce_lists(None)
        if change.clock_ahead is not None:
            _clock(row.pk, change.clock_ahead)
        return turned or foreign != row.foreign_uid


def _confirm(change: Confirmed) -> tuple[bool, bool]:
    """Note that a watch is current: whether it had not been, so that health is judged again, and whether
    something had been wrong with it, which pages say."""
    state, _ = WatchState.objects.get_or_create(cluster_id=change.cluster_id, kind=change.kind)
    behind = state.confirmed_at is None or change.at - state.confirmed_at > timedelta(minutes=3)
    WatchState.objects.filter(pk=state.pk).update(
        confirmed_at=change.at,
        resource_version=change.resource_version[:64],
        error="",
        listed_at=change.at if change.listed else state.listed_at,
        cluster_wide=change.cluster_wide,
    )
    fresh = (behind or change.listed) and change.kind in system.JUDGED_KINDS
    return fresh, bool(state.error) or state.listed_at is None


def _broken(change: Broken) -> bool:
    """Note what is wrong with a watch. True where nothing had been: pages say it."""
    state, _ = WatchState.objects.get_or_create(cluster_id=change.cluster_id, kind=change.kind)
    WatchState.objects.filter(pk=state.pk).update(error=change.error[:500])
    return not state.error


def _unlisted(change: Unlisted) -> None:
    """What may not be listed in the whole cluster. Of pods and events those in granted namespaces are
    still watched; of the rest nothing is known."""
    kind = change.scope.kind.kind
    state, _ = WatchState.objects.get_or_create(cluster_id=change.cluster_id, kind=kind)
    rows = WatchState.objects.filter(pk=state.pk)
    rows.update(cluster_wide=False)
    if kind not in (*system.JUDGED_KINDS, "Event"):
        rows.update(error=change.error[:500], listed_at=None, confirmed_at=None)


def _clock(cluster_id: int, ahead: float) -> None:
    """Note how far the cluster's clock is ahead of ours, where that is not what is known already."""
    rows = WatchState.objects.filter(cluster_id=cluster_id)
    known = list(rows.values_list("clock_ahead", flat=True))
    if any(value is None or abs(value - ahead) > CLOCK_MOVED for value in known):
        rows.update(clock_ahead=ahead)
