"""What of a watch is passed on: changes, once, and of others' pods the sums alone."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from deployments.observer.backlog import Backlog, Change, Gone, Listed, Summed, Upsert
from deployments.observer.backoff import Backoff
from deployments.observer.intake import REMEMBERED, Intake
from deployments.observer.leases import Held
from deployments.observer.reading import DEPLOYMENT_LABEL, EVENT, NODE, POD
from deployments.observer.scopes import ALL_PODS, NODE_EVENTS, Scope, everywhere, wanted

OURS = str(uuid.UUID(int=1))


class Fed:
    """An intake, and what came out of it since the last look."""

    def __init__(self, scope: Scope = ALL_PODS) -> None:
        self.backlog = Backlog()
        self.intake = Intake(1, Held("cluster:1", "me", 1), self.backlog)
        self.scope = scope

    def out(self) -> list[Change]:
        return self.backlog.take(1000, 0)

    def put(self, *objects: dict[str, Any]) -> list[Change]:
        for obj in objects:
            self.intake.put(self.scope, obj)
        return self.out()

    def listed(self, *objects: dict[str, Any]) -> list[Change]:
        self.intake.begin(self.scope)
        for obj in objects:
            self.intake.put(self.scope, obj)
        self.intake.end(self.scope)
        return self.out()

    def sums(self) -> dict[str, tuple[dict[str, int], int]]:
        self.intake.tell_sums()
        return {c.sum.node: (c.sum.requested, c.sum.pods) for c in self.out() if isinstance(c, Summed)}


def pod(name: str, version: int = 1, *, uid: str = "", ours: bool = True, **more: Any) -> dict[str, Any]:
    node, phase, cpu = more.get("node", "n1"), more.get("phase", "Running"), more.get("cpu", "500m")
    return {
        "metadata": {
            "name": name,
            "namespace": "llm",
            "uid": uid or f"uid-{name}",
            "resourceVersion": str(version),
            "labels": {DEPLOYMENT_LABEL: OURS} if ours else {"app": "theirs"},
            "annotations": more.get("annotations", {}),
        },
        "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    }


def names(changes: list[Change]) -> list[str]:
    return [c.seen.name for c in changes if isinstance(c, Upsert)]


def test_what_is_kept_goes_on_when_it_has_changed_and_not_otherwise() -> None:
    fed = Fed()
    assert names(fed.listed(pod("a"), pod("b"), pod("x", ours=False))) == ["a", "b"]
    assert fed.put(pod("a", 2, annotations={"seen": "by somebody"})) == []
    assert names(fed.put(pod("a", 3, phase="Failed"))) == ["a"]
    assert fed.put(pod("x", 4, ours=False)) == []


def test_an_event_that_is_repeated_or_comes_late_changes_nothing() -> None:
    fed = Fed()
    fed.listed(pod("a", 5, phase="Running"))
    assert fed.put(pod("a", 5, phase="Running"), pod("a", 4, phase="Pending")) == []
    fed.intake.drop(fed.scope, pod("a", 3, uid="an-earlier-life"))
    assert fed.out() == []
    again = fed.put(pod("a", 6, uid="a-later-life", phase="Pending"))
    assert names(again) == ["a"]


def test_a_change_that_comes_after_its_deletion_brings_nothing_back() -> None:
    fed = Fed()
    fed.listed(pod("a", 5), pod("x", 6, ours=False))
    for name, ours in (("a", True), ("x", False)):
        fed.intake.drop(fed.scope, pod(name, 9, ours=ours))
    assert [type(change) for change in fed.out()] == [Gone]
    assert fed.put(pod("a", 8, phase="Failed"), pod("x", 8, ours=False)) == []
    assert fed.sums() == {"n1": ({}, 0)}
    # Under a later version it was let in again, as is one that a whole list holds.
    assert names(fed.put(pod("a", 12))) == ["a"]
    fed.intake.drop(fed.scope, pod("a", 13))
    assert names(fed.listed(pod("a", 12))) == ["a"]


def test_of_deletions_the_newest_are_remembered() -> None:
    fed = Fed()
    fed.listed()
    for number in range(REMEMBERED + 1):
        fed.intake.drop(fed.scope, pod(f"p{number}", 9))
    assert names(fed.put(pod("p0", 8), pod("p1", 8))) == ["p0"]


def test_a_list_finds_what_was_missed() -> None:
    """Also what a restored cluster says at a lower version than before."""
    fed = Fed()
    fed.listed(pod("a", 10), pod("gone", 11))
    changes = fed.listed(pod("a", 7, phase="Succeeded"), pod("new", 8))
    assert names(changes) == ["a", "new"]
    listed = [c for c in changes if isinstance(c, Listed)]
    assert listed[0].present == {("llm", "a"), ("llm", "new")}


def test_an_object_that_loses_its_label_is_gone_for_us() -> None:
    fed = Fed()
    fed.listed(pod("a"))
    changes = fed.put(pod("a", 2, ours=False))
    assert [type(c) for c in changes] == [Gone]
    assert fed.sums() == {"n1": ({"cpu": 500}, 1)}, "it still holds its share of the node"


def test_sums_count_everybody_and_nobody_twice() -> None:
    fed = Fed()
    fed.intake.begin(fed.scope)
    fed.put(pod("a"), pod("x", ours=False, cpu="2"))
    assert fed.sums() == {}, "half a list would look like free room"
    fed.intake.end(fed.scope)
    assert fed.sums() == {"n1": ({"cpu": 2500}, 2)}
    assert fed.sums() == {}
    fed.put(pod("x", 2, ours=False, cpu="2", node="n2"))
    assert fed.sums() == {"n1": ({"cpu": 500}, 1), "n2": ({"cpu": 2000}, 1)}
    fed.put(pod("x", 3, ours=False, cpu="2", node="n2", phase="Succeeded"))
    assert fed.sums() == {"n2": ({}, 0)}
    fed.put(pod("y", 4, ours=False, cpu="lots", node="n2"), pod("z", ours=False, node=""))
    fed.intake.drop(fed.scope, pod("a"))
    assert fed.sums() == {"n1": ({}, 0)}


def test_sums_that_no_number_holds_are_bounded_and_what_cannot_be_read_counts_nowhere() -> None:
    """Anybody who may make pods may ask for that much, and name a node."""
    fed = Fed()
    deep: Any = "1"
    for _ in range(400):
        deep = {"a": deep}
    strange = pod("deep", ours=False, node="n2")
    strange["spec"]["overhead"] = deep
    named = pod("named", ours=False, node="n3")
    named["spec"]["containers"][0]["resources"]["requests"] = {"a\x00b": "1"}
    fed.listed(pod("greedy", ours=False, cpu="9E"), pod("b", ours=False), strange, named)
    assert fed.sums() == {"n1": ({"cpu": 2**63 - 1}, 2), "n3": ({"a\ufffdb": 1}, 1)}
    fed.intake.drop(fed.scope, pod("greedy"))
    assert fed.sums() == {"n1": ({"cpu": 500}, 1)}


def test_names_of_strange_kinds_are_found_again() -> None:
    fed = Fed()
    strange = pod("long" * 100, uid="with\x00nul")
    strange["metadata"]["namespace"] = 7
    fed.listed(strange)
    fed.intake.drop(fed.scope, strange)
    assert [type(c) for c in fed.out()] == [Gone]


def test_a_list_of_what_is_no_longer_watched_empties_nothing() -> None:
    fed = Fed()
    fed.listed(pod("a"))
    fed.intake.begin(fed.scope)
    fed.intake.forget(fed.scope)
    fed.intake.end(fed.scope)
    assert fed.out() == []


def test_sums_drop_what_a_new_list_no_longer_holds() -> None:
    fed = Fed()
    fed.listed(pod("x", ours=False), pod("y", ours=False))
    fed.sums()
    fed.listed(pod("y", ours=False))
    assert fed.sums() == {"n1": ({"cpu": 500}, 1)}


def test_a_new_node_is_told_its_sum_again() -> None:
    fed = Fed()
    fed.listed(pod("x", ours=False))
    fed.sums()
    nodes = Scope(NODE)
    fed.intake.put(nodes, {"metadata": {"name": "n1", "uid": "n", "resourceVersion": "9"}})
    fed.out()
    assert fed.sums() == {"n1": ({"cpu": 500}, 1)}


def test_the_kinds_of_a_cluster_are_watched_where_that_is_allowed() -> None:
    everything = wanted(["a", "b"], ())
    assert ALL_PODS in everything and Scope(NODE) in everything and NODE_EVENTS in everything
    assert {Scope(EVENT, "a"), Scope(EVENT, "b")} <= everything
    little = wanted(["a", "b"], set(everything))
    assert all(scope.namespace for scope in little)
    assert {(scope.kind, scope.namespace) for scope in little} >= {(POD, "a"), (POD, "b")}
    assert all(scope.label_selector for scope in little if scope.kind is POD)


def test_many_namespaces_share_one_watch_of_events() -> None:
    many = wanted([f"n{number}" for number in range(50)], ())
    assert [scope for scope in many if scope.kind is EVENT and scope != NODE_EVENTS] == [everywhere(EVENT)]


def test_a_full_backlog_still_takes_what_is_newer_of_what_it_holds() -> None:
    backlog = Backlog(most=1)
    intake = Intake(1, Held("cluster:1", "me", 1), backlog)
    intake.put(ALL_PODS, pod("a", 1))
    intake.put(ALL_PODS, pod("a", 2, phase="Failed"))
    (change,) = backlog.take(10, 0)
    assert isinstance(change, Upsert) and change.seen.resource_version == "2"


def test_what_fails_together_counts_once() -> None:
    backoff = Backoff(first=1.0, longest=60.0)
    pauses = [backoff.failed() for _ in range(10)]
    assert max(pauses) <= 1.0
    assert backoff.failed(retry_after=30.0) >= 30.0
    backoff.worked()
    assert backoff.failed() <= 1.0


@pytest.mark.parametrize(
    "strange",
    [
        {"metadata": {"name": "a", "uid": "u", "labels": {DEPLOYMENT_LABEL: OURS}}, "spec": [], "status": 7},
        {"metadata": {"name": "a", "uid": "u", "labels": {DEPLOYMENT_LABEL: OURS}}, "surprise": {"x": [1]}},
        {"metadata": {"labels": {DEPLOYMENT_LABEL: OURS}}},
        {"metadata": None},
        {},
    ],
)
def test_what_is_no_pod_harms_nobody(strange: dict[str, Any]) -> None:
    fed = Fed()
    fed.listed(pod("b"), strange)
    assert names(fed.put(pod("b", 2, phase="Failed"))) == ["b"]
