"""From the description of a stack to its Kubernetes objects.

Pure and deterministic: no clock, no random number, no cluster. The objects are valid for Kubernetes
1.29 to 1.36 (:data:`SUPPORTED_VERSIONS`).
"""

from __future__ import annotations

from deployments.domain.spec import StorageMode
from deployments.manifests import autoscaler, chat, claims, ingress, namespace, networkpolicy, secrets, server
from deployments.manifests.order import apply_order
from deployments.manifests.types import Manifest, RenderInput

SUPPORTED_VERSIONS = ("1.29", "1.36")
"""Oldest and newest Kubernetes that the objects are checked against."""


def render(stack: RenderInput) -> list[Manifest]:
    """All objects of a deployment in apply order, secrets in clear. The ApplySet's parent is not
    among them (``applyset.parent``).

    Raises :class:`InvalidInput` with the spec's field where something is missing that only a person
    can give.
    """
    spec = stack.spec
    found: list[Manifest] = []
    if stack.create_namespace:
        found.append(namespace.namespace(stack))
    if spec.images.registry_username:
        found.append(secrets.registry_secret(stack))
    if spec.storage.mode is StorageMode.SHARED:
        found.append(claims.shared_claim(stack))
    found += [server.headless_service(stack), server.service(stack), server.stateful_set(stack)]
    if spec.server.autoscaling.enabled:
        found.append(autoscaler.server_autoscaler(stack))
    if spec.chat.enabled:
        found += _chat(stack)
    return apply_order(found)


def _chat(stack: RenderInput) -> list[Manifest]:
    given = stack.spec.chat
    found = [chat.service(stack), chat.deployment(stack)]
    if given.has_access_code:
        found.append(secrets.access_code_secret(stack))
    if given.network_policy:
        found.append(networkpolicy.chat_egress(stack))
    if given.autoscaling.enabled:
        found.append(autoscaler.chat_autoscaler(stack))
    if ingress.wanted(stack):
        found.append(ingress.ingress(stack))
    return found
