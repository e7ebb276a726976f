"""A cluster's nodes as far as logs go: containers that write what a test wants, or say why they cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from sandbox import status
from sandbox.world.logs import LogBuffer

NAMESPACE, POD = "llm", "r1-server-0"


class Nothing:
    async def before(self, info: Any) -> None: ...


class LogWorld:
    """``runs`` are the containers' current logs, ``previous`` those before the last restart, ``refusals``
    what the kubelet answers instead, by container."""

    def __init__(self) -> None:
        self.faults = Nothing()
        self.runs: dict[str, LogBuffer] = {}
        self.previous: dict[str, LogBuffer] = {}
        self.refusals: dict[str, Exception] = {}
        self.asked: list[dict[str, Any]] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def logs(
        self, pod: dict[str, Any], container: str, *, previous: bool, **options: Any
    ) -> AsyncIterator[bytes]:
        self.asked.append({"container": container, "previous": previous, **options})
        if container in self.refusals:
            raise self.refusals[container]
        found = (self.previous if previous else self.runs).get(container)
        name = pod["metadata"]["name"]
        if found is None and previous:
            raise status.bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        if found is None:
            words = f'container "{container}" in pod "{name}" is waiting to start: ContainerCreating'
            raise status.bad_request(words)
        async for line in found.read(**options):
            yield line


def furnish(store: Any) -> None:
    """A pod with three containers on a node, and somebody else's beside it."""
    store.create("Node", {"metadata": {"name": "node-0"}})
    store.create("Namespace", {"metadata": {"name": NAMESPACE}})
    for name in (POD, "not-ours"):
        containers = [{"name": each, "image": "x:1"} for each in ("ollama", "side", "slow")]
        spec = {"nodeName": "node-0", "containers": containers}
        store.create("Pod", {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
