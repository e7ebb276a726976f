"""What the contract tests share: the claim marker, waiting, generated names, manifests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest

from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind

T = TypeVar("T")
Object = dict[str, Any]

CONFIG_MAPS = ResourceKind("v1", "ConfigMap")
PODS = ResourceKind("v1", "Pod")
EVENTS = ResourceKind("v1", "Event")
NAMESPACES = ResourceKind("v1", "Namespace")
CLAIMS = ResourceKind("v1", "PersistentVolumeClaim")
REPLICA_SETS = ResourceKind("apps/v1", "ReplicaSet")

IMAGE = "registry.k8s.io/pause:3.10"


def covers(*methods: str) -> pytest.MarkDecorator:
    """Claims public methods of ClusterClient for a test; see test_coverage."""
    return pytest.mark.covers(*methods)


def wait_for(what: str, condition: Callable[[], T | bool | None], seconds: float = 30.0) -> T:
    """The first true value of ``condition``, asked again until it is true or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(f"after {seconds} s still no {what}")
        time.sleep(0.05)


def unique(prefix: str) -> str:
    return f"{prefix}-{secrets.token_hex(4)}"


def ref(obj: Object) -> ObjectRef:
    return ObjectRef.of(obj)


def gone(client: ClusterClient, target: ObjectRef) -> bool:
    from_list = client.list_pages(
        target.resource_kind, target.namespace or None, field_selector=f"metadata.name={target.name}"
    )
    return not any(page.items for page in from_list)


def config_map(namespace: str, name: str = "c", labels: dict[str, str] | None = None, **data: str) -> Object:
    meta: Object = {"name": name, "namespace": namespace}
    if labels:
        meta["labels"] = labels
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


NOWHERE = {"contract.pilothouse.io/node": "none"}


def pod_spec(container: str = "main", *, nowhere: bool = False, **more: Any) -> Object:
    """A spec; ``nowhere`` asks for a node that no cluster has, so that the pod stays unscheduled."""
    spec: Object = {
        "containers": [
            {"name": container, "image": IMAGE, "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}}}
        ]
    }
    if nowhere:
        spec["nodeSelector"] = NOWHERE
    return spec | more


def pod(namespace: str, name: str = "p", *, nowhere: bool = True, **more: Any) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": pod_spec(nowhere=nowhere, **more),
    }


def deployment(
    namespace: str, name: str = "web", *, replicas: int | None = 1, nowhere: bool = True
) -> Object:
    spec: Object = {
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(nowhere=nowhere)},
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def stateful_set(namespace: str, name: str = "db", *, replicas: int = 2, nowhere: bool = True) -> Object:
    spec = pod_spec(nowhere=nowhere)
    spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceName": name,
            "replicas": replicas,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
            "volumeClaimTemplates": [
                {
                    "metadata": {"name": "data"},
                    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
                }
            ],
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        },
    }


def service(namespace: str, name: str = "s", selector: dict[str, str] | None = None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": selector or {"app": "nobody"},
            "ports": [{"name": "http", "port": 80, "targetPort": 80}],
        },
    }


def names(client: ClusterClient, kind: ResourceKind, namespace: str, **selectors: str) -> list[str]:
    pages = client.list_pages(kind, namespace, **selectors)
    return [item["metadata"]["name"] for page in pages for item in page.items]
