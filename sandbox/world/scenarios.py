"""What a practice cluster begins with: nodes, storage classes, GPU exporters."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.store import Store
from sandbox.world.controllers.edges import INGRESS_CLASS
from sandbox.world.gpus import A100, MI300X
from sandbox.world.nodes import NodeSpec

Object = dict[str, Any]

_CONTROL = NodeSpec(
    "practice-control",
    8,
    32,
    labels={"node-role.kubernetes.io/control-plane": ""},
    taints=(("node-role.kubernetes.io/control-plane", "NoSchedule"),),
)
SCENARIOS: dict[str, tuple[NodeSpec, ...]] = {
    "practice": (
        _CONTROL,
        NodeSpec("practice-cpu-1", 32, 128),
        NodeSpec("practice-cpu-2", 32, 128),
        NodeSpec("practice-gpu-1", 64, 512, 2000, A100, 4),
        NodeSpec("practice-gpu-2", 64, 512, 2000, A100, 4),
        NodeSpec("practice-amd-1", 64, 768, 2000, MI300X, 2),
    ),
    "small": (NodeSpec("practice-cpu-1", 32, 128), NodeSpec("practice-gpu-1", 64, 512, 2000, A100, 4)),
    "cpu": (_CONTROL, NodeSpec("practice-cpu-1", 32, 128), NodeSpec("practice-cpu-2", 32, 128)),
    "amd": (NodeSpec("practice-cpu-1", 32, 128), NodeSpec("practice-amd-1", 64, 768, 2000, MI300X, 4)),
    "bare": (NodeSpec("practice-gpu-1", 64, 512, 2000, A100, 4, discovered=False),),
    "monitored": (
        NodeSpec("practice-cpu-1", 32, 128),
        NodeSpec("practice-gpu-1", 64, 512, 2000, A100, 4),
        NodeSpec("practice-amd-1", 64, 768, 2000, MI300X, 2),
    ),
    "empty": (),
}
MONITORED = ("monitored",)
MONITORING, PROMETHEUS = "monitoring", "prometheus-k8s"
PROMETHEUS_IMAGE = "quay.io/prometheus/prometheus:v3.5.0"
SCENARIOS["default"] = SCENARIOS["practice"]

_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_STORAGE: tuple[Object, ...] = (
    {
        "metadata": {"name": "standard", "annotations": {_DEFAULT: "true"}},
        "provisioner": "sandbox.pilothouse.io/block",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    },
    {
        "metadata": {"name": "shared"},
        "provisioner": "sandbox.pilothouse.io/files",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    },
    {
        "metadata": {"name": "broken"},
        "provisioner": "sandbox.pilothouse.io/absent",
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
    },
)


def _exporter(
    name: str, namespace: str, labels: Object, image: str, port: int, port_name: str, selector: Object
) -> Object:
    container: Object = {
        "name": name,
        "image": image,
        "ports": [{"name": port_name, "containerPort": port}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    }
    spec: Object = {
        "containers": [container],
        "nodeSelector": selector,
        "tolerations": [{"operator": "Exists"}],
    }
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def _service(name: str, namespace: str, labels: Object, port: int, port_name: str, target: str) -> Object:
    ports = [{"name": port_name, "port": port, "targetPort": target}]
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"selector": labels, "ports": ports},
    }


def _nvidia() -> list[tuple[str, Object]]:
    labels = {"app": "nvidia-dcgm-exporter"}
    image = "nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04"
    name, namespace = "nvidia-dcgm-exporter", "gpu-operator"
    selector = {"nvidia.com/gpu.deploy.dcgm-exporter": "true"}
    return [
        ("Namespace", {"metadata": {"name": namespace}}),
        ("DaemonSet", _exporter(name, namespace, labels, image, 9400, "metrics", selector)),
        ("Service", _service(name, namespace, labels, 9400, "gpu-metrics", "metrics")),
    ]


def _amd() -> list[tuple[str, Object]]:
    labels = {"app.kubernetes.io/name": "metrics-exporter"}
    image = "docker.io/rocm/device-metrics-exporter:v1.4.0"
    name, namespace = "default-metrics-exporter", "kube-amd-gpu"
    selector = {"feature.node.kubernetes.io/amd-gpu": "true"}
    return [
        ("Namespace", {"metadata": {"name": namespace}}),
        ("DaemonSet", _exporter(name, namespace, labels, image, 5000, "http", selector)),
        ("Service", _service(name, namespace, labels, 5000, "http", "http")),
    ]


_EXPORTERS = {"nvidia": _nvidia, "amd": _amd}


def _create(store: Store, wanted: Iterable[tuple[str, Object]]) -> None:
    """What is missing of these."""
    for kind, obj in wanted:
        metadata = obj["metadata"]
        if store.get(kind, metadata.get("namespace"), metadata["name"]) is None:
            store.create(kind, obj, manager="practice-cluster")


def furnish_classes(store: Store) -> None:
    """Storage classes and the ingress class; safe to repeat on a loaded store."""
    ingress = {"metadata": {"name": INGRESS_CLASS}, "spec": {"controller": "sandbox.pilothouse.io/ingress"}}
    _create(store, [*(("StorageClass", entry) for entry in _STORAGE), ("IngressClass", ingress)])


def vendors(scenario: str) -> set[str]:
    """Whose GPUs the nodes of a scenario have."""
    return {spec.gpu.vendor for spec in SCENARIOS[scenario] if spec.gpu is not None}


def exporter_objects(vendor: str) -> list[tuple[str, Object]]:
    """(kind, object) of what a vendor's operator installs to measure GPUs."""
    return _EXPORTERS[vendor]()


def furnish_exporters(store: Store, wanted: Iterable[str]) -> None:
    """The exporters of these vendors; safe to repeat."""
    for vendor in sorted(wanted):
        _create(store, exporter_objects(vendor))


def furnish_exporter_service(store: Store, vendor: str) -> None:
    """The Service alone, where pods of exporters exist without a controller."""
    _create(store, [entry for entry in exporter_objects(vendor) if entry[0] in ("Namespace", "Service")])


def furnish_prometheus(store: Store, running: bool = True) -> None:
    """Prometheus as its operator installs it; running False: without the workload, where pods have no controller."""
    labels = {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/instance": "k8s"}
    ports = [{"name": "web", "containerPort": 9090}]
    container = {"name": "prometheus", "image": PROMETHEUS_IMAGE, "ports": ports}
    workload: Object = {
        "metadata": {"name": PROMETHEUS, "namespace": MONITORING, "labels": labels},
        "spec": {
            "serviceName": "prometheus-operated",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    service = _service(PROMETHEUS, MONITORING, labels, 9090, "web", "web")
    wanted: list[tuple[str, Object]] = [
        ("Namespace", {"metadata": {"name": MONITORING}}),
        ("Service", service),
    ]
    _create(store, [*wanted, ("StatefulSet", workload)] if running else wanted)


def furnish(store: Store, scenario: str) -> None:
    """Create what is missing; safe to repeat on a loaded store."""
    furnish_classes(store)
    furnish_exporters(store, vendors(scenario))
    if scenario in MONITORED:
        furnish_prometheus(store)
