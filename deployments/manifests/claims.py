"""Claims for model data.

SHARED is one ReadWriteMany claim that every replica mounts. TEMPLATE is a ReadWriteOnce claim for
each replica, made by the StatefulSet's controller. EXISTING is nobody's to make: only mounted.
"""

from __future__ import annotations

from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.names import CLAIM_TEMPLATE
from deployments.domain.spec import StorageMode
from deployments.manifests.labels import STORAGE, metadata, selector
from deployments.manifests.types import Manifest, RenderInput


def shared_claim(stack: RenderInput) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata(stack, stack.names.shared_claim, STORAGE, prunable=False),
        "spec": _claim_spec(
            "ReadWriteMany", _size(stack.spec.storage.size), stack.spec.storage.storage_class
        ),
    }


def claim_templates(stack: RenderInput) -> list[Manifest]:
    """The StatefulSet's ``volumeClaimTemplates``. They are immutable, so they hold only what never
    changes for a deployment, and keep the size and class they were created with."""
    if stack.spec.storage.mode is not StorageMode.TEMPLATE:
        return []
    storage = stack.spec.storage
    size = storage.size if stack.template_size is None else stack.template_size
    created = stack.template_storage_class
    storage_class = storage.storage_class if created is None else created
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": CLAIM_TEMPLATE, "labels": selector(stack, STORAGE)},
            "spec": _claim_spec("ReadWriteOnce", _size(size), storage_class),
        }
    ]


def model_volumes(stack: RenderInput) -> list[dict[str, Any]]:
    """The pod's volume for models, where no claim template provides it."""
    storage = stack.spec.storage
    if storage.mode is StorageMode.TEMPLATE:
        return []
    name = stack.names.shared_claim if storage.mode is StorageMode.SHARED else storage.claim_name
    if not name:
        raise InvalidInput("Name the claim that holds the models.", field="storage.claim_name")
    return [{"name": CLAIM_TEMPLATE, "persistentVolumeClaim": {"claimName": name}}]


def _size(size: str) -> str:
    if not size:
        raise InvalidInput(
            "The size of this model is not known, so the claim needs a size.",
            field="storage.size",
            remedy="Give a size such as 50Gi.",
        )
    return size


def _claim_spec(mode: str, size: str, storage_class: str) -> dict[str, Any]:
    spec: dict[str, Any] = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    if storage_class:
        # left out means the cluster's default class; "" would mean a volume without any class
        spec["storageClassName"] = storage_class
    return spec
