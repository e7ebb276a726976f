"""Trimming what an API server sends: kept under the API's own names, bounded, whatever comes."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from deployments.gateways.kubernetes import ResourceKind
from deployments.observer.reading import (
    CLAIM,
    DEPLOYMENT,
    EVENT,
    LABELLED,
    MAX_ITEMS,
    POD,
    STATEFUL_SET,
    read,
)

UID = uuid.UUID("b6a1d3c2-0000-4000-8000-000000000001")


def meta(**more: Any) -> dict[str, Any]:
    return {
        "name": "r1-server-0",
        "namespace": "llm",
        "uid": "u-1",
        "resourceVersion": "42",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"pilothouse.io/deployment": str(UID), "app.kubernetes.io/component": "server", "x": "y"},
        **more,
    }


def test_a_pod_keeps_what_explains_its_state() -> None:
    seen = read(
        POD,
        {
            "metadata": meta(),
            "spec": {
                "nodeName": "n1",
                "containers": [
                    {
                        "name": "ollama",
                        "image": "ollama/ollama:0.9.6",
                        "env": [{"name": "SECRET", "value": "s3cret"}],
                        "resources": {"limits": {"nvidia.com/gpu": "1"}},
                    }
                ],
                "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "models-r1-server-0"}}],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
                "containerStatuses": [
                    {
                        "name": "ollama",
                        "ready": False,
                        "restartCount": 3,
                        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                    }
                ],
            },
        },
    )
    assert seen is not None
    assert (seen.kind, seen.namespace, seen.name, seen.uid) == ("Pod", "llm", "r1-server-0", "u-1")
    assert seen.deployment == UID and seen.resource_version == "42"
    status = seen.data["containerStatuses"][0]
    assert status["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}
    assert status["lastState"] == {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    assert status["restartCount"] == 3 and seen.data["node"] == "n1"
    assert seen.data["claims"] == ["models-r1-server-0"]
    assert seen.data["containers"][0]["limits"] == {"nvidia.com/gpu": "1"}
    assert "s3cret" not in json.dumps(seen.data)


def test_workloads_and_claims_keep_their_figures() -> None:
    workload = {
        "metadata": meta(generation=3),
        "spec": {},
        "status": {"observedGeneration": 2, "readyReplicas": 1, "updatedReplicas": 1},
    }
    for kind in (STATEFUL_SET, DEPLOYMENT):
        seen = read(kind, workload)
        assert seen is not None
        assert seen.data["specReplicas"] == 1 and seen.data["generation"] == 3
        assert seen.data["observedGeneration"] == 2 and seen.data["readyReplicas"] == 1
    claim = read(
        CLAIM,
        {
            "metadata": meta(),
            "spec": {"resources": {"requests": {"storage": "10Gi"}}, "accessModes": ["ReadWriteOnce"]},
            "status": {"phase": "Bound", "capacity": {"storage": "12Gi"}},
        },
    )
    assert claim is not None
    assert (claim.data["phase"], claim.data["requested"], claim.data["capacity"]) == ("Bound", "10Gi", "12Gi")


@pytest.mark.parametrize(
    ("times", "last", "count"),
    [
        ({"firstTimestamp": "a", "lastTimestamp": "b", "count": 4}, "b", 4),
        ({"eventTime": "c", "firstTimestamp": None, "lastTimestamp": None}, "c", 1),
        ({"eventTime": "c", "series": {"count": 7, "lastObservedTime": "d"}}, "d", 7),
    ],
)
def test_events_of_old_and_new_clients(times: dict[str, Any], last: str, count: int) -> None:
    seen = read(
        EVENT,
        {
            "metadata": meta(),
            "involvedObject": {"kind": "Pod", "namespace": "llm", "name": "r1-server-0"},
            "reason": "FailedScheduling",
            **times,
        },
    )
    assert seen is not None and seen.deployment is None  # an event's own labels say nothing
    assert (seen.data["lastSeen"], seen.data["count"]) == (last, count)


HOSTILE: list[Any] = [None, 7, "x", [], [None, 7, []], {"a": {"b": None}}, True, "\x00\ud800" * 9000]


@pytest.mark.parametrize("kind", [*LABELLED, EVENT])
@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value)[:12])
def test_anything_may_come_and_little_is_kept(kind: ResourceKind, value: Any) -> None:
    obj = {
        "metadata": meta(labels=value, ownerReferences=value, deletionTimestamp=value, generation=value),
        "involvedObject": value,
        "series": value,
        "message": value,
        "spec": {
            "containers": [{"resources": value, "image": value, "name": value}] * 100,
            "volumes": [{"persistentVolumeClaim": value}] * 100,
            "accessModes": [value] * 100,
            "replicas": value,
            "template": value,
            "resources": value,
        },
        "status": {
            "phase": value,
            "conditions": [{"message": value}] * 100,
            "containerStatuses": [{"state": {"waiting": {"message": value}}, "restartCount": value}] * 100,
            "capacity": value,
            "readyReplicas": 2**70,
        },
    }
    seen = read(kind, obj)
    assert seen is not None
    stored = json.dumps(seen.data, ensure_ascii=False)
    assert "\x00" not in stored and "\ud800" not in stored
    assert len(stored) < MAX_ITEMS * 6000
    for key in ("spec", "status", "metadata"):
        broken = read(kind, obj | {key: value})
        assert broken is None or broken.name


def test_an_object_without_a_name_is_none() -> None:
    assert read(POD, {"metadata": {"uid": "u"}}) is None
    assert read(POD, {}) is None
