"""Labels and annotations of every object that Pilothouse makes.

Selector labels are three that can never change for a deployment: a Deployment's and a StatefulSet's
selector is immutable, and a Service that selects other labels than its pods carry answers nobody.
The ApplySet label goes on an object's own metadata only. On a pod or claim template it would reach
objects that a controller owns, and a prune by label would delete those.
"""

from __future__ import annotations

from typing import Any

from deployments.manifests.types import RenderInput

MANAGED_BY = "pilothouse"
PART_OF = "pilothouse-stack"
DEPLOYMENT_LABEL = "pilothouse.io/deployment"
INSTALLATION_ANNOTATION = "pilothouse.io/installation"
SECRETS_ANNOTATION = "pilothouse.io/secrets-digest"
RESTARTED_ANNOTATION = "pilothouse.io/restarted-at"
APPLY_SET_PART_OF = "applyset.kubernetes.io/part-of"

SERVER, CHAT, STORAGE, CREDENTIALS = "server", "chat", "storage", "credentials"
_NAMES = {SERVER: "ollama", CHAT: "nextchat", STORAGE: "ollama", CREDENTIALS: "nextchat"}


def selector(stack: RenderInput, component: str) -> dict[str, str]:
    """What selects the pods of one component of one deployment."""
    return {
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/instance": stack.name,
        DEPLOYMENT_LABEL: stack.deployment_id,
    }


def common(stack: RenderInput, component: str) -> dict[str, str]:
    """The selector and what people and tools read; also right for pod and claim templates."""
    return {
        "app.kubernetes.io/name": _NAMES[component],
        **selector(stack, component),
        "app.kubernetes.io/part-of": PART_OF,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }


def metadata(
    stack: RenderInput,
    name: str,
    component: str,
    *,
    prunable: bool = True,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Metadata of a namespaced top-level object. Claims are not ``prunable`` and stay out of the
    ApplySet, so that no tool that prunes by its label can take model data away."""
    labels = common(stack, component)
    if prunable:
        labels[APPLY_SET_PART_OF] = stack.apply_set_id
    return {
        "name": name,
        "namespace": stack.namespace,
        "labels": labels,
        "annotations": {INSTALLATION_ANNOTATION: stack.installation_id, **(annotations or {})},
    }
