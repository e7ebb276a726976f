"""ApplySets (KEP-3659, in the spelling of kubectl's code): which objects belong together, so that what
left the manifests can be pruned by label and nothing else ever is."""

from __future__ import annotations

import base64
import hashlib

from deployments.domain.errors import ForeignObject
from deployments.domain.names import ObjectNames
from deployments.manifests.labels import (
    DEPLOYMENT_LABEL,
    INSTALLATION_ANNOTATION,
    MANAGED_BY,
    PART_OF,
    RELEASE_ANNOTATION,
)
from deployments.manifests.types import Manifest, RenderInput

ID_LABEL = "applyset.kubernetes.io/id"
TOOLING_ANNOTATION = "applyset.kubernetes.io/tooling"
GROUP_KINDS_ANNOTATION = "applyset.kubernetes.io/contains-group-kinds"
PARENT_KIND = "ConfigMap"
TOOLING = "pilothouse/v1"

# Kinds that may be pruned. Claims and namespaces are not among them, on purpose.
PRUNABLE_KINDS = (
    "ConfigMap",
    "Deployment.apps",
    "HorizontalPodAutoscaler.autoscaling",
    "Ingress.networking.k8s.io",
    "NetworkPolicy.networking.k8s.io",
    "Secret",
    "Service",
    "StatefulSet.apps",
)


def apply_set_id(namespace: str, deployment_name: str) -> str:
    """The id of the set whose parent is the deployment's ConfigMap:
    ``applyset-<base64url(sha256("<name>.<namespace>.<kind>.<group>"))>-v1``."""
    parent = ObjectNames(deployment_name).apply_set
    text = f"{parent}.{namespace}.{PARENT_KIND}."
    encoded = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"applyset-{encoded}-v1"


def parent(stack: RenderInput) -> Manifest:
    """The set's parent. It names the installation and the deployment; apply it before the members,
    after :func:`require_ours` on what is there."""
    annotations = {
        TOOLING_ANNOTATION: TOOLING,
        GROUP_KINDS_ANNOTATION: ",".join(PRUNABLE_KINDS),
        INSTALLATION_ANNOTATION: stack.installation_id,
    }
    if stack.release_number is not None:
        annotations[RELEASE_ANNOTATION] = str(stack.release_number)
    return {
        "apiVersion": "v1",
        "kind": PARENT_KIND,
        "metadata": {
            "name": stack.names.apply_set,
            "namespace": stack.namespace,
            "labels": {
                ID_LABEL: stack.apply_set_id,
                "app.kubernetes.io/instance": stack.name,
                "app.kubernetes.io/managed-by": MANAGED_BY,
                "app.kubernetes.io/part-of": PART_OF,
                DEPLOYMENT_LABEL: stack.deployment_id,
            },
            "annotations": annotations,
        },
    }


def require_ours(live: Manifest, stack: RenderInput) -> None:
    """Raise :class:`ForeignObject` unless the parent that is in the cluster is this deployment's."""
    metadata = live.get("metadata", {})
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    name = f"{stack.namespace}/{stack.names.apply_set}"
    tooling = annotations.get(TOOLING_ANNOTATION, "")
    if tooling.split("/")[0] != TOOLING.split("/")[0]:
        raise ForeignObject(f"ConfigMap {name} belongs to {tooling or 'somebody else'}.", remedy=_REMEDY)
    if annotations.get(INSTALLATION_ANNOTATION) != stack.installation_id:
        raise ForeignObject(f"ConfigMap {name} belongs to another Pilothouse.", remedy=_REMEDY)
    if labels.get(DEPLOYMENT_LABEL) != stack.deployment_id:
        raise ForeignObject(f"ConfigMap {name} belongs to another deployment.", remedy=_REMEDY)


_REMEDY = "Choose another name or namespace, or remove the other stack first."
