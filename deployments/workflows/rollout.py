"""Whether a workload's pods are all those of its newest template."""

from __future__ import annotations

from deployments.manifests.types import Manifest


def unfinished(live: Manifest) -> str:
    """What a StatefulSet or Deployment still has to do, as the words of a waiting step; "" when all its
    pods are of its newest template, there and ready.

    The conditions are those of ``kubectl rollout status`` (kubectl pkg/polymorphichelpers/rollout_status.go).
    """
    name, kind = live["metadata"]["name"], live["kind"]
    wanted = int(live["spec"].get("replicas", 1))
    status = live.get("status") or {}
    updated = int(status.get("updatedReplicas") or 0)
    if int(status.get("observedGeneration") or 0) < int(live["metadata"].get("generation") or 0):
        return f"{name} to be seen by its controller"
    if kind == "StatefulSet":
        if status.get("updateRevision") != status.get("currentRevision"):
            return f"{name} to replace its pods, {updated} of {wanted}"
    elif updated < wanted:
        return f"{name} to replace its pods, {updated} of {wanted}"
    there = int(status.get("replicas") or 0)
    if there > wanted:
        return f"{there - wanted} pod{'s' if there - wanted > 1 else ''} of {name} to end"
    ready = int(status.get("readyReplicas") or 0)
    return f"{name} to be ready, {ready} of {wanted}" if ready < wanted else ""
