"""Pods added up by node, and what they mean for the rules of what is to be placed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.domain.fit import PodShape, PodSums, shape_of
from deployments.domain.fit.shapes import REQUIRED, HostPort

LLM = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "llm"}}}
DB = {
    "topologyKey": "zone",
    "labelSelector": {"matchExpressions": [{"key": "app", "operator": "In", "values": ["db"]}]},
}


def pod(node: str = "a", namespace: str = "llm", labels: Any = None, **more: Any) -> dict[str, Any]:
    requests = {"cpu": "500m", "nvidia.com/gpu": "1"}
    spec = {"containers": [{"resources": {"requests": requests}}], **more}
    return {"metadata": {"namespace": namespace, "labels": labels or {}}, "spec": {"nodeName": node, **spec}}


def test_by_node() -> None:
    sums = PodSums()
    for one in (pod(), pod(), pod("b"), pod("")):
        sums.add(one)
    assert sums.on("a") == {"cpu": 1000, "nvidia.com/gpu": 2}
    assert sums.on("b") == {"cpu": 500, "nvidia.com/gpu": 1}
    assert sums.on("empty") == {}
    assert sums.pods == {"a": 2, "b": 1}
    assert sums.waiting == 1


def test_neighbours_by_namespace_and_label() -> None:
    shape = PodShape({}, "llm", {"app": "llm"}, affinity=(DB,), anti_affinity=(LLM,))
    everywhere = replace(shape, anti_affinity=({**LLM, "namespaceSelector": {}},))
    sums = PodSums([shape, everywhere])
    sums.add(pod("a", labels={"app": "db"}))
    sums.add(pod("b", labels={"app": "llm"}))
    sums.add(pod("c", "elsewhere", {"app": "llm"}))
    sums.add(pod("d", affinity={"podAntiAffinity": {REQUIRED: [LLM]}}))
    sums.add(pod("e", "elsewhere", affinity={"podAntiAffinity": {REQUIRED: [LLM]}}))
    named = {**LLM, "namespaces": ["llm"]}
    sums.add(pod("f", "elsewhere", affinity={"podAntiAffinity": {REQUIRED: [named]}}))
    near, far = sums.neighbours()
    assert near.wanted == {"a"}
    assert near.avoided == (frozenset({"b"}),)
    assert far.avoided == (frozenset({"b", "c"}),)
    assert near.repelled == {("zone", "d"), ("zone", "f")}


def test_what_a_spread_rule_counts() -> None:
    rule = {
        "maxSkew": 1,
        "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "matchLabelKeys": ["rev"],
    }
    rules = [
        {**rule, "labelSelector": LLM["labelSelector"]},
        {**rule, "labelSelector": {}, "matchLabelKeys": []},
    ]
    labels = {"app": "llm", "rev": "2"}
    template = {"metadata": {"labels": labels}, "spec": {"topologySpreadConstraints": rules}}
    sums = PodSums([shape_of(template, "llm")])
    sums.add(pod("a", labels=labels))
    sums.add(pod("a", labels={"app": "llm", "rev": "1"}))
    sums.add(pod("b", "elsewhere", labels))
    going = pod("b", labels=labels)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    sums.add(going)
    (found,) = sums.neighbours()
    assert [dict(counts) for counts in found.spread] == [{"a": 1, "b": 0}, {"a": 0, "b": 0}]
    assert sums.pods == {"a": 2, "b": 2}, "one that is being ended holds its room"


def test_a_rule_by_labels_of_namespaces_may_be_against_the_pod() -> None:
    sums = PodSums([PodShape({}, "llm", {"app": "llm"})])
    chosen = {**LLM, "namespaceSelector": {"matchLabels": {"team": "x"}}}
    sums.add(pod("a", "elsewhere", affinity={"podAntiAffinity": {REQUIRED: [chosen]}}))
    other = {**chosen, "labelSelector": {"matchLabels": {"app": "db"}}}
    sums.add(pod("b", "elsewhere", affinity={"podAntiAffinity": {REQUIRED: [other]}}))
    (found,) = sums.neighbours()
    assert (found.repelled, found.doubted) == (frozenset(), {("zone", "a")})


def test_ports_of_the_node_are_those_of_all_its_pods() -> None:
    sums = PodSums()
    for port in (80, 81):
        sums.add({"spec": {"nodeName": "a", "containers": [{"ports": [{"hostPort": port}]}]}})
    assert sums.ports == {"a": {HostPort(80), HostPort(81)}}


@pytest.mark.parametrize(
    "hostile",
    [
        {"spec": {"nodeName": "a", "containers": [{"resources": {"requests": {"cpu": "NaN"}}}]}},
        {"spec": {"nodeName": "a", "containers": "x" * 9}},
        {"spec": {"nodeName": "a"}, "metadata": ["x"]},
        {"spec": {"nodeName": "a", "affinity": ["x"]}},
        {"spec": {"nodeName": "a", "affinity": {"podAntiAffinity": {REQUIRED: ["x"]}}}},
        {"spec": {"nodeName": "a"}, "metadata": {"namespace": "llm", "labels": ["x"]}},
    ],
)
def test_of_a_node_with_a_pod_that_is_none_nothing_is_known(hostile: dict[str, Any]) -> None:
    sums = PodSums([PodShape({}, "llm", {"app": "llm"}, affinity=(DB,), anti_affinity=(LLM,))])
    sums.add(pod("b"))
    sums.add(hostile)
    assert sums.on("a") is None
    assert sums.on("b") == {"cpu": 500, "nvidia.com/gpu": 1}
