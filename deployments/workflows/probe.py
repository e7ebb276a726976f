"""The cheap checks that only asking can answer: does Ollama answer in each pod, is the model there,
what of it is on a GPU, does the chat's page answer. No token is generated: that would hold GPU memory.

A pod that lost its model (a new volume, a new node, somebody deleted it) gets it pulled again, and
the audit says that Pilothouse did so.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from deployments.commands.pulls import ensure_pull
from deployments.domain.actors import PILOTHOUSE
from deployments.domain.errors import ClusterError, ModelError, PilothouseError
from deployments.domain.modelname import same_model
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.domain.states import ACTIVE, CHANGING, OperationKind, OperationState
from deployments.gateways.kubernetes import ClusterClient
from deployments.ledger.announce import announce
from deployments.models import Deployment, Operation
from deployments.workflows.access import client_for
from deployments.workflows.chat import chat_page
from deployments.workflows.placement import loaded_in
from deployments.workflows.servers import ServerPod, ollama, server_pods

log = logging.getLogger(__name__)

ASK_TIMEOUT = 5.0
LOOKED_BACK = 20  # operations
MODELS_KEPT = 100  # of one volume
# A volume that loses what was pulled again and again would be filled from the network for ever.
PULLED_AGAIN, WITHIN = 3, timedelta(hours=1)


def probe(deployment_id: int) -> None:
    """Ask and store the answers in ``Deployment.probes`` (its shape: ``deployments.observer.stacks``).

    A cluster that does not answer leaves the old answers to grow old.
    """
    deployment = (
        Deployment.objects.select_related("cluster", "team", "revision")
        .filter(pk=deployment_id, removed_at=None)
        .first()
    )
    release = deployment.releases.exclude(applied_at=None).first() if deployment else None
    if deployment is None or release is None:
        return
    spec = spec_from_json(release.spec)
    try:
        client = client_for(deployment.cluster)
        pods = [pod for pod in server_pods(client, deployment) if not pod.terminating]
        answers = _ask(client, deployment, spec, pods)
    except PilothouseError as error:
        log.info("deployment %s could not be probed: %s", deployment_id, error.sentence)
        return
    _store(deployment, answers)
    _mend(deployment, spec, pods, answers["pods"])


def _ask(
    client: ClusterClient, deployment: Deployment, spec: StackSpec, pods: list[ServerPod]
) -> dict[str, Any]:
    at = timezone.now().isoformat()
    found: dict[str, Any] = {}
    answering, why = False, ""
    for pod in pods:
        if pod.phase != "Running":
            continue
        try:
            asked = ollama(client, deployment, pod.name)
            models = asked.tags(timeout=ASK_TIMEOUT)
        except (ClusterError, ModelError) as error:
            log.debug("%s did not answer: %s", pod.name, error.sentence)
            why = why or f"{pod.name}: {_said(error)}"
            continue
        answering = True
        found[pod.name] = {
            "model_present": any(same_model(model.name, spec.model.reference) for model in models),
            "models": [{"name": model.name, "size": model.size} for model in models[:MODELS_KEPT]],
            "volume": pod.volume,
            "at": at,
            **loaded_in(asked, ASK_TIMEOUT),
        }
    server = {"answers": answering, "at": at} | ({"why": why} if not answering and why else {})
    answers: dict[str, Any] = {"server": server, "pods": found}
    if spec.chat.enabled and spec.chat.replicas:
        try:
            chat_page(client, deployment)
            answers["chat"] = {"reaches": True, "at": at}
        except (ClusterError, ModelError) as error:
            answers["chat"] = {"reaches": False, "why": _said(error), "at": at}
    return answers


def _said(error: PilothouseError) -> str:
    """What was asked and what came, for the evidence."""
    return ": ".join(filter(None, (error.tried, error.answered or error.sentence)))


def _store(deployment: Deployment, answers: dict[str, Any]) -> None:
    with transaction.atomic():
        Deployment.objects.filter(pk=deployment.pk).update(probes=answers, version=F("version") + 1)
        version = Deployment.objects.values_list("version", flat=True).get(pk=deployment.pk)
        announce("deployment", deployment.pk, version, team=deployment.team_id)


def _mend(deployment: Deployment, spec: StackSpec, pods: list[ServerPod], answers: dict[str, Any]) -> None:
    """Pull again where a running pod has lost the model, unless somebody is changing the stack or the
    last pull of it failed or its volume loses it again and again: a person has to look at that first."""
    missing = [pod for pod in pods if answers.get(pod.name, {}).get("model_present") is False]
    if not missing:
        return
    operations = Operation.objects.filter(deployment=deployment)
    if operations.filter(state__in=ACTIVE, kind__in=CHANGING).exists():
        return
    if _deleted_on_purpose(operations, spec.model.reference):
        return
    installed = operations.filter(
        kind__in=[OperationKind.INSTALL, OperationKind.UPGRADE], state=OperationState.SUCCEEDED
    ).exists()
    last = operations.filter(kind=OperationKind.PULL).order_by("-pk").first()
    if not installed or (
        last is not None and last.state in (OperationState.FAILED, OperationState.CANCELLED)
    ):
        return
    lately = operations.filter(kind=OperationKind.PULL, actor=None, created_at__gt=timezone.now() - WITHIN)
    for pod in missing:
        if lately.filter(pull__volume=pod.volume).count() >= PULLED_AGAIN:
            log.warning("%s keeps losing %s: left to a person", pod.name, spec.model.reference)
            continue
        log.info("%s lost %s: pulling it again", pod.name, spec.model.reference)
        ensure_pull(
            PILOTHOUSE,
            deployment=deployment,
            volume=pod.volume,
            pod=pod.name,
            model=spec.model.reference,
            insecure=spec.model.insecure,
        )


def _deleted_on_purpose(operations: QuerySet[Operation], model: str) -> bool:
    """Whether somebody deleted the model, and nothing that would bring it back was asked for since."""
    last = operations.filter(kind__in=CHANGING | {OperationKind.PULL, OperationKind.DELETE_MODEL}).order_by(
        "-pk"
    )
    for operation in last[:LOOKED_BACK]:
        if operation.kind != OperationKind.DELETE_MODEL:
            return False
        if operation.state != OperationState.FAILED and same_model(operation.request["model"], model):
            return True
    return False
