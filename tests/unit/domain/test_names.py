from __future__ import annotations

import pytest

from deployments.domain import names
from deployments.domain.errors import InvalidInput


@pytest.mark.parametrize("text", ["a", "llm", "a-1", "x" * 63])
def test_namespaces(text: str) -> None:
    assert names.require_namespace(text) == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "missing"),
        ("LLM", "cannot be used"),
        ("a_b", "cannot be used"),
        ("-a", "cannot be used"),
        ("a.b", "cannot be used"),
        ("a\n", "cannot be used"),
        ("kube-system", "reserved"),
        ("x" * 64, "63 characters"),
    ],
)
def test_namespaces_that_are_refused(text: str, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        names.require_namespace(text)


def test_every_name_made_from_the_longest_deployment_name_fits() -> None:
    longest = "d" * names.DEPLOYMENT_NAME_LENGTH
    made = names.ObjectNames(names.require_deployment_name(longest))
    # the controller's revision hash (10) and the pod's ordinal both become label values
    assert len(made.server) + 11 <= 63 and len(made.server_pod(9_999)) <= 63
    for name in (
        made.server_headless,
        made.chat,
        made.access_code,
        made.registry,
        made.apply_set,
        made.shared_claim,
    ):
        assert names.require_label(name, what="x")
    with pytest.raises(InvalidInput):
        names.require_deployment_name(longest + "d")
    with pytest.raises(InvalidInput, match="letter"):
        names.require_deployment_name("1a")


@pytest.mark.parametrize("text", ["chat.example.com", "example.com", "*.example.com", "localhost"])
def test_hosts(text: str) -> None:
    assert names.require_host(text) == text


@pytest.mark.parametrize(
    "text", ["https://a.b", "a.b/c", "10.0.0.1", "a.b:80", "A.b", "a..b", "*.*.b", "x" * 64 + ".b"]
)
def test_hosts_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        names.require_host(text)


@pytest.mark.parametrize(
    ("text", "registry", "repository"),
    [
        ("ollama/ollama:0.9.6", "", "ollama/ollama"),
        ("localhost:5000/a/b:t", "localhost:5000", "a/b"),
        ("docker.io/x", "docker.io", "x"),
        ("nginx@sha256:" + "a" * 64, "", "nginx"),
        ("ghcr.io/a/b_c-d.e:V1@sha256:" + "0" * 64, "ghcr.io", "a/b_c-d.e"),
    ],
)
def test_images(text: str, registry: str, repository: str) -> None:
    image = names.parse_image(text)
    assert (image.registry, image.repository, str(image)) == (registry, repository, text)


@pytest.mark.parametrize(
    "text", ["", "a b", "https://x/y", "x:", "x:-", "a/Foo", "a//b", "x@sha256:1", "a:b:c", "é"]
)
def test_images_that_are_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        names.parse_image(text)


def test_another_registry() -> None:
    image = names.parse_image("ghcr.io/ollama/ollama:0.9.6").with_registry("mirror.example.com:5000/hub")
    assert str(image) == "mirror.example.com:5000/hub/ollama/ollama:0.9.6"


def test_labels() -> None:
    for key in ("accelerator", "nvidia.com/gpu.product", "kubernetes.io/hostname"):
        assert names.require_label_key(key)
    for key in ("", "/a", "a/", "A/b/c", "-a", "a" * 64):
        with pytest.raises(InvalidInput):
            names.require_label_key(key)
    assert names.require_label_value("") == ""
    with pytest.raises(InvalidInput):
        names.require_label_value("a b")
