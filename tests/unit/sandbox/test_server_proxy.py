"""The way to pods and services through the API server (recorded transcripts 28 and 29), with an echoing back end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any

import pytest

from sandbox import proxying
from sandbox.backend import BackendRequest, BackendResponse, DropConnection, PlainAnswer, RequestInfo
from sandbox.status import ApiError
from tests.sandbox_server import RunningSandbox, running_sandbox

BASE = "/api/v1/namespaces/default"
PROXY = f"{BASE}/services/ollama:http/proxy"
HTML = (
    '<html><head><link href="/style.css"></head><body><a href="/abs">a</a><a href="rel">r</a>'
    "<a href=\"http://elsewhere.example/\">e</a><img src='/i.png'><form action=/post></form>"
    '<script src="/s.js">var x = "<a href=\\"/kept\\">";</script></body></html>'
)


class Echo:
    """Answers with what it received; some paths answer something special."""

    async def handle(self, request: BackendRequest) -> BackendResponse:
        body = await request.read()
        headers = dict(request.headers)
        host = headers["Host"]
        answers: dict[str, BackendResponse] = {
            "/redirect": BackendResponse(302, [("Location", "/other/place?x=1")]),
            "/redirect-rel": BackendResponse(302, [("Location", "sub/place")]),
            "/redirect-same": BackendResponse(302, [("Location", f"http://{host}/other")]),
            "/redirect-ext": BackendResponse(302, [("Location", "http://elsewhere.example/x")]),
            "/html": BackendResponse(200, [("Content-Type", "text/html; charset=utf-8")], HTML.encode()),
            "/404": BackendResponse(
                404, [("Content-Type", "application/json")], b'{"error":"model not found"}'
            ),
            "/empty": BackendResponse(204),
            "/stream": BackendResponse(
                200, [("Content-Type", "application/x-ndjson")], self._lines(broken=False)
            ),
            "/broken": BackendResponse(
                200, [("Content-Type", "application/x-ndjson")], self._lines(broken=True)
            ),
        }
        if request.path in answers:
            return answers[request.path]
        seen = {
            "method": request.method,
            "path": request.path + (f"?{request.query}" if request.query else ""),
            "headers": headers,
            "length": len(body),
        }
        extra = [("Access-Control-Allow-Origin", "*"), ("Cache-Control", "max-age=5"), ("X-Own", "1")]
        return BackendResponse(200, [("Content-Type", "application/json"), *extra], json.dumps(seen).encode())

    @staticmethod
    async def _lines(broken: bool) -> AsyncIterator[bytes]:
        for number in range(3):
            yield json.dumps({"i": number}).encode() + b"\n"
        if broken:
            raise ConnectionResetError


class Faults:
    def __init__(self) -> None:
        self.next: Exception | None = None
        self.seen: list[RequestInfo] = []

    async def before(self, info: RequestInfo) -> None:
        self.seen.append(info)
        if self.next is not None and info.resource == "configmaps":
            raise self.next


class SmallWorld:
    """One echoing port, log lines, faults to be set by a test."""

    def __init__(self) -> None:
        self.faults = Faults()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def backend(self, pod: dict[str, Any], port: int) -> Echo | None:
        return Echo() if port == 11434 else None

    async def logs(self, pod: dict[str, Any], container: str, **options: Any) -> AsyncIterator[bytes]:
        if container == "waiting":
            raise ApiError(
                400, "BadRequest", 'container "waiting" in pod "two" is waiting to start: ContainerCreating'
            )
        yield f"{container} {options['tail_lines']} {options['follow']}\n".encode()


@pytest.fixture(scope="module")
def world() -> SmallWorld:
    return SmallWorld()


@pytest.fixture(scope="module")
def cluster(world: SmallWorld) -> Iterator[RunningSandbox]:
    with running_sandbox(world=lambda store: world) as running:
        running.run(_furnish)
        yield running


def _furnish(store: Any) -> None:
    def pod(name: str, **labels: str) -> dict[str, Any]:
        container = {"name": "main", "image": "x:1", "ports": [{"name": "api", "containerPort": 11434}]}
        metadata = {"name": name, "namespace": "default", "labels": labels}
        return {"metadata": metadata, "spec": {"nodeName": "node-0", "containers": [container]}}

    def service(name: str, ports: list[dict[str, Any]], **selector: str) -> None:
        metadata = {"name": name, "namespace": "default"}
        store.create(
            "Service", {"metadata": metadata, "spec": {"ports": ports, "selector": selector or None}}
        )

    store.create("Node", {"metadata": {"name": "node-0"}})
    store.create("Pod", pod("back", app="ollama"))
    store.create("Pod", pod("unready", app="unready"))
    two = pod("two")
    two["spec"]["containers"].append({"name": "waiting", "image": "x:1"})
    store.create("Pod", two)
    for name, ready in (("back", "True"), ("unready", "False")):
        state = {"phase": "Running", "podIP": "10.1.1.1", "conditions": [{"type": "Ready", "status": ready}]}
        store.mutate("Pod", "default", name, lambda obj, s=state: obj["status"].update(s), "status")
    ports = [{"name": "http", "port": 80, "targetPort": "api"}, {"name": "dead", "port": 81, "targetPort": 1}]
    service("ollama", ports, app="ollama")
    service("single", [{"port": 80, "targetPort": 11434}], app="ollama")
    service("unready", [{"name": "http", "port": 80, "targetPort": 11434}], app="unready")
    service("none", [{"port": 80}], app="nobody")
    service("nosel", [{"port": 80}])


def test_what_the_back_end_sees(cluster: RunningSandbox) -> None:
    headers = {"Origin": "http://a.example", "Cookie": "c=1", "X-Forwarded-For": "1.2.3.4", "X-Own": "1"}
    code, answered, seen = cluster.request("GET", f"{PROXY}/api/tags?x=1&y=%2F", headers=headers)
    assert (code, seen["path"]) == (200, "/api/tags?x=1&y=%2F")
    received = seen["headers"]
    assert "Authorization" not in received
    assert received["X-Forwarded-For"] == "1.2.3.4, 127.0.0.1"
    assert received["X-Forwarded-Uri"] == f"{PROXY}/api/tags"
    assert received["Host"] == cluster.url.removeprefix("https://")
    assert (received["Cookie"], received["User-Agent"], received["Origin"]) == (
        "c=1",
        "recorder",
        "http://a.example",
    )
    assert answered["cache-control"] == "no-cache, private, max-age=5"
    assert "access-control-allow-origin" not in answered
    assert answered["x-own"] == "1"


@pytest.mark.parametrize(
    ("form", "code", "message"),
    [
        ("services/ollama:80", 200, ""),
        ("services/http:ollama:http", 200, ""),
        ("services/single", 200, ""),
        ("services/http:single:", 200, ""),
        (
            "services/ollama:dead",
            503,
            "error trying to reach service: dial tcp 10.1.1.1:1: connect: connection refused",
        ),
        ("services/ollama", 503, 'no endpoints available for service "ollama"'),
        ("services/ollama:nope", 503, 'no endpoints available for service "ollama:nope"'),
        ("services/unready:http", 503, 'no endpoints available for service "unready:http"'),
        ("services/none:80", 503, 'no endpoints available for service "none"'),
        ("services/ollama:9999", 503, 'no service port 9999 found for service "ollama"'),
        ("services/nosel:80", 404, 'services "nosel" not found'),
        ("services/absent:80", 404, 'services "absent" not found'),
        ("services/ftp:ollama:http", 400, 'invalid service request "ftp:ollama:http"'),
        (
            "services/https:ollama:http",
            503,
            "error trying to reach service: tls: first record does not look like a TLS handshake",
        ),
        ("pods/back:11434", 200, ""),
        ("pods/back", 200, ""),
        (
            "pods/back:1",
            503,
            "error trying to reach service: dial tcp 10.1.1.1:1: connect: connection refused",
        ),
        ("pods/absent:80", 404, 'pods "absent" not found'),
        ("pods/two:80", 400, "address not allowed"),
    ],
)
def test_name_forms(cluster: RunningSandbox, form: str, code: int, message: str) -> None:
    found, _, body = cluster.request("GET", f"{BASE}/{form}/proxy/p")
    assert found == code, body
    assert body.get("message", "") == message


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("/", "/"),
        ("/a%2Fb", "/a/b"),
        ("/a//b/../c", "/a/c"),
        ("/../../../secrets", "/secrets"),
        ("/%2e%2e/x", "/x"),
        ("/a%20b", "/a%20b"),
        ("/p?q=a%20b&q=c+d", "/p?q=a%20b&q=c+d"),
    ],
)
def test_paths_are_cleaned_and_stay_below_the_root(cluster: RunningSandbox, sent: str, received: str) -> None:
    code, _, seen = cluster.request("GET", PROXY + sent)
    assert (code, seen["path"]) == (200, received)


def test_no_slash_is_a_redirect(cluster: RunningSandbox) -> None:
    code, headers, _ = cluster.request("GET", PROXY)
    assert (code, headers["location"]) == (301, f"{PROXY}/")


@pytest.mark.parametrize("kind", ["services", "pods"])
def test_nobody_there_is_said_before_the_redirect(cluster: RunningSandbox, kind: str) -> None:
    """Seen of kube-apiserver 1.36: it looks for the back end first."""
    code, headers, _ = cluster.request("GET", f"{BASE}/{kind}/nobody:80/proxy")
    assert code == 404 and "location" not in headers


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/redirect", f"{PROXY}/other/place?x=1"),
        ("/redirect-rel", "sub/place"),
        ("/redirect-ext", "http://elsewhere.example/x"),
    ],
)
def test_locations(cluster: RunningSandbox, path: str, location: str) -> None:
    code, headers, _ = cluster.request("GET", PROXY + path)
    assert (code, headers["location"]) == (302, location)


def test_a_location_of_the_same_host_keeps_the_host(cluster: RunningSandbox) -> None:
    _, headers, _ = cluster.request("GET", f"{PROXY}/redirect-same")
    assert headers["location"] == f"http://{cluster.url.removeprefix('https://')}{PROXY}/other"


def test_html_is_rewritten_but_not_the_text_of_scripts(cluster: RunningSandbox) -> None:
    _, headers, text = cluster.request("GET", f"{PROXY}/html")
    for expected in (
        f'href="{PROXY}/style.css"',
        f'href="{PROXY}/abs"',
        'href="rel"',
        'href="http://elsewhere.example/"',
        f"src='{PROXY}/i.png'",
        f"action={PROXY}/post",
        f'src="{PROXY}/s.js"',
        'href=\\"/kept\\"',
    ):
        assert expected in text
    assert int(headers["content-length"]) == len(text.encode())


def test_methods_and_large_bodies_pass(cluster: RunningSandbox) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        body = b"x" * 4_000_000 if method == "POST" else b"{}"
        code, _, seen = cluster.request(method, f"{PROXY}/x", body)
        assert (code, seen["method"], seen["length"]) == (200, method, len(body))
    assert cluster.request("HEAD", f"{PROXY}/x")[2] == ""
    assert cluster.request("GET", f"{PROXY}/404")[0::2] == (404, {"error": "model not found"})
    assert cluster.request("GET", f"{PROXY}/empty")[0] == 204


def test_streams_pass_and_break_as_they_come(cluster: RunningSandbox) -> None:
    with cluster.stream(f"{PROXY}/stream") as answer:
        assert [json.loads(line)["i"] for line in answer.read().splitlines()] == [0, 1, 2]
    with cluster.stream(f"{PROXY}/broken") as answer, pytest.raises((IncompleteRead, ConnectionError)):
        answer.read()


def test_logs(cluster: RunningSandbox) -> None:
    code, headers, text = cluster.request("GET", f"{BASE}/pods/back/log?tailLines=2&follow=maybe")
    assert (code, headers["content-type"], text) == (200, "text/plain", "main 2 True\n")
    code, _, body = cluster.request("GET", f"{BASE}/pods/two/log?container=waiting")
    assert (code, body["reason"]) == (400, "BadRequest")
    assert "waiting to start" in body["message"]


def test_faults_come_before_the_answer(cluster: RunningSandbox, world: SmallWorld) -> None:
    path = f"{BASE}/configmaps"
    try:
        world.faults.next = PlainAnswer(
            429, "Too many requests, please try again later.\n", {"Retry-After": "1"}
        )
        code, headers, text = cluster.request("GET", path)
        assert (code, headers["retry-after"], text) == (
            429,
            "1",
            "Too many requests, please try again later.\n",
        )
        world.faults.next = ApiError(410, "Expired", "too old")
        assert cluster.request("GET", path)[0] == 410
        events = cluster.events(f"{path}?watch=true&timeoutSeconds=2")
        assert [event["object"]["code"] for event in events] == [410]
        world.faults.next = DropConnection()
        with pytest.raises((RemoteDisconnected, ConnectionError)):
            cluster.request("GET", path)
    finally:
        world.faults.next = None
    assert cluster.request("GET", path)[0] == 200
    last = world.faults.seen[-1]
    assert (last.verb, last.resource, last.namespace, last.user) == (
        "list",
        "configmaps",
        "default",
        "kubernetes-admin",
    )


def test_open_watches_can_be_ended(cluster: RunningSandbox) -> None:
    with cluster.stream(f"{BASE}/configmaps?watch=true&timeoutSeconds=20") as answer:
        answer.readline()
        gone = ApiError(410, "Expired", "too old resource version")
        server = cluster.cluster.server
        cluster.run(lambda store: server.end_watches(lambda info: info.resource == "configmaps", gone))
        lines = answer.read().splitlines()
    assert json.loads(lines[-1])["object"]["code"] == 410


def test_url_rewriting_leaves_what_is_already_below_the_proxy() -> None:
    assert proxying.rewrite_url("/p/x", "h", "/p") == "/p/x"
    assert proxying.rewrite_url("/px", "h", "/p") == "/p/px"
    assert proxying.rewrite_url("//other/x", "h", "/p") == "//other/x"
    assert proxying.rewrite_url("/dir/", "h", "/p") == "/p/dir/"
