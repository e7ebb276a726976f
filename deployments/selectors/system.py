"""Reads that no team filters: for workers and the observer, never for a page."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from deployments.domain.states import (
    ACTIVE,
    CHANGING,
    EPHEMERAL,
    TERMINAL,
    Health,
    OperationKind,
    OperationState,
)
from deployments.models import Cluster, Deployment, Operation, WatchState

LIMIT = 500
JUDGED_KINDS = ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim")


def watched_clusters() -> QuerySet[Cluster]:
    """Clusters that are connected now."""
    return Cluster.objects.filter(removed_at=None).exclude(credential=b"").order_by("pk")


def installed_on(cluster_id: int) -> QuerySet[Deployment]:
    """The deployments of a cluster that have not been removed."""
    return Deployment.objects.filter(cluster_id=cluster_id, removed_at=None)


def namespaces_of(cluster_id: int) -> list[str]:
    """The namespaces in which something is installed, sorted."""
    found = installed_on(cluster_id).order_by("namespace").values_list("namespace", flat=True)
    return list(found.distinct())


def by_label(cluster_id: int, labels: Iterable[UUID]) -> dict[tuple[UUID, str], int]:
    """(uuid, namespace) -> primary key, of installed deployments. The namespace is part of the key, so
    that an object elsewhere which carries somebody's label does not count as his."""
    # By the labels alone, which are unique: told the cluster too, SQLite walks through all that is on it.
    rows = Deployment.objects.filter(uid__in=set(labels), removed_at=None).order_by()
    return {
        (uid, namespace): pk
        for uid, namespace, pk, its_cluster in rows.values_list("uid", "namespace", "pk", "cluster_id")
        if its_cluster == cluster_id
    }


def under_way(deployment_ids: Iterable[int]) -> tuple[set[int], set[int]]:
    """Those of these deployments where an install, an upgrade or the like is under way, and those for
    which a model is pulled."""
    rows = Operation.objects.filter(
        deployment_id__in=deployment_ids, state__in=ACTIVE, kind__in=(*CHANGING, OperationKind.PULL)
    ).values_list("deployment_id", "kind")
    changing, pulling = set[int](), set[int]()
    for pk, kind in rows:
        if pk is not None:
            (pulling if kind == OperationKind.PULL else changing).add(pk)
    return changing, pulling


def last_confirmed(cluster_id: int) -> datetime | None:
    """When all watches of a cluster were last known to be current; None until each has listed.

    Events do not count: they explain a state and are not part of it.
    """
    states = WatchState.objects.filter(cluster_id=cluster_id, kind__in=JUDGED_KINDS)
    times = [time for time in states.values_list("confirmed_at", flat=True) if time is not None]
    return min(times) if len(times) == len(JUDGED_KINDS) else None


def due_operations(now: datetime, again_after: datetime, silent_since: datetime) -> list[int]:
    """Ids of operations that the reaper should look at: due and unsent since ``again_after``, or
    running without a heartbeat since ``silent_since``. Served by the index on state and wake_at."""
    queued = Operation.objects.filter(
        Q(wake_at=None) | Q(wake_at__lte=now),
        Q(message_at=None) | Q(message_at__lte=again_after),
        state=OperationState.QUEUED,
    )
    running = Operation.objects.filter(
        Q(heartbeat_at=None) | Q(heartbeat_at__lte=silent_since), state=OperationState.RUNNING
    )
    return [
        *queued.order_by("pk").values_list("pk", flat=True)[:LIMIT],
        *running.order_by("pk").values_list("pk", flat=True)[:LIMIT],
    ]


def due_probes(now: datetime) -> list[int]:
    """Ids of deployments whose pods are to be asked again. Served by a partial index."""
    rows = Deployment.objects.filter(removed_at=None, probe_due_at__lte=now)
    return list(rows.order_by("probe_due_at").values_list("pk", flat=True)[:LIMIT])


def expired_questions(now: datetime) -> list[int]:
    """Ids of ended operations that were asked for an hour only."""
    rows = Operation.objects.filter(expires_at__lte=now, kind__in=EPHEMERAL, state__in=TERMINAL)
    return list(rows.order_by("expires_at").values_list("pk", flat=True)[:LIMIT])


def silent(seen_before: datetime, said: str) -> QuerySet[Deployment]:
    """Deployments not seen since then of which something else than ``said`` is said."""
    rows = Deployment.objects.filter(removed_at=None, observed_at__lt=seen_before)
    return rows.exclude(health_sentence=said)


def seen_in(healths: Iterable[Health], since: datetime) -> QuerySet[Deployment]:
    """Deployments in one of these healths that were seen since then."""
    return Deployment.objects.filter(removed_at=None, observed_at__gte=since, health__in=tuple(healths))
