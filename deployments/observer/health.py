"""From stored observations to deployments' health, and that to their rows. Nothing here talks to a cluster."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import transaction
from django.db.models import F, Q, QuerySet, TextField
from django.db.models.functions import Cast

from deployments.domain.health.assess import RECENT, Assessment, assess
from deployments.domain.health.observed import NodeTaints, Unapplied
from deployments.domain.health.pods import wants_taints
from deployments.domain.states import ACTIVE, Health, OperationKind, OperationState
from deployments.ledger.announce import announce_all, announce_lists
from deployments.models import (
    Cluster,
    Deployment,
    ObservedObject,
    Operation,
    OperationTransition,
    OwnedObject,
    PullProgress,
    WatchState,
)
from deployments.observer.stacks import ClusterSeen, ObjectRow, observed_stack
from deployments.selectors import system
from deployments.selectors.node_states import NodeState, is_ready, node_states, node_taints

log = logging.getLogger(__name__)

AT_ONCE = 100  # what their objects hold is in memory at the same time
TRIES = 3  # what changes that fast is judged again soon anyway
_JUDGED = ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim")


def reassess(deployment_id: int, now: datetime) -> bool:
    """Assess a deployment anew and store the outcome; True where a page would show a difference."""
    return bool(reassess_all([deployment_id], now))


def reassess_all(deployment_ids: Collection[int], now: datetime) -> set[int]:
    """Assess deployments anew, with a number of queries that does not grow with theirs; returns those
    of which a page would show a difference.

    Most of the time nothing is new, and then nothing is written. A row whose version has risen since it
    was read is judged again: whatever a judgement rests on raises it when it changes.
    """
    changed: set[int] = set()
    ids = sorted(deployment_ids)
    for start in range(0, len(ids), AT_ONCE):
        part = ids[start : start + AT_ONCE]
        for _ in range(TRIES):
            if not part:
                break
            rows = Deployment.objects.select_related("revision").filter(pk__in=part, removed_at=None)
            news = [judged for judged in _judge(rows.order_by("pk"), now) if _news(*judged)]
            part = []
            if news:
                with transaction.atomic():
                    stored, part = _store(news, now)
                    changed |= stored
    return changed


def announce_deployments(deployment_ids: Collection[int]) -> None:
    """Tell the pages, at the versions that the rows have in this transaction."""
    rows = Deployment.objects.filter(pk__in=deployment_ids).order_by().values_list("pk", "version", "team_id")
    announce_all([("deployment", pk, version, team) for pk, version, team in rows])


_Judged = tuple[Deployment, Assessment, ClusterSeen]
_BEYOND = Assessment(
    Health.UNKNOWN,
    "What the cluster reports of this stack is beyond what Pilothouse understands.",
    remedy="Look at the stack with kubectl; the observer's log says what was not expected.",
)


def _judge(rows: QuerySet[Deployment], now: datetime) -> list[_Judged]:
    deployments = list(rows)
    ids = [row.pk for row in deployments]
    seen = _clusters({row.cluster_id for row in deployments})
    installing, pulling = system.under_way(ids)
    objects = _objects(ids, now)
    pulls = _pulls(pulling)
    nodes = _nodes(deployments, objects)
    taints = _taints(deployments, objects)
    unapplied = _unapplied(deployments, installing)
    found: list[_Judged] = []
    for row in deployments:
        around = seen.get(row.cluster_id, ClusterSeen())
        around = replace(around, nodes=nodes.get(row.cluster_id, {}), taints=taints.get(row.cluster_id, ()))
        try:
            stack = observed_stack(
                row, objects.get(row.pk, ()), pulls.get(row.pk), around, now, unapplied.get(row.pk)
            )
            judged = assess(stack, now, row.pk in installing)
        except Exception:
            # What is stored comes from clusters: of one stack it must not keep all others unjudged.
            log.exception("deployment %s could not be judged", row.pk)
            judged = _BEYOND
        found.append((row, judged, around))
    return found


def _objects(ids: list[int], now: datetime) -> dict[int, list[ObjectRow]]:
    """Deployment -> its objects. Read as text: without an instance for each and with the faster parser
    this is a third of the time, and it is most of the time that a judgement takes."""
    # An event that was written down earlier than this is also older than what counts.
    of_note = Q(kind__in=_JUDGED) | Q(kind="Event", changed_at__gte=now - RECENT)
    rows = ObservedObject.objects.filter(of_note, deployment_id__in=ids).order_by("kind", "name")
    found: dict[int, list[ObjectRow]] = {}
    text = Cast("data", TextField())
    for owner, kind, name, data in rows.values_list("deployment_id", "kind", "name", text):
        found.setdefault(owner, []).append(ObjectRow(kind, name, orjson.loads(data)))
    return found


def _nodes(
    deployments: list[Deployment], objects: dict[int, list[ObjectRow]]
) -> dict[int, dict[str, NodeState]]:
    """Cluster -> node -> how it is, for nodes that hold a pod which is not ready."""
    wanted: dict[int, set[str]] = {}
    for row in deployments:
        for one in objects.get(row.pk, ()):
            if one.kind == "Pod" and one.data.get("node") and not is_ready(one.data):
                wanted.setdefault(row.cluster_id, set()).add(one.data["node"])
    return {cluster: node_states(cluster, names) for cluster, names in wanted.items()}


def _taints(
    deployments: list[Deployment], objects: dict[int, list[ObjectRow]]
) -> dict[int, list[NodeTaints]]:
    """Cluster -> the taints of its nodes, where a pod is kept off by some. Most of the time nothing is asked."""
    wanted = {
        row.cluster_id
        for row in deployments
        if any(one.kind == "Pod" and wants_taints(one.data) for one in objects.get(row.pk, ()))
    }
    return {cluster: node_taints(cluster) for cluster in wanted}


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


def _pulls(ids: Collection[int]) -> dict[int, PullProgress]:
    """Deployment -> how far its download is. Most of the time none runs, and then nothing is asked."""
    if not ids:
        return {}
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


def _unapplied(deployments: Iterable[Deployment], installing: Collection[int]) -> dict[int, Unapplied]:
    """Deployment -> why its first release was never applied, where that was tried and is over. Most of the
    time there is no such deployment, and then nothing is asked."""
    waiting = [row.pk for row in deployments if row.probe_due_at is None and row.pk not in installing]
    if not waiting:
        return {}
    ended = Operation.objects.filter(
        deployment_id__in=waiting,
        kind__in=(OperationKind.INSTALL, OperationKind.UPGRADE, OperationKind.ROLL_BACK),
        state__in=(OperationState.FAILED, OperationState.CANCELLED),
    )
    rows = ended.defer("request", "memory", "result").order_by("pk")
    last = {row.deployment_id: row for row in rows if row.deployment_id is not None}
    if not last:
        return {}
    begun = set(OwnedObject.objects.filter(deployment_id__in=last).values_list("deployment_id", flat=True))
    cancelled = [row.pk for row in last.values() if row.state == OperationState.CANCELLED]
    ends = OperationTransition.objects.filter(operation_id__in=cancelled, after=OperationState.CANCELLED)
    causes = dict(ends.values_list("operation_id", "cause"))
    return {
        pk: Unapplied(
            what=row.title,
            sentence=causes.get(row.pk, row.failure),
            answered=row.failure_answered,
            remedy=row.failure_remedy,
            cancelled=row.state == OperationState.CANCELLED,
            begun=pk in begun,
        )
        for pk, row in last.items()
    }


def _store(judged: Iterable[_Judged], now: datetime) -> tuple[set[int], list[int]]:
    """Write judgements; returns the deployments of which a page shows a difference, and those that have
    changed since they were read."""
    changed: set[int] = set()
    turned: set[int] = set()
    missed: list[int] = []
    for deployment, found, seen in judged:
        update: dict[str, Any] = {"observed_at": seen.confirmed}
        differs = _differs(deployment, found)
        if differs:
            update |= {
                "health": found.health,
                "health_sentence": found.sentence[:500],
                "health_evidence": [line[:1000] for line in found.evidence],
                "health_remedy": found.remedy[:500],
                "version": F("version") + 1,
            }
            if found.health != deployment.health or deployment.health_since is None:
                update["health_since"] = now
            if found.asked and deployment.probe_due_at is not None:
                # What was answered before (while a pod was away, perhaps) is what is left of the trouble.
                update["probe_due_at"] = now
        row = Deployment.objects.filter(pk=deployment.pk, version=deployment.version)
        if not row.update(**update):
            missed.append(deployment.pk)
        elif differs:
            changed.add(deployment.pk)
            if found.health != deployment.health:
                turned.add(deployment.team_id)
    if changed:
        announce_deployments(changed)
    announce_lists(*turned)
    return changed, missed


def _news(deployment: Deployment, found: Assessment, seen: ClusterSeen) -> bool:
    """Whether there is anything to write: other words, or a time that has moved on noticeably."""
    confirmed = seen.confirmed
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
