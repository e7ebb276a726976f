"""A cluster's API server with two small programs behind its proxy: a NextChat-like page and an
Ollama-like model server that say what the real ones say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from sandbox.backend import BackendRequest, BackendResponse

NAMESPACE, NAME, MODEL = "llm", "web", "deepseek-r1:1.5b"
PAGE = (
    '<!DOCTYPE html><html><head><link rel="stylesheet" href="/_next/static/css/a.css"/>'
    '<script src="/_next/static/chunks/main.js"></script></head><body><a href="/#/chat">c</a>'
    '<script>self.__next_f.push([1,"/_next/static/x"])</script></body></html>'
)


class Nothing:
    async def before(self, info: Any) -> None: ...


class ChatWorld:
    """``seen`` holds (port, method, path, headers, body) of every request that reached a program;
    ``speak`` lets a slow answer go on; ``hung_up`` is set when its reader went away."""

    def __init__(self) -> None:
        self.faults = Nothing()
        self.seen: list[tuple[int, str, str, dict[str, str], bytes]] = []
        self.slow = False
        self.hung_up = asyncio.Event()

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def backend(self, pod: dict[str, Any], port: int) -> Program | None:
        return Program(self, port) if port in (3000, 11434) else None


class Program:
    def __init__(self, world: ChatWorld, port: int) -> None:
        self._world, self._port = world, port

    async def handle(self, request: BackendRequest) -> BackendResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers}
        self._world.seen.append((self._port, request.method, request.path, headers, body))
        return self._page(request) if self._port == 3000 else self._ollama(request, body)

    def _page(self, request: BackendRequest) -> BackendResponse:
        evil = [
            ("Set-Cookie", "a=b; Path=/"),
            ("Access-Control-Allow-Origin", "*"),
            ("X-Powered-By", "Next.js"),
        ]
        if request.path == "/":
            kind = [("Content-Type", "text/html; charset=utf-8")]
            return BackendResponse(200, [*kind, *evil], PAGE.encode())
        if request.path.startswith("/_next/static/gone"):
            return BackendResponse(404, [("Content-Type", "text/html")], b"<html>404</html>")
        if request.path == "/masks.json":
            return BackendResponse(302, [("Location", "/masks2.json")])
        if request.path == "/plugins.json":
            return BackendResponse(302, [("Location", "http://elsewhere.example/x")])
        kind = [("Content-Type", "application/javascript"), ("Cache-Control", "public, max-age=9")]
        return BackendResponse(200, [*kind, *evil], b"let a = 1")

    def _ollama(self, request: BackendRequest, body: bytes) -> BackendResponse:
        if request.header("Origin"):  # gin-contrib/cors: a foreign origin is an empty 403
            return BackendResponse(403)
        if request.path == "/v1/models":
            rows = [{"id": MODEL, "object": "model"}, {"id": "secret:7b", "object": "model"}]
            return _json(200, {"object": "list", "data": rows})
        asked = json.loads(body)
        if asked["messages"] and asked["messages"][-1].get("content") == "fail":
            said = {"message": "model requires more system memory", "type": "api_error"}
            return _json(500, {"error": said})
        return BackendResponse(200, [("Content-Type", "text/event-stream")], self._words())

    async def _words(self) -> AsyncIterator[bytes]:
        try:
            for number in range(10_000 if self._world.slow else 5):
                delta = {"choices": [{"index": 0, "delta": {"content": f"w{number} "}}]}
                yield b"data: " + json.dumps(delta).encode() + b"\n\n"
                await asyncio.sleep(0.05 if self._world.slow else 0.001)
            yield b"data: [DONE]\n\n"
        finally:
            self._world.hung_up.set()


def _json(status: int, value: Any) -> BackendResponse:
    return BackendResponse(status, [("Content-Type", "application/json")], json.dumps(value).encode())


def furnish(store: Any) -> None:
    """Pods and Services as Pilothouse installs them, ready."""
    store.create("Node", {"metadata": {"name": "node-0"}})
    store.create("Namespace", {"metadata": {"name": NAMESPACE}})
    for part, port in (("chat", 3000), ("server", 11434)):
        name = f"{NAME}-{part}"
        container = {"name": "main", "image": "x:1", "ports": [{"name": "http", "containerPort": port}]}
        metadata = {"name": name, "namespace": NAMESPACE, "labels": {"app": name}}
        store.create("Pod", {"metadata": metadata, "spec": {"nodeName": "node-0", "containers": [container]}})
        set_ready(store, name, True)
        ports = [{"name": "http", "port": port, "targetPort": "http"}]
        spec = {"ports": ports, "selector": {"app": name}}
        store.create("Service", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})


def set_ready(store: Any, pod: str, ready: bool) -> None:
    state = {
        "phase": "Running",
        "podIP": "10.1.1.1",
        "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
    }
    store.mutate("Pod", NAMESPACE, pod, lambda obj: obj["status"].update(state), "status")
