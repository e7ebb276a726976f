"""HorizontalPodAutoscalers (autoscaling/v2). While one exists it owns the workload's replicas."""

from __future__ import annotations

from typing import Any

from deployments.domain.spec import AutoscalingSpec
from deployments.manifests.labels import CHAT, SERVER, metadata
from deployments.manifests.types import Manifest, RenderInput


def server_autoscaler(stack: RenderInput) -> Manifest:
    return _autoscaler(stack, stack.names.server, SERVER, "StatefulSet", stack.spec.server.autoscaling)


def chat_autoscaler(stack: RenderInput) -> Manifest:
    return _autoscaler(stack, stack.names.chat, CHAT, "Deployment", stack.spec.chat.autoscaling)


def _autoscaler(stack: RenderInput, name: str, component: str, kind: str, given: AutoscalingSpec) -> Manifest:
    metrics = [_utilization("cpu", given.cpu_percent), _utilization("memory", given.memory_percent)]
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(stack, name, component),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": name},
            "minReplicas": given.min_replicas,
            "maxReplicas": given.max_replicas,
            "metrics": [metric for metric in metrics if metric],
        },
    }


def _utilization(resource: str, percent: int) -> dict[str, Any]:
    if not percent:
        return {}
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}
