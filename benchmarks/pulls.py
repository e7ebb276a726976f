"""Following many pulls at once in one `pull` worker: row updates a second, memory, processor time.

    python -m benchmarks.pulls [--pulls 100] [--seconds 20]

A server of its own stands in for API server and Ollama: every pull sends a line each 60 ms through
8 layers. The worker is a real Celery worker with its real broker, on SQLite in WAL mode.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from benchmarks.machine import machine, memory, processor
from dashboard.broker import NONE_FOUND, answers, server_command, server_program
from sandbox.certificates import make, server_context

LAYERS, TICK, GB = 8, 0.06, 1_000_000_000
NAMESPACE = "bench"
DISCOVERY: dict[str, Any] = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.2"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {
        "kind": "APIResourceList",
        "groupVersion": "v1",
        "resources": [
            {"name": plural, "singularName": "", "namespaced": True, "kind": kind, "verbs": ["list"]}
            for plural, kind in (("pods", "Pod"), ("persistentvolumeclaims", "PersistentVolumeClaim"))
        ],
    },
}


def server_app(pulls: int, seconds: float) -> web.Application:
    """Pods, claims, and an Ollama in each pod that takes ``seconds`` for a pull."""

    async def pods(request: web.Request) -> web.Response:
        wanted = request.query.get("labelSelector", "")
        items = [
            {
                "metadata": {"name": f"d{n}-server-0", "uid": f"pod-{n}"},
                "spec": {"nodeName": "n", "volumes": []},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]},
            }
            for n in range(pulls)
            if f"pilothouse.io/deployment={identity(n)}" in wanted
        ]
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})

    async def nothing(request: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})

    async def pull(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await answer.prepare(request)
        await answer.write(b'{"status":"pulling manifest"}\n')
        ticks = max(1, int(seconds / LAYERS / TICK))
        for layer in range(LAYERS):
            digest = f"sha256:{layer:064x}"
            for tick in range(ticks + 1):
                line = {
                    "status": f"pulling {digest[7:19]}",
                    "digest": digest,
                    "total": GB,
                    "completed": GB * tick // ticks,
                }
                await answer.write(json.dumps(line).encode() + b"\n")
                await asyncio.sleep(TICK)
        for status in ("verifying sha256 digest", "writing manifest", "success"):
            await answer.write(json.dumps({"status": status}).encode() + b"\n")
        return answer

    async def discovery(request: web.Request) -> web.Response:
        return web.json_response(DISCOVERY[request.path])

    app = web.Application()
    for path in DISCOVERY:
        app.router.add_get(path, discovery)
    base = f"/api/v1/namespaces/{NAMESPACE}"
    app.router.add_get(f"{base}/pods", pods)
    app.router.add_get(f"{base}/persistentvolumeclaims", nothing)
    app.router.add_post(base + "/pods/{pod}/proxy/api/pull", pull)
    return app


def identity(number: int) -> str:
    """The uuid of the deployment with that number."""
    return f"00000000-0000-4000-8000-{number:012d}"


def serve(pulls: int, seconds: float, directory: Path, port: list[int], ready: threading.Event) -> str:
    """Start the stand-in in a thread; its authority's certificate as PEM."""
    certificates = make(["127.0.0.1"])
    context = server_context(certificates, directory)

    async def run() -> None:
        runner = web.AppRunner(server_app(pulls, seconds))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        port.append(runner.addresses[0][1])
        ready.set()
        await asyncio.Event().wait()

    threading.Thread(target=lambda: asyncio.run(run()), daemon=True).start()
    ready.wait(20)
    return certificates.authority.certificate


def prepare(directory: Path, pulls: int, url: str, authority: str) -> None:
    """A database with that many deployments, each with a queued pull.

    Django reads the environment when it is set up, so what needs it is imported here and not above.
    """
    import django

    os.environ.update(
        DJANGO_SETTINGS_MODULE="dashboard.settings",
        VAR_DIR=str(directory),
        REDIS_URL=f"unix://{directory / 'valkey.sock'}",
        LOG_LEVEL="WARNING",
    )
    django.setup()
    from django.core.management import call_command

    from deployments.commands.clusters import connect_cluster
    from deployments.commands.profiles import create_profile
    from deployments.commands.pulls import ensure_pull
    from deployments.domain.actors import PILOTHOUSE
    from deployments.domain.spec import StackSpec
    from deployments.gateways.kubernetes import ClusterCredential
    from deployments.models import Deployment, Team

    call_command("migrate", verbosity=0)
    team = Team.objects.get()
    credential = ClusterCredential(server=url, ca_data=authority, token="none")
    cluster, _ = connect_cluster(
        PILOTHOUSE, name="bench", credential=credential, teams=[team], namespaces=["*"], simulated=True
    )
    revision = create_profile(PILOTHOUSE, team_id=team.pk, name="bench", spec=StackSpec())
    for number in range(pulls):
        deployment = Deployment.objects.create(
            uid=identity(number),
            team=team,
            cluster=cluster,
            namespace=NAMESPACE,
            name=f"d{number}",
            revision=revision,
        )
        ensure_pull(
            PILOTHOUSE,
            deployment=deployment,
            volume=f"pod:pod-{number}",
            pod=f"d{number}-server-0",
            model="deepseek-r1:1.5b",
            insecure=False,
        )


def follow(pid: int, pulls: int) -> None:
    """Watch the worker until every pull has ended, then print what it took."""
    from django.db import connection
    from django.db.models import Max, Min

    from deployments.models import Operation

    rows = Operation.objects.filter(kind="pull")
    peak, running_at, processor_at = 0.0, 0.0, 0.0
    while True:
        peak = max(peak, memory(pid))
        states = list(rows.values_list("state", flat=True))
        if not running_at and states.count("running") == pulls:
            running_at, processor_at = time.monotonic(), processor(pid)
            before = dict(rows.values_list("pk", "version"))
        if states.count("queued") + states.count("running") == 0:
            break
        time.sleep(0.25)
    if not running_at:
        sys.exit(f"the pulls never ran all at once: {sorted(set(states))}")
    took = time.monotonic() - running_at
    after = dict(rows.values_list("pk", "version"))
    updates = sorted((after[pk] - before[pk]) / took for pk in after)
    ended = rows.aggregate(first=Min("finished_at"), last=Max("finished_at"))
    connection.close()
    print(f"{pulls} pulls at once, {LAYERS} layers, a line each {TICK * 1000:.0f} ms, {machine()}")
    print(f"all ended: {states.count('succeeded')} succeeded, {len(states) - states.count('succeeded')} not")
    print(
        f"row updates a second of one pull: median {updates[len(updates) // 2]:.2f}, most {updates[-1]:.2f}"
    )
    print(f"worker: {peak:.0f} MB resident at most, {(processor(pid) - processor_at) / took:.2f} cores")
    print(
        f"lines read: {pulls / TICK:.0f} a second for {took:.0f} s; ends spread over {ended['last'] - ended['first']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pulls", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        port: list[int] = []
        authority = serve(options.pulls, options.seconds, directory, port, threading.Event())
        program = server_program()
        if program is None:
            sys.exit(NONE_FOUND)
        socket = directory / "valkey.sock"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        broker = subprocess.Popen(server_command(program, socket), **quiet)
        while not answers(socket):
            time.sleep(0.05)
        prepare(directory, options.pulls, f"https://127.0.0.1:{port[0]}", authority)
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "--app", "dashboard", "worker", "--queues", "pull",
             "--pool", "threads", "--concurrency", str(options.pulls), "--without-gossip",
             "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"],
        )  # fmt: skip
        try:
            follow(worker.pid, options.pulls)
        finally:
            for process in (worker, broker):
                process.send_signal(signal.SIGTERM)
                process.wait(15)


if __name__ == "__main__":
    main()
