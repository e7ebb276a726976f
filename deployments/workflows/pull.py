"""Follow one pull on one volume: stored progress, stalls, retries, cancellation.

Ollama keeps what it has downloaded, so every attempt goes on where the last one stopped. Ending the
connection ends the download when nobody else waits for it, and never removes an installed model.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.utils import timezone

from deployments.domain.errors import ClusterError, ModelError, ObjectMissing, PullStalled
from deployments.gateways.ollama.answers import PullEvent
from deployments.gateways.ollama.tracker import PullPhase, PullSnapshot, PullTracker
from deployments.gateways.registry import RegistryManifest, model_size
from deployments.models import Deployment, PullProgress
from deployments.workflows.access import client_for
from deployments.workflows.engine import Done, Run, Wait
from deployments.workflows.figures import figures
from deployments.workflows.servers import ServerPod, ollama, server_pods

FIGURES_EVERY = 0.5
# So many bytes more than the try before are worth another round of tries: a line that breaks now and then
# brings a model of hundreds of gigabytes in the end, one that brings nothing ends soon.
MOVED_ON = 16 * 1024 * 1024
RATES_KEPT = 60
RATE_EVERY = 5.0


def pull(run: Run) -> Done | Wait:
    """Pull the model of this operation onto its volume."""
    operation, deployment, request = run.operation, run.deployment, run.operation.request
    client = client_for(deployment.cluster)
    pod = _pod(server_pods(client, deployment), request["volume"])
    if pod is None:
        return Wait(3, "a running pod that mounts the volume")
    server = ollama(client, deployment, pod.name)
    model = request["model"]
    row = PullProgress.objects.get(operation=operation)
    attempt, before = row.attempt + 1, row.completed
    started = time.monotonic()
    tracker = PullTracker(
        started=started,
        stall_seconds=float(settings.PULL_STALL_SECONDS),
        expected=_expected(deployment, model, insecure=bool(request.get("insecure"))),
    )
    report = _Report(run, pod, attempt, list(row.rates))
    report.line(f"{pod.name}: pulling {model}" + (f", attempt {attempt}" if attempt > 1 else ""))
    # Nothing below needs the database for minutes: a connection held by each of a hundred pulls
    # would be a hundred connections.
    connection.close()
    try:
        events = server.pull(model, insecure=bool(request.get("insecure")))
        try:
            for event in events:
                now = time.monotonic()
                run.hold.check()
                tracker.feed(event, now)
                report.take(event, tracker.snapshot(now), now)
                if tracker.stalled(now):
                    raise _stalled(tracker.snapshot(now), pod, model)
        finally:
            events.close()  # type: ignore[attr-defined]
    except (ModelError, ClusterError) as error:
        reached = tracker.snapshot(time.monotonic())
        run.moved_on = reached.completed >= before + MOVED_ON
        report.end(reached, "failed")
        if isinstance(error, ObjectMissing):
            return Wait(3, f"{pod.name} to come back")
        raise
    finally:
        figures.flush()
    snapshot = tracker.snapshot(time.monotonic())
    report.end(snapshot, "done")
    figures.flush()
    took = time.monotonic() - started
    size = f"{snapshot.total / 1e9:.1f} GB" if snapshot.total >= 1e9 else f"{snapshot.total / 1e6:.0f} MB"
    return Done(f"{model} is on {pod.name}, {size} in {took:.0f} s", result={"bytes": snapshot.total})


class _Report:
    """Turns snapshots into the stored figures, twice a second, and notable changes into log lines."""

    def __init__(self, run: Run, pod: ServerPod, attempt: int, rates: list[float]) -> None:
        self._run, self._pod, self._attempt = run, pod, attempt
        self._rates = rates[-RATES_KEPT:]
        self._next = 0.0
        self._next_rate = 0.0
        self._phase = PullPhase.STARTING
        self._stalled = False

    def line(self, text: str, *, warning: bool = False) -> None:
        figures.put(self._run.hold, {"pod": self._pod.name, "attempt": self._attempt}, (text, warning))

    def take(self, event: PullEvent, snapshot: PullSnapshot, now: float) -> None:
        text = self._notable(snapshot)
        if text or now >= self._next:
            self._next = now + FIGURES_EVERY
            if now >= self._next_rate and snapshot.phase is PullPhase.DOWNLOADING:
                self._next_rate = now + RATE_EVERY
                self._rates = [*self._rates, round(snapshot.rate)][-RATES_KEPT:]
            figures.put(self._run.hold, self._values(snapshot), text)

    def end(self, snapshot: PullSnapshot, phase: str) -> None:
        values = self._values(snapshot)
        values["phase"] = phase
        values["rate"] = 0
        if phase == "done":
            values["stalled_since"] = None
        figures.put(self._run.hold, values)

    def _values(self, snapshot: PullSnapshot) -> dict[str, Any]:
        now = timezone.now()
        values: dict[str, Any] = {
            "pod": self._pod.name,
            "attempt": self._attempt,
            "phase": str(snapshot.phase),
            "completed": snapshot.completed,
            "total": snapshot.total,
            "rate": round(snapshot.rate, 1),
            "rates": self._rates,
            "layers": [
                {
                    "digest": layer.digest,
                    "total": layer.total,
                    "completed": layer.completed,
                    "state": "there"
                    if layer.cached
                    else "done"
                    if layer.done
                    else "pulling"
                    if layer.seen
                    else "waiting",
                }
                for layer in snapshot.layers[:64]
            ],
            "progress_at": now - timedelta(seconds=snapshot.stalled_for),
            "stalled_since": now - timedelta(seconds=snapshot.stalled_for)
            if snapshot.stalled_for > 5 and snapshot.phase is PullPhase.DOWNLOADING
            else None,
        }
        if snapshot.total_known:
            values["expected"] = snapshot.total
        return values

    def _notable(self, snapshot: PullSnapshot) -> tuple[str, bool] | None:
        if snapshot.phase is not self._phase:
            self._phase = snapshot.phase
            words = {
                PullPhase.VERIFYING: "verifying the download",
                PullPhase.WRITING: "writing the manifest",
                PullPhase.DONE: "the model is there",
            }
            if snapshot.phase in words:
                return f"{self._pod.name}: {words[snapshot.phase]}", False
        if snapshot.stalled_for > 5 and snapshot.phase is PullPhase.DOWNLOADING:
            if not self._stalled:
                self._stalled = True
                return f"{self._pod.name}: no byte for {snapshot.stalled_for:.0f} s", True
        elif self._stalled:
            self._stalled = False
            return f"{self._pod.name}: bytes are arriving again", False
        return None


def _expected(deployment: Deployment, model: str, *, insecure: bool) -> tuple[tuple[str, int], ...]:
    """The layers that the registry promises, so that the whole is known from the start; nothing where
    it cannot be asked from here. The practice cluster's registry is not the real one."""
    if deployment.cluster.simulated or insecure:
        return ()
    told = model_size(model)
    return told.layers if isinstance(told, RegistryManifest) else ()


def _pod(pods: list[ServerPod], volume: str) -> ServerPod | None:
    for pod in pods:
        if pod.volume == volume and pod.phase == "Running" and not pod.terminating:
            return pod
    return None


def _stalled(snapshot: PullSnapshot, pod: ServerPod, model: str) -> PullStalled:
    return PullStalled(
        f"Nothing arrived for {snapshot.stalled_for:.0f} s.",
        tried=f"pull {model} on {pod.name}",
        answered=f"{snapshot.completed} of {snapshot.total} bytes, then silence",
        remedy="What is there is kept and the next attempt goes on from it. If it stays so, look at the "
        "line between the cluster and the registry.",
        retryable=True,
    )
