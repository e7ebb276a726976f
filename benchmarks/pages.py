"""The pages that everybody opens, at the size of a fleet: time in the server, and queries.

    python -m benchmarks.pages [--pods 10000] [--nodes 500] [--gpus 2000] [--rounds 40] [--write]

Time runs from the request's entry into Django to its whole answer, in this process, without a web server
in front; processor time tells how much of it a busy machine added. Queries are compared with
`benchmarks/pages.json`, which a test checks at two small sizes: their number must not grow with the
fleet. --write takes the measured numbers over.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, percentile
from benchmarks.product import set_up_django

BASELINE = Path(__file__).with_name("pages.json")


@dataclass
class Measured:
    """Of one page: queries of its last request, seconds and processor seconds of each, bytes of the answer."""

    queries: int = 0
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    size: int = 0


@contextmanager
def counting() -> Any:
    """Yields a list that grows by one for each query."""
    from django.db import connection

    seen: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        seen.append(sql)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield seen


def addresses(deployment: int, device: int) -> dict[str, str]:
    """Page -> path."""
    from django.urls import reverse

    return {
        "Overview": reverse("overview"),
        "Deployments": reverse("deployments"),
        "GPUs": reverse("gpus"),
        "A deployment": reverse("deployment", args=[deployment]),
        "A GPU": reverse("gpu", args=[device]),
    }


def ask(client: Any, path: str, rounds: int = 1) -> Measured:
    """Open a page some times. Ends the program unless it answers 200."""
    measured = Measured()
    for _ in range(rounds):
        with counting() as seen:
            began, busy = time.perf_counter(), time.process_time()
            answer = client.get(path)
            measured.seconds.append(time.perf_counter() - began)
            measured.processor.append(time.process_time() - busy)
        if answer.status_code != 200:
            sys.exit(f"{path} answers {answer.status_code}")
        measured.queries, measured.size = len(seen), len(answer.content)
    return measured


def baseline() -> dict[str, int]:
    """Page -> queries, as last accepted."""
    found: dict[str, int] = json.loads(BASELINE.read_text())
    return found


def _rows(options: argparse.Namespace) -> tuple[int, int]:
    """Fill the database; a deployment with GPUs and one of its devices."""
    from benchmarks.fleet_rows import fill
    from deployments.commands.profiles import create_profile
    from deployments.domain.actors import PILOTHOUSE
    from deployments.domain.gpus import Gone
    from deployments.domain.spec import StackSpec
    from deployments.models import Cluster, GpuDevice, Team
    from sandbox.scale import Size

    team = Team.objects.get()
    revision = create_profile(PILOTHOUSE, team_id=team.pk, name="bench", spec=StackSpec())
    cluster = Cluster.objects.create(
        name="bench", server="https://127.0.0.1:6443", credential=b"", credential_kind="token"
    )
    size = Size(options.nodes, options.pods, options.gpus, 0, 1, options.labelled)
    fill(cluster, revision, size)
    # Pages leave out a question of which there is nothing to show: here is something of each.
    Cluster.objects.create(
        name="silent",
        server="https://127.0.0.1:6444",
        credential=b"",
        credential_kind="token",
        last_error="It does not answer.",
    )
    lost = GpuDevice.objects.filter(deployment=None).earliest("pk")
    GpuDevice.objects.filter(pk=lost.pk).update(gone=Gone.REPORT)
    device = GpuDevice.objects.exclude(deployment=None).first()
    if device is None or device.deployment_id is None:
        sys.exit("no deployment of this fleet holds a GPU: take more of them")
    return device.deployment_id, device.pk


def signed_in() -> Any:
    """A client without a browser, signed in as a site admin."""
    from django.conf import settings
    from django.test import Client

    from dashboard import collector
    from deployments.domain.states import SiteRole
    from deployments.models import User

    collector.settle()
    settings.ALLOWED_HOSTS = ["testserver"]
    client = Client()
    client.force_login(
        User.objects.create_user("bench", password=None, site_role=SiteRole.ADMIN),
        settings.AUTHENTICATION_BACKENDS[0],
    )
    return client


def _compare(found: dict[str, Measured], known: dict[str, int]) -> Iterable[str]:
    for page, measured in found.items():
        if measured.queries > known.get(page, 0):
            yield f"{page}: {measured.queries} queries, {known.get(page, 0)} in the baseline"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=500)
    parser.add_argument("--gpus", type=int, default=2_000)
    parser.add_argument("--labelled", type=float, default=0.2, help="share of the pods that are ours")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument(
        "--write", action="store_true", help="take the numbers of queries over as the baseline"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        set_up_django(Path(name), pages=True)
        deployment, device = _rows(options)
        client = signed_in()
        found: dict[str, Measured] = {}
        for page, path in addresses(deployment, device).items():
            ask(client, path, 3)  # templates and plans are loaded once in the life of a server
            found[page] = ask(client, path, options.rounds)
        print(
            f"{options.nodes} nodes, {options.pods} pods, {options.gpus} GPUs, {options.rounds} rounds, {machine()}"
        )
        for page, measured in found.items():
            print(
                f"{page:14} p50 {percentile(measured.seconds, 0.5) * 1000:6.1f} ms   "
                f"p95 {percentile(measured.seconds, 0.95) * 1000:6.1f} ms   "
                f"processor p50 {percentile(measured.processor, 0.5) * 1000:6.1f} ms   "
                f"{measured.queries:3} queries   {measured.size / 1024:4.0f} KB"
            )
    if options.write:
        numbers = {page: measured.queries for page, measured in found.items()}
        BASELINE.write_text(json.dumps(numbers, indent=2) + "\n")
    elif worse := list(_compare(found, baseline())):
        sys.exit("more queries than the baseline has:\n" + "\n".join(worse))


if __name__ == "__main__":
    main()
