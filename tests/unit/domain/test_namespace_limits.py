"""Quotas, limit ranges and the restricted pod security standard, held against a pod and its claims."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from deployments.domain.namespace_limits import (
    exceeded,
    outside_range,
    quota_applies,
    restricted_faults,
    times,
    together,
    use_of_claim,
    use_of_pod,
)

RESOURCES = {
    "requests": {"cpu": "2", "memory": "8Gi", "nvidia.com/gpu": "1"},
    "limits": {"cpu": "4", "memory": "10Gi", "nvidia.com/gpu": "1"},
}
LOCKED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD: dict[str, Any] = {
    "containers": [{"name": "ollama", "resources": RESOURCES, "securityContext": LOCKED}],
    "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": "x"}}],
}
CLAIM = {"resources": {"requests": {"storage": "50Gi"}}, "storageClassName": "fast"}


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    return {"spec": {"hard": hard, **spec}, "status": {"hard": hard, "used": used or {}}}


@pytest.mark.parametrize(
    ("hard", "used", "count", "clauses"),
    [
        ({"requests.nvidia.com/gpu": "4"}, {"requests.nvidia.com/gpu": "2"}, 2, []),
        (
            {"requests.nvidia.com/gpu": "4"},
            {"requests.nvidia.com/gpu": "3"},
            2,
            ["requests.nvidia.com/gpu: 2 more wanted, 3 of 4 used"],
        ),
        ({"memory": "15Gi"}, {}, 2, ["memory: 16Gi more wanted, 0 of 15Gi used"]),
        ({"limits.cpu": "8"}, {"limits.cpu": "500m"}, 2, ["limits.cpu: 8 more wanted, 500m of 8 used"]),
        ({"pods": "1"}, {}, 2, ["pods: 2 more wanted, 0 of 1 used"]),
        ({"requests.storage": "99Gi"}, {}, 2, ["requests.storage: 100Gi more wanted, 0 of 99Gi used"]),
        ({"fast.storageclass.storage.k8s.io/persistentvolumeclaims": "2"}, {}, 2, []),
        ({"count/secrets": "0", "services": "0"}, {}, 2, []),
        ({"requests.cpu": "hostile"}, {}, 2, []),
    ],
)
def test_quota(hard: dict[str, str], used: dict[str, str], count: int, clauses: list[str]) -> None:
    more = together([times(use_of_pod(POD), count), times(use_of_claim(CLAIM), count)])
    assert exceeded(quota(hard, used), more) == clauses


def test_what_becomes_less_exceeds_nothing() -> None:
    assert exceeded(quota({"pods": "1"}, {"pods": "3"}), {"pods": Decimal(-1)}) == []


@pytest.mark.parametrize(
    ("spec", "applies"),
    [
        ({}, True),
        ({"scopes": ["NotBestEffort", "NotTerminating"]}, True),
        ({"scopes": ["BestEffort"]}, False),
        ({"scopes": ["Terminating"]}, False),
        ({"scopes": ["CrossNamespacePodAffinity"]}, None),
        ({"scopeSelector": {"matchExpressions": []}}, None),
    ],
)
def test_scopes(spec: dict[str, Any], applies: bool | None) -> None:
    assert quota_applies(quota({}, **spec)) is applies


@pytest.mark.parametrize(
    ("limit", "clauses"),
    [
        ({"type": "Container", "max": {"cpu": "4", "memory": "10Gi"}}, []),
        (
            {"type": "Container", "max": {"memory": "8Gi"}},
            ["container ollama may have 8Gi memory, 10Gi is wanted"],
        ),
        ({"type": "Container", "min": {"cpu": "3"}}, ["container ollama must ask for 3 cpu, 2 is asked"]),
        ({"type": "Pod", "max": {"cpu": "3"}}, ["the pod may have 3 cpu, 4 is wanted"]),
        (
            {"type": "PersistentVolumeClaim", "max": {"storage": "10Gi"}},
            ["the claim may have 10Gi storage, 50Gi is wanted"],
        ),
        (
            {"type": "PersistentVolumeClaim", "min": {"storage": "1Ti"}},
            ["the claim must ask for 1Ti storage, 50Gi is asked"],
        ),
        (
            {"type": "Container", "maxLimitRequestRatio": {"cpu": "1.5"}},
            ["container ollama may have a limit of 1.5 times its request of cpu, 4 for 2 is more"],
        ),
        ({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}, []),
        ({"type": "Unheard", "max": {"cpu": "0"}}, []),
    ],
)
def test_limit_range(limit: dict[str, Any], clauses: list[str]) -> None:
    assert outside_range({"spec": {"limits": [limit]}}, POD, [CLAIM]) == clauses


def test_restricted() -> None:
    assert restricted_faults(POD) == []
    inherited = {key: LOCKED[key] for key in ("allowPrivilegeEscalation", "capabilities")}
    pod = {
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": inherited}],
    }
    assert restricted_faults(pod) == []
    bad = {
        "containers": [{"name": "c", "securityContext": {"runAsUser": 0}}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    }
    assert len(restricted_faults(bad)) == 6
