"""From the API server's objects to a deployment's health, with nothing between that is made up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.domain.health.assess import Assessment, assess
from deployments.domain.states import Health
from deployments.models import Deployment, Revision
from deployments.observer.reading import CLAIM, DEPLOYMENT, EVENT, POD, STATEFUL_SET, read
from deployments.observer.stacks import ClusterSeen, ObjectRow, observed_stack
from deployments.selectors.node_states import NodeState

TABLE = yaml.safe_load((Path(__file__).parents[1] / "golden" / "kstatus.yaml").read_text())
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
KINDS = {"Pod": POD, "PersistentVolumeClaim": CLAIM, "StatefulSet": STATEFUL_SET, "Deployment": DEPLOYMENT}
NAMES = {
    "Pod": "d-server-0",
    "PersistentVolumeClaim": "models-d-server-0",
    "StatefulSet": "d-server",
    "Deployment": "d-chat",
}
CASES = [(kind, name) for kind, cases in TABLE.items() for name in cases]
GOOD: dict[str, dict[str, Any]] = {
    "Pod": TABLE["Pod"]["podReady"]["object"],
    "PersistentVolumeClaim": TABLE["PersistentVolumeClaim"]["pvcBound"]["object"],
    "StatefulSet": {
        "status": {"observedGeneration": 1, "currentReplicas": 1, "readyReplicas": 1, "replicas": 1}
    },
    "Deployment": TABLE["Deployment"]["depOK"]["object"],
}


def stamp(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(kind: str, obj: dict[str, Any], *, age: float = 600, **meta: Any) -> ObjectRow:
    metadata = {
        "name": NAMES[kind],
        "namespace": "llm",
        "uid": "u",
        "generation": 1,
        "creationTimestamp": stamp(age),
        "labels": {"app.kubernetes.io/component": "chat" if kind == "Deployment" else "server"},
        **meta,
    }
    seen = read(KINDS[kind], {**obj, "metadata": metadata})
    assert seen is not None
    return ObjectRow(seen.kind, seen.name, seen.data)


def judge(rows: list[ObjectRow], **seen: Any) -> Assessment:
    at = NOW.isoformat()
    deployment = Deployment(
        name="d",
        revision=Revision(spec={}),
        probes={
            "server": {"answers": True, "at": at},
            "chat": {"reaches": True, "at": at},
            "pods": {"d-server-0": {"model_present": True, "at": at}},
        },
    )
    around = ClusterSeen(**{"confirmed": NOW, **seen})
    return assess(observed_stack(deployment, rows, None, around, NOW), NOW, installing=False)


@pytest.mark.parametrize("kind, name", CASES)
def test_kstatus(kind: str, name: str) -> None:
    case = TABLE[kind][name]
    meta = {"generation": case.get("generation", 1)}
    if "deleted" in case:
        meta["deletionTimestamp"] = stamp(case["deleted"])
    rows = [
        row(kind, case["object"], age=case.get("age", 600), **meta)
        if other == kind
        else row(other, GOOD[other])
        for other in KINDS
        # A pod that is not ready leaves its set not ready.
        if not (kind == "Pod" and other == "StatefulSet")
    ]
    if kind == "Pod":
        ready = 1 if case["health"] == "healthy" else 0
        status = {"observedGeneration": 1, "currentReplicas": 1, "readyReplicas": ready, "replicas": 1}
        rows.append(row("StatefulSet", {"status": status}))
    found = judge(rows)
    assert found.health.value == case["health"], (found, case["then"])


def test_a_lost_node_is_named() -> None:
    pod = {"spec": {"nodeName": "gpu-1"}, "status": {"phase": "Running", "conditions": []}}
    rows = [row(kind, GOOD[kind]) for kind in KINDS if kind not in ("Pod", "StatefulSet")]
    rows += [row("Pod", pod), row("StatefulSet", {"status": {"observedGeneration": 1, "replicas": 1}})]
    found = judge(rows, nodes={"gpu-1": NodeState(ready=False)})
    assert (found.health, found.sentence) == (Health.FAILED, "The node gpu-1 does not answer any more.")
    found = judge(rows, nodes={"gpu-1": NodeState(gone=True)})
    assert found.sentence == "The node gpu-1 is gone, and d-server-0 with it."


def test_memory_is_the_nodes_where_the_container_has_no_limit() -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    last = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    for limits, words in (
        ({}, "its node ran out of memory"),
        ({"memory": "4Gi"}, "more memory than its limit"),
    ):
        pod = {
            "spec": {"containers": [{"name": "server", "resources": {"limits": limits}}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [
                    {"name": "server", "state": state, "lastState": last, "restartCount": 3}
                ],
            },
        }
        rows = [row("Deployment", GOOD["Deployment"]), row("Pod", pod), row("StatefulSet", {})]
        assert words in judge(rows).sentence


@pytest.mark.parametrize("hours", [-6, 6])
def test_a_clock_that_is_wrong_makes_no_event_old_and_no_pod_young(hours: int) -> None:
    """The cluster's clock is hours off: what it dates is read by ours."""
    ahead = timedelta(hours=hours)
    off = -ahead.total_seconds()
    event = read(
        EVENT,
        {
            "metadata": {"name": "e", "namespace": "llm", "uid": "e", "creationTimestamp": stamp(off + 30)},
            "reason": "FailedCreate",
            "message": "exceeded quota: rq",
            "type": "Warning",
            "lastTimestamp": stamp(off + 30),
            "involvedObject": {"kind": "StatefulSet", "name": "d-server", "namespace": "llm"},
        },
    )
    assert event is not None
    rows = [row("Deployment", GOOD["Deployment"]), row("StatefulSet", {"status": {"observedGeneration": 1}})]
    quota = judge([*rows, ObjectRow("Event", "e", event.data)], clock_ahead=ahead)
    assert quota.sentence == "The namespace's quota has no room for these pods."
    conditions = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": ""}]
    waiting = {"status": {"phase": "Pending", "conditions": conditions}}
    young = judge([*rows, row("Pod", waiting, age=off + 3)], clock_ahead=ahead)
    assert young.health is Health.PROGRESSING
    old = judge([*rows, row("Pod", waiting, age=off + 60)], clock_ahead=ahead)
    assert old.health is Health.FAILED
