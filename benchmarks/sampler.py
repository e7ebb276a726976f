"""The GPU sampler at the size of a fleet: one round, and a day's chart.

    python -m benchmarks.sampler [--gpus 2000] [--rounds 5] [--prometheus] [--devices 16]

A large practice cluster is a process of its own and answers as exporters or as Prometheus; rounds run in
this process as a worker runs them, network, parsing and writing included. The first round, which also
looks for what measures GPUs, is told apart. The chart is read as a deployment's page reads it, from
a day of figures, as a signed-in user.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, percentile, processor, spread
from benchmarks.product import Server, make_rows, programs, set_up_django

EVERY = timedelta(seconds=15)


def rounds(cluster: int, count: int, expected: int) -> None:
    """Some rounds, 15 seconds apart by their own clock."""
    from django.utils import timezone

    from deployments.models import GpuDevice, GpuSampling
    from deployments.workflows.sample import sample

    now = timezone.now()
    GpuSampling.objects.get_or_create(cluster_id=cluster, defaults={"due_at": now})
    took, busy = [], []
    for number in range(count + 1):
        began, used = time.perf_counter(), time.process_time()
        if not sample(cluster, now + number * EVERY):
            sys.exit("the round was not taken")
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - used)
        state = GpuSampling.objects.get(cluster_id=cluster)
        if state.no_data or GpuDevice.objects.filter(cluster_id=cluster).count() != expected:
            print(f"round {number}: {state.devices} devices of {expected}, {state.no_data} {state.answered}")
    print(
        f"a round over {expected} GPUs       {spread(took[1:])}   the first, with looking around {took[0]:.3f} s"
    )
    print(f"processor time of a round  {spread(busy[1:])}")


def charts(cluster: int, devices: int, times: int) -> None:
    """Reading a day of one figure, and its answer: of some devices, and of as many pods of which each
    held two devices one after the other."""
    from django.test import Client
    from django.utils import timezone

    from benchmarks.fleet_rows import add_series
    from benchmarks.pages import signed_in
    from deployments.models import Deployment, GpuDevice, GpuHolding, GpuPod, GpuSeries

    deployment = Deployment.objects.filter(cluster_id=cluster)[0]
    wanted = list(GpuDevice.objects.filter(cluster_id=cluster)[:devices])
    GpuDevice.objects.update(deployment=None)
    GpuDevice.objects.filter(pk__in=[device.pk for device in wanted]).update(deployment=deployment)
    GpuSeries.objects.all().delete()
    GpuHolding.objects.all().delete()
    now = timezone.now()
    add_series(wanted, now)
    before = now - timedelta(hours=9, minutes=7)
    for number, device in enumerate(wanted):
        pod = GpuPod.objects.create(
            cluster_id=cluster, namespace="bench", name=f"pod-{number}", deployment=deployment
        )
        earlier = wanted[number - 1]
        GpuHolding.objects.create(pod=pod, device=earlier, since=now - timedelta(days=3), until=before)
        GpuHolding.objects.create(pod=pod, device=device, since=before)
    client: Client = signed_in()
    for by in ("device", "pod"):
        _chart(client, deployment.pk, devices, by, times)


def _chart(client: Any, deployment: int, lines: int, by: str, times: int) -> None:
    from django.urls import reverse

    path = reverse("deployment_gpu_figures", args=[deployment])
    took, busy, answer = [], [], None
    for _ in range(times):
        began, used = time.perf_counter(), time.process_time()
        answer = client.get(path, {"range": "24h", "by": by})
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - used)
    assert answer is not None
    body: dict[str, Any] = answer.json()
    found = body["lines"]
    values = sum(value is not None for line in found for value in line["utilisation"])
    if len(found) != lines or values < lines * body["count"] * 0.9:
        sys.exit(f"{len(found)} lines with {values} values are not a day of {lines} {by}s")
    print(
        f"24 hours of {lines} {by}s      p50 {percentile(took, 0.5) * 1000:.1f} ms, "
        f"p95 {percentile(took, 0.95) * 1000:.1f} ms, processor p50 {percentile(busy, 0.5) * 1000:.1f} ms, "
        f"{body['count']} points a line, "
        f"{len(answer.content) / 1024:.0f} KB, compressed {len(gzip.compress(answer.content)) / 1024:.0f} KB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpus", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prometheus", action="store_true", help="take the figures from a Prometheus")
    parser.add_argument("--devices", type=int, default=16, help="lines of the chart")
    parser.add_argument("--charts", type=int, default=30, help="how often the chart is read")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as name, programs(Path(name)) as running:
        set_up_django(Path(name), pages=True)
        running.broker()
        sizes: dict[str, object] = {"prometheus": True} if options.prometheus else {}
        nodes = max(4, options.gpus // 4)
        server: Server = running.sandbox(
            gpus=options.gpus, nodes=nodes, pods=nodes * 4, changes=0, labelled=0.5, **sizes
        )
        cluster = make_rows(server, server.stacks())
        print(f"{'Prometheus' if options.prometheus else 'exporters'}, {machine()}")
        before = processor(running.pid("sandbox"))
        rounds(cluster, options.rounds, options.gpus)
        each = (processor(running.pid("sandbox")) - before) / (options.rounds + 1)
        print(f"of which the practice cluster's own processor time, besides: {each:.3f} s a round")
        charts(cluster, options.devices, options.charts)


if __name__ == "__main__":
    main()
