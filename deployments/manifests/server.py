"""The Ollama server: a StatefulSet, its governing Service and the Service that clients use.

Always a StatefulSet: an update deletes a pod before it starts the next one, so that it never needs a
second GPU or a second mount of a ReadWriteOnce volume.
"""

from __future__ import annotations

from typing import Any

from deployments.domain.names import CLAIM_TEMPLATE
from deployments.domain.spec import OLLAMA_IMAGE, OLLAMA_ROCM_IMAGE, GpuVendor, ServerSpec, StorageMode
from deployments.manifests.claims import claim_templates, model_volumes
from deployments.manifests.labels import SERVER, common, metadata, selector
from deployments.manifests.pods import (
    image,
    locked_down,
    placement,
    pull_secrets,
    resources,
    scratch,
    tolerations,
)
from deployments.manifests.types import Manifest, RenderInput

PORT = 11434
CONTAINER = "ollama"
# A claim holds what Ollama keeps in its models directory (blobs/ and manifests/), as the extension's
# offline cache does, whatever path it is mounted at.
MODELS_PATH = "/models"
HOME_PATH = "/home/ollama"


def stateful_set(stack: RenderInput) -> Manifest:
    server = stack.spec.server
    spec: dict[str, Any] = {
        "serviceName": stack.names.server_headless,
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 5,
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "selector": {"matchLabels": selector(stack, SERVER)},
        "template": {"metadata": {"labels": common(stack, SERVER)}, "spec": _pod(stack)},
    }
    if not server.autoscaling.enabled:
        spec["replicas"] = server.replicas
    templates = claim_templates(stack)
    if templates:
        spec["volumeClaimTemplates"] = templates
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(stack, stack.names.server, SERVER),
        "spec": spec,
    }


def headless_service(stack: RenderInput) -> Manifest:
    """Governs the StatefulSet: names for single pods, also while a pod still pulls its model."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, stack.names.server_headless, SERVER),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": selector(stack, SERVER),
            "ports": _ports(),
        },
    }


def service(stack: RenderInput) -> Manifest:
    """What the chat talks to: only pods that have the model."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(stack, stack.names.server, SERVER),
        "spec": {"type": "ClusterIP", "selector": selector(stack, SERVER), "ports": _ports()},
    }


def _ports() -> list[dict[str, Any]]:
    return [{"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP"}]


def default_image(vendor: GpuVendor) -> str:
    """The pinned image; AMD needs the one that was built with ROCm."""
    return OLLAMA_ROCM_IMAGE if vendor is GpuVendor.AMD else OLLAMA_IMAGE


def _pod(stack: RenderInput) -> dict[str, Any]:
    server = stack.spec.server
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": _pod_security(stack),
        "containers": [_container(stack)],
        "volumes": [*model_volumes(stack), scratch("home", "1Gi"), scratch("tmp", "2Gi")],
        **placement(stack, server.node_selector, _tolerations(server)),
    }
    if server.affinity:
        pod["affinity"] = server.affinity
    if server.spread_over_nodes:
        # ScheduleAnyway only ranks nodes, so this can never make a replica unschedulable
        pod["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": selector(stack, SERVER)},
            }
        ]
    if server.runtime_class:
        pod["runtimeClassName"] = server.runtime_class
    if pull_secrets(stack):
        pod["imagePullSecrets"] = pull_secrets(stack)
    return pod


def _tolerations(server: ServerSpec) -> list[dict[str, str]]:
    """Those given, and one for the taint that GPU nodes usually carry (the admission plugin
    ExtendedResourceToleration adds the same one where a cluster runs it)."""
    found = tolerations(server.tolerations)
    gpu = server.gpu_vendor.resource
    if gpu and server.gpu_count and not any(item.get("key", gpu) == gpu for item in found):
        found.append({"key": gpu, "operator": "Exists", "effect": "NoSchedule"})
    return found


def _pod_security(stack: RenderInput) -> dict[str, Any]:
    """The image's own user (root) unless a uid is given; root-owned caches need it.

    fsGroup is set only for claims that Pilothouse's own template made: on NFS, which shared and
    existing claims often are, changing the group fails and the pod never starts.
    """
    context: dict[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
    uid = stack.spec.server.run_as_user
    if uid is not None:
        context |= {"runAsUser": uid, "runAsGroup": uid, "runAsNonRoot": uid != 0}
        if uid and stack.spec.storage.mode is StorageMode.TEMPLATE:
            context |= {"fsGroup": uid, "fsGroupChangePolicy": "OnRootMismatch"}
    return context


def _container(stack: RenderInput) -> dict[str, Any]:
    server = stack.spec.server
    gpus = {server.gpu_vendor.resource: server.gpu_count} if server.gpu_vendor.resource else {}
    return {
        "name": CONTAINER,
        "image": image(stack, server.image or default_image(server.gpu_vendor), "server.image"),
        "imagePullPolicy": stack.spec.images.pull_policy,
        "args": ["serve"],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": _environment(stack),
        "resources": resources(server.resources, "server.resources", extended=gpus),
        "securityContext": locked_down(read_only_root=True),
        # Ollama answers "/" once its start-up prune is done; the time covers a slow shared volume.
        "startupProbe": {
            "httpGet": {"path": "/", "port": "http"},
            "periodSeconds": 5,
            "failureThreshold": 120,
        },
        "livenessProbe": {
            "httpGet": {"path": "/", "port": "http"},
            "periodSeconds": 20,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
        # Ready means that the model is there: "ollama show" fails with 404 as long as it is not. A
        # request over HTTP cannot tell, since /api/show is a POST and /api/tags answers 200 always.
        "readinessProbe": {
            "exec": {"command": ["ollama", "show", stack.spec.model.reference]},
            "periodSeconds": 10,
            "timeoutSeconds": 10,
            "failureThreshold": 3,
        },
        "volumeMounts": [
            {"name": CLAIM_TEMPLATE, "mountPath": MODELS_PATH},
            {"name": "home", "mountPath": HOME_PATH},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }


def _environment(stack: RenderInput) -> list[dict[str, str]]:
    """Ollama ``envconfig/config.go``. HOME is written at start (the key pair for registries)."""
    server = stack.spec.server
    pairs = {
        "HOME": HOME_PATH,
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_MODELS": MODELS_PATH,
        "OLLAMA_KEEP_ALIVE": server.keep_alive,
        # newer versions would otherwise be able to pass a conversation on to ollama.com
        "OLLAMA_NO_CLOUD": "1",
    }
    if stack.spec.storage.mode is not StorageMode.TEMPLATE:
        # A pod that starts prunes every unfinished download it sees, another pod's included.
        pairs["OLLAMA_NOPRUNE"] = "1"
    if server.context_length:
        pairs["OLLAMA_CONTEXT_LENGTH"] = str(server.context_length)
    if server.num_parallel:
        pairs["OLLAMA_NUM_PARALLEL"] = str(server.num_parallel)
    return [{"name": name, "value": value} for name, value in pairs.items() if value]
