"""One thread that writes what the watchers have seen: at most five transactions a second.

Each transaction carries everything that has come together since the last one: objects, lists, how
current the watches are, the health that follows, and which parked operations have something new to
look at. A cluster whose lease another observer took meanwhile is left out.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError, close_old_connections, connections, transaction
from django.db.models import F, Q
from django.utils import timezone

from deployments.ledger import transitions
from deployments.ledger.announce import announce
from deployments.models import Cluster, Deployment, ObservedObject, Operation, OwnedObject, WatchState
from deployments.observer.backlog import Backlog, Broken, Change, Confirmed, Gone, Listed, Reached, Upsert
from deployments.observer.health import announce_deployment, reassess
from deployments.observer.leases import Held, still_held
from deployments.observer.owners import Owners, record_claims
from deployments.selectors import system

SPACING = 0.2  # seconds from one transaction to the next
MOST = 500  # changes in one transaction
# A cluster that answers is written down again after so long, even if nothing else changed.
SEEN_AGAIN = timedelta(seconds=10)
WAKE_AGAIN = 1.0  # seconds
KEPT_EVENTS = 200  # of one deployment

log = logging.getLogger(__name__)


class Writer:
    """``run`` is a thread's body; ``flush`` writes once, for whoever has no thread."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._stop = threading.Event()
        self._noted: dict[int, datetime] = {}
        self._to_wake: set[int] = set()
        self._woken: dict[int, float] = {}

    def stop(self) -> None:
        self._stop.set()
        self._backlog.close()

    def run(self) -> None:
        """Until stopped; what is left then is seen again by whoever watches next."""
        pause = 1.0
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.flush(wait=SPACING if self._to_wake else 1.0)
                self.wake()
                pause = 1.0
            except DatabaseError:
                log.exception("observations could not be written; trying again in %.0f s", pause)
                connections.close_all()
                self._stop.wait(pause)
                pause = min(30.0, pause * 2)
            self._stop.wait(max(0.0, SPACING - (time.monotonic() - began)))
        connections.close_all()

    def flush(self, wait: float = 0.0) -> int:
        """Write what waits, in one transaction; returns how many changes that were."""
        changes = self._backlog.take(MOST, wait)
        if not changes:
            return 0
        close_old_connections()
        try:
            with transaction.atomic():
                self._write(changes, timezone.now())
        except DatabaseError:
            self._backlog.give_back(changes)
            raise
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
        woken = transitions.wake(Operation.objects.filter(deployment_id__in=due, attempts=0))
        self._to_wake -= due
        self._woken |= dict.fromkeys(due, now)
        return woken

    def _write(self, changes: list[Change], now: datetime) -> None:
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
            self._write_cluster(cluster_id, of_cluster, now)

    def _write_cluster(self, cluster_id: int, changes: list[Change], now: datetime) -> None:
        touched = _write_objects(cluster_id, changes, now)
        fresh = False
        for change in changes:
            if isinstance(change, Confirmed):
                fresh |= _confirm(change)
            elif isinstance(change, Broken):
                _broken(change)
            elif isinstance(change, Reached):
                self._reached(change)
        if any(isinstance(change, Confirmed) for change in changes):
            self._seen(cluster_id, now)
        judged = set(touched)
        if fresh:
            judged |= set(system.installed_on(cluster_id).values_list("pk", flat=True)[: system.LIMIT])
        for deployment_id in sorted(judged):
            if not reassess(deployment_id, now) and deployment_id in touched:
                # The words are the same, but the pods' table is not.
                Deployment.objects.filter(pk=deployment_id).update(version=F("version") + 1)
                announce_deployment(deployment_id)
        self._to_wake |= touched

    def _seen(self, cluster_id: int, now: datetime) -> None:
        """The watches speak: the cluster and what is installed on it were seen just now."""
        if now - self._noted.get(cluster_id, now - SEEN_AGAIN) < SEEN_AGAIN:
            return
        self._noted[cluster_id] = now
        Cluster.objects.filter(pk=cluster_id).update(last_seen_at=now)
        confirmed = system.last_confirmed(cluster_id)
        if confirmed is not None:
            system.installed_on(cluster_id).update(observed_at=confirmed)

    def _reached(self, change: Reached) -> None:
        """How the last attempt to talk to the cluster went; pages hear of it when the words change."""
        row = Cluster.objects.get(pk=change.cluster_id)
        if change.error:
            same = (row.last_error, row.last_error_remedy) == (change.error[:1000], change.remedy[:1000])
            Cluster.objects.filter(pk=row.pk).update(
                last_error=change.error[:1000],
                last_error_remedy=change.remedy[:1000],
                last_error_at=change.at,
                version=F("version") + (0 if same else 1),
            )
        else:
            same = not row.last_error and row.kubernetes_version == change.version and row.uid != ""
            Cluster.objects.filter(pk=row.pk).update(
                last_seen_at=change.at,
                last_error="",
                last_error_remedy="",
                last_error_at=None,
                kubernetes_version=change.version[:64] or row.kubernetes_version,
                uid=row.uid or change.uid[:64],
                version=F("version") + (0 if same else 1),
            )
            self._noted[row.pk] = change.at
        if not same:
            announce("cluster", row.pk, row.version + 1)


def _write_objects(cluster_id: int, changes: Sequence[Change], now: datetime) -> set[int]:
    """Write objects in the order in which they were seen. Returns the deployments that they touch."""
    touched: set[int] = set()
    run: list[Upsert] = []

    def upsert() -> None:
        if run:
            touched.update(_upsert(cluster_id, run, now))
            run.clear()

    for change in changes:
        if isinstance(change, Upsert):
            run.append(change)
        elif isinstance(change, Gone):
            upsert()
            touched.update(
                _delete(cluster_id, change.kind, now, Q(namespace=change.namespace, name=change.name))
            )
        elif isinstance(change, Listed):
            upsert()
            touched.update(_sweep(change, now))
    upsert()
    return touched


def _upsert(cluster_id: int, changes: list[Upsert], now: datetime) -> set[int]:
    """Objects without a deployment of ours are not stored: other tools use the same cluster."""
    owners = Owners(cluster_id, [change.seen for change in changes])
    before = {
        (row.kind, row.namespace, row.name): (row.uid, row.resource_version, row.deployment_id)
        for row in ObservedObject.objects.filter(
            cluster_id=cluster_id, name__in={change.seen.name for change in changes}
        ).only("kind", "namespace", "name", "uid", "resource_version", "deployment_id")
    }
    rows: list[ObservedObject] = []
    touched: set[int] = set()
    for change in changes:
        seen = change.seen
        deployment_id = owners.of(seen)
        place = (seen.kind, seen.namespace, seen.name)
        if deployment_id is None:
            if place in before:  # its label was taken away, or its deployment was removed
                touched |= _delete(cluster_id, seen.kind, now, Q(namespace=seen.namespace, name=seen.name))
            continue
        if before.get(place) == (seen.uid, seen.resource_version, deployment_id):
            continue
        touched.add(deployment_id)
        rows.append(
            ObservedObject(
                cluster_id=cluster_id,
                deployment_id=deployment_id,
                kind=seen.kind,
                namespace=seen.namespace,
                name=seen.name,
                uid=seen.uid,
                data=seen.data,
                resource_version=seen.resource_version,
                changed_at=now,
            )
        )
    ObservedObject.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["cluster", "kind", "namespace", "name"],
        update_fields=["deployment", "uid", "data", "resource_version", "changed_at"],
    )
    if touched:
        # Of all objects that changed, not only of claims: a claim may be seen before its set is noted.
        claims = ObservedObject.objects.filter(deployment_id__in=touched, kind="PersistentVolumeClaim")
        record_claims(claims)
    with_events = {row.deployment_id for row in rows if row.kind == "Event"}
    for deployment_id in (pk for pk in touched if pk in with_events):
        _keep_newest_events(deployment_id)
    return touched


def _keep_newest_events(deployment_id: int) -> None:
    events = ObservedObject.objects.filter(deployment_id=deployment_id, kind="Event")
    old = list(events.order_by("-changed_at", "-pk").values_list("pk", flat=True)[KEPT_EVENTS:])
    if old:
        ObservedObject.objects.filter(pk__in=old[:MOST]).delete()


def _delete(cluster_id: int, kind: str, now: datetime, which: Q) -> set[int]:
    gone = list(
        ObservedObject.objects.filter(which, cluster_id=cluster_id, kind=kind).values_list(
            "pk", "deployment_id", "uid"
        )
    )
    if not gone:
        return set()
    ObservedObject.objects.filter(pk__in=[pk for pk, _, _ in gone]).delete()
    OwnedObject.objects.filter(
        deployment_id__in={deployment_id for _, deployment_id, _ in gone},
        uid__in=[uid for _, _, uid in gone],
        gone_at=None,
    ).update(gone_at=now)
    return {deployment_id for _, deployment_id, _ in gone if deployment_id is not None}


def _sweep(listed: Listed, now: datetime) -> set[int]:
    """Delete what a complete list no longer holds."""
    rows = ObservedObject.objects.filter(cluster_id=listed.cluster_id, kind=listed.kind)
    if listed.namespace:
        rows = rows.filter(namespace=listed.namespace)
    vanished = [
        pk
        for pk, namespace, name in rows.values_list("pk", "namespace", "name")
        if (namespace, name) not in listed.present
    ]
    touched: set[int] = set()
    for chunk in _chunks(vanished):
        touched |= _delete(listed.cluster_id, listed.kind, now, Q(pk__in=chunk))
    return touched


def _chunks(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + MOST] for start in range(0, len(ids), MOST)]


def _confirm(change: Confirmed) -> bool:
    """Note that a watch is current. True where it had not been, so that health is judged again."""
    state, _ = WatchState.objects.get_or_create(cluster_id=change.cluster_id, kind=change.kind)
    behind = state.confirmed_at is None or change.at - state.confirmed_at > timedelta(minutes=3)
    WatchState.objects.filter(pk=state.pk).update(
        confirmed_at=change.at,
        resource_version=change.resource_version[:64],
        error="",
        listed_at=change.at if change.listed else state.listed_at,
    )
    return behind or change.listed


def _broken(change: Broken) -> None:
    state, _ = WatchState.objects.get_or_create(cluster_id=change.cluster_id, kind=change.kind)
    WatchState.objects.filter(pk=state.pk).update(error=change.error[:500])
