"""From stored observations to deployments' health, and that to their rows. Nothing here talks to a cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from deployments.domain.health.assess import RECENT, Assessment, assess
from deployments.domain.states import ACTIVE, OperationKind
from deployments.ledger.announce import announce
from deployments.models import Cluster, Deployment, ObservedObject, PullProgress, WatchState
from deployments.observer.stacks import STALE_AFTER, ClusterSeen, observed_stack
from deployments.selectors import system

__all__ = ["STALE_AFTER", "announce_deployments", "reassess", "reassess_all"]

AT_ONCE = 200
_JUDGED = ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim")


def reassess(deployment_id: int, now: datetime) -> bool:
    """Assess a deployment anew and store the outcome; True where a page would show a difference."""
    return bool(reassess_all([deployment_id], now))


def reassess_all(deployment_ids: Collection[int], now: datetime) -> set[int]:
    """Assess deployments anew, with a number of queries that does not grow with theirs; returns those
    of which a page would show a difference.

    Most of the time nothing is new, and then nothing is locked or written. Else the rows are locked and
    judged again, so that of two processes the later one judges by what both have written.
    """
    changed: set[int] = set()
    ids = sorted(deployment_ids)
    for start in range(0, len(ids), AT_ONCE):
        rows = Deployment.objects.select_related("revision").filter(
            pk__in=ids[start : start + AT_ONCE], removed_at=None
        )
        judged = _judge(rows.order_by("pk"), now)
        news = [row.pk for row, found, seen in judged if _news(row, found, seen.confirmed)]
        if news:
            with transaction.atomic():
                locked = rows.filter(pk__in=news).select_for_update(of=("self",)).order_by("pk")
                changed |= _store(_judge(locked, now), now)
    return changed


def announce_deployments(deployment_ids: Collection[int]) -> None:
    """Tell the pages, at the versions that the rows have in this transaction."""
    rows = Deployment.objects.filter(pk__in=deployment_ids).order_by("pk")
    for pk, version, team in rows.values_list("pk", "version", "team_id"):
        announce("deployment", pk, version, team=team)


_Judged = tuple[Deployment, Assessment, ClusterSeen]


def _judge(rows: QuerySet[Deployment], now: datetime) -> list[_Judged]:
    deployments = list(rows)
    ids = [row.pk for row in deployments]
    seen = _clusters({row.cluster_id for row in deployments})
    installing = system.changing_among(ids)
    objects: dict[int, list[ObservedObject]] = {pk: [] for pk in ids}
    # An event that was written down earlier than this is also older than what counts.
    of_note = Q(kind__in=_JUDGED) | Q(kind="Event", changed_at__gte=now - RECENT)
    for one in ObservedObject.objects.filter(of_note, deployment_id__in=ids).order_by("kind", "name"):
        if one.deployment_id is not None:
            objects[one.deployment_id].append(one)
    pulls = _pulls(ids)
    found: list[_Judged] = []
    for row in deployments:
        around = seen.get(row.cluster_id, ClusterSeen())
        stack = observed_stack(row, objects[row.pk], pulls.get(row.pk), around, now)
        found.append((row, assess(stack, now, row.pk in installing), around))
    return found


def _clusters(ids: set[int]) -> dict[int, ClusterSeen]:
    foreign = set(Cluster.objects.filter(pk__in=ids).exclude(foreign_uid="").values_list("pk", flat=True))
    states: dict[int, list[WatchState]] = {pk: [] for pk in ids}
    for state in WatchState.objects.filter(cluster_id__in=ids, kind__in=_JUDGED):
        states[state.cluster_id].append(state)
    found = {}
    for pk, known in states.items():
        times = [state.confirmed_at for state in known if state.confirmed_at is not None]
        ahead = next((state.clock_ahead for state in known if state.clock_ahead is not None), 0.0)
        found[pk] = ClusterSeen(
            confirmed=min(times) if len(times) == len(_JUDGED) else None,
            clock_ahead=timedelta(seconds=ahead),
            foreign=pk in foreign,
        )
    return found


def _pulls(ids: list[int]) -> dict[int, PullProgress]:
    rows = PullProgress.objects.filter(
        operation__deployment_id__in=ids,
        operation__kind=OperationKind.PULL,
        operation__state__in=ACTIVE,
    ).select_related("operation")
    return {
        row.operation.deployment_id: row
        for row in rows.defer("layers", "rates").order_by("-pk")
        if row.operation.deployment_id is not None
    }


def _store(judged: Iterable[_Judged], now: datetime) -> set[int]:
    changed: set[int] = set()
    for deployment, found, seen in judged:
        update: dict[str, Any] = {"observed_at": seen.confirmed}
        if _differs(deployment, found):
            changed.add(deployment.pk)
            update |= {
                "health": found.health,
                "health_sentence": found.sentence[:500],
                "health_evidence": [line[:1000] for line in found.evidence],
                "health_remedy": found.remedy[:500],
                "version": F("version") + 1,
            }
            if found.health != deployment.health or deployment.health_since is None:
                update["health_since"] = now
        Deployment.objects.filter(pk=deployment.pk).update(**update)
    if changed:
        announce_deployments(changed)
    return changed


def _news(deployment: Deployment, found: Assessment, confirmed: datetime | None) -> bool:
    """Whether there is anything to write: other words, or a time that has moved on noticeably."""
    if _differs(deployment, found) or (confirmed is None) != (deployment.observed_at is None):
        return True
    if confirmed is None or deployment.observed_at is None:
        return False
    return abs(confirmed - deployment.observed_at) > timedelta(seconds=15)


def _differs(deployment: Deployment, found: Assessment) -> bool:
    return (deployment.health, deployment.health_sentence, deployment.health_evidence) != (
        found.health,
        found.sentence[:500],
        [line[:1000] for line in found.evidence],
    ) or deployment.health_remedy != found.remedy[:500]
