"""Every case is a file of tests/golden/health: what was observed, and what has to be said of it.

Times are seconds before "now". A case gives only what differs from the healthy stack of `_base`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deployments.domain.health.assess import assess
from deployments.domain.health.observed import (
    ObservedClaim,
    ObservedContainer,
    ObservedEvent,
    ObservedPod,
    ObservedStack,
    ObservedWorkload,
    Unapplied,
)
from deployments.domain.health.pods import assess_pod
from deployments.domain.health.scheduler_message import Reason, explain, parse
from deployments.domain.states import Health

GOLDEN = Path(__file__).parents[2] / "golden" / "health"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
CASES = sorted(GOLDEN.glob("*.yaml"))


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def _workload(given: dict[str, Any]) -> ObservedWorkload:
    kind = "StatefulSet" if given["component"] == "server" else "Deployment"
    values = {"desired": 1, "ready": 1, **given}
    return ObservedWorkload(
        kind=kind, name=f"deepseek-{given['component']}", **{"updated": values["desired"], **values}
    )


def _pod(given: dict[str, Any]) -> ObservedPod:
    values = dict(given)
    component = values.setdefault("component", "server")
    containers = tuple(ObservedContainer(**{"name": component, **c}) for c in values.pop("containers", []))
    age = values.pop("age", 600)
    if "end_due" in values:
        values["end_due_at"] = ago(values.pop("end_due"))
    values.setdefault("name", "deepseek-server-0" if component == "server" else "deepseek-chat-5d8f-x2x9k")
    return ObservedPod(containers=containers, created_at=ago(age), **values)


def _base() -> dict[str, Any]:
    running = [{"state": "running", "ready": True}]
    return {
        "age": 5,
        "workloads": [{"component": "server"}, {"component": "chat"}],
        "pods": [
            {
                "phase": "Running",
                "ready": True,
                "scheduled": True,
                "model_present": True,
                "containers": running,
            },
            {
                "component": "chat",
                "phase": "Running",
                "ready": True,
                "scheduled": True,
                "containers": running,
            },
        ],
        "claims": [{"name": "models-deepseek-server-0"}],
        "events": [],
        "server_answers": True,
        "chat_reaches": True,
    }


def observed(case: dict[str, Any]) -> ObservedStack:
    given = {**_base(), **case.get("observed", {})}
    age = given.pop("age")
    unapplied = given.pop("unapplied", None)
    return ObservedStack(
        observed_at=None if age is None else ago(age),
        model="deepseek-r1:7b",
        workloads=tuple(map(_workload, given.pop("workloads"))),
        pods=tuple(map(_pod, given.pop("pods"))),
        claims=tuple(ObservedClaim(**claim) for claim in given.pop("claims")),
        events=tuple(ObservedEvent(at=ago(e.pop("age", 30)), **e) for e in map(dict, given.pop("events"))),
        unapplied=Unapplied(**unapplied) if unapplied else None,
        **given,
    )


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_case(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    found = assess(observed(case), NOW, case.get("installing", False))
    expected = case["expected"]
    assert (found.health.value, found.sentence) == (expected["health"], expected["sentence"])
    assert expected.get("remedy", "") in found.remedy
    assert bool(found.remedy) is bool(expected.get("remedy"))
    for words in expected.get("evidence", []):
        assert words in "\n".join(found.evidence)


def test_the_cases_are_there() -> None:
    assert len(CASES) >= 110


TEXT = (
    "0/4 nodes are available: 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable, "
    "2 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/4 nodes are available: "
    "1 Preemption is not helpful for scheduling, 3 No preemption victims found for incoming pod."
)


def test_the_schedulers_message_comes_apart() -> None:
    """Recorded transcript 26b (Kubernetes 1.36)."""
    found = parse(TEXT)
    assert found.total == 4 and not found.never
    assert found.reasons == (
        Reason(1, "node(s) had untolerated taint(s)"),
        Reason(1, "node(s) were unschedulable"),
        Reason(2, "Insufficient nvidia.com/gpu"),
    )
    older = parse(
        "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: "
        "3 Preemption is not helpful for scheduling."
    )
    assert older.never and older.reasons == (Reason(3, "Insufficient nvidia.com/gpu"),)
    filtered = parse("0/4 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found")
    assert filtered.reasons == (Reason(0, "pod has unbound immediate PersistentVolumeClaims"),)
    assert parse("no nodes available to schedule pods").never
    assert parse("something new").reasons == (Reason(0, "something new"),)


def test_of_a_message_that_was_cut_nobody_says_never() -> None:
    cut = TEXT.partition(", 3 No preemption")[0][:-10] + "scheduling, 3 No pree…"
    assert not parse(cut).never
    assert explain(cut) == explain(TEXT)


def test_the_tail_of_the_plugin_of_resource_claims_is_cut() -> None:
    """Kubernetes 1.31 to 1.34 say "still not schedulable" there."""
    older = parse(TEXT.replace("no new claims to deallocate", "still not schedulable"))
    assert older == parse(TEXT)


def test_a_pod_that_should_be_gone_says_so_on_its_own_page_too() -> None:
    ending = _pod({"phase": "Running", "deleting": True, "end_due": 300, "node": "gpu-1"})
    found = assess_pod(ending, NOW)
    assert found.sentence == "deepseek-server-0 should have ended 5 minutes ago and is still there."
    assert found.evidence and found.remedy
    soon = assess_pod(_pod({"phase": "Running", "deleting": True, "end_due": -20}), NOW)
    assert (soon.health, soon.sentence) == (Health.PROGRESSING, "deepseek-server-0 is being ended.")


def test_a_pod_that_was_meant_to_end_is_well() -> None:
    done = [{"state": "terminated", "reason": "Completed", "exit_code": 0}]
    found = assess_pod(_pod({"phase": "Succeeded", "containers": done}), NOW)
    assert (found.health, found.sentence) == (
        Health.HEALTHY,
        "deepseek-server-0 has done its work and ended.",
    )
