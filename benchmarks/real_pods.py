"""Pods on a real API server for a benchmark: made in namespaces of their own, assigned to no scheduler, removed again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from benchmarks.product import Server, Stack, until
from benchmarks.stacks import INSTALLATION, default_stack
from deployments.gateways.kubernetes import ApplySet
from deployments.manifests.server import stateful_set

AT_ONCE = 16
OF_A_STACK = 5
OF_A_NAMESPACE = 1000


class RealPods:
    """A context: the pods are there inside it. ``stacks`` are the deployments they are labelled with."""

    def __init__(self, kubeconfig: Path, directory: Path, pods: int) -> None:
        copy = directory / "real-kubeconfig"
        copy.write_bytes(kubeconfig.read_bytes())
        copy.chmod(0o600)
        self.server = Server(copy)
        self.pods = pods
        mark = uuid.uuid4().hex[:6]
        count = -(-pods // OF_A_NAMESPACE)
        self.namespaces = [f"bench-{mark}-{number:02d}" for number in range(count)]
        self.stacks = [
            Stack(str(uuid.uuid4()), self.namespaces[number * OF_A_STACK // OF_A_NAMESPACE], f"m{number}")
            for number in range(-(-pods // OF_A_STACK))
        ]

    def __enter__(self) -> RealPods:
        began = time.monotonic()
        try:
            asyncio.run(self._make())
        except BaseException:
            self._remove()
            raise
        print(f"{self.pods} pods made in {time.monotonic() - began:.0f} s", file=sys.stderr)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def _remove(self) -> None:
        for namespace in self.namespaces:
            path = f"/api/v1/namespaces/{namespace}"
            try:
                self.server.ask("DELETE", f"{path}/pods?gracePeriodSeconds=0")
                self.server.ask("DELETE", path)
            except OSError as error:
                print(f"{namespace}: {error}", file=sys.stderr)

    async def _make(self) -> None:
        connector = aiohttp.TCPConnector(ssl=self.server.context, limit=AT_ONCE)
        async with aiohttp.ClientSession(connector=connector, headers=self.server.headers) as session:
            for namespace in self.namespaces:
                await self._post(session, "/api/v1/namespaces", {"metadata": {"name": namespace}})
            # A pod is refused while its namespace has no default account.
            for namespace in self.namespaces:
                await asyncio.to_thread(
                    until, f"account in {namespace}", lambda namespace=namespace: self._has_account(namespace)
                )
            queue = iter([pod for stack in self.stacks for pod in pods_of(stack)][: self.pods])

            async def work() -> None:
                for pod in queue:
                    await self._post(session, f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pod)

            await asyncio.gather(*(work() for _ in range(AT_ONCE)))

    def _has_account(self, namespace: str) -> bool:
        accounts = self.server.ask("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts")["items"]
        return any(account["metadata"]["name"] == "default" for account in accounts)

    async def _post(self, session: aiohttp.ClientSession, path: str, body: Any) -> None:
        async with session.post(self.server.url + path, data=json.dumps(body)) as answer:
            if answer.status not in (200, 201):
                raise SystemExit(f"{path}: {answer.status} {await answer.text()}")


def pods_of(stack: Stack) -> list[dict[str, Any]]:
    """The server pods that a controller would make of the manifests of a stack, without their probes and
    volumes: that brings each to 3 KB as the server sends it. No scheduler takes them."""
    apply_set = ApplySet(f"{stack.name}-pilothouse", stack.namespace, INSTALLATION, stack.uid)
    manifest = stateful_set(default_stack(stack, apply_set))
    name, template = manifest["metadata"]["name"], manifest["spec"]["template"]
    (container,) = template["spec"]["containers"]
    left_out = ("livenessProbe", "readinessProbe", "startupProbe", "volumeMounts", "securityContext")
    spec = {
        "schedulerName": "nobody",
        "automountServiceAccountToken": False,
        "securityContext": template["spec"]["securityContext"],
        "containers": [{key: value for key, value in container.items() if key not in left_out}],
    }
    return [
        {
            "metadata": template["metadata"] | {"name": f"{name}-{ordinal}", "namespace": stack.namespace},
            "spec": spec,
        }
        for ordinal in range(OF_A_STACK)
    ]
