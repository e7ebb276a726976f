"""A living practice cluster inside a test's own event loop, without a server: store, world, what happened.

@living(scenario="small")
async def test_something(life: Life) -> None: ...
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from sandbox.backend import BackendRequest, BackendResponse, one
from sandbox.store import Event, Store
from sandbox.system import System
from sandbox.world import World, make_world

Object = dict[str, Any]
T = TypeVar("T")
GOLDEN = Path(__file__).parents[3] / "golden" / "kubernetes" / "world"
NS = "default"
# Fast enough for tests; the 60 ms ticks of a pull and the server's own work stay real.
SPEED = 200.0


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text())


class Life:
    """events: all changes of the store since the start. created through `add` objects go into namespace default."""

    def __init__(self, store: Store, world: World) -> None:
        self.store = store
        self.world = world
        self.events: list[Event] = []
        store.subscribe(self.events.append)

    def add(self, kind: str, name: str, spec: Object | None = None, **more: Any) -> Object:
        metadata: Object = {"name": name, **more.pop("metadata", {})}
        if self.store.kind(kind).namespaced:
            metadata.setdefault("namespace", NS)
        body: Object = {"metadata": metadata, **more}
        if spec is not None:
            body["spec"] = spec
        return self.store.create(kind, body, manager="recorder")

    def get(self, kind: str, name: str) -> Object | None:
        namespaced = self.store.kind(kind).namespaced
        return self.store.get(kind, NS if namespaced else None, name)

    def change(self, kind: str, name: str, fn: Callable[[Object], object]) -> Object:
        changed = self.store.mutate(kind, NS if self.store.kind(kind).namespaced else None, name, fn)
        assert changed is not None
        return changed

    async def until(self, what: str, condition: Callable[[], T | bool | None], seconds: float = 60.0) -> T:
        """The first true value of condition."""
        deadline = time.monotonic() + seconds
        while not (value := condition()):
            assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
            await asyncio.sleep(0.004)
        return value  # type: ignore[return-value]

    async def pod(self, name: str, ready: bool = True) -> Object:
        """The pod once it is ready (or once its container runs)."""

        def found() -> Object | None:
            pod = self.get("Pod", name)
            if pod is None:
                return None
            state = pod["status"]
            if ready:
                wanted = {"type": "Ready", "status": "True"}.items()
                return pod if any(wanted <= entry.items() for entry in state.get("conditions", [])) else None
            return (
                pod
                if any("running" in entry["state"] for entry in state.get("containerStatuses", []))
                else None
            )

        return await self.until(f"{'ready' if ready else 'running'} pod {name}", found)

    def said(self, name: str, reason: str = "") -> list[Object]:
        """Events about an object."""
        return [
            event
            for event in self.store.list("Event")
            if event["involvedObject"]["name"] == name and reason in ("", event["reason"])
        ]

    def history(self, kind: str, name: str) -> list[Object]:
        return [e.object for e in self.events if e.kind.kind == kind and e.object["metadata"]["name"] == name]

    def conditions(self, kind: str, name: str, type_: str) -> list[list[str]]:
        """[status, reason] of a condition, each change once."""
        found: list[list[str]] = []
        for obj in self.history(kind, name):
            for entry in (obj.get("status") or {}).get("conditions") or []:
                if entry["type"] == type_ and (
                    not found or found[-1] != [entry["status"], entry.get("reason")]
                ):
                    found.append([entry["status"], entry.get("reason")])
        return found

    def logs(self, pod: str, **more: Any) -> AsyncIterator[bytes]:
        options: dict[str, Any] = {
            "follow": False,
            "previous": False,
            "tail_lines": None,
            "since_seconds": None,
        }
        options |= {"limit_bytes": None, "timestamps": False, **more}
        return self.world.logs(self.get("Pod", pod) or {}, "main", **options)

    # ---- asking containers

    async def ask(
        self, pod: str, port: int, method: str, path: str, body: Any = None, **headers: str
    ) -> BackendResponse:
        found = self.get("Pod", pod)
        assert found is not None
        backend = self.world.backend(found, port)
        assert backend is not None, f"nothing listens on {pod}:{port}"
        data = b"" if body is None else json.dumps(body).encode()
        sent = tuple((name.replace("_", "-"), value) for name, value in headers.items())
        return await backend.handle(BackendRequest(method, path, "", sent, one(data)))

    async def call(
        self, pod: str, port: int, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any]:
        """(status, JSON or text)."""
        answer = await self.ask(pod, port, method, path, body, **headers)
        text = (await read(answer)).decode()
        kinds = [value for name, value in answer.headers if name == "Content-Type"]
        return answer.status, json.loads(text) if kinds and kinds[0].startswith("application/json") else text

    async def lines(self, pod: str, path: str, body: Object, port: int = 11434) -> list[Object]:
        """The objects of a streamed answer."""
        answer = await self.ask(pod, port, "POST", path, body)
        assert answer.status == 200
        return [json.loads(line) for line in (await read(answer)).splitlines()]


async def read(answer: BackendResponse) -> bytes:
    if isinstance(answer.body, bytes):
        return answer.body
    return b"".join([part async for part in answer.body])


@asynccontextmanager
async def life(
    scenario: str = "small", speed: float = SPEED, data_dir: Path | None = None, kept: Object | None = None
) -> AsyncIterator[Life]:
    """kept: what Store.dump() gave, for a cluster that comes back."""
    store = Store(seed=1)
    if kept is not None:
        store.load(kept)
    System(store, "CA").furnish()
    world = make_world(store, speed=speed, scenario=scenario, seed=1, data_dir=data_dir)
    alive = Life(store, world)
    await world.start()
    try:
        yield alive
    finally:
        await world.stop()


def living(
    scenario: str = "small", speed: float = SPEED
) -> Callable[[Callable[[Life], Awaitable[None]]], Callable[[], None]]:
    def decorate(test: Callable[[Life], Awaitable[None]]) -> Callable[[], None]:
        def run() -> None:
            async def body() -> None:
                async with life(scenario, speed) as alive:
                    await test(alive)

            asyncio.run(body())

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


# ---- manifests


def container(name: str = "main", image: str = "example/app:1", **more: Any) -> Object:
    return {"name": name, "image": image, **more}


def template(app: str, *containers: Object, **more: Any) -> Object:
    return {
        "metadata": {"labels": {"app": app}},
        "spec": {"containers": list(containers) or [container()], **more},
    }


def workload(app: str, *containers: Object, replicas: int = 1, **more: Any) -> Object:
    return {
        "replicas": replicas,
        "selector": {"matchLabels": {"app": app}},
        "template": template(app, *containers),
        **more,
    }


def claim_template(name: str = "data", size: str = "1Gi", **more: Any) -> Object:
    resources = {"requests": {"storage": size}}
    return {
        "metadata": {"name": name},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, **more},
    }


def ollama(model: str = "deepseek-r1:1.5b", image: str = "ollama/ollama:0.9.6", **more: Any) -> Object:
    """A container as somebody would write it: models below /models, ready when the model is there."""
    made = container("ollama", image)
    made["ports"] = [{"name": "http", "containerPort": 11434}]
    made["env"] = [{"name": "OLLAMA_MODELS", "value": "/models"}]
    made["volumeMounts"] = [{"name": "models", "mountPath": "/models"}]
    made["readinessProbe"] = {"exec": {"command": ["ollama", "show", model]}, "periodSeconds": 2}
    return {**made, **more}


def ollama_pod(life_: Life, name: str = "o", claim: str = "", **more: Any) -> Object:
    """A pod with one Ollama; models on an emptyDir, or on a claim of class shared (made if it is not there)."""
    volume: Object = {"name": "models", "emptyDir": {}}
    if claim:
        volume = {"name": "models", "persistentVolumeClaim": {"claimName": claim}}
        if life_.get("PersistentVolumeClaim", claim) is None:
            size = more.pop("size", "20Gi")
            resources = {"requests": {"storage": size}}
            spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "shared", "resources": resources}
            life_.add("PersistentVolumeClaim", claim, spec)
    return life_.add(
        "Pod", name, {"containers": [ollama(**more)], "volumes": [volume]}, metadata={"labels": {"app": name}}
    )
