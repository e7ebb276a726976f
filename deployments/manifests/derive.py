"""Changes to the last release that need no new rendering: scale, stop and restart."""

from __future__ import annotations

import copy

from deployments.domain.errors import Conflict
from deployments.manifests.labels import RESTARTED_ANNOTATION
from deployments.manifests.types import Manifest

_WORKLOADS = ("StatefulSet", "Deployment")


def with_replicas(manifests: list[Manifest], component: str, replicas: int) -> list[Manifest]:
    """The same objects with another number of replicas for "server" or "chat".

    Raises :class:`Conflict` where an autoscaler owns the number.
    """
    changed = copy.deepcopy(manifests)
    workload = _workload(changed, component)
    if "replicas" not in workload["spec"]:
        raise Conflict(
            f"An autoscaler decides how many replicas {workload['metadata']['name']} has.",
            remedy="Change its bounds in the profile, or turn autoscaling off there.",
        )
    workload["spec"]["replicas"] = replicas
    return changed


def with_restart(manifests: list[Manifest], stamp: str, *, components: tuple[str, ...]) -> list[Manifest]:
    """The same objects with a new annotation in the pod templates, which replaces their pods.
    ``stamp`` is the time as text."""
    changed = copy.deepcopy(manifests)
    for component in components:
        metadata = _workload(changed, component)["spec"]["template"]["metadata"]
        metadata["annotations"] = {**metadata.get("annotations", {}), RESTARTED_ANNOTATION: stamp}
    return changed


def _workload(manifests: list[Manifest], component: str) -> Manifest:
    for manifest in manifests:
        if manifest["kind"] in _WORKLOADS and _component(manifest) == component:
            return manifest
    raise Conflict(f"This release has no {component}.")


def _component(manifest: Manifest) -> str:
    labels = manifest.get("metadata", {}).get("labels", {})
    return str(labels.get("app.kubernetes.io/component", ""))
