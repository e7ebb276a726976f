"""What pods hold and nodes give, case by case in tests/golden/fit, and what holds for every pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deployments.domain.errors import InvalidInput
from deployments.domain.pod_requests import (
    add_amounts,
    allocatable,
    counts_for_scheduling,
    effective_requests,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "fit" / "pod-requests.yaml"
CASES = yaml.safe_load(GOLDEN.read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_pod(case: dict[str, Any]) -> None:
    assert effective_requests(case["pod"]) == case["asks"]


AMOUNTS = st.dictionaries(
    st.sampled_from(["cpu", "memory", "nvidia.com/gpu"]), st.integers(0, 64).map(str), max_size=3
)
CONTAINERS = st.lists(AMOUNTS.map(lambda asked: {"resources": {"requests": asked}}), max_size=4)


@given(CONTAINERS, CONTAINERS, st.data())
def test_a_pod_holds_at_least_its_containers_and_any_init_container(
    containers: list[Any], inits: list[Any], data: st.DataObject
) -> None:
    for container in inits:
        if data.draw(st.booleans()):
            container["restartPolicy"] = "Always"
    asked = effective_requests({"spec": {"containers": containers, "initContainers": inits}})
    alone = effective_requests({"spec": {"containers": containers}})
    assert all(asked.get(name, 0) >= value for name, value in alone.items())
    for container in inits:
        own = effective_requests({"spec": {"containers": [container]}})
        assert all(asked.get(name, 0) >= value for name, value in own.items())


def test_only_finished_pods_hold_nothing() -> None:
    phases = ["Pending", "Running", "Unknown", "Succeeded", "Failed"]
    assert [counts_for_scheduling({"status": {"phase": phase}}) for phase in phases] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert counts_for_scheduling(
        {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Running"}}
    )


def test_a_node_gives_its_allocatable_and_else_its_capacity() -> None:
    capacity = {"cpu": "8", "memory": "32Gi", "pods": "110", "nvidia.com/gpu": "4"}
    given = {"cpu": "7910m", "memory": "31Gi", "pods": "110", "nvidia.com/gpu": "3"}
    assert allocatable({"status": {"capacity": capacity, "allocatable": given}}) == {
        "cpu": 7910,
        "memory": 31 * 2**30,
        "pods": 110,
        "nvidia.com/gpu": 3,
    }
    assert allocatable({"status": {"capacity": capacity}})["nvidia.com/gpu"] == 4
    assert allocatable({}) == {}


def test_sums_are_made_in_place() -> None:
    total = {"cpu": 100}
    add_amounts(total, {"cpu": 50, "memory": 7})
    assert total == {"cpu": 150, "memory": 7}


@pytest.mark.parametrize(
    "pod",
    [
        {"spec": []},
        {"spec": {"containers": "a"}},
        {"spec": {"containers": ["a"]}},
        {"spec": {"containers": [{"resources": {"requests": {"cpu": "much"}}}]}},
        {"spec": {"containers": [{"resources": {"requests": {"cpu": "9" * 100}}}]}},
        {"spec": {"overhead": {str(n): "1" for n in range(300)}}},
    ],
)
def test_what_is_no_pod_is_refused(pod: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        effective_requests(pod)
