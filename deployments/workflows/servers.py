"""The server pods of a deployment as the cluster has them now, and a way to the Ollama in each."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deployments.domain.names import CLAIM_TEMPLATE
from deployments.gateways.kubernetes import ClusterClient, ProxyAnswer, ResourceKind, proxy_path
from deployments.gateways.ollama import OllamaClient
from deployments.manifests.labels import DEPLOYMENT_LABEL, SERVER
from deployments.manifests.server import PORT
from deployments.models import Deployment

POD = ResourceKind("v1", "Pod")
CLAIM = ResourceKind("v1", "PersistentVolumeClaim")


class PodTransport:
    """Requests to one pod through the API server; what :class:`OllamaClient` speaks over."""

    def __init__(self, client: ClusterClient, namespace: str, pod: str) -> None:
        self._client, self._namespace, self._pod = client, namespace, pod

    def _path(self, path: str) -> str:
        return proxy_path(self._namespace, "pods", self._pod, "http", PORT, path.lstrip("/"))

    def request(self, method: str, path: str, json: Any | None, timeout: float) -> tuple[int, bytes]:
        return self._client.request_through(
            method, self._path(path), json=json, read_timeout=timeout, total=timeout
        )

    @contextmanager
    def stream(
        self, method: str, path: str, json: Any | None, read_timeout: float
    ) -> Generator[PodStream, None, None]:
        with self._client.open_proxy(
            method, self._path(path), json=json, read_timeout=read_timeout
        ) as answer:
            yield PodStream(answer)


class PodStream:
    """An answer of a pod that is still arriving."""

    def __init__(self, answer: ProxyAnswer) -> None:
        self._answer = answer
        self.status = answer.status

    @property
    def chunks(self) -> Iterator[bytes]:
        return self._answer.iter_bytes()

    def abort(self) -> None:
        self._answer.abort()


@dataclass(frozen=True)
class ServerPod:
    """A server pod. ``volume`` names the store that its models lie on: "claim:<uid>" or "pod:<uid>"."""

    name: str
    uid: str
    phase: str
    ready: bool
    node: str
    claim: str
    volume: str
    terminating: bool
    problem: str  # why it does not run yet, in the cluster's words, or ""


def server_pods(client: ClusterClient, deployment: Deployment) -> list[ServerPod]:
    """Read from the API server now, ordered by name."""
    selector = f"{DEPLOYMENT_LABEL}={deployment.uid},app.kubernetes.io/component={SERVER}"
    pods = [item for page in client.list_pages(POD, deployment.namespace, selector) for item in page.items]
    claims = {
        item["metadata"]["name"]: item["metadata"]["uid"]
        for page in client.list_pages(CLAIM, deployment.namespace)
        for item in page.items
    }
    return sorted((_pod(item, claims) for item in pods), key=lambda pod: pod.name)


def ollama(client: ClusterClient, deployment: Deployment, pod: str) -> OllamaClient:
    return OllamaClient(PodTransport(client, deployment.namespace, pod))


def _pod(item: dict[str, Any], claims: dict[str, str]) -> ServerPod:
    meta, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    claim = next(
        (
            volume["persistentVolumeClaim"]["claimName"]
            for volume in spec.get("volumes") or []
            if volume.get("name") == CLAIM_TEMPLATE and "persistentVolumeClaim" in volume
        ),
        "",
    )
    uid = claims.get(claim, "")
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    return ServerPod(
        name=meta["name"],
        uid=meta["uid"],
        phase=status.get("phase", ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        node=spec.get("nodeName", ""),
        claim=claim,
        volume=f"claim:{uid}" if uid else f"pod:{meta['uid']}",
        terminating="deletionTimestamp" in meta,
        problem=_problem(status, conditions),
    )


def _problem(status: dict[str, Any], conditions: dict[str, dict[str, Any]]) -> str:
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "not scheduled")[:300]
    for container in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") and waiting["reason"] not in ("ContainerCreating", "PodInitializing"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"[:300].rstrip(": ")
    return ""


def describe(pods: list[ServerPod]) -> str:
    """What the pods wait for, as the words of a waiting step."""
    if not pods:
        return "the server's pods to be created"
    for pod in pods:
        if pod.problem:
            return f"{pod.name}: {pod.problem}"
    not_running = [pod.name for pod in pods if pod.phase != "Running"]
    if not_running:
        return f"{', '.join(not_running[:3])} to start"
    return f"Ollama to answer in {', '.join(pod.name for pod in pods[:3])}"
