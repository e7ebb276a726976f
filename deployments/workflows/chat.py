"""Proof that the chat answers: one generated token by the path that the chat uses."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import orjson

from deployments.domain.actors import PILOTHOUSE
from deployments.domain.errors import ModelError, ServerFault
from deployments.domain.modelname import same_model
from deployments.domain.names import ObjectNames
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.gateways.chat import prove_chat
from deployments.gateways.kubernetes import ClusterClient, proxy_path
from deployments.models import Deployment
from deployments.selectors.chat import target_of
from deployments.workflows.access import client_for
from deployments.workflows.engine import Done, Run
from deployments.workflows.servers import ServerPod, ollama, server_pods

TOKEN_TIMEOUT = 300.0  # a large model is read from disk into GPU memory first


@dataclass(frozen=True)
class Proof:
    """``seconds`` from the question to the first token, loading the model included;
    ``tokens_per_second`` None where the answer was too short to tell; ``through`` what was asked:
    "chat" (the path that people use) or "server" where there is no chat."""

    model: str
    pod: str
    seconds: float
    load_seconds: float
    tokens_per_second: float | None
    placement: str
    through: str

    @property
    def sentence(self) -> str:
        parts = [
            f"{self.model} answered {'the chat ' if self.through == 'chat' else ''}after {self.seconds:.1f} s",
            f"{self.tokens_per_second:.0f} tokens/s" if self.tokens_per_second else "",
            self.placement,
        ]
        return ", ".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def generated_token(client: ClusterClient, deployment: Deployment, spec: StackSpec) -> Proof:
    """Ask for an answer as the chat's page asks, or the server where there is no chat. Raises a
    :class:`ClusterError` or :class:`ModelError` that says what did not answer."""
    pods = [pod for pod in server_pods(client, deployment) if pod.ready and not pod.terminating]
    if not pods:
        raise ModelError(
            "No server pod is ready to be asked.",
            tried=f"generate one token with {spec.model.reference}",
            remedy="Look at the deployment's health for what it waits for.",
            retryable=True,
        )
    model = spec.model.reference
    if spec.chat.enabled and spec.chat.replicas:
        proof = prove_chat(target_of(PILOTHOUSE, deployment), model, timeout=TOKEN_TIMEOUT)
        seconds, load, speed, through = proof.latency, 0.0, proof.tokens_per_second, "chat"
    else:
        timing = ollama(client, deployment, pods[0].name).generate_one_token(model, timeout=TOKEN_TIMEOUT)
        seconds, load, speed = timing.latency, timing.load, timing.tokens_per_second
        through = "server"
    pod, placement = _where(client, deployment, pods, model)
    return Proof(model, pod, round(seconds, 2), round(load, 2), speed, placement, through)


def _where(
    client: ClusterClient, deployment: Deployment, pods: list[ServerPod], model: str
) -> tuple[str, str]:
    """The first pod that has the model in memory now, and on what."""
    for pod in pods:
        for row in ollama(client, deployment, pod.name).ps():
            if same_model(row.name, model):
                return pod.name, row.placement
    return pods[0].name, ""


def check(run: Run) -> Done:
    """The step of a chat check on demand."""
    deployment = run.deployment
    release = deployment.releases.exclude(applied_at=None).first()
    spec = spec_from_json(release.spec if release else deployment.revision.spec)
    proof = generated_token(client_for(deployment.cluster), deployment, spec)
    return Done(proof.sentence, result={"chat": proof.to_json()})


def chat_page(client: ClusterClient, deployment: Deployment) -> None:
    """Ask NextChat for its settings through its Service. Raises a :class:`ClusterError`."""
    names = ObjectNames(deployment.name)
    path = proxy_path(deployment.namespace, "services", names.chat, "http", "http", "api/config")
    status, body = client.request_through("GET", path, read_timeout=15)
    if status != 200 or not _settings(body):
        raise ServerFault(
            "The chat does not answer as NextChat does.",
            tried=f"GET /api/config of Service {deployment.namespace}/{names.chat}",
            answered=f"HTTP {status}",
            remedy="Look at the chat pod's log; the image may be another program.",
            status=status,
            retryable=status >= 500,
        )


def _settings(body: bytes) -> bool:
    """Whether this is what NextChat tells its pages of itself (app/api/config/route.ts)."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(told, dict) and bool({"needCode", "customModels"} & told.keys())
