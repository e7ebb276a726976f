"""From the rows of a deployment to what the health function takes.

What only asking can tell (does Ollama answer, is the model there, does chat reach it) is read from
``Deployment.probes``, which the checks write:

    {"server": {"answers": true, "at": "2026-01-31T12:00:00+00:00"},
     "chat": {"reaches": true, "at": "…"},
     "pods": {"<pod name>": {"model_present": true, "at": "…"}}}
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from deployments.domain.errors import InvalidInput
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
from deployments.models import Deployment, PullProgress
from deployments.observer.reading import parse_time

STALE_AFTER = timedelta(minutes=3)
# An answer older than this says nothing about now.
PROBE_KEPT = timedelta(minutes=30)
COMPONENT = "app.kubernetes.io/component"


class ObjectRow(NamedTuple):
    """What counts of an :class:`ObservedObject`."""

    kind: str
    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ClusterSeen:
    """How current the observations of a cluster are: ``confirmed`` when all watches last were, None
    where one has never been; ``clock_ahead`` by how much its clock is ahead of ours; ``foreign`` where
    another cluster answers at its address."""

    confirmed: datetime | None = None
    clock_ahead: timedelta = timedelta(0)
    foreign: bool = False


def observed_stack(
    deployment: Deployment,
    objects: Iterable[ObjectRow],
    pull: PullProgress | None,
    seen: ClusterSeen,
    now: datetime,
) -> ObservedStack:
    """Everything known of a deployment, as the health function takes it: times of the cluster's clock
    come out as times of ours."""
    names = ObjectNames(deployment.name)
    spec = _spec(deployment)
    rows: dict[str, list[ObjectRow]] = {}
    for row in objects:
        rows.setdefault(row.kind, []).append(row)
    probes = deployment.probes if isinstance(deployment.probes, dict) else {}
    workloads = [_workload("StatefulSet", names.server, "server", rows)]
    if spec.chat.enabled:
        workloads.append(_workload("Deployment", names.chat, "chat", rows))
    return ObservedStack(
        observed_at=seen.confirmed,
        model=spec.model.reference,
        workloads=tuple(workloads),
        pods=tuple(_pod(row, probes, seen.clock_ahead, now) for row in rows.get("Pod", [])),
        claims=_claims(rows, names, spec),
        events=tuple(event for row in rows.get("Event", []) if (event := _event(row, seen.clock_ahead))),
        server_answers=_probe(probes.get("server"), "answers", now),
        chat_reaches=_probe(probes.get("chat"), "reaches", now),
        chat_expected=spec.chat.enabled,
        pulling=_pulling(pull),
        foreign=seen.foreign,
        stale_after=STALE_AFTER,
    )


def _spec(deployment: Deployment) -> StackSpec:
    """What was asked for. A spec that an older version wrote and this one cannot read counts as the
    default one: the pods are still worth judging."""
    return _read_spec(orjson.dumps(deployment.revision.spec))


@lru_cache(maxsize=500)
def _read_spec(text: bytes) -> StackSpec:
    try:
        return spec_from_json(orjson.loads(text))
    except InvalidInput:
        return StackSpec()


def _workload(kind: str, name: str, component: str, rows: dict[str, list[ObjectRow]]) -> ObservedWorkload:
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
    rows: dict[str, list[ObjectRow]], names: ObjectNames, spec: StackSpec
) -> tuple[ObservedClaim, ...]:
    found = [
        ObservedClaim(row.name, row.data.get("phase") or "Pending")
        for row in rows.get("PersistentVolumeClaim", [])
    ]
    if spec.storage.mode is StorageMode.SHARED and not any(c.name == names.shared_claim for c in found):
        found.append(ObservedClaim(names.shared_claim, ""))
    return tuple(found)


def _pod(row: ObjectRow, probes: dict[str, Any], ahead: timedelta, now: datetime) -> ObservedPod:
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
        created_at=_ours(data.get("createdAt", ""), ahead),
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


def _event(row: ObjectRow, ahead: timedelta) -> ObservedEvent | None:
    data = row.data
    at = _ours(data.get("lastSeen", ""), ahead) or _ours(data.get("createdAt", ""), ahead)
    if at is None:
        return None
    involved = data.get("involved", {})
    return ObservedEvent(
        reason=data.get("reason", ""),
        message=data.get("message", ""),
        at=at,
        about=f"{involved.get('kind', '')}/{involved.get('name', '')}",
        kind=data.get("type") or "Warning",
    )


def _ours(text: str, ahead: timedelta) -> datetime | None:
    """A time that the cluster's clock showed, by our own."""
    at = parse_time(text)
    if at is None:
        return None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=UTC)) - ahead
    except OverflowError:
        return None


def _probe(said: object, key: str, now: datetime) -> bool | None:
    """What a check answered, or None where there is no answer or only an old one."""
    if not isinstance(said, dict) or not isinstance(said.get(key), bool):
        return None
    at = parse_time(str(said.get("at", "")))
    if at is None or at.tzinfo is None or now - at > PROBE_KEPT:
        return None
    return bool(said[key])


def _pulling(pull: PullProgress | None) -> str:
    """A sentence about a download that runs for this deployment, or ""."""
    if pull is None:
        return ""
    total = pull.total or pull.expected
    if not total:
        return "has just begun"
    return f"{pull.completed / 1e9:.1f} of {total / 1e9:.1f} GB"
