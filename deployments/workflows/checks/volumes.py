"""Where the volumes of the model data lie or may lie, as terms that a node has to match."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.domain.errors import ClusterForbids, ObjectMissing
from deployments.domain.names import CLAIM_TEMPLATE
from deployments.domain.spec import StorageMode
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind
from deployments.workflows.stack import Stack

STORAGE_CLASS = ResourceKind("storage.k8s.io/v1", "StorageClass")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
BY_HAND = "kubernetes.io/no-provisioner"

Terms = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Where:
    """``terms`` are alternatives of which a node must match one, None where any node will do;
    ``unknown`` says what cannot be told about it, or "". ``at_once`` where the volume is made before the
    pod has a node, so that its zone is a matter of luck."""

    terms: Terms | None = None
    unknown: str = ""
    at_once: bool = False


def places(client: ClusterClient, stack: Stack, replicas: int) -> list[Where]:
    """One for each replica of the server."""
    storage = stack.spec.storage
    if storage.mode is StorageMode.TEMPLATE:
        names = [f"{CLAIM_TEMPLATE}-{stack.names.server}-{index}" for index in range(replicas)]
        return [_of_claim(client, stack, name) for name in names]
    name = stack.names.shared_claim if storage.mode is StorageMode.SHARED else storage.claim_name
    return [_of_claim(client, stack, name)] * replicas


def class_named(client: ClusterClient, name: str) -> Mapping[str, Any] | None:
    """The storage class, "" for the default one; None where there is none. Raises
    :class:`ClusterForbids`."""
    for page in client.list_pages(STORAGE_CLASS):
        for item in page.items:
            metadata = item.get("metadata") or {}
            default = (metadata.get("annotations") or {}).get(DEFAULT_CLASS) == "true"
            if metadata.get("name") == name or (not name and default):
                return item
    return None


def _of_claim(client: ClusterClient, stack: Stack, name: str) -> Where:
    """Of a claim that is there: its volume's place. Of one to be made: what its class allows."""
    claim = None
    try:
        claim = client.get(ObjectRef("v1", "PersistentVolumeClaim", name, stack.namespace))
    except ObjectMissing:
        pass
    except ClusterForbids:
        return Where(unknown=f"claim {name} cannot be read")
    volume = ((claim or {}).get("spec") or {}).get("volumeName")
    if volume:
        return _of_volume(client, str(volume))
    wanted = stack.spec.storage.storage_class
    if claim is not None:
        wanted = (claim.get("spec") or {}).get("storageClassName") or ""
    try:
        # A claim that is there and names no class gets none: the default one is written into it when it is made.
        found = class_named(client, wanted) if wanted or claim is None else None
    except ClusterForbids:
        return Where(unknown="storage classes cannot be listed")
    at_once = found is None or found.get("volumeBindingMode") != "WaitForFirstConsumer"
    if claim is not None and at_once:
        return Where(unknown=f"claim {name} has no volume yet", at_once=found is not None)
    if found is None:
        return Where()  # the storage check says so
    if found.get("provisioner") == BY_HAND:
        class_name = (found.get("metadata") or {}).get("name")
        return Where(
            unknown=f"class {class_name} makes no volumes: a free one has to be there", at_once=at_once
        )
    topologies = found.get("allowedTopologies") or []
    return Where(tuple(_term(item) for item in topologies) or None, at_once=at_once)


def _of_volume(client: ClusterClient, name: str) -> Where:
    try:
        volume = client.get(ObjectRef("v1", "PersistentVolume", name))
    except ObjectMissing:
        return Where()
    except ClusterForbids:
        return Where(unknown=f"which nodes reach volume {name} cannot be seen")
    affinity = ((volume.get("spec") or {}).get("nodeAffinity") or {}).get("required") or {}
    return Where(tuple(affinity.get("nodeSelectorTerms") or ()) or None)


def _term(topology: Mapping[str, Any]) -> Mapping[str, Any]:
    """A class's topology as a node selector term."""
    return {
        "matchExpressions": [
            {"key": item.get("key"), "operator": "In", "values": item.get("values") or []}
            for item in topology.get("matchLabelExpressions") or []
        ]
    }
