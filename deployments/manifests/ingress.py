"""The Ingress in front of the chat. Without a host there is none: chat then goes through the gateway."""

from __future__ import annotations

from typing import Any

from deployments.manifests.labels import CHAT, metadata
from deployments.manifests.types import Manifest, RenderInput


def wanted(stack: RenderInput) -> bool:
    return stack.spec.chat.enabled and stack.spec.ingress.enabled and bool(stack.spec.ingress.host)


def ingress(stack: RenderInput) -> Manifest:
    given = stack.spec.ingress
    backend = {"service": {"name": stack.names.chat, "port": {"name": "http"}}}
    spec: dict[str, Any] = {
        "rules": [
            {"host": given.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
        ]
    }
    if given.class_name:
        spec["ingressClassName"] = given.class_name
    if given.tls_secret:
        spec["tls"] = [{"hosts": [given.host], "secretName": given.tls_secret}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(
            stack, stack.names.chat, CHAT, annotations=dict(sorted(given.annotations.items()))
        ),
        "spec": spec,
    }
