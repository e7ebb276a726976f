"""In which order objects are applied, and deleted: what others need comes first and goes last."""

from __future__ import annotations

from deployments.manifests.types import Manifest

RANK = {
    "Namespace": 0,
    "Secret": 10,
    "ConfigMap": 11,
    "NetworkPolicy": 12,  # before the pods that it restrains
    "PersistentVolumeClaim": 20,
    "Service": 30,
    "StatefulSet": 40,
    "Deployment": 41,
    "HorizontalPodAutoscaler": 50,
    "Ingress": 60,
}


def apply_order(manifests: list[Manifest]) -> list[Manifest]:
    """By rank, then name. A kind without a rank raises KeyError: it has to be given one first."""
    return sorted(manifests, key=lambda m: (RANK[m["kind"]], m["metadata"]["name"]))
