from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deployments.domain.diffing import ABSENT, Change, changes, line_diff, yaml_diff

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def test_names_the_field_and_both_values() -> None:
    before = {"spec": {"replicas": 1, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}}
    after = {"spec": {"replicas": 2, "env": [{"name": "B", "value": "3"}], "a.b/c": None}}
    assert changes(before, after) == [
        Change("spec[a.b/c]", ABSENT, None),
        Change("spec.env[A]", {"name": "A", "value": "1"}, ABSENT),
        Change("spec.env[B].value", "2", "3"),
        Change("spec.replicas", 1, 2),
    ]
    assert [c.kind for c in changes(before, after)] == ["added", "removed", "changed", "changed"]


def test_true_is_not_one() -> None:
    assert changes({"a": True}, {"a": 1}) == [Change("a", True, 1)]


@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert changes(value, value) == [] and yaml_diff(value, value) == []


@given(st.lists(st.sampled_from("abc")), st.lists(st.sampled_from("abc")))
def test_both_sides_can_be_read_out_of_the_lines(old: list[str], new: list[str]) -> None:
    lines = line_diff(old, new, context=10**6)
    if old != new:
        assert [line.text for line in lines if line.kind != "add"] == old
        assert [line.text for line in lines if line.kind != "del"] == new
        assert [line.before for line in lines if line.before] == list(range(1, len(old) + 1))
        assert [line.after for line in lines if line.after] == list(range(1, len(new) + 1))


def test_long_equal_runs_are_folded() -> None:
    old = [str(number) for number in range(30)]
    lines = line_diff(old, [*old[:15], "x", *old[16:]], context=2)
    assert [(line.kind, line.folded) for line in lines] == [
        ("fold", 13),
        ("same", 0),
        ("same", 0),
        ("del", 0),
        ("add", 0),
        ("same", 0),
        ("same", 0),
        ("fold", 12),
    ]
    assert (lines[3].before, lines[4].after) == (16, 16)


def test_a_new_object_is_all_added() -> None:
    assert {line.kind for line in yaml_diff(None, {"a": 1, "b": 2})} == {"add"}
