"""Taking in a fleet: the observer against `kubectl get pods -A -o json`, same server, same run; and its processor time.

    python -m benchmarks.observe [--pods 10000] [--runs 3] [--changes 200] [--kubeconfig FILE]

Without a kubeconfig it starts a large practice cluster in a process of its own. With one it creates the
pods there, in namespaces of its own and assigned to no scheduler, and removes them afterwards. The wall
time of the observer runs from its first word to the cluster until all rows are committed; kubectl's is
that of the command. Memory is the most that each process ever had resident.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import machine, memory, processor, spread
from benchmarks.product import Programs, Server, make_rows, programs, set_up_django, until
from benchmarks.real_pods import RealPods

WATCHING = b"watching cluster"


@dataclass(frozen=True)
class Taken:
    """seconds of wall time, and resident megabytes at most; idle: before anything was taken in."""

    seconds: float
    memory: float
    idle: float = 0.0


def kubectl(kubeconfig: Path) -> Taken:
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "get", "pods", "-A", "-o", "json"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, code, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        sys.exit(f"kubectl failed with {process.returncode}")
    return Taken(took, used.ru_maxrss / 1024)


def forget() -> None:
    """As if no observer had ever run."""
    from deployments.models import Lease, ObservedObject, WatchState

    for model in (ObservedObject, WatchState, Lease):
        model.objects.all().delete()


def committed(cluster: int, expected: int) -> bool:
    from deployments.models import ObservedObject, WatchState

    listed = WatchState.objects.filter(cluster_id=cluster, kind="Pod").exclude(listed_at=None)
    if not listed.exists():
        return False
    return ObservedObject.objects.filter(cluster_id=cluster, kind="Pod").count() >= expected


def unchanged(cluster: int, seconds: float) -> bool:
    """Whether nothing was written about the deployments for so long: whatever came in has been judged."""
    from django.db.models import Sum

    from deployments.models import Deployment

    rows = Deployment.objects.filter(cluster_id=cluster)
    before = rows.aggregate(Sum("version"))
    time.sleep(seconds)
    return bool(rows.aggregate(Sum("version")) == before)


def take_in(running: Programs, cluster: int, expected: int) -> tuple[Taken, subprocess.Popen[bytes]]:
    """One observer from nothing; it goes on running."""
    forget()
    observer = running.observer()
    log = running.log("observer")
    until("observer at the cluster", lambda: WATCHING in log.read_bytes(), pause=0.005)
    began, idle = time.perf_counter(), memory(observer.pid)
    until("committed rows", lambda: committed(cluster, expected), 120, pause=0.03)
    return Taken(time.perf_counter() - began, memory(observer.pid, peak=True), idle), observer


def end(observer: subprocess.Popen[bytes]) -> None:
    observer.terminate()
    observer.wait(20)


def compare(running: Programs, server: Server, cluster: int, pods: int, expected: int, runs: int) -> None:
    theirs: list[Taken] = []
    ours: list[Taken] = []
    for _ in range(runs):
        theirs.append(kubectl(server.kubeconfig))
        taken, observer = take_in(running, cluster, expected)
        ours.append(taken)
        end(observer)
    wall = statistics.median(t.seconds for t in ours) / statistics.median(t.seconds for t in theirs)
    resident = statistics.median(t.memory for t in ours) / statistics.median(t.memory for t in theirs)
    print(f"{pods} pods ({expected} of them rows), {runs} runs each, {machine()}")
    print(f"kubectl get pods -A -o json   {spread([t.seconds for t in theirs])}")
    print(f"observer, rows committed      {spread([t.seconds for t in ours])}   ratio {wall:.2f}")
    print(f"kubectl, resident at most     {spread([t.memory for t in theirs], 'MB')}")
    print(
        f"observer, resident at most    {spread([t.memory for t in ours], 'MB')}   ratio {resident:.2f}, "
        f"{statistics.median(t.idle for t in ours):.0f} MB of it before the first word to the cluster"
    )


def follow(
    running: Programs, server: Server, cluster: int, expected: int, changes: float, seconds: float
) -> None:
    """Processor time of the observer, and of the practice cluster, while pods change."""
    _, observer = take_in(running, cluster, expected)
    until("end of the first judgements", lambda: unchanged(cluster, 3.0), 120)
    quiet = processor(observer.pid)
    time.sleep(5)
    quiet = (processor(observer.pid) - quiet) / 5
    made = server.churn(changes)
    time.sleep(2)
    before, began, made = processor(observer.pid), time.monotonic(), server.churn(changes)
    time.sleep(seconds)
    used, took, made = (
        processor(observer.pid) - before,
        time.monotonic() - began,
        server.churn(changes) - made,
    )
    print(
        f"observer at {made / took:.0f} changes a second: {used / took:.2f} cores "
        f"({quiet:.2f} without changes), {memory(observer.pid):.0f} MB resident, {machine()}"
    )
    end(observer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kubeconfig", type=Path, help="a real server; it gets the pods and loses them again"
    )
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--labelled", type=float, default=1.0, help="share of the pods that become rows")
    parser.add_argument("--changes", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to follow the changes")
    options = parser.parse_args()
    if shutil.which("kubectl") is None:
        sys.exit("kubectl is not on the PATH, so there is nothing to compare with")
    with tempfile.TemporaryDirectory(prefix="bench-") as name, programs(Path(name)) as running:
        directory = Path(name)
        set_up_django(directory)
        running.broker()
        if options.kubeconfig:
            with RealPods(options.kubeconfig, directory, options.pods) as real:
                cluster = make_rows(real.server, real.stacks)
                compare(running, real.server, cluster, real.pods, real.pods, options.runs)
            return
        nodes = max(20, options.pods // 20)
        server = running.sandbox(
            pods=options.pods, nodes=nodes, gpus=nodes, changes=0, labelled=options.labelled
        )
        cluster = make_rows(server, server.stacks())
        fleet = server.ask("GET", "/sandbox/fleet")
        expected = sum(stack["servers"] + stack["chats"] for stack in fleet["stacks"])
        compare(running, server, cluster, options.pods, expected, options.runs)
        follow(running, server, cluster, expected, options.changes, options.seconds)


if __name__ == "__main__":
    main()
