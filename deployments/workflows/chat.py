"""Proof that the chat answers: one generated token by the path that the chat uses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from deployments.domain.errors import ModelError, ServerFault
from deployments.domain.modelname import same_model
from deployments.domain.names import ObjectNames
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.gateways.kubernetes import ClusterClient, proxy_path
from deployments.models import Deployment
from deployments.workflows.access import client_for
from deployments.workflows.engine import Done, Run
from deployments.workflows.servers import ollama, server_pods

TOKEN_TIMEOUT = 300.0  # a large model is read from disk into GPU memory first


@dataclass(frozen=True)
class Proof:
    """``seconds`` from the question to its answer, ``load_seconds`` of them for loading the model;
    ``tokens_per_second`` None where the answer was too short to tell."""

    model: str
    pod: str
    seconds: float
    load_seconds: float
    tokens_per_second: float | None
    placement: str
    chat_page: str

    @property
    def sentence(self) -> str:
        words = f"{self.model} answered after {self.seconds:.1f} s"
        if self.tokens_per_second:
            words += f", {self.tokens_per_second:.0f} tokens/s"
        if self.placement:
            words += f", {self.placement}"
        return words + (f"; {self.chat_page}" if self.chat_page else "")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def generated_token(client: ClusterClient, deployment: Deployment, spec: StackSpec) -> Proof:
    """Ask the chat's page, then a ready server pod for a token. Raises a :class:`ClusterError` or
    :class:`ModelError` that says which of the two did not answer."""
    page = chat_page(client, deployment) if spec.chat.enabled and spec.chat.replicas else ""
    pods = [pod for pod in server_pods(client, deployment) if pod.ready and not pod.terminating]
    if not pods:
        raise ModelError(
            "No server pod is ready to be asked.",
            tried=f"generate one token with {spec.model.reference}",
            remedy="Look at the deployment's health for what it waits for.",
            retryable=True,
        )
    pod, model = pods[0].name, spec.model.reference
    server = ollama(client, deployment, pod)
    timing = server.generate_one_token(model, timeout=TOKEN_TIMEOUT)
    loaded = next((row for row in server.ps() if same_model(row.name, model)), None)
    return Proof(
        model=model,
        pod=pod,
        seconds=round(timing.latency, 2),
        load_seconds=round(timing.load, 2),
        tokens_per_second=timing.tokens_per_second,
        placement=loaded.placement if loaded else "",
        chat_page=page,
    )


def check(run: Run) -> Done:
    """The step of a chat check on demand."""
    deployment = run.operation.deployment
    assert deployment is not None
    release = deployment.releases.exclude(applied_at=None).first()
    spec = spec_from_json(release.spec if release else deployment.revision.spec)
    proof = generated_token(client_for(deployment.cluster), deployment, spec)
    return Done(proof.sentence, result={"chat": proof.to_json()})


def chat_page(client: ClusterClient, deployment: Deployment) -> str:
    """Ask NextChat for its settings through its Service. Raises a :class:`ClusterError`."""
    names = ObjectNames(deployment.name)
    path = proxy_path(deployment.namespace, "services", names.chat, "http", "http", "api/config")
    status, body = client.request_through("GET", path, read_timeout=15)
    if status != 200 or b"customModels" not in body:
        raise ServerFault(
            "The chat does not answer as NextChat does.",
            tried=f"GET /api/config of Service {deployment.namespace}/{names.chat}",
            answered=f"HTTP {status}",
            remedy="Look at the chat pod's log; the image may be another program.",
            status=status,
            retryable=status >= 500,
        )
    return "the chat's page answers"
