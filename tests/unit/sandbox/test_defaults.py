"""Defaulting against the recorded transcript 19."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sandbox import defaults
from sandbox.kinds import by_name
from tests.unit.sandbox.recorded import exchanges, kind_of, made


@pytest.mark.parametrize("step", exchanges("defaulting"), ids=lambda step: step["note"])
def test_recorded_objects(step: dict[str, Any]) -> None:
    want = step["answer"]
    kind = kind_of(want["apiVersion"], want["kind"])
    got = made(kind, step["body"])
    assert got == want
    again = copy.deepcopy(got)
    defaults.apply_defaults(kind, again)
    assert again == got, "defaulting what is defaulted changes nothing"


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("app", "Always"),
        ("app:latest", "Always"),
        ("registry.example:5000/app", "Always"),
        ("registry.example:5000/app:1", "IfNotPresent"),
        ("app@sha256:00", "IfNotPresent"),
        ("app:latest@sha256:00", "IfNotPresent"),
    ],
)
def test_pull_policy(image: str, policy: str) -> None:
    assert defaults.pull_policy(image) == policy


def test_templates_keep_their_limits_alone() -> None:
    """Transcript 19: only pods get requests equal to their limits."""
    container = {"name": "m", "image": "i:1", "resources": {"limits": {"nvidia.com/gpu": 1}}}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployment = made(by_name("Deployment"), {"metadata": {"name": "d"}, "spec": spec})
    assert "requests" not in deployment["spec"]["template"]["spec"]["containers"][0]["resources"]
    pod = made(by_name("Pod"), {"metadata": {"name": "p"}, "spec": {"containers": [container]}})
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize(
    ("resources", "quality"),
    [
        ({}, "BestEffort"),
        ({"limits": {"nvidia.com/gpu": "1"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        (
            {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}},
            "Guaranteed",
        ),
    ],
)
def test_quality_of_service(resources: dict[str, Any], quality: str) -> None:
    pod = made(
        by_name("Pod"),
        {
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "m", "image": "i", "resources": resources}]},
        },
    )
    assert pod["status"]["qosClass"] == quality


def test_secrets_turn_their_text_into_data() -> None:
    """Transcript 14."""
    secret = made(
        by_name("Secret"), {"metadata": {"name": "s"}, "stringData": {"p": "wörd"}, "data": {"b": "YQ=="}}
    )
    assert secret["data"] == {"b": "YQ==", "p": "d8O2cmQ="}
    assert "stringData" not in secret


def test_service_account_volume_has_three_sources() -> None:
    volume, mount = defaults.service_account_volume("bbbbb")
    assert volume["name"] == mount["name"] == "kube-api-access-bbbbb"
    assert len(volume["projected"]["sources"]) == 3
