"""Sets of objects on a live cluster: what is ours, what is not, what may be pruned."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import ApplySet, ClusterClient, ResourceKind, applyset
from tests.contract.support import CLAIMS, CONFIG_MAPS, config_map, covers, ref, service

SERVICES = ResourceKind("v1", "Service")


@covers("apply", "list_pages", "delete")
def test_a_set_from_first_apply_to_prune(client: ClusterClient, namespace: str) -> None:
    """Kubernetes documentation, "Declarative management using kubectl apply", section on ApplySets: parent
    labels and annotations are accepted, members are found by their label, pruned by uid."""
    ours = ApplySet("web", namespace, "installation-1", "deployment-1")
    assert applyset.read_parent(client, ours) is None
    client.apply(applyset.parent_object(ours, [CONFIG_MAPS, SERVICES]))
    kept, left = (
        client.apply(applyset.labelled(ours, obj))
        for obj in (config_map(namespace, "kept"), service(namespace, "left"))
    )
    stranger = client.create(applyset.labelled(ours, config_map(namespace, "labelled-by-somebody")))
    unrecorded = client.apply(applyset.labelled(ours, config_map(namespace, "unrecorded")))
    recorded = frozenset(obj["metadata"]["uid"] for obj in (kept, left, stranger))
    found = applyset.prune_candidates(
        client, ours, [CONFIG_MAPS, SERVICES, CLAIMS], frozenset({kept["metadata"]["uid"]}), recorded
    )
    assert found == [(ref(left), left["metadata"]["uid"])]
    for target, uid in found:
        assert client.delete(target, uid=uid)
    assert client.get(ref(unrecorded)) and client.get(ref(stranger))
    parent = applyset.read_parent(client, ours)
    assert parent is not None and parent["metadata"]["labels"][applyset.ID_LABEL] == ours.id


@covers("get")
def test_foreign_parents(client: ClusterClient, namespace: str) -> None:
    """Kubernetes documentation on ApplySets: another tool's, installation's or deployment's set is left alone."""
    ours = ApplySet("web", namespace, "installation-1", "deployment-1")
    client.apply(applyset.parent_object(ours, []))
    for other in (replace(ours, installation="installation-2"), replace(ours, deployment="deployment-2")):
        with pytest.raises(errors.ForeignObject):
            applyset.read_parent(client, other)
    client.create(config_map(namespace, "plain"))
    with pytest.raises(errors.ForeignObject):
        applyset.read_parent(client, replace(ours, name="plain"))
