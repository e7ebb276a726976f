"""From a pod's change in the API server to the line in the browser's event stream, while a fleet changes.

    python -m benchmarks.events [--pods 10000] [--changes 200] [--seconds 60]

Practice cluster, broker, observer and web server are real processes; this one patches the status of pods of
some deployments of its own, each seldom enough that a line can only mean that change, and reads
the stream as a browser would. The time runs from sending the patch to having the line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.machine import machine, percentile, processor
from benchmarks.product import Server, Stack, make_rows, programs, set_up_django, sign_in, until

NAMESPACE = "bench-events"
MARKED = 40
# Longer than any delay that counts as one: what comes later counts as lost.
GAP = 4.0
MERGE = "application/merge-patch+json"


def stacks() -> list[Stack]:
    return [Stack(f"00000000-0000-4000-9000-{n:012d}", NAMESPACE, f"marked-{n}") for n in range(MARKED)]


def make_pods(server: Server, wanted: list[Stack]) -> None:
    """One pod for each marked deployment; nothing changes it but this benchmark."""
    server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for stack in wanted:
        labels = {
            "pilothouse.io/deployment": stack.uid,
            "app.kubernetes.io/component": "server",
            "app.kubernetes.io/instance": stack.name,
        }
        containers = [{"name": "ollama", "image": "ollama/ollama:0.9.6"}]
        body = {
            "metadata": {"name": f"{stack.name}-server-0", "labels": labels},
            "spec": {"schedulerName": "nobody", "containers": containers},
        }
        server.ask("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", body)


@dataclass
class Reader:
    """When each deployment's next line came. waiting: deployment -> the moment its patch was sent."""

    waiting: dict[int, float] = field(default_factory=dict)
    delays: list[float] = field(default_factory=list)
    lines: int = 0
    refreshes: int = 0

    async def read(
        self, session: aiohttp.ClientSession, url: str, cookie: Mapping[str, str], opened: asyncio.Event
    ) -> None:
        async with session.get(f"{url}/live/stream", headers=cookie) as answer:
            if answer.status != 200:
                raise SystemExit(f"the stream answers {answer.status}: {(await answer.text())[:200]}")
            opened.set()
            async for raw in answer.content:
                now = time.perf_counter()
                if raw.startswith(b"event: refresh"):
                    self.refreshes += 1
                if not raw.startswith(b'data: {"o"'):
                    continue
                self.lines += 1
                kind, _, key = json.loads(raw[6:])["o"].partition(":")
                if kind == "deployment" and int(key) in self.waiting:
                    self.delays.append(now - self.waiting.pop(int(key)))


async def change(
    server: Server, session: aiohttp.ClientSession, reader: Reader, rows: dict[str, int], end: float
) -> int:
    """Patch one marked pod after another, spread over GAP seconds; returns how many lines never came."""
    lost, restarts = 0, 0
    headers = server.headers | {"Content-Type": MERGE}
    choice = random.Random(1)
    while time.perf_counter() < end:
        restarts += 1
        for name, pk in rows.items():
            status = {"name": "ollama", "ready": False, "restartCount": restarts, "image": "x", "imageID": ""}
            body = json.dumps({"status": {"phase": "Running", "containerStatuses": [status]}})
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}-server-0/status"
            lost += reader.waiting.pop(pk, None) is not None
            reader.waiting[pk] = time.perf_counter()
            async with session.patch(
                server.url + path, data=body, headers=headers, ssl=server.context
            ) as answer:
                if answer.status != 200:
                    raise SystemExit(f"{path}: {answer.status} {await answer.text()}")
            await asyncio.sleep(GAP / MARKED * choice.uniform(0.5, 1.5))
    await asyncio.sleep(GAP)
    return lost + len(reader.waiting)


async def measure(
    server: Server, url: str, cookie: Mapping[str, str], rows: dict[str, int], seconds: float
) -> tuple[Reader, int]:
    reader, opened = Reader(), asyncio.Event()
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        reading = asyncio.create_task(reader.read(session, url, cookie, opened))
        waiting = asyncio.create_task(opened.wait())
        await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=20)
        if reading.done():
            reading.result()
        lost = await change(server, session, reader, rows, time.perf_counter() + seconds)
        reading.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)
    return reader, lost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--changes", type=float, default=200.0)
    parser.add_argument(
        "--labelled", type=float, default=0.2, help="share of the changing pods that are ours"
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, programs(Path(name)) as running:
        set_up_django(Path(name))
        nodes = max(20, options.pods // 20)
        server = running.sandbox(
            pods=options.pods, nodes=nodes, gpus=nodes, changes=0, labelled=options.labelled
        )
        running.broker()
        marked = stacks()
        make_pods(server, marked)
        cluster = make_rows(server, [*server.stacks(), *marked])
        cookie = sign_in()
        observer = running.observer()
        url = running.web()
        rows = _ready(cluster, marked)
        made = server.churn(options.changes)
        time.sleep(3)
        before, began = processor(observer.pid), time.monotonic()
        reader, lost = asyncio.run(measure(server, url, cookie, rows, options.seconds))
        took = time.monotonic() - began
        rate = (server.churn(0) - made) / (took + 3)
        used = (processor(observer.pid) - before) / took
    _report(reader, lost, rate, used)


def _ready(cluster: int, marked: list[Stack]) -> dict[str, int]:
    """Name -> primary key of the marked deployments, once all their pods are rows."""
    from deployments.models import Deployment, ObservedObject

    pods = ObservedObject.objects.filter(cluster_id=cluster, kind="Pod", namespace=NAMESPACE)
    until("rows of the marked pods", lambda: pods.count() == len(marked), 180)
    found = Deployment.objects.filter(namespace=NAMESPACE).values_list("name", "pk")
    return dict(found)


def _report(reader: Reader, lost: int, rate: float, used: float) -> None:
    delays: list[Any] = reader.delays
    if not delays:
        raise SystemExit("not one line came")
    print(f"{len(delays)} changes of {MARKED} deployments at {rate:.0f} changes a second, {machine()}")
    print(
        f"patch to line of the stream: p50 {percentile(delays, 0.5) * 1000:.0f} ms, "
        f"p99 {percentile(delays, 0.99) * 1000:.0f} ms, most {max(delays) * 1000:.0f} ms, {lost} never came"
    )
    print(f"{reader.lines} lines in all, {reader.refreshes} requests to refresh; observer {used:.2f} cores")


if __name__ == "__main__":
    main()
