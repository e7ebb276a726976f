"""Whether replicas find nodes: every rule as a case of tests/golden/fit/cases.yaml, and what holds always."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.domain.fit import Answer, Fit, Neighbours, Node, PodShape, node_of, place, replicas, shape_of
from deployments.domain.fit.shapes import REQUIRED, Taint, host_ports
from deployments.domain.pod_requests import effective_requests

CASES = yaml.safe_load((Path(__file__).parents[2] / "golden" / "fit" / "cases.yaml").read_text())


def _node(given: dict[str, Any]) -> Node:
    labels = dict(given.get("labels", {}))
    if given.get("hostname"):
        labels["kubernetes.io/hostname"] = given["name"]
    taints = []
    for text in given.get("taints", []):
        pair, _, effect = text.rpartition(":")
        key, _, value = pair.partition("=")
        taints.append({"key": key, "effect": effect, **({"value": value} if value else {})})
    given_amounts = {"pods": 110, **given["has"]}
    raw = {
        "metadata": {"name": given["name"], "labels": labels},
        "spec": {"taints": taints, "unschedulable": given.get("cordoned", False)},
        "status": {
            "allocatable": {name: str(value) for name, value in given_amounts.items()},
            "conditions": [{"type": "Ready", "status": str(given.get("ready", True))}],
        },
    }
    held = given.get("held", {})
    sums = None if held is None else effective_requests({"spec": {"containers": [_container(held)]}})
    ports = host_ports({"containers": [{"ports": given.get("ports")}]})
    return replace(node_of(raw, sums, given.get("pods", 0)), ports=ports)


def _container(asks: dict[str, Any]) -> dict[str, Any]:
    requests = {name: str(value) for name, value in asks.items()}
    return {"name": "c", "resources": {"requests": requests}}


def _shape(case: dict[str, Any]) -> PodShape:
    spec = case.get("pod") or {"containers": [_container(case["asks"])]}
    affinity: dict[str, Any] = {}
    if "node_terms" in case:
        affinity["nodeAffinity"] = {REQUIRED: {"nodeSelectorTerms": case["node_terms"]}}
    if "affinity" in case:
        affinity["podAffinity"] = {REQUIRED: case["affinity"]}
    if "anti_affinity" in case:
        affinity["podAntiAffinity"] = {REQUIRED: case["anti_affinity"]}
    template = {
        "metadata": {"labels": case.get("labels", {})},
        "spec": {
            **spec,
            "nodeSelector": case.get("node_selector"),
            "tolerations": case.get("tolerations"),
            "affinity": affinity,
        },
    }
    neighbours = Neighbours(
        frozenset(case.get("wanted", [])),
        tuple(frozenset(names) for names in case.get("avoided", [])),
        frozenset((key, name) for key, name in case.get("repelled", [])),
        frozenset((key, name) for key, name in case.get("doubted", [])),
        tuple(case.get("spread", [])),
    )
    volumes = tuple(tuple(terms) for terms in case.get("volumes", []))
    return replace(shape_of(template, "llm"), neighbours=neighbours, volumes=volumes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_case(case: dict[str, Any]) -> None:
    found = replicas([_node(item) for item in case["nodes"]], _shape(case), case.get("replicas", 1))
    assert found.answer == case["answer"], found
    if "placed" in case:
        assert list(found.placed) == case["placed"]
    if "on" in case:
        assert found.on == case["on"]
    why = {item.node.name: [reason.text for reason in item.reasons] for item in found.nodes}
    for name, texts in case.get("why", {}).items():
        assert why[name] == texts
    if "line" in case:
        assert found.why_not == case["line"]
    if "never" in case:
        assert found.never == case["never"]
    if "unknown" in case:
        assert list(found.unknown) == case["unknown"]


def test_replicas_with_different_volumes_keep_apart_all_the_same() -> None:
    """Each replica's own claim makes another shape of it; the rules between them stay."""
    keep = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "llm"}}}
    one = PodShape({}, "llm", {"app": "llm"}, anti_affinity=(keep,))
    bound = replace(one, volumes=(({"matchExpressions": [{"key": "zone", "operator": "Exists"}]},),))
    only = Node("a", {"pods": 9}, labels={"kubernetes.io/hostname": "a", "zone": "x"})
    found = place([only], [bound, one])
    assert (found.answer, found.placed) == (Answer.DOES_NOT_FIT, ("a", ""))


# -- what holds always --------------------------------------------------------------------------------

RESOURCES = ("cpu", "memory", "nvidia.com/gpu")
AMOUNTS = st.fixed_dictionaries({name: st.integers(0, 6) for name in RESOURCES})
TAINTS = st.lists(
    st.builds(Taint, st.sampled_from("ab"), effect=st.sampled_from(["NoSchedule", "PreferNoSchedule"])),
    max_size=2,
)
ANTI = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "llm"}}}


@st.composite
def nodes(draw: st.DrawFn, name: str = "") -> Node:
    has = draw(AMOUNTS)
    return Node(
        name=name or f"n{draw(st.integers(0, 10**6))}",
        allocatable={**has, "pods": draw(st.integers(0, 4))},
        requested=draw(st.none() | AMOUNTS),
        pods=draw(st.integers(0, 2)),
        labels={"zone": draw(st.sampled_from("xyz"))},
        taints=tuple(draw(TAINTS)),
        unschedulable=draw(st.booleans()) and draw(st.booleans()),
    )


FLEETS = st.lists(nodes(), max_size=5, unique_by=lambda node: node.name)
SHAPES = st.builds(
    PodShape,
    requests=AMOUNTS,
    namespace=st.just("llm"),
    labels=st.just({"app": "llm"}),
    tolerations=st.sampled_from([(), ({"key": "a", "operator": "Exists"},)]),
    anti_affinity=st.sampled_from([(), (ANTI,)]),
)


BEST_LAST = list(Answer)


def _no_worse(left: Fit, right: Fit) -> bool:
    return BEST_LAST.index(left.answer) >= BEST_LAST.index(right.answer) and left.found >= right.found


@settings(max_examples=50, deadline=None)
@given(FLEETS, SHAPES, st.integers(0, 6), nodes(name="one-more"))
def test_another_node_never_makes_it_worse(
    fleet: list[Node], shape: PodShape, count: int, more: Node
) -> None:
    assert _no_worse(replicas([*fleet, more], shape, count), replicas(fleet, shape, count))


@settings(max_examples=50, deadline=None)
@given(FLEETS, SHAPES, st.integers(0, 5))
def test_another_replica_never_makes_it_better(fleet: list[Node], shape: PodShape, count: int) -> None:
    fewer, more = replicas(fleet, shape, count), replicas(fleet, shape, count + 1)
    assert BEST_LAST.index(more.answer) <= BEST_LAST.index(fewer.answer)
    assert more.found >= fewer.found


@settings(max_examples=50, deadline=None)
@given(FLEETS, SHAPES, st.integers(0, 6), st.randoms(use_true_random=False))
def test_the_order_of_nodes_changes_nothing(
    fleet: list[Node], shape: PodShape, count: int, random: Any
) -> None:
    shuffled = random.sample(fleet, len(fleet))
    found, again = replicas(fleet, shape, count), replicas(shuffled, shape, count)
    assert (found.answer, found.placed) == (again.answer, again.placed)


@settings(max_examples=50, deadline=None)
@given(FLEETS, SHAPES, st.integers(0, 6))
def test_no_node_gives_more_than_it_has(fleet: list[Node], shape: PodShape, count: int) -> None:
    found = replicas(fleet, shape, count)
    before = {node.name: node for node in fleet}
    for item in found.nodes:
        node = before[item.node.name]
        if not item.takes:
            continue
        assert node.requested is not None
        for name, wanted in shape.requests.items():
            if wanted:
                assert node.requested.get(name, 0) + item.takes * wanted <= node.allocatable[name]
        assert node.pods + item.takes <= node.allocatable["pods"]


@settings(max_examples=50, deadline=None)
@given(FLEETS, SHAPES, st.integers(1, 5))
def test_what_does_not_fit_has_a_reason_on_every_node(fleet: list[Node], shape: PodShape, count: int) -> None:
    found = replicas(fleet, shape, count)
    if found.answer is Answer.DOES_NOT_FIT:
        assert all(item.reasons for item in found.nodes)
