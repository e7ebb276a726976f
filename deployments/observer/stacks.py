"""From the rows of a deployment to what the health function takes.

What only asking can tell (does Ollama answer, is the model there, does chat reach it) is read from
``Deployment.probes``, which the checks write:

    {"server": {"answers": true, "at": "2026-01-31T12:00:00+00:00"},
     "chat": {"reaches": false, "why": "GET /api/config of Service llm/r1-chat: HTTP 502", "at": "…"},
     "pods": {"<pod name>": {"model_present": true, "at": "…"}}}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from deployments.domain.errors import InvalidInput
from deployments.domain.health.observed import (
    NodeTaints,
    ObservedClaim,
    ObservedPod,
    ObservedStack,
    ObservedWorkload,
    Unapplied,
)
from deployments.domain.health.pods import stored_event, stored_pod
from deployments.domain.names import ObjectNames
from deployments.domain.spec import StackSpec, StorageMode, spec_from_json
from deployments.models import Deployment, PullProgress
from deployments.observer.reading import parse_time
from deployments.selectors.node_states import NodeState

# An answer older than this says nothing about now.
PROBE_KEPT = timedelta(minutes=30)


class ObjectRow(NamedTuple):
    """What counts of an :class:`ObservedObject`."""

    kind: str
    name: str
    data: dict[str, Any]


@dataclass(frozen=True)
class ClusterSeen:
    """How current the observations of a cluster are: ``confirmed`` when all watches last were, None
    where one has never been; ``clock_ahead`` by how much its clock is ahead of ours; ``foreign`` where
    another cluster answers at its address; ``nodes`` how a node is, by its name, for nodes that matter;
    ``taints`` of all nodes, where a pod is kept off by some."""

    confirmed: datetime | None = None
    clock_ahead: timedelta = timedelta(0)
    foreign: bool = False
    nodes: Mapping[str, NodeState] = field(default_factory=dict)
    taints: Sequence[NodeTaints] = ()


def observed_stack(
    deployment: Deployment,
    objects: Iterable[ObjectRow],
    pull: PullProgress | None,
    seen: ClusterSeen,
    now: datetime,
    unapplied: Unapplied | None = None,
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
        pods=tuple(_pod(row, probes, seen, now) for row in rows.get("Pod", [])),
        claims=_claims(rows, names, spec),
        events=tuple(
            event for row in rows.get("Event", []) if (event := stored_event(row.data, seen.clock_ahead))
        ),
        server_answers=_probe(probes.get("server"), "answers", now),
        server_said=_said(probes.get("server")),
        chat_reaches=_probe(probes.get("chat"), "reaches", now),
        chat_said=_said(probes.get("chat")),
        chat_expected=spec.chat.enabled,
        pulling=_pulling(pull),
        foreign=seen.foreign,
        unapplied=unapplied,
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
    conditions = {item["type"]: item for item in data.get("conditions", [])}
    progressing, failure = conditions.get("Progressing", {}), conditions.get("ReplicaFailure", {})
    updated = data.get("updatedReplicas", 0)
    if kind == "StatefulSet" and data.get("currentRevision") == data.get("updateRevision"):
        # Without an update under way all are of the current revision, and only that is counted.
        updated = max(updated, data.get("currentReplicas", 0))
    return ObservedWorkload(
        kind,
        name,
        component,
        desired=data.get("specReplicas", 1),
        ready=data.get("readyReplicas", 0),
        updated=updated,
        current_generation_seen=data.get("observedGeneration", 0) >= data.get("generation", 0),
        replicas=data.get("replicas", 0),
        available=data.get("availableReplicas", 0) if kind == "Deployment" else None,
        overdue=progressing.get("message") or "deadline exceeded"
        if progressing.get("reason") == "ProgressDeadlineExceeded"
        else "",
        refused=failure.get("message", "") if failure.get("status") == "True" else "",
        paused=bool(data.get("paused")),
        deleting=bool(data.get("deletedAt")),
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


def _pod(
    row: ObjectRow,
    probes: dict[str, Any],
    seen: ClusterSeen,
    now: datetime,
) -> ObservedPod:
    asked = probes.get("pods")
    probe = asked.get(row.name) if isinstance(asked, dict) else None
    node = seen.nodes.get(row.data.get("node", ""), NodeState())
    return stored_pod(
        row.name,
        row.data,
        _probe(probe, "model_present", now),
        node_ready=node.ready,
        node_gone=node.gone,
        taints=seen.taints,
        clock_ahead=seen.clock_ahead,
    )


def _probe(said: object, key: str, now: datetime) -> bool | None:
    """What a check answered, or None where there is no answer or only an old one."""
    if not isinstance(said, dict) or not isinstance(said.get(key), bool):
        return None
    at = parse_time(str(said.get("at", "")))
    if at is None or at.tzinfo is None or now - at > PROBE_KEPT:
        return None
    return bool(said[key])


def _said(probe: object) -> str:
    return str(probe.get("why") or "")[:300] if isinstance(probe, dict) else ""


def _pulling(pull: PullProgress | None) -> str:
    """A sentence about a download that runs for this deployment, or ""."""
    if pull is None:
        return ""
    total = pull.total or pull.expected
    if not total:
        return "has just begun"
    return f"{pull.completed / 1e9:.1f} of {total / 1e9:.1f} GB"
