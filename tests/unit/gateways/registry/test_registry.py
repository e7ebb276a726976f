"""Registries on loopback, over TLS: sizes, refusals, and hosts that must not be asked."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.domain.errors import InvalidInput
from deployments.gateways.registry import (
    CannotTell,
    NoSuchModel,
    RegistryAnswers,
    RegistryManifest,
    model_size,
    probe_image,
    registry_host,
)
from deployments.gateways.registry.fetch import _is_public
from tests.unit.gateways.kubernetes.authority import Authority
from tests.unit.gateways.kubernetes.scripted import ScriptedServer, reply, scripted_server

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
PATH = "/v2/team/tiny/manifests/1b"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def server(authority: Authority, tmp_path: Path) -> Iterator[ScriptedServer]:
    with scripted_server(authority, tmp_path, hosts=("localhost",)) as running:
        yield running


def port(server: ScriptedServer) -> str:
    return server.url.rpartition(":")[2]


def ask(server: ScriptedServer, **more: Any) -> RegistryManifest | NoSuchModel | CannotTell:
    host = f"localhost:{port(server)}"
    more = {"allowed_hosts": [host], "trust": ssl.create_default_context(cadata=server.ca), **more}
    return model_size(f"{host}/team/tiny:1b", **more)


def manifest(*layers: Any, config: Any = None) -> str:
    return json.dumps(
        {"schemaVersion": 2, "layers": list(layers), "config": config or {"digest": C, "size": 5}}
    )


def test_a_manifest_is_summed_each_blob_once(server: ScriptedServer) -> None:
    blobs = [{"digest": A, "size": 1000}, {"digest": B, "size": 20}, {"digest": A, "size": 1000}]
    server.answers[PATH] = reply(200, manifest(*blobs))
    assert ask(server) == RegistryManifest(1025, ((A, 1000), (B, 20), (C, 5)))
    (request,) = server.requests
    assert request.headers["host"] == f"localhost:{port(server)}"
    assert "authorization" not in request.headers


def test_a_tag_that_is_not_there_is_said_to_be_missing(server: ScriptedServer) -> None:
    server.answers["*"] = reply(404, "{}")
    assert isinstance(ask(server), NoSuchModel)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (401, "{}"),
        (403, "secret"),
        (429, ""),
        (500, ""),
        (200, "<html>"),
        (200, "[]"),
        (200, json.dumps({"layers": "x"})),
        (200, manifest({"digest": "sha256:zz", "size": 1})),
        (200, manifest({"digest": A, "size": -1})),
        (200, manifest({"digest": A, "size": True})),
        (200, manifest({"digest": A, "size": 2**70})),
        (200, manifest("x")),
        (200, " " * (1024 * 1024 + 1)),
    ],
)
def test_anything_else_is_no_verdict(server: ScriptedServer, status: int, body: str) -> None:
    server.answers["*"] = reply(status, body)
    answer = ask(server)
    assert isinstance(answer, CannotTell)
    assert "secret" not in answer.why


def test_redirects_stay_on_their_host(server: ScriptedServer) -> None:
    server.answers[PATH] = reply(307, location="/moved")
    server.answers["/moved"] = reply(200, manifest({"digest": A, "size": 1}))
    assert isinstance(ask(server), RegistryManifest)
    for elsewhere in (
        "https://169.254.169.254/latest",
        f"https://127.0.0.1:{port(server)}/moved",
        "http://localhost/x",
    ):
        server.answers[PATH] = reply(302, location=elsewhere)
        assert isinstance(ask(server), CannotTell)
    server.answers[PATH] = reply(302, location=PATH)
    assert ask(server) == CannotTell(f"localhost:{port(server)} redirects too often")


def test_a_private_address_is_asked_only_by_permission(server: ScriptedServer) -> None:
    server.answers["*"] = reply(200, manifest({"digest": A, "size": 1}))
    answer = ask(server, allowed_hosts=[])
    assert isinstance(answer, CannotTell)
    assert "private address" in answer.why
    assert isinstance(ask(server, only_hosts=["registry.ollama.ai"]), CannotTell)
    assert isinstance(ask(server, trust=None), CannotTell), "its certificate is nobody's that is trusted"
    assert server.requests == []


def test_plain_http_is_not_spoken(server: ScriptedServer) -> None:
    assert isinstance(
        model_size(f"http://localhost:{port(server)}/team/tiny:1b", allowed_hosts=["localhost"]), CannotTell
    )
    with pytest.raises(InvalidInput):
        model_size("a b")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1111", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:a00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert _is_public(address) is public


@pytest.mark.parametrize(
    ("image", "host"),
    [
        ("ollama/ollama:0.9.6", "registry-1.docker.io"),
        ("docker.io/ollama/ollama", "registry-1.docker.io"),
        ("nginx", "registry-1.docker.io"),
        ("ghcr.io/x/y:1", "ghcr.io"),
        ("localhost:5000/x", "localhost:5000"),
    ],
)
def test_the_host_of_an_image(image: str, host: str) -> None:
    assert registry_host(image) == host


def test_an_image_registry_answers_with_or_without_sign_in(server: ScriptedServer) -> None:
    host = f"localhost:{port(server)}"
    words: Any = {"allowed_hosts": [host], "trust": ssl.create_default_context(cadata=server.ca)}
    for status, answer in ((200, RegistryAnswers(host, True)), (401, RegistryAnswers(host, False))):
        server.answers["/v2/"] = reply(status)
        assert probe_image(f"{host}/x:1", **words) == answer
    server.answers["/v2/"] = reply(502)
    assert isinstance(probe_image(f"{host}/x:1", **words), CannotTell)
