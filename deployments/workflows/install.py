"""The steps that apply a release and see it work: preflight, apply, start, pull, ready, check.

Every step is safe to repeat."""

from __future__ import annotations

import time

from django.utils import timezone

from deployments.commands.pulls import ensure_pull
from deployments.commands.quotas import settle
from deployments.domain.errors import (
    ClusterError,
    ModelError,
    ObjectMissing,
    PilothouseError,
)
from deployments.domain.states import OperationState
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from deployments.gateways.kubernetes.applyset import read_parent
from deployments.models import Deployment, Operation, Release
from deployments.workflows.access import client_for, require_known
from deployments.workflows.applying import apply_all, prune
from deployments.workflows.approval import require_agreed
from deployments.workflows.chat import generated_token
from deployments.workflows.engine import Done, Run, Wait, age, on_behalf_of
from deployments.workflows.gate import gate
from deployments.workflows.releases import asks_for_more, release_of, spec_of, stack_of
from deployments.workflows.rollout import unfinished
from deployments.workflows.servers import ServerPod, describe, ollama, server_pods

START_TIMEOUT = 30 * 60  # an image of several GB on a slow line
READY_TIMEOUT = 10 * 60
ENDPOINTS_TIMEOUT = 60


def preflight(run: Run) -> Done:
    """Ask the API server once more, right before the apply, and stop at anything that cannot work."""
    _require_known(run)
    if not asks_for_more(run):
        return Done("it takes less than before, so there is nothing to check")
    return gate(run, _client(run), stack_of(run), create_namespace=_makes_namespace(run))


def apply(run: Run) -> Done:
    """Write the release, then apply its objects in order and clear away what left the manifests."""
    client, deployment, release = _client(run), run.deployment, release_of(run)
    stack = stack_of(run)
    require_agreed(run)
    _require_known(run)  # an approval may have taken days
    read_parent(client, stack.apply_set)  # refuses another's before anything is written
    began = time.monotonic()
    applied = apply_all(run, client, stack)
    pruned = prune(client, stack, deployment, applied)
    took = time.monotonic() - began
    now = timezone.now()
    Release.objects.filter(pk=release.pk, applied_at=None).update(applied_at=now)
    settle(deployment)
    Deployment.objects.filter(pk=deployment.pk, probe_due_at=None).update(probe_due_at=now)
    words = f"{len(applied)} objects in {took:.1f} s, release {release.number}, digest {release.digest[:8]}"
    if pruned:
        words += f"; {len(pruned)} that left the manifests deleted: {', '.join(map(str, pruned[:4]))}"
    return Done(words, memory={"release": release.pk}, result={"release": release.number})


def start(run: Run) -> Done | Wait:
    """Wait until Ollama answers in every server pod. The pull needs no more than that."""
    client, deployment = _client(run), run.deployment
    wanted = spec_of(run).server.replicas
    if wanted == 0:
        return Done("no replicas asked for")
    pods = [pod for pod in server_pods(client, deployment) if not pod.terminating]
    answering: list[ServerPod] = []
    for pod in pods:
        if pod.phase != "Running":
            continue
        try:
            version = ollama(client, deployment, pod.name).version()
        except (ClusterError, ModelError) as error:
            if not error.retryable and not isinstance(error, ObjectMissing):
                raise
            continue
        answering.append(pod)
        run.hold.check()
    if len(answering) >= wanted:
        if len(answering) == 1:
            return Done(f"1 pod answers, Ollama {version}")
        return Done(f"{len(answering)} pods answer, Ollama {version}")
    return _wait_or_fail(run, describe(pods), START_TIMEOUT, "start")


def pull(run: Run) -> Done | Wait:
    """See that the model is on every volume: one pull for each, shared with whoever waits for it."""
    client, deployment, spec = _client(run), run.deployment, spec_of(run)
    model = spec.model.reference
    volumes: dict[str, ServerPod] = {}
    for pod in server_pods(client, deployment):
        if not pod.terminating and pod.phase == "Running":
            volumes.setdefault(pod.volume, pod)
    if spec.server.replicas == 0:
        return Done("no replicas, so nothing to pull")
    begun: list[int] = list(run.operation.memory.get("pulls", []))
    failed = Operation.objects.filter(pk__in=begun, state=OperationState.FAILED).first()
    if failed is not None:
        raise ModelError(
            failed.failure,
            tried=failed.failure_tried,
            answered=failed.failure_answered,
            remedy=failed.failure_remedy,
            retryable=False,
        )
    cancelled = Operation.objects.filter(pk__in=begun, state=OperationState.CANCELLED).first()
    if cancelled is not None:
        raise PilothouseError(
            "The pull was cancelled.",
            tried=f"pull {model}",
            remedy="Retry: it goes on from the bytes that are already there.",
            retryable=False,
        )
    missing = 0
    for volume, pod in volumes.items():
        if ollama(client, deployment, pod.name).has(model):
            continue
        missing += 1
        operation = ensure_pull(
            on_behalf_of(run.operation),
            deployment=deployment,
            volume=volume,
            pod=pod.name,
            model=model,
            insecure=spec.model.insecure,
            waiter=run.operation,
        )
        if operation.pk not in begun:
            begun.append(operation.pk)
            run.note(f"{pod.name}: pull of {model} begun")
    if not volumes:
        return Wait(2, "the server's pods to come back")
    if missing:
        where = f" on {missing} volumes" if missing > 1 else ""
        return Wait(30, f"{model} to be pulled{where}", memory={"pulls": begun})
    if begun:
        return Done(f"{model} is on {len(volumes)} volume{'s' if len(volumes) > 1 else ''}")
    return Done(f"{model} was there already")


def ready(run: Run) -> Done | Wait:
    """Wait until every pod is one of this release and Ready, server and chat, and no other is left."""
    client, deployment, stack = _client(run), run.deployment, stack_of(run)
    pods = [pod for pod in server_pods(client, deployment) if not pod.terminating]
    up = [pod for pod in pods if pod.ready]
    if len(up) < stack.spec.server.replicas:
        names = ", ".join(pod.name for pod in pods if not pod.ready) or "the server's pods"
        problem = next((pod.problem for pod in pods if pod.problem), "")
        words = f"{names} to be ready" + (f" ({problem})" if problem else "")
        return _wait_or_fail(run, words, READY_TIMEOUT, "ready")
    workloads = [("StatefulSet", stack.names.server)]
    if stack.spec.chat.enabled:
        workloads.append(("Deployment", stack.names.chat))
    for kind, name in workloads:
        words = unfinished(client.get(ObjectRef("apps/v1", kind, name, deployment.namespace)))
        if words:
            return _wait_or_fail(run, words, READY_TIMEOUT, "ready")
    words = f"{len(up)} server pod{'s' if len(up) != 1 else ''} ready"
    return Done(words + (", chat ready" if stack.spec.chat.enabled else ""))


def check(run: Run) -> Done | Wait:
    """Ask for one generated token, by the path that the chat uses."""
    spec = spec_of(run)
    if spec.server.replicas == 0:
        return Done("stopped on purpose, so nothing was asked")
    try:
        proof = generated_token(_client(run), run.deployment, spec)
    except ObjectMissing:
        # The proxy path of a new Service is 404 until the endpoints controller has seen it.
        return _wait_or_fail(run, "the chat's Service to get its endpoints", ENDPOINTS_TIMEOUT, "ready")
    return Done(proof.sentence, result={"chat": proof.to_json()})


# -- inside -------------------------------------------------------------------------------------------


def _client(run: Run) -> ClusterClient:
    return client_for(run.cluster)


def _require_known(run: Run) -> None:
    """What is meant for one cluster is not applied to another that took its address since the observer looked."""
    if run.cluster.uid:
        require_known(run.cluster, _client(run).cluster_uid())


def _makes_namespace(run: Run) -> bool:
    return bool(run.operation.request.get("create_namespace", run.deployment.made_namespace))


def _wait_or_fail(run: Run, words: str, limit: float, name: str) -> Wait:
    """Wait with the cluster's own reason; fail once it took longer than is sensible."""
    row = run.operation.steps.get(position=run.operation.step)
    if row.started_at and age(row.started_at) > limit:
        raise PilothouseError(
            f"It did not {'become ready' if name == 'ready' else 'start'} within {limit // 60:.0f} minutes.",
            tried=f"wait for {words}",
            answered=words,
            remedy="Look at the deployment's health for the cause; what is installed stays. Retry when "
            "it is solved.",
            retryable=False,
        )
    return Wait(2, words)
