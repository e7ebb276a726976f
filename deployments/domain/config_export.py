"""The way back: a profile as the extension's ``config.yaml``, in the guide's spelling."""

from __future__ import annotations

from typing import Any

import yaml

from deployments.domain.config_notes import Line
from deployments.domain.spec import (
    AutoscalingSpec,
    GpuVendor,
    ResourceSpec,
    StackSpec,
    StorageMode,
    Toleration,
)


def export_config(spec: StackSpec) -> tuple[str, list[Line]]:
    """The text, and what of the profile the extension has no words for."""
    lost = _lost(spec)
    backend: dict[str, Any] = {
        "model": {"registry": spec.model.registry, "repository": spec.model.repository, "tag": spec.model.tag}
    }
    if spec.server.gpu_vendor is GpuVendor.NVIDIA:
        backend["enableNvidia"] = True
    elif spec.server.gpu_vendor is GpuVendor.AMD:
        backend["enableAMD"] = True
    gpu = {spec.server.gpu_vendor.resource: spec.server.gpu_count} if spec.server.gpu_count else {}
    backend["server"] = _clean(
        {
            "replicas": spec.server.replicas,
            "image": spec.server.image,
            "resources": _resources(spec.server.resources, gpu),
            "nodeSelector": spec.server.node_selector,
            "tolerations": _tolerations(spec.server.tolerations),
            "affinity": spec.server.affinity,
            "autoscaling": _autoscaling(spec.server.autoscaling),
        }
    )
    backend["chat"] = _clean(
        {
            "replicas": spec.chat.replicas,
            "image": spec.chat.image,
            "resources": _resources(spec.chat.resources, {}),
            "nodeSelector": spec.chat.node_selector,
            "tolerations": _tolerations(spec.chat.tolerations),
            "autoscaling": _autoscaling(spec.chat.autoscaling),
        }
    )
    backend["persistence"] = _persistence(spec)
    ingress = {
        "enabled": spec.ingress.enabled,
        "ingressClassName": spec.ingress.class_name,
        "domain": spec.ingress.host,
        "tls": [{"hosts": [spec.ingress.host], "secretName": spec.ingress.tls_secret}]
        if spec.ingress.tls_secret
        else [],
        "port": spec.chat.port,
    }
    shared = {
        "imageRegistry": spec.images.registry,
        "imagePullSecrets": list(spec.images.pull_secrets),
        "nodeSelector": spec.node_selector,
    }
    document = {"global": {**_clean(shared), "ingress": ingress}, "backend": backend}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True), lost


def _persistence(spec: StackSpec) -> dict[str, Any]:
    many = spec.storage.mode is StorageMode.SHARED or (
        spec.storage.mode is StorageMode.EXISTING and spec.storage.claim_read_write_many
    )
    return _clean(
        {
            "storageClass": spec.storage.storage_class,
            "accessModes": ["ReadWriteMany" if many else "ReadWriteOnce"],
            "size": spec.storage.size,
            "existingClaim": spec.storage.claim_name if spec.storage.mode is StorageMode.EXISTING else "",
        }
    )


def _lost(spec: StackSpec) -> list[Line]:
    default = StackSpec()
    found = []
    pairs: tuple[tuple[str, Any, Any, str], ...] = (
        ("model.insecure", spec.model.insecure, False, "Plain HTTP to the model's registry."),
        (
            "server.keep_alive",
            spec.server.keep_alive,
            default.server.keep_alive,
            "How long a model stays loaded.",
        ),
        ("server.context_length", spec.server.context_length, 0, "The context's length."),
        ("server.num_parallel", spec.server.num_parallel, 0, "The number of parallel requests."),
        ("server.runtime_class", spec.server.runtime_class, "", "The runtime class."),
        ("server.run_as_user", spec.server.run_as_user, None, "The user that the server runs as."),
        ("chat.enabled", spec.chat.enabled, True, "That there is no chat."),
        ("chat.has_access_code", spec.chat.has_access_code, False, "The access code."),
        ("ingress.annotations", spec.ingress.annotations, {}, "The Ingress's annotations."),
        ("images.registry_username", spec.images.registry_username, "", "The registry's credentials."),
        ("images.pull_policy", spec.images.pull_policy, default.images.pull_policy, "The pull policy."),
    )
    for path, value, usual, words in pairs:
        if value != usual:
            found.append(Line(path, f"{words} The extension has no setting for this."))
    return found


def _resources(given: ResourceSpec, gpu: dict[str, int]) -> dict[str, Any]:
    requests = _clean({"cpu": given.cpu_request, "memory": given.memory_request, **gpu})
    limits = _clean({"cpu": given.cpu_limit, "memory": given.memory_limit, **gpu})
    return _clean({"requests": requests, "limits": limits})


def _autoscaling(given: AutoscalingSpec) -> dict[str, Any]:
    if not given.enabled:
        return {}
    return {
        "enabled": True,
        "minReplicas": given.min_replicas,
        "maxReplicas": given.max_replicas,
        "targetCPU": given.cpu_percent,
        "targetMemory": given.memory_percent,
    }


def _tolerations(given: tuple[Toleration, ...]) -> list[dict[str, str]]:
    return [
        _clean({"key": t.key, "operator": t.operator, "value": t.value, "effect": t.effect}) for t in given
    ]


def _clean(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", {}, [])}
