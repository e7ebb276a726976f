"""Server-side apply against the recorded transcripts 15 and 16, and its laws."""

from __future__ import annotations

import copy
import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import apply, bodies, defaults
from sandbox.kinds import by_name
from sandbox.status import ApiError
from tests.unit.sandbox.recorded import NOW, Objects, exchanges, plain

CONFIG_MAP = by_name("ConfigMap")
DEPLOYMENT = by_name("Deployment")


def test_recorded_applies_in_their_order() -> None:
    """Transcript 15: every answer, conflict text and fieldsV1, one after the other on the same objects."""
    objects = Objects()
    for step in exchanges("apply"):
        before = copy.deepcopy(objects.held)
        try:
            got = objects.do(step)
        except ApiError as refused:
            assert refused.body() == step["answer"], step["note"]
            assert objects.held == before
            continue
        if "answer" not in step:
            continue
        assert step["status"] < 300, step["note"]
        _compare(step, got)


def _compare(step: dict[str, Any], got: dict[str, Any]) -> None:
    want = step["answer"]
    if want.get("kind") == "Scale":
        assert got["spec"]["replicas"] == want["spec"]["replicas"]
        return
    managed = want.get("metadata", {}).get("managedFields")
    if managed is not None:
        assert plain(got["metadata"].get("managedFields", [])) == plain(managed), step["note"]
    for key in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
        if key in want.get("metadata", {}):
            assert got["metadata"][key] == want["metadata"][key], step["note"]
    if "data" in want or step["kind"] == "ConfigMap":
        assert got.get("data") == want.get("data"), step["note"]
    for holder in (want, want.get("spec", {})):
        if "containers" in holder:
            assert got["spec"]["template"]["spec"]["containers"] == holder["containers"], step["note"]
    if "ports" in want:
        assert got["spec"]["ports"] == want["ports"], step["note"]
    if "template" in want.get("spec", {}) or step["kind"] in ("Service", "Ingress"):
        assert {key: got["spec"][key] for key in want.get("spec", {})} == want.get("spec", {}), step["note"]


def test_times_of_the_recording() -> None:
    """Transcript 15: an equal apply keeps the time, a change moves it, shared ownership alone has none."""
    objects = Objects()
    steps = exchanges("apply")
    first = objects.do(steps[0], "2026-01-01T00:00:00Z")
    again = objects.do(steps[1], "2026-01-01T00:00:02Z")
    assert (
        again["metadata"]["managedFields"]
        == first["metadata"]["managedFields"]
        == steps[0]["answer"]["metadata"]["managedFields"]
    )
    changed = objects.do(steps[2], "2026-01-01T00:00:02Z")
    assert changed["metadata"]["managedFields"] == steps[2]["answer"]["metadata"]["managedFields"]
    mix = [step for step in steps if step["name"] == "mix"]
    objects.do(mix[0])
    shared = objects.do(mix[1])
    assert "time" not in shared["metadata"]["managedFields"][0]
    assert shared["metadata"]["managedFields"] == mix[1]["answer"]["metadata"]["managedFields"]


def test_giving_up_a_required_field_leaves_it_out() -> None:
    """Transcript 15: the sole owner of an image applies nothing; validation then answers 422."""
    objects = Objects()
    objects.do(exchanges("apply")[0])
    step = {"do": "apply", "kind": "Deployment", "name": "web", "manager": "one"}
    with pytest.raises(ApiError) as refused:
        objects.do(
            {**step, "body": {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}}}
        )
    assert refused.value.code == 422
    assert "spec.selector: Required value" in refused.value.message


@pytest.mark.parametrize("step", exchanges("escapes"), ids=lambda step: step["note"])
def test_recorded_escapes(step: dict[str, Any]) -> None:
    """Transcript 16: surrogate escapes are refused, raw UTF-8 is not."""
    raw = step["body"].encode()
    if step["status"] >= 400:
        with pytest.raises(ApiError) as refused:
            apply.parse_body(raw)
        assert refused.value.body() == step["answer"]
    else:
        body = apply.parse_body(raw)
        assert body["data"] == step["answer"]["data"]
        assert body["metadata"].get("annotations") == step["answer"]["annotations"]


def test_yaml_is_read_as_version_1_1() -> None:
    body = apply.parse_body(b"a: y\nb: off\nc: 010\nd: 2001-02-03\ne: 1:30\nf: 1_000\ng: 1e3\nh: ~\n1: x\n")
    assert body == {
        "a": True, "b": False, "c": 8, "d": "2001-02-03", "e": "1:30", "f": 1000, "g": 1000, "h": None, "1": "x",
    }  # fmt: skip


def test_repeated_keys_warn_or_are_refused() -> None:
    """Transcript 15: the last value counts, the warning names the line."""
    raw = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y2}\ndata: {a: '1', a: '2'}\n"
    assert apply.parse_body(raw)["data"] == {"a": "2"}
    assert apply.repeated_keys(raw) == ['line 4: key "a" already set in map']
    strict = bodies.refuse_repeated(raw)
    assert strict is not None and strict.code == 400
    assert apply.repeated_keys(b'{"data": {"a": "1"}}') == []
    assert apply.repeated_keys(b'{"data": {"a": "1",\n"a": "2"}}') == ['line 2: key "a" already set in map']


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(ApiError) as refused:
        apply.parse_body("\n".join(lines).encode())
    assert refused.value.code == 400


def test_an_untracked_object_gets_an_owner_before_its_first_apply() -> None:
    """Kubernetes documentation, server-side apply: what was there belongs to before-first-apply."""
    live = {"metadata": {"name": "c", "uid": "1"}, "data": {"a": "1"}}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"b": "1"}}
    got = apply.server_side_apply(CONFIG_MAP, live, body, "one", False, "", NOW)
    assert [entry["manager"] for entry in got["metadata"]["managedFields"]] == ["one", "before-first-apply"]
    body["data"] = {"a": "2"}
    with pytest.raises(ApiError) as refused:
        apply.server_side_apply(CONFIG_MAP, live, body, "one", False, "", NOW)
    assert refused.value.message == (
        'Apply failed with 1 conflict: conflict with "before-first-apply" using v1: .data.a'
    )


def test_quantities_in_another_notation_change_nothing() -> None:
    claim = by_name("PersistentVolumeClaim")
    body = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}},
    }
    live = apply.server_side_apply(claim, None, body, "one", False, "", NOW)
    defaults.apply_defaults(claim, live)
    assert live["spec"]["resources"]["requests"]["storage"] == "1Gi"
    later = apply.server_side_apply(
        claim, live, body, "one", False, "", dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    )
    assert later == live


def test_the_creator_owns_the_defaults_and_nobody_what_is_added_later() -> None:
    """Transcript 06: the managedFields of a Service made by POST."""
    service = by_name("Service")
    obj: dict[str, Any] = {
        "metadata": {"name": "s"},
        "spec": {"selector": {"app": "s"}, "ports": [{"port": 80}]},
    }
    defaults.apply_defaults(service, obj)
    apply.track_update(service, None, obj, "recorder", "", NOW)
    key = 'k:{"port":80,"protocol":"TCP"}'
    assert obj["metadata"]["managedFields"][0]["fieldsV1"] == {
        "f:spec": {
            "f:internalTrafficPolicy": {},
            "f:ports": {".": {}, key: {".": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {}}},
            "f:selector": {},
            "f:sessionAffinity": {},
            "f:type": {},
        }
    }


def test_managed_fields_can_be_reset() -> None:
    """Transcript 14: `[{}]` wipes them, and the object stays untracked."""
    objects = Objects()
    step = {
        "do": "create",
        "kind": "ConfigMap",
        "name": "a",
        "manager": "m",
        "body": {"metadata": {"name": "a"}, "data": {"k": "v"}},
    }
    live = objects.do(step)
    new = copy.deepcopy(live)
    new["metadata"]["managedFields"] = [{}]
    apply.track_update(CONFIG_MAP, live, new, "m", "", NOW)
    assert "managedFields" not in new["metadata"]
    later = copy.deepcopy(new)
    later["data"]["k"] = "w"
    apply.track_update(CONFIG_MAP, new, later, "m", "", NOW)
    assert "managedFields" not in later["metadata"]


# --- laws ---------------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d"])
DATA = st.dictionaries(NAMES, st.sampled_from(["1", "2"]), max_size=4)
CONTAINERS = st.lists(
    st.fixed_dictionaries(
        {"name": NAMES, "image": st.sampled_from(["i:1", "i:2"])},
        optional={
            "args": st.lists(st.sampled_from(["x", "y"]), max_size=2),
            "env": st.lists(
                st.fixed_dictionaries({"name": NAMES, "value": NAMES}),
                max_size=3,
                unique_by=lambda e: e["name"],
            ),
            "ports": st.lists(
                st.fixed_dictionaries({"containerPort": st.integers(1, 3)}),
                max_size=3,
                unique_by=lambda p: p["containerPort"],
            ),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda container: container["name"],
)


@st.composite
def deployments(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"template": {"spec": {"containers": draw(CONTAINERS)}}}
    if draw(st.booleans()):
        spec["replicas"] = draw(st.integers(0, 3))
    if draw(st.booleans()):
        spec["template"]["metadata"] = {"labels": draw(DATA)}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "d", "labels": draw(DATA)},
        "spec": spec,
    }


def _apply(
    live: dict[str, Any] | None, body: dict[str, Any], manager: str, force: bool = False
) -> dict[str, Any]:
    new = apply.server_side_apply(DEPLOYMENT, live, body, manager, force, "", NOW)
    defaults.apply_defaults(DEPLOYMENT, new)
    return new


@settings(max_examples=60, deadline=None)
@given(deployments())
def test_applying_twice_changes_nothing(body: dict[str, Any]) -> None:
    live = _apply(None, body, "one")
    assert apply.server_side_apply(DEPLOYMENT, live, body, "one", False, "", "2030-01-01T00:00:00Z") == live


@settings(max_examples=60, deadline=None)
@given(deployments(), deployments())
def test_giving_up_what_was_forced_in_leaves_no_trace_but_the_lost_fields(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    """Another manager forces its fields in and gives them up, the first applies again: all is as it was."""
    live = _apply(None, first, "one")
    forced = _apply(live, second, "two", force=True)
    empty = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    restored = _apply(_apply(forced, empty, "two"), first, "one")
    assert plain(restored["metadata"]["managedFields"]) == plain(live["metadata"]["managedFields"])
    for obj in (restored, live):
        obj["metadata"].pop("managedFields")
        obj["spec"]["template"]["spec"]["containers"].sort(key=lambda container: container["name"])
        for container in obj["spec"]["template"]["spec"]["containers"]:
            for group, key in (("env", "name"), ("ports", "containerPort")):
                container.get(group, []).sort(key=lambda item, key=key: item[key])
    assert restored == live


@settings(max_examples=60, deadline=None)
@given(deployments(), deployments())
def test_an_unforced_apply_wins_everywhere_or_changes_nothing(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    live = _apply(None, first, "one")
    before = copy.deepcopy(live)
    try:
        _apply(live, second, "two")
    except ApiError as refused:
        assert refused.code == 409
        assert refused.body()["details"]["causes"]
    assert live == before
