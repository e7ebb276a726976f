"""The namespace, where Pilothouse is asked to make it."""

from __future__ import annotations

from deployments.manifests.labels import DEPLOYMENT_LABEL, INSTALLATION_ANNOTATION, MANAGED_BY
from deployments.manifests.types import Manifest, RenderInput


def namespace(stack: RenderInput) -> Manifest:
    """Not part of the ApplySet: a namespace is never pruned."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": stack.namespace,
            "labels": {"app.kubernetes.io/managed-by": MANAGED_BY, DEPLOYMENT_LABEL: stack.deployment_id},
            "annotations": {INSTALLATION_ANNOTATION: stack.installation_id},
        },
    }
