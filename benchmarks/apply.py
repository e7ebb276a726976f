"""Applying a rendered stack: Pilothouse against `kubectl apply --server-side`, same objects, same server.

    python -m benchmarks.apply [--kubeconfig FILE] [--runs 7]

Without a kubeconfig it starts the practice cluster's API server in a process of its own. "Cold" is the
first apply of a worker that is up but has never spoken to the cluster (no discovery cache, no
connection); "warm" is every later one. kubectl is timed as the command that a person would run.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from benchmarks.machine import machine, spread
from benchmarks.product import Stack
from benchmarks.stacks import INSTALLATION, default_stack
from deployments.domain.errors import ObjectMissing
from deployments.gateways.kubernetes import ApplySet, ClusterClient, connect, import_context, read_kubeconfig
from deployments.gateways.kubernetes.applyset import parent_object
from deployments.gateways.kubernetes.objects import ObjectRef
from deployments.manifests.render import render
from deployments.manifests.types import Manifest

NAMESPACE = "bench-apply"


def objects() -> list[Manifest]:
    """The default stack with its namespace and the set's parent."""
    stack = Stack("00000000-0000-4000-8000-000000000002", NAMESPACE, "bench")
    apply_set = ApplySet("bench-pilothouse", NAMESPACE, INSTALLATION, stack.uid)
    manifests = render(default_stack(stack, apply_set, create_namespace=True))
    kinds = {ObjectRef.of(manifest).resource_kind for manifest in manifests}
    return [manifests[0], parent_object(apply_set, kinds), *manifests[1:]]


def apply_all(client: ClusterClient, manifests: list[Manifest]) -> float:
    began = time.perf_counter()
    for manifest in manifests:
        client.apply(manifest)
    return time.perf_counter() - began


def client_for(kubeconfig: Path, cache: Path) -> ClusterClient:
    credential = import_context(read_kubeconfig(kubeconfig.read_bytes()), allow_loopback=True)
    return connect(credential, cluster_uid="", cache_dir=cache, allow_loopback=True)


def kubectl_apply(kubeconfig: Path, file: Path) -> float:
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "apply", "--server-side", "-f", str(file)]
    command += ["--field-manager", "pilothouse"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(f"kubectl failed: {done.stderr.strip()}")
    return took


def remove(client: ClusterClient, namespace: ObjectRef) -> None:
    """Delete it and wait until it is gone, so that the next run finds no namespace on its way out."""
    client.delete(namespace)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client.get(namespace)
        except ObjectMissing:
            return
        time.sleep(0.5)
    sys.exit(f"namespace {namespace.name} is still there a minute after its deletion")


def measure(kubeconfig: Path, runs: int, *, clean: bool) -> None:
    manifests = objects()
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "stack.yaml"
        file.write_text(yaml.safe_dump_all(manifests))
        first = client_for(kubeconfig, Path(directory) / "first")
        apply_all(first, manifests)  # everything is there before anything is timed
        cold, warm, kubectl = [], [], []
        for run in range(runs):  # interleaved, so that a busy moment meets all three alike
            client = client_for(kubeconfig, Path(directory) / f"cold-{run}")
            cold.append(apply_all(client, manifests))
            warm.append(apply_all(client, manifests))
            kubectl.append(kubectl_apply(kubeconfig, file))
            client.close()
        if clean:
            remove(first, ObjectRef("v1", "Namespace", NAMESPACE))
        first.close()
    base = statistics.median(kubectl)
    print(f"{len(manifests)} objects, {runs} runs each, {machine()}")
    print(f"kubectl apply --server-side   {spread(kubectl)}")
    print(f"Pilothouse, cold              {spread(cold)}   ratio {statistics.median(cold) / base:.3f}")
    print(f"Pilothouse, warm              {spread(warm)}   ratio {statistics.median(warm) / base:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kubeconfig", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    if shutil.which("kubectl") is None:
        sys.exit("kubectl is not on the PATH, so there is nothing to compare with")
    if options.kubeconfig:
        measure(options.kubeconfig, options.runs, clean=True)
        return
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        command = [sys.executable, "-m", "sandbox", "--port", "0", "--no-world"]
        server = subprocess.Popen([*command, "--kubeconfig", str(kubeconfig)], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 20
            while not kubeconfig.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            time.sleep(0.3)
            # Nothing empties a namespace there, and the server ends with its objects.
            measure(kubeconfig, options.runs, clean=False)
        finally:
            server.terminate()
            server.wait(10)


if __name__ == "__main__":
    main()
