"""Servers that misbehave: what the client makes of them, over real TLS on loopback."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import (
    ClusterClient,
    ClusterCredential,
    ObjectRef,
    ResourceKind,
    Timeouts,
    async_proxy_client,
    connect,
    proxy_path,
)
from deployments.gateways.kubernetes.addresses import AddressRefused, checked, resolve
from tests.unit.gateways.kubernetes.authority import Authority
from tests.unit.gateways.kubernetes.scripted import Request, ScriptedServer, raw, reply, scripted_server

TOKEN = "t0ken-that-must-not-be-repeated"
POD = ObjectRef("v1", "Pod", "p", "llm")
PODS = ResourceKind("v1", "Pod")
POD_PATH = "/api/v1/namespaces/llm/pods/p"
LIST_PATH = "/api/v1/namespaces/llm/pods"
VERSION = {"major": "1", "minor": "36+", "gitVersion": "v1.36.2+k3s1", "platform": "linux/amd64"}
AUTHORITY = Authority()


def discovery(server: ScriptedServer) -> None:
    resources = [
        {"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["get", "list"], "singularName": "pod"}
    ]
    server.answers |= {
        "/version": reply(200, json.dumps(VERSION)),
        "/apis": reply(200, '{"kind":"APIGroupList","apiVersion":"v1","groups":[]}'),
        "/api/v1": reply(
            200, json.dumps({"kind": "APIResourceList", "groupVersion": "v1", "resources": resources})
        ),
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ScriptedServer]:
    with scripted_server(AUTHORITY, tmp_path) as running:
        discovery(running)
        yield running


def client_of(server: ScriptedServer, folder: Path, **credential: Any) -> ClusterClient:
    credential.setdefault("ca_data", server.ca)
    credential.setdefault("token", TOKEN)
    return connect(
        ClusterCredential(server=credential.pop("url", server.url), **credential),
        cluster_uid="u-1",
        cache_dir=folder / "cache",
        allow_loopback=True,
        timeouts=Timeouts(connect=2, read=1, total=2),
    )


@pytest.fixture
def client(server: ScriptedServer, tmp_path: Path) -> Iterator[ClusterClient]:
    with client_of(server, tmp_path) as made:
        yield made


def failure(client: ClusterClient, kind: type[errors.ClusterError]) -> errors.ClusterError:
    with pytest.raises(kind) as caught:
        client.get(POD)
    error = caught.value
    said = f"{error.sentence} {error.tried} {error.answered} {error.remedy}"
    assert TOKEN not in said and len(error.answered) <= 500
    return error


def status(code: int, reason: str, message: str, **details: Any) -> str:
    return json.dumps(
        {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "message": message,
            "reason": reason,
            "details": details,
            "code": code,
        }
    )


def test_every_request_is_ours(server: ScriptedServer, client: ClusterClient) -> None:
    server.answers[POD_PATH] = reply(200, '{"kind":"Pod","metadata":{"name":"p"}}')
    assert client.get(POD)["metadata"]["name"] == "p"
    assert client.version().minor == 36 and client.version().git_version == "v1.36.2+k3s1"
    assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {TOKEN}"}
    assert {request.headers["user-agent"] for request in server.requests} == {"pilothouse"}
    assert server.connections == 1


def test_discovery_is_shared_through_the_cache(server: ScriptedServer, tmp_path: Path) -> None:
    server.answers[POD_PATH] = reply(200, '{"kind":"Pod","metadata":{"name":"p"}}')
    client_of(server, tmp_path).get(POD)
    before = len(server.requests)
    client_of(server, tmp_path).get(POD)
    assert [request.target for request in server.requests[before:]] == [POD_PATH]


def test_a_kind_that_is_not_served(client: ClusterClient) -> None:
    with pytest.raises(errors.ObjectMissing) as caught:
        client.get(ObjectRef("v1", "Gadget", "g", "llm"))
    assert caught.value.reason == "NoSuchKind"


@pytest.mark.parametrize(
    "answer, kind, retryable",
    [
        (reply(401, status(401, "Unauthorized", "Unauthorized")), errors.CredentialRefused, False),
        (reply(403, status(403, "Forbidden", 'pods "p" is forbidden')), errors.ClusterForbids, False),
        (
            reply(404, status(404, "NotFound", 'pods "p" not found', name="p", kind="pods")),
            errors.ObjectMissing,
            False,
        ),
        (reply(404, "404 page not found\n", "text/plain"), errors.ObjectMissing, False),
        (reply(409, status(409, "Conflict", "the object has been modified")), errors.Outdated, True),
        (reply(410, status(410, "Expired", "too old resource version")), errors.Expired, True),
        (
            reply(429, "Too many requests, please try again later.\n", "text/plain", Retry_After="3"),
            errors.TooManyRequests,
            True,
        ),
        (reply(500, status(500, "InternalError", "boom")), errors.ServerFault, True),
        (reply(502, "<html><title>Bad gateway</title></html>", "text/html"), errors.ServerFault, True),
        (reply(503, status(503, "ServiceUnavailable", "apiserver not ready")), errors.ServerFault, True),
        (reply(200, "<html><title>Sign in</title></html>", "text/html"), errors.ServerFault, True),
        (reply(200, ""), errors.ServerFault, True),
        (reply(200, "[]"), errors.ServerFault, True),
        (reply(302, "", Location="https://elsewhere.example/"), errors.ServerFault, False),
        (raw(b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"kind"'), errors.ClusterUnreachable, True),
        (
            raw(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"kin'),
            errors.ClusterUnreachable,
            True,
        ),
        (raw(b""), errors.ClusterUnreachable, True),
        (raw(b"nonsense\r\n\r\n"), errors.ClusterUnreachable, True),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", b"x", pause=1.5),
            errors.ClusterUnreachable,
            True,
        ),
        (
            raw(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", *[b"x" * 20] * 8, pause=0.4),
            errors.ClusterError,
            True,
        ),
        (
            raw(b"HTTP/1.1 403 No\r\nContent-Length: 90000000\r\n\r\n" + b"x" * 200_000),
            errors.ClusterForbids,
            False,
        ),
    ],
)
def test_answers_become_errors(
    server: ScriptedServer,
    client: ClusterClient,
    answer: Any,
    kind: type[errors.ClusterError],
    retryable: bool,
) -> None:
    server.answers[POD_PATH] = answer
    error = failure(client, kind)
    assert error.retryable is retryable and error.tried == "read Pod llm/p"


def test_words_of_an_answer(server: ScriptedServer, client: ClusterClient) -> None:
    server.answers[POD_PATH] = reply(
        429, "Too many requests, please try again later.\n", "text/plain", Retry_After="3"
    )
    assert failure(client, errors.TooManyRequests).retry_after == 3.0
    server.answers[POD_PATH] = reply(200, "<html><title>Sign\nin</title></html>", "text/html")
    assert "Sign in" in failure(client, errors.ServerFault).answered
    server.answers[POD_PATH] = reply(
        500, status(500, "InternalError", f"called with Bearer {TOKEN} " + "x" * 9000)
    )
    assert failure(client, errors.ServerFault).answered.endswith("…")
    url = 'Get "https://10.1.2.3:10250/containerLogs/llm/p/c": dial tcp 10.1.2.3:10250: connect: connection refused'
    server.answers[POD_PATH] = reply(500, status(500, "InternalError", url))
    assert "10.1.2.3" not in failure(client, errors.ServerFault).answered


def test_redirects_are_not_followed(server: ScriptedServer, client: ClusterClient, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with scripted_server(AUTHORITY, tmp_path / "other") as other:
        server.answers[POD_PATH] = reply(302, "", Location=f"{other.url}/steal")
        failure(client, errors.ServerFault)
        path = proxy_path("llm", "pods", "p", "http", 80, "x")
        server.answers[path] = reply(302, "", Location=f"{other.url}/steal")
        assert client.request_through("GET", path)[0] == 302
        assert other.connections == 0


def test_environment_proxies_are_not_used(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server.answers["*"] = reply(200, '{"kind":"Pod","metadata":{}}')
    with client_of(server, tmp_path) as client:
        client.get(POD)
        assert client.request_through("GET", proxy_path("llm", "pods", "p", "http", 80, "x"))[0] == 200


def test_a_connection_that_the_server_dropped_is_replaced(
    server: ScriptedServer, client: ClusterClient
) -> None:
    answers = [
        reply(200, '{"kind":"Pod","metadata":{}}'),
        raw(b""),
        reply(200, '{"kind":"Pod","metadata":{}}'),
    ]

    def next_answer(request: Request, connection: socket.socket) -> None:
        answers.pop(0)(request, connection)

    server.answers[POD_PATH] = next_answer
    client.get(POD)
    client.get(POD)
    assert not answers


# -- the way there ----------------------------------------------------------------------------------


def test_an_unknown_authority(server: ScriptedServer, tmp_path: Path) -> None:
    error = failure(client_of(server, tmp_path, ca_data=Authority().pem), errors.ClusterUnreachable)
    assert "certificate authority" in error.sentence and not error.retryable
    assert not server.requests


def test_a_certificate_for_another_name_and_tls_server_name(tmp_path: Path) -> None:
    with scripted_server(AUTHORITY, tmp_path, hosts=("kubernetes.example",)) as server:
        discovery(server)
        server.answers[POD_PATH] = reply(200, '{"kind":"Pod","metadata":{}}')
        error = failure(client_of(server, tmp_path), errors.ClusterUnreachable)
        assert "another name" in error.sentence
        path = proxy_path("llm", "pods", "p", "http", 80, "x")
        with pytest.raises(errors.ClusterUnreachable):
            client_of(server, tmp_path).request_through("GET", path)
        named = client_of(server, tmp_path, tls_server_name="kubernetes.example")
        assert named.get(POD)["kind"] == "Pod"
        server.answers[path] = reply(200, "ok")
        assert named.request_through("GET", path) == (200, b"ok")


def test_client_certificates(tmp_path: Path) -> None:
    certificate, key = AUTHORITY.issue("somebody")
    with scripted_server(AUTHORITY, tmp_path, client_ca=AUTHORITY.pem) as server:
        discovery(server)
        server.answers["*"] = reply(200, '{"kind":"Pod","metadata":{}}')
        with client_of(
            server, tmp_path, token=None, client_certificate=certificate, client_key=key
        ) as client:
            assert client.get(POD)["kind"] == "Pod"
            assert client.request_through("GET", proxy_path("llm", "pods", "p", "http", 80, "x"))[0] == 200
        strange, strange_key = Authority().issue("stranger")
        failure(
            client_of(server, tmp_path, token=None, client_certificate=strange, client_key=strange_key),
            errors.ClusterError,
        )
        with pytest.raises(errors.CredentialRefused):
            client_of(server, tmp_path, token=None, client_certificate=certificate, client_key=strange_key)


def test_no_tls_nothing_there_and_no_name(tmp_path: Path) -> None:
    with scripted_server(AUTHORITY, tmp_path, tls=False) as server:
        assert "TLS" in failure(client_of(server, tmp_path), errors.ClusterUnreachable).sentence
        url = server.url
    assert "listens" in failure(client_of(server, tmp_path, url=url), errors.ClusterUnreachable).sentence
    unknown = client_of(server, tmp_path, url="https://no-such-host.invalid:6443")
    error = failure(unknown, errors.ClusterUnreachable)
    assert "resolved" in error.sentence and error.retryable


def test_forbidden_addresses_are_found_at_connection_time(server: ScriptedServer, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    credential = ClusterCredential(server=f"https://localhost:{port}", ca_data=server.ca, token=TOKEN)
    with connect(credential, cluster_uid="", cache_dir=tmp_path, allow_loopback=False) as client:
        assert "this machine itself" in failure(client, errors.ClusterUnreachable).sentence
        with pytest.raises(errors.ClusterUnreachable, match="this machine itself"):
            client.request_through("GET", proxy_path("llm", "pods", "p", "http", 80, "x"))

    async def asynchronously() -> None:
        async with async_proxy_client(credential, allow_loopback=False) as made:
            await made.get(proxy_path("llm", "pods", "p", "http", 80, "x"))

    with pytest.raises((AddressRefused, httpx.ConnectError)):
        asyncio.run(asynchronously())
    assert server.connections == 0
    with pytest.raises(AddressRefused):
        checked(
            "rebound.example",
            [(socket.AF_INET, 1, 6, "", ("10.0.0.1", 1)), (socket.AF_INET, 1, 6, "", ("169.254.169.254", 1))],
            True,
        )
    assert resolve("127.0.0.1", 1, True) == [(socket.AF_INET, "127.0.0.1")]


# -- streams ----------------------------------------------------------------------------------------


def event(kind: str, version: str, **more: Any) -> bytes:
    return (
        json.dumps(
            {"type": kind, "object": {"kind": "Pod", "metadata": {"resourceVersion": version}} | more}
        ).encode()
        + b"\n"
    )


def chunked(
    *pieces: bytes, pause: float = 0.0, end: bytes = b"0\r\n\r\n", hold: threading.Event | None = None
) -> Any:
    def send(_: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in pieces:
            connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            time.sleep(pause)
        if hold is not None:
            hold.wait(10)
        connection.sendall(end)
        if not end:
            raise ConnectionAbortedError

    return send


def test_a_watch_reads_events_however_they_are_cut(server: ScriptedServer, client: ClusterClient) -> None:
    text = event("ADDED", "5") + event("MODIFIED", "6") + event("BOOKMARK", "9")
    server.answers[LIST_PATH] = chunked(*[text[n : n + 7] for n in range(0, len(text), 7)])
    found = list(client.watch(PODS, "llm", "4", label_selector="a=b", timeout_seconds=5))
    assert [(one.type, one.resource_version) for one in found] == [
        ("ADDED", "5"),
        ("MODIFIED", "6"),
        ("BOOKMARK", "9"),
    ]
    query = httpx.URL("https://x" + server.requests[-1].target).params
    assert dict(query) == {
        "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": "4", "labelSelector": "a=b", "timeoutSeconds": "5",
    }  # fmt: skip


def test_a_watch_that_is_too_old_breaks_or_is_nonsense(server: ScriptedServer, client: ClusterClient) -> None:
    expired = json.dumps(
        {"type": "ERROR", "object": json.loads(status(410, "Expired", "too old resource version: 1 (9)"))}
    )
    server.answers[LIST_PATH] = chunked(expired.encode() + b"\n")
    with pytest.raises(errors.Expired):
        list(client.watch(PODS, "llm", "1"))
    server.answers[LIST_PATH] = chunked(event("ADDED", "5"), end=b"")
    with pytest.raises(errors.ClusterUnreachable):
        list(client.watch(PODS, "llm", "1"))
    for nonsense in (b"<html>\n", b"{}\n", b'{"type":"ADDED","object":null}\n', b"[]\n"):
        server.answers[LIST_PATH] = chunked(nonsense)
        with pytest.raises(errors.ClusterUnreachable):
            list(client.watch(PODS, "llm", "1"))
    server.answers[LIST_PATH] = reply(429, "Too many requests, please try again later.\n", "text/plain")
    with pytest.raises(errors.TooManyRequests):
        list(client.watch(PODS, "llm", "1"))


def test_an_event_without_metadata_or_version_is_passed_on(
    server: ScriptedServer, client: ClusterClient
) -> None:
    odd = (
        b"{}",
        b'{"metadata":[]}',
        b'{"metadata":{"resourceVersion":null}}',
        b'{"metadata":{"annotations":[]}}',
    )
    lines = [b'{"type":"BOOKMARK","object":%s}\n' % one for one in odd]
    server.answers[LIST_PATH] = chunked(*lines, event("ADDED", "5"))
    found = list(client.watch(PODS, "llm", "1"))
    assert [(one.resource_version, one.ends_initial) for one in found] == [("", False)] * 4 + [("5", False)]


def test_a_list_that_holds_what_is_no_object_gives_the_rest(
    server: ScriptedServer, client: ClusterClient
) -> None:
    text = b'{"metadata":{"resourceVersion":null},"items":[null,"x",{"metadata":{"name":"a"}}]}'
    server.answers[LIST_PATH] = reply(200, text.decode())
    pages = list(client.list_pages(PODS, "llm"))
    assert [(page.resource_version, page.items) for page in pages] == [("", [{"metadata": {"name": "a"}}])]


def test_a_server_whose_identity_cannot_be_read_is_none_of_kubernetes(
    server: ScriptedServer, client: ClusterClient
) -> None:
    for text in ("{}", '{"metadata":[]}', '{"metadata":{"uid":null}}', '{"metadata":{"uid":"a\\u0000"}}'):
        server.answers["/api/v1/namespaces/kube-system"] = reply(200, text)
        with pytest.raises(errors.ServerFault, match="not one of a Kubernetes API server"):
            client.cluster_uid()


def test_a_silent_watch_stops_when_asked(server: ScriptedServer, client: ClusterClient) -> None:
    hold, stop = threading.Event(), threading.Event()
    server.answers[LIST_PATH] = chunked(event("ADDED", "5"), hold=hold)
    began = time.monotonic()
    seen = []
    for one in client.watch(PODS, "llm", "1", timeout_seconds=60, stop=stop):
        seen.append(one.resource_version)
        threading.Timer(0.1, stop.set).start()
    assert seen == ["5"] and time.monotonic() - began < 3
    hold.set()
    assert list(client.watch(PODS, "llm", "1", stop=stop)) == []


def test_logs_are_followed_in_lines_and_within_limits(server: ScriptedServer, client: ClusterClient) -> None:
    server.answers[POD_PATH + "/log"] = chunked(b"one\ntw", b"o\nthr", b"ee")
    assert list(client.stream_logs("llm", "p", "c", tail_lines=5)) == [b"one", b"two", b"three"]
    assert "container=c&tailLines=5" in server.requests[-1].target
    assert list(client.stream_logs("llm", "p", max_bytes=8)) == [b"one", b"two"]
    server.answers[POD_PATH + "/log"] = chunked(b"x" * 200_000)
    assert sum(len(line) for line in client.stream_logs("llm", "p")) == 200_000
    hold = threading.Event()
    server.answers[POD_PATH + "/log"] = chunked(b"one\n", hold=hold)
    assert list(client.stream_logs("llm", "p", max_seconds=0.5)) == [b"one"]
    hold.set()
    server.answers[POD_PATH + "/log"] = raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert list(client.stream_logs("llm", "p")) == [] and client.pod_logs("llm", "p") == b""


# -- the proxy --------------------------------------------------------------------------------------

TAGS = proxy_path("llm", "pods", "p", "http", 11434, "api/tags")


def test_the_back_ends_answer_and_the_api_servers(server: ScriptedServer, client: ClusterClient) -> None:
    server.answers[TAGS] = reply(404, '{"error":"model not found"}')
    assert client.request_through("GET", TAGS) == (404, b'{"error":"model not found"}')
    server.answers[TAGS] = reply(401, "who are you", "text/plain")
    assert client.request_through("GET", TAGS)[0] == 401
    server.answers[TAGS] = reply(
        503, status(503, "ServiceUnavailable", "error trying to reach service: dial tcp 10.2.3.4:1: refused")
    )
    with pytest.raises(errors.ServerFault):
        client.request_through("GET", TAGS)
    server.answers[TAGS] = reply(404, status(404, "NotFound", 'pods "p" not found', name="p", kind="pods"))
    with pytest.raises(errors.ObjectMissing):
        client.request_through("GET", TAGS)
    server.answers[TAGS] = reply(
        429, "Too many requests, please try again later.\n", "text/plain", Retry_After="1"
    )
    with pytest.raises(errors.TooManyRequests):
        client.request_through("GET", TAGS)


def test_lines_arrive_as_they_are_written(server: ScriptedServer, client: ClusterClient) -> None:
    hold = threading.Event()
    server.answers[TAGS] = chunked(b'{"a":1}\n{"a"', b":2}\n", hold=hold)
    with client.open_proxy(
        "POST", TAGS, json={"model": "é"}, headers={"Authorization": "mine", "X-Own": "1"}
    ) as answer:
        lines = answer.iter_lines()
        assert (next(lines), next(lines)) == (b'{"a":1}', b'{"a":2}')
        hold.set()
        assert list(lines) == []
    sent = server.requests[-1]
    assert sent.body == '{"model":"é"}'.encode() and sent.headers["authorization"] == f"Bearer {TOKEN}"
    assert sent.headers["x-own"] == "1"


def test_the_proxy_has_limits(server: ScriptedServer, client: ClusterClient) -> None:
    server.answers[TAGS] = reply(200, b"x" * 1000)
    with pytest.raises(errors.ServerFault):
        client.request_through("GET", TAGS, limit=100)
    server.answers[TAGS] = chunked(b"x" * 1000)
    with pytest.raises(errors.ServerFault), client.open_proxy("GET", TAGS) as answer:
        list(answer.iter_lines(longest=100))
    server.answers[TAGS] = chunked(*[b"x\n"] * 10, pause=0.2)
    with pytest.raises(errors.ServerFault), client.open_proxy("GET", TAGS, total=0.5) as answer:
        list(answer.iter_lines())
    server.answers[TAGS] = chunked(b"a\n", end=b"")
    with pytest.raises(errors.ClusterUnreachable), client.open_proxy("GET", TAGS) as answer:
        list(answer.iter_lines())
    hold = threading.Event()
    server.answers[TAGS] = chunked(hold=hold)
    with pytest.raises(errors.ClusterUnreachable), client.open_proxy("GET", TAGS, read_timeout=0.3) as answer:
        answer.read()
    hold.set()


@pytest.mark.parametrize(
    "path", ["/api/v1/secrets", TAGS + "/../../../secrets", TAGS + "/%2e%2e/x", TAGS + "\\x", TAGS + "%2fx"]
)
def test_hostile_paths_are_never_sent(server: ScriptedServer, client: ClusterClient, path: str) -> None:
    with pytest.raises(errors.InvalidInput):
        client.request_through("GET", path)
    credential = ClusterCredential(server=server.url, ca_data=server.ca, token=TOKEN)

    async def asynchronously() -> None:
        async with async_proxy_client(credential, allow_loopback=True) as made:
            await made.get(path)

    with pytest.raises(errors.InvalidInput):
        asyncio.run(asynchronously())
    assert not server.requests


def test_the_asynchronous_client(server: ScriptedServer, tmp_path: Path) -> None:
    certificate, key = AUTHORITY.issue("somebody")
    credential = ClusterCredential(
        server=server.url, ca_data=server.ca, client_certificate=certificate, client_key=key, token=TOKEN
    )
    server.answers[TAGS] = chunked(b"one", b"two")

    async def asynchronously() -> bytes:
        async with (
            async_proxy_client(credential, allow_loopback=True) as made,
            made.stream("GET", TAGS, params={"a": "b"}) as answer,
        ):
            with pytest.raises(errors.InvalidInput):
                await made.get("https://elsewhere.example" + TAGS)
            return await answer.aread()

    assert asyncio.run(asynchronously()) == b"onetwo"
    assert (
        server.requests[0].headers["authorization"] == f"Bearer {TOKEN}"
        and server.requests[0].target == TAGS + "?a=b"
    )


def test_threads_share_one_client_of_the_proxy(
    server: ScriptedServer, client: ClusterClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second one, made by a thread that came at the same time, would be lost and never closed."""
    path = proxy_path("llm", "pods", "ollama-0", "http", 11434, "api/version")
    server.answers[path] = reply(200, "{}")
    two_at_once = threading.Barrier(2)
    made: list[httpx.Client] = []

    class Made(httpx.Client):
        def __init__(self, **options: Any) -> None:
            try:
                two_at_once.wait(0.3)
            except threading.BrokenBarrierError:
                pass  # nobody else was making one
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr("deployments.gateways.kubernetes.proxy.httpx.Client", Made)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(client.request_through, "GET", path) for _ in range(4)]
        assert [one.result()[0] for one in asked] == [200] * 4
    assert len(made) == 1
    client.close()
    assert made[0].is_closed


METRICS = proxy_path("llm", "pods", "exporter", "http", 9400, "metrics")
MIB = 1024 * 1024


@pytest.mark.parametrize("body", [b"", b"some words", b"0123456789abcdef" * (4 * MIB // 16)])
@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "identity", ""])
def test_what_a_pod_sends_compressed_is_unpacked(
    server: ScriptedServer, client: ClusterClient, body: bytes, encoding: str
) -> None:
    packed = gzip.compress(body) if "gzip" in encoding.lower() else body
    server.answers[METRICS] = reply(200, packed, "text/plain", Content_Encoding=encoding)
    assert client.request_through("GET", METRICS) == (200, body)
    assert server.requests[-1].headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_body_that_swells_is_given_up_before_it_fills_the_memory(
    server: ScriptedServer, client: ClusterClient, layers: int
) -> None:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    body = b"".join(packer.compress(bytes(MIB)) for _ in range(256)) + packer.flush()
    for _ in range(layers - 1):
        body = gzip.compress(body)
    encodings = ", ".join(["gzip"] * layers)
    server.answers[METRICS] = reply(200, body, "text/plain", Content_Encoding=encodings)
    tracemalloc.start()
    try:
        with pytest.raises(errors.ServerFault, match=r"too long|was not asked for"):
            client.request_through("GET", METRICS, limit=MIB)
        assert tracemalloc.get_traced_memory()[1] < 8 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"no gzip"), ("br", b"x"), ("gzip", b"\x1f\x8b\x08")]
)
def test_what_cannot_be_unpacked_is_said(
    server: ScriptedServer, client: ClusterClient, encoding: str, body: bytes
) -> None:
    server.answers[METRICS] = reply(500, body, "text/plain", Content_Encoding=encoding)
    with pytest.raises(errors.ServerFault) as caught:
        client.request_through("GET", METRICS)
    assert caught.value.tried == f"GET {METRICS}"
