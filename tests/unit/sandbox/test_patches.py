"""Patches against the recorded transcripts 08 and 14, and the laws of RFC 6902 and RFC 7396."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import bodies, patches
from sandbox.kinds import by_name
from sandbox.status import ApiError
from tests.unit.sandbox.recorded import exchanges, made

DEPLOYMENT = by_name("Deployment")
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "example/app:1",
                        "ports": [{"name": "http", "containerPort": 80}],
                        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    }
                ]
            },
        },
    },
}
STEPS = exchanges("patches")


def _patch(kind: Any, obj: dict[str, Any], step: dict[str, Any]) -> dict[str, Any]:
    body = step["body"]
    raw = body if isinstance(body, str) else json.dumps(body)
    parsed = bodies.read_patch(raw.encode(), json_patch="json-patch" in step["type"])
    if "strategic" in step["type"]:
        return patches.strategic_patch(kind, obj, parsed)
    return (
        patches.json_patch(obj, parsed) if "json-patch" in step["type"] else patches.merge_patch(obj, parsed)
    )


def test_recorded_patches_of_a_deployment_in_their_order() -> None:
    """Transcript 14: merge keys, $patch, $setElementOrder, $retainKeys, and the order of the merged lists."""
    obj = made(DEPLOYMENT, WEB)
    for step in STEPS[:10]:
        before = copy.deepcopy(obj)
        if step["status"] >= 400:
            with pytest.raises(ApiError) as refused:
                _patch(DEPLOYMENT, obj, step)
            assert refused.value.body() == step["answer"]
            assert obj == before
            continue
        new = _patch(DEPLOYMENT, obj, step)
        assert obj == before, "a patch must not change what it is given"
        obj = made(DEPLOYMENT, new)
        want = step["answer"]["spec"]
        assert {key: obj["spec"][key] for key in want} == want, step["note"]


def test_recorded_patches_of_a_config_map_in_their_order() -> None:
    obj: dict[str, Any] = {"metadata": {"name": "a"}}
    for step in STEPS[10:13]:
        obj = _patch(by_name("ConfigMap"), obj, step)
        assert obj["data"] == step["answer"]["data"], step["note"]
        assert obj["metadata"].get("annotations") == step["answer"]["annotations"]


@pytest.mark.parametrize("step", STEPS[13:], ids=lambda step: step["note"])
def test_recorded_refusals(step: dict[str, Any]) -> None:
    """Transcript 08: bodies that do not parse (400) and operations that cannot be carried out (422)."""
    with pytest.raises(ApiError) as refused:
        _patch(by_name("ConfigMap"), {"metadata": {"name": "case"}, "data": {"k": "v"}}, step)
    assert refused.value.body() == step["answer"]


def test_strategic_delete_of_primitives_and_replace_of_lists() -> None:
    """k8s.io/apimachinery strategicpatch: $deleteFromPrimitiveList and $patch: replace."""
    obj = {"metadata": {"finalizers": ["a/1", "a/2"]}, "spec": {"containers": [{"name": "x", "image": "i"}]}}
    pod = by_name("Pod")
    body: dict[str, Any] = {
        "metadata": {"$deleteFromPrimitiveList/finalizers": ["a/1"], "finalizers": ["a/3"]}
    }
    assert patches.strategic_patch(pod, obj, body)["metadata"]["finalizers"] == ["a/3", "a/2"]
    body = {"spec": {"containers": [{"$patch": "replace"}, {"name": "y", "image": "j"}]}}
    assert patches.strategic_patch(pod, obj, body)["spec"]["containers"] == [{"name": "y", "image": "j"}]


def test_json_patch_of_lists() -> None:
    obj = {"l": [1, 2]}
    body = [
        {"op": "add", "path": "/l/-", "value": 3},
        {"op": "add", "path": "/l/0", "value": 0},
        {"op": "remove", "path": "/l/1"},
        {"op": "test", "path": "/l", "value": [0, 2, 3]},
    ]
    assert patches.json_patch(obj, body) == {"l": [0, 2, 3]}
    for path in ("/l/9", "/l/01", "/l/x", "l"):
        with pytest.raises(ApiError):
            patches.json_patch(obj, [{"op": "replace", "path": path, "value": 1}])


JSON = st.recursive(
    st.one_of(st.booleans(), st.integers(0, 3), st.sampled_from(["", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def _difference(old: Any, new: Any) -> Any:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    body: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        if key not in old:
            body[key] = value
        elif old[key] != value or type(old[key]) is not type(value):
            body[key] = _difference(old[key], value)
    return body


@given(OBJECTS, OBJECTS)
def test_a_merge_patch_of_the_difference_leads_from_one_to_the_other(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    body = _difference(old, new)
    assert patches.merge_patch(old, body) == new
    assert patches.merge_patch(new, body) == new


@given(OBJECTS, OBJECTS)
def test_a_json_patch_that_replaces_all_is_the_new_document(old: dict[str, Any], new: dict[str, Any]) -> None:
    assert patches.json_patch(old, [{"op": "replace", "path": "", "value": new}]) == new
