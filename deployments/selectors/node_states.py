"""Whether the nodes that pods run on answer, and are there at all."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from deployments.domain.fit import Taint
from deployments.domain.health.observed import NodeTaints
from deployments.models import ClusterNode, WatchState


@dataclass(frozen=True)
class NodeState:
    """``ready`` is None where the node was not seen; ``gone`` is True where all nodes were, without it."""

    ready: bool | None = None
    gone: bool = False


def node_states(cluster_id: int, names: Collection[str]) -> dict[str, NodeState]:
    """The state of nodes by name. Where nodes may not be listed, nobody knows whether one is gone."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id, name__in=names).values_list("name", "data")
    found = {name: NodeState(ready=is_ready(data)) for name, data in rows}
    missing = set(names) - set(found)
    if missing:
        listed = WatchState.objects.filter(cluster_id=cluster_id, kind="Node", confirmed_at__isnull=False)
        gone = listed.exists()
        found |= {name: NodeState(gone=gone) for name in missing}
    return found


def node_taints(cluster_id: int) -> list[NodeTaints]:
    """What keeps pods off each node of a cluster."""
    rows = ClusterNode.objects.filter(cluster_id=cluster_id).order_by("name").values_list("data", flat=True)
    return [
        NodeTaints(
            tuple(
                Taint(item.get("key", ""), item.get("value", ""), item.get("effect", ""))
                for item in data.get("taints", [])
            ),
            data.get("unschedulable") is True,
        )
        for data in rows
    ]


def is_ready(data: dict[str, Any]) -> bool:
    """Of a node or a pod as it was stored."""
    return any(
        item.get("type") == "Ready" and item.get("status") == "True" for item in data.get("conditions", [])
    )
