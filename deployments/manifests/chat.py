"""The NextChat front: a Deployment and its Service.

NextChat reads its environment when its server starts (``app/config/server.ts``), so whatever changes
there changes the pod template as well.
"""

from __future__ import annotations

from typing import Any

from deployments.domain.spec import CHAT_IMAGE
from deployments.manifests import server
from deployments.manifests.labels import CHAT, SECRETS_ANNOTATION, common, metadata, selector
from deployments.manifests.masking import keyed_digest
from deployments.manifests.pods import (
    image,
    locked_down,
    placement,
    pull_secrets,
    resources,
    scratch,
    tolerations,
)
from deployments.manifests.secrets import ACCESS_CODE_KEY
from deployments.manifests.types import Manifest, RenderInput

CONTAINER_PORT = 3000
CONTAINER = "nextchat"
# NextChat's files are readable by everybody, so any uid but root can run it.
_UID = 1001


def deployment(stack: RenderInput) -> Manifest:
    chat = stack.spec.chat
    template_metadata: dict[str, Any] = {"labels": common(stack, CHAT)}
    if chat.has_access_code:
        # environment from a Secret does not follow its changes: a new digest restarts the pods
        digest = keyed_digest(stack.secrets.access_code, stack.digest_key)
        template_metadata["annotations"] = {SECRETS_ANNOTATION: digest}
    spec: dict[str, Any] = {
        "revisionHistoryLimit": 5,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "selector": {"matchLabels": selector(stack, CHAT)},
        "template": {"metadata": template_metadata, "spec": _pod(stack)},
    }
    if not chat.autoscaling.enabled:
        spec["replicas"] = chat.replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(stack, stack.names.chat, CHAT),
        "spec": spec,
    }


def service(stack: RenderInput) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, stack.names.chat, CHAT),
        "spec": {
            "type": "ClusterIP",
            "selector": selector(stack, CHAT),
            "ports": [
                {"name": "http", "port": stack.spec.chat.port, "targetPort": "http", "protocol": "TCP"}
            ],
        },
    }


def _pod(stack: RenderInput) -> dict[str, Any]:
    chat = stack.spec.chat
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _UID,
            "runAsGroup": _UID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(stack)],
        "volumes": [scratch("cache", "256Mi"), scratch("tmp", "64Mi")],
        **placement(stack, chat.node_selector, tolerations(chat.tolerations)),
    }
    if pull_secrets(stack):
        pod["imagePullSecrets"] = pull_secrets(stack)
    return pod


def _container(stack: RenderInput) -> dict[str, Any]:
    chat = stack.spec.chat
    probe = {"httpGet": {"path": "/api/config", "port": "http"}}
    return {
        "name": CONTAINER,
        "image": image(stack, chat.image or CHAT_IMAGE, "chat.image"),
        "imagePullPolicy": stack.spec.images.pull_policy,
        "ports": [{"name": "http", "containerPort": CONTAINER_PORT, "protocol": "TCP"}],
        "env": _environment(stack),
        "resources": resources(chat.resources, "chat.resources"),
        # Next.js writes nothing but its cache of fetched and resized things (and a temporary file
        # where a proxy is configured, which is never the case here)
        "securityContext": locked_down(read_only_root=True),
        "startupProbe": {**probe, "periodSeconds": 3, "failureThreshold": 60},
        "readinessProbe": {**probe, "periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 3},
        "livenessProbe": {**probe, "periodSeconds": 20, "timeoutSeconds": 5, "failureThreshold": 6},
        "volumeMounts": [
            {"name": "cache", "mountPath": "/app/.next/cache"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _environment(stack: RenderInput) -> list[dict[str, Any]]:
    """NextChat ``app/config/server.ts``.

    "-all" keeps conversations in the cluster: without it titles and summaries of models that are
    called deepseek-… go to api.deepseek.com. An access code needs HIDE_USER_API_KEY, or any bearer
    token that does not look like a code passes. HOSTNAME would be the pod's name, and the server
    would not listen on localhost.
    """
    model = stack.spec.model.reference
    pairs = {
        "HOSTNAME": "0.0.0.0",
        "PORT": str(CONTAINER_PORT),
        "BASE_URL": f"http://{stack.names.server}:{server.PORT}",
        "CUSTOM_MODELS": f"-all,+{model}@OpenAI",
        "DEFAULT_MODEL": model,
        "DISABLE_FAST_LINK": "1",
        "NEXT_TELEMETRY_DISABLED": "1",
    }
    found: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in pairs.items()]
    if stack.spec.chat.has_access_code:
        found.append({"name": "HIDE_USER_API_KEY", "value": "1"})
        reference = {"name": stack.names.access_code, "key": ACCESS_CODE_KEY}
        found.append({"name": "CODE", "valueFrom": {"secretKeyRef": reference}})
    return found
