"""From stored observations to a deployment's health, and that to its row.

Nothing here talks to a cluster. What only asking can tell (does Ollama answer, is the model there,
does chat reach it) is read from ``Deployment.probes``, which the checks write:

    {"server": {"answers": true, "at": "2026-01-31T12:00:00+00:00"},
     "chat": {"reaches": true, "at": "…"},
     "pods": {"<pod name>": {"model_present": true, "at": "…"}}}
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F

from deployments.domain.errors import InvalidInput
from deployments.domain.health.assess import Assessment, assess
from deployments.domain.health.observed import (
    ObservedClaim,
    ObservedContainer,
    ObservedEvent,
    ObservedPod,
    ObservedStack,
    ObservedWorkload,
)
from deployments.domain.names import ObjectNames
from deployments.domain.spec import StackSpec, StorageMode, spec_from_json
from deployments.domain.states import ACTIVE, OperationKind
from deployments.ledger.announce import announce
from deployments.models import Deployment, ObservedObject, PullProgress
from deployments.observer.reading import parse_time
from deployments.selectors import system

STALE_AFTER = timedelta(minutes=3)
# An answer older than this says nothing about now.
PROBE_KEPT = timedelta(minutes=30)
COMPONENT = "app.kubernetes.io/component"


def reassess(deployment_id: int, now: datetime) -> bool:
    """Assess a deployment anew and store the outcome; True where a page would show a difference.

    Most of the time nothing is new, and then nothing is locked or written. Else the row is locked and
    judged again, so that of two processes the later one judges by what both have written.
    """
    rows = Deployment.objects.select_related("revision").filter(pk=deployment_id, removed_at=None)
    deployment = rows.first()
    if deployment is None or not _news(deployment, *_judge(deployment, now)):
        return False
    with transaction.atomic():
        deployment = rows.select_for_update(of=("self",)).first()
        if deployment is None:
            return False
        found, confirmed = _judge(deployment, now)
        changed = _differs(deployment, found)
        update: dict[str, Any] = {"observed_at": confirmed}
        if changed:
            update |= {
                "health": found.health,
                "health_sentence": found.sentence[:500],
                "health_evidence": [line[:1000] for line in found.evidence],
                "health_remedy": found.remedy[:500],
                "version": F("version") + 1,
            }
            if found.health != deployment.health or deployment.health_since is None:
                update["health_since"] = now
        Deployment.objects.filter(pk=deployment_id).update(**update)
        if changed:
            announce_deployment(deployment_id)
    return changed


def _judge(deployment: Deployment, now: datetime) -> tuple[Assessment, datetime | None]:
    confirmed = system.last_confirmed(deployment.cluster_id)
    installing = system.changing(deployment.pk)
    return assess(observed_stack(deployment, confirmed, now), now, installing), confirmed


def _news(deployment: Deployment, found: Assessment, confirmed: datetime | None) -> bool:
    """Whether there is anything to write: other words, or a time that has moved on noticeably."""
    if _differs(deployment, found) or (confirmed is None) != (deployment.observed_at is None):
        return True
    if confirmed is None or deployment.observed_at is None:
        return False
    return abs(confirmed - deployment.observed_at) > timedelta(seconds=15)


def announce_deployment(deployment_id: int) -> None:
    """Tell the pages, at the version that the row has in this transaction."""
    row = Deployment.objects.filter(pk=deployment_id).values_list("version", "team_id").first()
    if row:
        announce("deployment", deployment_id, row[0], team=row[1])


def observed_stack(deployment: Deployment, confirmed: datetime | None, now: datetime) -> ObservedStack:
    """Everything known of a deployment, as the health function takes it."""
    names = ObjectNames(deployment.name)
    spec = _spec(deployment)
    rows: dict[str, list[ObservedObject]] = {}
    for row in system.observed(deployment.pk):
        rows.setdefault(row.kind, []).append(row)
    probes = deployment.probes if isinstance(deployment.probes, dict) else {}
    workloads = [_workload("StatefulSet", names.server, "server", rows)]
    if spec.chat.enabled:
        workloads.append(_workload("Deployment", names.chat, "chat", rows))
    return ObservedStack(
        observed_at=confirmed,
        model=spec.model.reference,
        workloads=tuple(workloads),
        pods=tuple(_pod(row, probes, now) for row in rows.get("Pod", [])),
        claims=_claims(rows, names, spec),
        events=tuple(event for event in (_event(row) for row in rows.get("Event", [])) if event is not None),
        server_answers=_probe(probes.get("server"), "answers", now),
        chat_reaches=_probe(probes.get("chat"), "reaches", now),
        chat_expected=spec.chat.enabled,
        pulling=_pulling(deployment.pk),
        stale_after=STALE_AFTER,
    )


def _spec(deployment: Deployment) -> StackSpec:
    """What was asked for. A spec that an older version wrote and this one cannot read counts as the
    default one: the pods are still worth judging."""
    try:
        return spec_from_json(deployment.revision.spec)
    except InvalidInput:
        return StackSpec()


def _workload(
    kind: str, name: str, component: str, rows: dict[str, list[ObservedObject]]
) -> ObservedWorkload:
    row = next((row for row in rows.get(kind, []) if row.name == name), None)
    if row is None:
        return ObservedWorkload(kind, name, component, exists=False)
    data = row.data
    return ObservedWorkload(
        kind,
        name,
        component,
        desired=data.get("specReplicas", 1),
        ready=data.get("readyReplicas", 0),
        updated=data.get("updatedReplicas", 0),
        current_generation_seen=data.get("observedGeneration", 0) >= data.get("generation", 0),
    )


def _claims(
    rows: dict[str, list[ObservedObject]], names: ObjectNames, spec: StackSpec
) -> tuple[ObservedClaim, ...]:
    found = [
        ObservedClaim(row.name, row.data.get("phase") or "Pending")
        for row in rows.get("PersistentVolumeClaim", [])
    ]
    if spec.storage.mode is StorageMode.SHARED and not any(c.name == names.shared_claim for c in found):
        found.append(ObservedClaim(names.shared_claim, ""))
    return tuple(found)


def _pod(row: ObservedObject, probes: dict[str, Any], now: datetime) -> ObservedPod:
    data = row.data
    conditions = {item["type"]: item for item in data.get("conditions", [])}
    scheduled = conditions.get("PodScheduled")
    asked = probes.get("pods")
    probe = asked.get(row.name) if isinstance(asked, dict) else None
    return ObservedPod(
        name=row.name,
        component=data.get("labels", {}).get(COMPONENT, ""),
        phase=data.get("phase") or "Pending",
        ready=conditions.get("Ready", {}).get("status") == "True",
        reason=data.get("reason", ""),
        message=data.get("message", ""),
        node=data.get("node", ""),
        deleting=bool(data.get("deletedAt")),
        created_at=parse_time(data.get("createdAt", "")),
        scheduled=None if scheduled is None else scheduled["status"] == "True",
        scheduling_reason=scheduled["reason"] if scheduled else "",
        scheduling_message=scheduled["message"] if scheduled else "",
        containers=tuple(
            _container(item)
            for item in [*data.get("initContainerStatuses", []), *data.get("containerStatuses", [])]
        ),
        model_present=_probe(probe, "model_present", now),
    )


def _container(item: dict[str, Any]) -> ObservedContainer:
    states: dict[str, dict[str, Any]] = item.get("state") or {"waiting": {}}
    state, said = next(iter(states.items()))
    last = item.get("lastState", {}).get("terminated", {})
    return ObservedContainer(
        name=item.get("name", ""),
        ready=item.get("ready", False),
        restarts=item.get("restartCount", 0),
        state=state,
        reason=said.get("reason", ""),
        message=said.get("message", ""),
        exit_code=said.get("exitCode"),
        last_reason=last.get("reason", ""),
        last_exit_code=last.get("exitCode"),
        image=item.get("image", ""),
    )


def _event(row: ObservedObject) -> ObservedEvent | None:
    data = row.data
    at = parse_time(data.get("lastSeen", "")) or parse_time(data.get("createdAt", ""))
    if at is None:
        return None
    involved = data.get("involved", {})
    return ObservedEvent(
        reason=data.get("reason", ""),
        message=data.get("message", ""),
        at=at if at.tzinfo else at.replace(tzinfo=UTC),
        about=f"{involved.get('kind', '')}/{involved.get('name', '')}",
        kind=data.get("type") or "Warning",
    )


def _probe(said: object, key: str, now: datetime) -> bool | None:
    """What a check answered, or None where there is no answer or only an old one."""
    if not isinstance(said, dict) or not isinstance(said.get(key), bool):
        return None
    at = parse_time(str(said.get("at", "")))
    if at is None or at.tzinfo is None or now - at > PROBE_KEPT:
        return None
    return bool(said[key])


def _pulling(deployment_id: int) -> str:
    """A sentence about a download that runs for this deployment, or ""."""
    pull = PullProgress.objects.filter(
        operation__deployment_id=deployment_id,
        operation__kind=OperationKind.PULL,
        operation__state__in=ACTIVE,
    ).first()
    if pull is None:
        return ""
    total = pull.total or pull.expected
    if not total:
        return "has just begun"
    return f"{pull.completed / 1e9:.1f} of {total / 1e9:.1f} GB"


def _differs(deployment: Deployment, found: Assessment) -> bool:
    return (deployment.health, deployment.health_sentence, deployment.health_evidence) != (
        found.health,
        found.sentence[:500],
        [line[:1000] for line in found.evidence],
    ) or deployment.health_remedy != found.remedy[:500]
