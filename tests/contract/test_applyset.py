"""Pruning on a live cluster: what is ours and may go, and what only looks so."""

from __future__ import annotations

from deployments.gateways.kubernetes import ClusterClient, ResourceKind, prune_candidates
from deployments.gateways.kubernetes.applyset import PART_OF_LABEL, prunable
from tests.contract.support import CLAIMS, CONFIG_MAPS, Object, config_map, covers, names, ref, service

SERVICES = ResourceKind("v1", "Service")
SET = "applyset-contract-contract-contract-contract-contract-v1"


def member(obj: Object) -> Object:
    obj["metadata"].setdefault("labels", {})[PART_OF_LABEL] = SET
    return obj


@covers("apply", "list_pages", "delete")
def test_what_may_be_pruned(client: ClusterClient, namespace: str) -> None:
    """Kubernetes documentation, "Declarative Management of Kubernetes Objects Using Configuration Files"
    (ApplySets): members are found by their label; beside it our apply and a recorded uid are needed."""
    kept = client.apply(member(config_map(namespace, "kept")))
    left = client.apply(member(service(namespace, "left")))
    stranger = client.create(member(config_map(namespace, "labelled-by-somebody")))
    unrecorded = client.apply(member(config_map(namespace, "unrecorded")))
    other = client.apply(config_map(namespace, "without-the-label"))
    recorded = frozenset(obj["metadata"]["uid"] for obj in (kept, left, stranger, other))
    keep = frozenset({kept["metadata"]["uid"]})
    found = prune_candidates(client, SET, namespace, [CONFIG_MAPS, SERVICES, CLAIMS], keep, recorded)
    assert found == [(ref(left), left["metadata"]["uid"])]
    for target, uid in found:
        assert client.delete(target, uid=uid)
    assert prune_candidates(client, SET, namespace, [CONFIG_MAPS, SERVICES, CLAIMS], keep, recorded) == []
    assert client.get(ref(unrecorded)) and client.get(ref(stranger)) and client.get(ref(other))


@covers("apply")
def test_claims_are_never_pruned(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API reference (PersistentVolumeClaim): deleting one may delete its data."""
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    live = client.apply(member(claim))
    uids = frozenset({live["metadata"]["uid"]})
    assert prune_candidates(client, SET, namespace, [CLAIMS], frozenset(), uids) == []
    assert not prunable(SET, CLAIMS, live, uids) and names(client, CLAIMS, namespace) == ["data"]
