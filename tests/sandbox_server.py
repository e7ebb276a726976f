"""A practice cluster for tests, in a thread with its own event loop.

with running_sandbox() as cluster:
    cluster.url, cluster.ca_pem, cluster.kubeconfig, cluster.kubeconfig_path, cluster.token
"""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import ssl
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sandbox import kubeconfig
from sandbox.access import User
from sandbox.cluster import Cluster, Options
from sandbox.store import Store

START_SECONDS = 15.0


class RunningSandbox:
    """What a test needs of a running cluster. `speed` is the factor of simulated time."""

    def __init__(
        self, cluster: Cluster, loop: asyncio.AbstractEventLoop, directory: Path, speed: float
    ) -> None:
        self.cluster = cluster
        self.speed = speed
        self.url = cluster.url
        self.ca_pem = cluster.ca_pem
        self.token = cluster.token
        self.kubeconfig: dict[str, Any] = cluster.kubeconfig()
        self.kubeconfig_path = directory / "kubeconfig"
        kubeconfig.write(self.kubeconfig_path, self.kubeconfig)
        self._loop = loop

    def run(self, action: Callable[[Store], Any], seconds: float = 60.0) -> Any:
        """Call action(store) inside the server's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(self._call(action), self._loop).result(seconds)

    async def _call(self, action: Callable[[Store], Any]) -> Any:
        return action(self.cluster.store)

    def ssl_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.ca_pem)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        token: str | None = None,
    ) -> tuple[int, dict[str, str], Any]:
        """(status, headers in lower case, parsed JSON or text). token None is the administrator's, "" is nobody's."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Accept": "application/json", "User-Agent": "recorder", **(headers or {})}
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        bearer = self.token if token is None else token
        if bearer:
            sent["Authorization"] = f"Bearer {bearer}"
        message = urllib.request.Request(self.url + path, data, sent, method=method)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.ssl_context()), _Plain()
        )
        with opener.open(message, timeout=30) as answer:
            raw = answer.read()
            found = {name.lower(): value for name, value in answer.headers.items()}
            if found.get("content-type", "").startswith("application/json") and raw:
                return answer.status, found, json.loads(raw)
            return answer.status, found, raw.decode()

    @contextmanager
    def stream(
        self, path: str, headers: dict[str, str] | None = None, seconds: float = 10.0
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer to read piece by piece (`readline`); reading waits for seconds at most."""
        host = self.url.removeprefix("https://")
        connection = http.client.HTTPSConnection(host, timeout=seconds, context=self.ssl_context())
        try:
            connection.request(
                "GET", path, headers={"Authorization": f"Bearer {self.token}", **(headers or {})}
            )
            yield connection.getresponse()
        finally:
            connection.close()

    def events(
        self, path: str, headers: dict[str, str] | None = None, seconds: float = 10.0
    ) -> list[dict[str, Any]]:
        """All events of a watch until the server ends it; give the path a short timeoutSeconds."""
        with self.stream(path, headers, seconds) as answer:
            return [json.loads(line) for line in answer.read().splitlines()]

    # ---- faults

    def faults(self, name: str, **params: Any) -> Any:
        """Switch a fault on."""
        return self.request("PUT", f"/sandbox/faults/{name}", params)

    def clear_faults(self, name: str = "") -> Any:
        """Switch one fault off, or all."""
        return self.request("DELETE", "/sandbox/faults" + (f"/{name}" if name else ""))


class _Plain(urllib.request.HTTPErrorProcessor):
    """Every status is an answer; redirects are not followed."""

    def http_response(self, request: Any, response: Any) -> Any:
        return response

    https_response = http_response


@contextmanager
def running_sandbox(
    *,
    world: bool | Callable[[Store], Any] = False,
    speed: float = 50.0,
    scenario: str = "default",
    seed: int | None = 1,
    tokens: dict[str, tuple[str, tuple[str, ...]]] | None = None,
    state: Path | None = None,
    history_limit: int = 20_000,
    **world_options: Any,
) -> Iterator[RunningSandbox]:
    """A running practice cluster. tokens: token -> (user name, groups).

    world: True for controllers, nodes, Ollama ..., or a function that makes another world for a store.
    """
    users = {token: User(name, tuple(groups)) for token, (name, groups) in (tokens or {}).items()}
    maker = (
        world if callable(world) else _world_maker(speed, scenario, seed, world_options) if world else None
    )
    options = Options(seed=seed, tokens=users, state=state, world=maker, history_limit=history_limit)
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    failure: list[Exception] = []
    cluster = Cluster(options)

    async def live() -> None:
        try:
            await cluster.start()
        except Exception as error:  # noqa: BLE001  (told to the test's thread)
            failure.append(error)
            ready.set()
            return
        ready.set()
        await stop.wait()
        await cluster.stop()

    def body() -> None:
        # The runner ends what is still under way: a connection that comes while the server stops would
        # otherwise stay open, with nobody behind it, for as long as the test's process lives.
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(live())
        except Exception as error:  # noqa: BLE001  (told to the test's thread)
            failure.append(error)

    thread = threading.Thread(target=body, name="practice-cluster", daemon=True)
    thread.start()
    if not ready.wait(START_SECONDS) or failure:
        raise RuntimeError("the practice cluster did not start") from (failure[0] if failure else None)
    with tempfile.TemporaryDirectory(prefix="sandbox-test-") as directory:
        try:
            yield RunningSandbox(cluster, loop, Path(directory), speed)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(START_SECONDS)
    if failure:
        raise failure[0]


def _world_maker(
    speed: float, scenario: str, seed: int | None, more: dict[str, Any]
) -> Callable[[Store], Any]:
    make_world = importlib.import_module("sandbox.world").make_world
    return lambda store: make_world(store, speed=speed, scenario=scenario, seed=seed, **more)
