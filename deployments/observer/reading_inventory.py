"""What is kept of nodes, storage and ingress classes, ingresses, and pods that export metrics."""

from __future__ import annotations

from deployments.observer.trimming import (
    Raw,
    conditions,
    mapping,
    mappings,
    number,
    text_of,
)

MAX_LABELS = 80
MAX_RESOURCES = 64  # every MIG size has a name of its own
MAX_HOSTS = 100
_COUNTED = ("cpu", "memory", "pods", "nvidia.com/", "amd.com/", "ephemeral-storage")

# Labels that pages and checks read, in the order in which they are kept where a node has too many:
# GPUs (NVIDIA GPU feature discovery, AMD node labeller), place, kind. Node feature discovery writes a
# hundred more about the processor; of those only the presence of cards counts.
_FIRST = (
    "nvidia.com/",
    "amd.com/",
    "beta.amd.com/",
    "kubernetes.io/",
    "node.kubernetes.io/",
    "topology.kubernetes.io/",
    "node-role.kubernetes.io/",
)
_FEATURES = "feature.node.kubernetes.io/"
_FEATURES_KEPT = ("/pci-", "/amd-gpu")
# Written anew each minute, so that a node would change all the time.
_RESTLESS = frozenset({"nvidia.com/gfd.timestamp"})

EXPORTERS = {
    ("app", "nvidia-dcgm-exporter"): "dcgm",
    ("app.kubernetes.io/name", "dcgm-exporter"): "dcgm",
    ("app.kubernetes.io/name", "metrics-exporter"): "amd",
    ("app.kubernetes.io/name", "prometheus"): "prometheus",
}
"""(label, value) of pods that export metrics -> what they are: the manifests of NVIDIA's GPU operator and
dcgm-exporter, AMD's device-metrics-exporter, and the charts of Prometheus."""


def node(obj: Raw) -> Raw:
    spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
    info = mapping(status.get("nodeInfo"))
    return {
        "labels": node_labels(mapping(mapping(obj.get("metadata")).get("labels"))),
        "capacity": _resources(status.get("capacity")),
        "allocatable": _resources(status.get("allocatable")),
        "taints": [
            {key: text_of(taint.get(key), 253) for key in ("key", "value", "effect")}
            for taint in mappings(spec.get("taints"))
        ],
        "unschedulable": spec.get("unschedulable") is True,
        "conditions": conditions(status),
        "addresses": [
            {key: text_of(item.get(key), 253) for key in ("type", "address")}
            for item in mappings(status.get("addresses"), 8)
        ],
        "nodeInfo": {
            key: text_of(info.get(key), 120)
            for key in (
                "architecture",
                "operatingSystem",
                "osImage",
                "kernelVersion",
                "kubeletVersion",
                "containerRuntimeVersion",
            )
        },
    }


def node_labels(labels: Raw) -> dict[str, str]:
    """The labels worth keeping, at most ``MAX_LABELS``."""
    kept = [
        key
        for key, value in labels.items()
        if isinstance(value, str)
        and len(key) <= 317
        and key not in _RESTLESS
        and (not key.startswith(_FEATURES) or any(part in key for part in _FEATURES_KEPT))
    ]
    kept.sort(key=lambda key: (not key.startswith(_FIRST), key))
    return {text_of(key, 317): text_of(labels[key], 63) for key in kept[:MAX_LABELS]}


def storage_class(obj: Raw) -> Raw:
    annotations = mapping(mapping(obj.get("metadata")).get("annotations"))
    return {
        "provisioner": text_of(obj.get("provisioner"), 253),
        "reclaimPolicy": text_of(obj.get("reclaimPolicy"), 20),
        # Kubernetes API reference: Immediate where the field is left out.
        "volumeBindingMode": text_of(obj.get("volumeBindingMode"), 40) or "Immediate",
        "allowVolumeExpansion": obj.get("allowVolumeExpansion") is True,
        "default": _marked_default(annotations, "storageclass.kubernetes.io/is-default-class"),
    }


def ingress_class(obj: Raw) -> Raw:
    annotations = mapping(mapping(obj.get("metadata")).get("annotations"))
    return {
        "controller": text_of(mapping(obj.get("spec")).get("controller"), 253),
        "default": _marked_default(annotations, "ingressclass.kubernetes.io/is-default-class"),
    }


def ingress(obj: Raw) -> Raw:
    """The hosts that an ingress answers for, and by which class. Paths and back ends are others' business."""
    spec = mapping(obj.get("spec"))
    hosts = [text_of(rule.get("host"), 253) for rule in mappings(spec.get("rules"), MAX_HOSTS)]
    return {
        "className": text_of(spec.get("ingressClassName"), 253),
        "hosts": sorted({host for host in hosts if host}),
        "anyHost": "" in hosts or not hosts,
    }


def exporter_of(labels: Raw) -> str:
    """What a pod with these labels exports: "dcgm", "amd", "prometheus", or "" for nothing known."""
    for key in ("app", "app.kubernetes.io/name"):
        value = labels.get(key)
        if isinstance(value, str) and (key, value) in EXPORTERS:
            return EXPORTERS[key, value]
    return ""


def ports(obj: Raw) -> list[Raw]:
    """The ports that a pod's containers name."""
    return [
        {
            "name": text_of(port.get("name"), 63),
            "port": number(port.get("containerPort")) or 0,
        }
        for container in mappings(mapping(obj.get("spec")).get("containers"))
        for port in mappings(container.get("ports"))
    ][:16]


def _resources(value: object) -> dict[str, str]:
    """Like ``quantities``, with room for nodes that offer every MIG size; what schedules goes first."""
    given = mapping(value)
    keys = sorted(given, key=lambda key: (not key.startswith(_COUNTED), key))[:MAX_RESOURCES]
    return {text_of(key, 120): text_of(given[key], 40) for key in keys}


def _marked_default(annotations: Raw, key: str) -> bool:
    legacy = key.replace("storageclass.", "storageclass.beta.")
    return "true" in (annotations.get(key), annotations.get(legacy))
