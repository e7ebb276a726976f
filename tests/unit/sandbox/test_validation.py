"""Refusals against the recorded transcripts 06, 07, 08, 14, 18, 19, 24 and 30."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import bodies, defaults, patches, quantity, status, validation
from sandbox.kinds import by_name
from sandbox.status import ApiError
from tests.unit.sandbox.recorded import exchanges, kind_of, made


def _create(step: dict[str, Any]) -> list[str]:
    kind = kind_of(step["apiVersion"], step["kind"])
    body = step["body"]
    raw = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
    yaml_body = isinstance(body, str) and body.startswith("apiVersion:")
    obj, warnings = validation.decode(kind, bodies.read_object(kind, raw, yaml_body), step["mode"])
    defaults.apply_defaults(kind, obj)
    defaults.prepare_for_create(kind, obj)
    causes = validation.validate(kind, obj, None)
    if causes:
        raise status.invalid(kind, obj["metadata"].get("name", ""), causes)
    return warnings


def _ids(step: dict[str, Any]) -> str:
    return f"{step['kind']}-{step['note']}"


@pytest.mark.parametrize("step", exchanges("refused"), ids=_ids)
def test_recorded_creates(step: dict[str, Any]) -> None:
    """400 and 422 with every cause, and the warnings of fieldValidation=Warn."""
    if step["status"] >= 400:
        with pytest.raises(ApiError) as refused:
            _create(step)
        assert refused.value.body() == step["answer"]
    else:
        assert ", ".join(f"299 - {json.dumps(warning)}" for warning in _create(step)) == step["warning"]


@pytest.mark.parametrize("step", exchanges("refused_changes"), ids=_ids)
def test_recorded_changes(step: dict[str, Any]) -> None:
    """Transcript 07: what may not change once it is set."""
    kind = kind_of(step["apiVersion"], step["kind"])
    old = made(kind, step["object"])
    if "strategic" in step["type"]:
        patched = patches.strategic_patch(kind, old, step["body"])
    else:
        patched = patches.merge_patch(old, step["body"])
    new, _ = validation.decode(kind, patched, "Strict", patched=True)
    defaults.apply_defaults(kind, new)
    causes = validation.validate(kind, new, old)
    if step["status"] < 400:
        assert causes == []
    else:
        assert status.invalid(kind, old["metadata"]["name"], causes).body() == step["answer"]


def test_an_unknown_field_in_a_strict_patch_is_a_fault_of_the_patch() -> None:
    """Transcript 08."""
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "dup"}, "dat": {"x": "1"}}
    with pytest.raises(ApiError) as refused:
        validation.decode(by_name("ConfigMap"), obj, "Strict", patched=True)
    assert refused.value.code == 422
    assert refused.value.message.startswith(
        ' "" is invalid: patch: Invalid value: "{\\"apiVersion\\":\\"v1\\",'
    )
    assert refused.value.message.endswith('}": strict decoding error: unknown field "dat"')


def test_a_config_map_holds_one_mebibyte_and_no_more() -> None:
    """Transcript 06."""
    kind = by_name("ConfigMap")
    full = made(kind, {"metadata": {"name": "big"}, "data": {"k": "x" * 1024 * 1024}})
    assert validation.validate(kind, full, None) == []
    full["data"]["l"] = "y"
    cause = status.Cause("FieldValueTooLong", "Too long: may not be more than 1048576 bytes", "[]")
    assert validation.validate(kind, full, None) == [cause]


def test_a_bound_claim_grows_but_does_not_shrink() -> None:
    """Transcript 23."""
    kind = by_name("PersistentVolumeClaim")
    body = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    old = made(kind, body)
    bound = copy.deepcopy(old)
    bound["spec"]["volumeName"] = "pv"
    assert validation.validate(kind, bound, old) == []
    bound["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
    larger, smaller = copy.deepcopy(bound), copy.deepcopy(bound)
    larger["spec"]["resources"]["requests"]["storage"] = "2Gi"
    smaller["spec"]["resources"]["requests"]["storage"] = "512Mi"
    assert validation.validate(kind, larger, bound) == []
    text = "Forbidden: field can not be less than status.capacity"
    assert [(cause.message, cause.field) for cause in validation.validate(kind, smaller, bound)] == [
        (text, "spec.resources.requests.storage")
    ]


def test_scale_refuses_negative_replicas() -> None:
    """Transcript 17."""

    class Scale:
        group, version, kind = "autoscaling", "v1", "Scale"

    obj, _ = validation.decode(Scale(), {"spec": {"replicas": -1}}, "Strict")
    (cause,) = validation.validate(Scale(), obj, None)
    assert (cause.field, cause.message) == (
        "spec.replicas",
        "Invalid value: -1: must be greater than or equal to 0",
    )


def _pod(**container: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "m", "image": "i", **container}]}}


@pytest.mark.parametrize(
    ("container", "field", "message"),
    [
        (
            {"imagePullPolicy": "Maybe"},
            "imagePullPolicy",
            'Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"',
        ),
        (
            {"ports": [{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]},
            "ports[1].name",
            'Duplicate value: "a"',
        ),
        ({"env": [{"name": "A=B"}]}, "env[0].name", None),
        (
            {"env": [{"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]},
            "env[0].valueFrom",
            None,
        ),
        (
            {"livenessProbe": {"exec": {"command": ["x"]}, "successThreshold": 2}},
            "livenessProbe.successThreshold",
            "Invalid value: 2: must be 1",
        ),
        ({"readinessProbe": {}}, "readinessProbe", "Required value: must specify a handler type"),
        (
            {"resources": {"limits": {"cpu": "-1"}, "requests": {"cpu": "-2"}}},
            "resources.limits[cpu]",
            'Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            {"securityContext": {"runAsUser": -1}},
            "securityContext.runAsUser",
            "Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
    ],
)
def test_containers(container: dict[str, Any], field: str, message: str | None) -> None:
    """pkg/apis/core/validation: the first cause of some faults that the recordings do not show."""
    kind = by_name("Pod")
    first = validation.validate(kind, made(kind, _pod(**container)), None)[0]
    assert first.field == f"spec.containers[0].{field}"
    assert message in (None, first.message)


# --- quantities ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5", "500m"),
        ("1000000000", "1G"),
        ("1000m", "1"),
        ("0.5Ki", "512"),
        ("1e3", "1e3"),
        ("100Ki", "100Ki"),
        ("0", "0"),
        ("1500", "1500"),
        ("0.1Ki", "102400m"),
    ],
)
def test_canonical_quantities(text: str, stored: str) -> None:
    """Transcript 19, and k8s.io/apimachinery/pkg/api/resource."""
    assert quantity.canonical(text) == stored


@pytest.mark.parametrize("text", ["", "lots", "8G i", "1Gx", "1GG", "Gi", "--1", "1.2.3", " 1"])
def test_text_that_is_no_quantity(text: str) -> None:
    with pytest.raises(quantity.QuantityError):
        quantity.parse(text)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "e3"]))
def test_canonical_text_means_the_same_and_is_stable(number: int, suffix: str) -> None:
    text = f"{number}{suffix}"
    stored = quantity.canonical(text)
    assert quantity.parse(stored) == quantity.parse(text)
    assert quantity.canonical(stored) == stored
