"""Pruning on a live cluster: what is ours and may go, and what only looks so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import (
    ApplySet,
    ClusterClient,
    ResourceKind,
    parent_object,
    prune_candidates,
    read_parent,
)
from deployments.gateways.kubernetes.applyset import ID_LABEL, applyset_id, labelled, prunable
from tests.contract.support import CLAIMS, CONFIG_MAPS, Object, config_map, covers, names, ref, service

SERVICES = ResourceKind("v1", "Service")


def set_in(namespace: str) -> ApplySet:
    return ApplySet("web", namespace, "installation-1", "deployment-1")


def member(obj: Object) -> Object:
    return labelled(set_in(obj["metadata"]["namespace"]), obj)


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
    found = prune_candidates(client, set_in(namespace), [CONFIG_MAPS, SERVICES, CLAIMS], keep, recorded)
    assert found == [(ref(left), left["metadata"]["uid"])]
    for target, uid in found:
        assert client.delete(target, uid=uid)
    assert prune_candidates(client, set_in(namespace), [CONFIG_MAPS, SERVICES, CLAIMS], keep, recorded) == []
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
    assert prune_candidates(client, set_in(namespace), [CLAIMS], frozenset(), uids) == []
    assert not prunable(set_in(namespace), CLAIMS, live, uids) and names(client, CLAIMS, namespace) == [
        "data"
    ]


@covers("apply", "get")
def test_parents(client: ClusterClient, namespace: str) -> None:
    """Kubernetes documentation on ApplySets: the parent's label and annotations are accepted; another
    tool's, installation's or deployment's set, and an object that is no parent, are left alone."""
    ours = set_in(namespace)
    assert read_parent(client, ours) is None
    client.apply(parent_object(ours, [CONFIG_MAPS, SERVICES, ResourceKind("apps/v1", "Deployment")]))
    parent = read_parent(client, ours)
    assert parent is not None
    assert parent["metadata"]["labels"][ID_LABEL] == ours.id == applyset_id("web", namespace, "ConfigMap", "")
    kinds = parent["metadata"]["annotations"]["applyset.kubernetes.io/contains-group-kinds"]
    assert kinds == "ConfigMap,Deployment.apps,Service"
    client.create(config_map(namespace, "plain"))
    foreign = parent_object(replace(ours, name="helm"), [])
    foreign["metadata"]["annotations"]["applyset.kubernetes.io/tooling"] = "kubectl/v1.36"
    client.create(foreign)
    for other in (
        replace(ours, installation="installation-2"),
        replace(ours, deployment="deployment-2"),
        replace(ours, name="plain"),
        replace(ours, name="helm"),
    ):
        with pytest.raises(errors.ForeignObject):
            read_parent(client, other)
