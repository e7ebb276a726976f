"""Create and delete: names, preconditions, finalizers, propagation, namespaces."""

from __future__ import annotations

import json

import pytest
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic import exceptions as official_errors

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind
from tests.contract.conftest import Raw
from tests.contract.support import (
    PODS,
    REPLICA_SETS,
    config_map,
    covers,
    deployment,
    gone,
    names,
    pod,
    ref,
    service,
    wait_for,
)

MERGE = "application/merge-patch+json"


@covers("create", "get")
def test_create_and_read(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 14: a create books an Update entry for its field manager."""
    made = client.create(config_map(namespace, a="1"))
    [entry] = made["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("pilothouse", "Update")
    assert client.get(ref(made)) == made


@covers("create")
def test_generated_names(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 14: generateName gets five characters."""
    obj = config_map(namespace)
    del obj["metadata"]["name"]
    obj["metadata"]["generateName"] = "made-"
    one, two = (client.create(obj)["metadata"]["name"] for _ in range(2))
    assert one != two and one.startswith("made-") and len(one) == len("made-") + 5


@covers("create")
def test_create_twice(client: ClusterClient, official: DynamicClient, namespace: str) -> None:
    """Recorded transcript 06: 409 AlreadyExists with the plural as details.kind."""
    client.create(config_map(namespace))
    with pytest.raises(errors.AlreadyExists) as caught:
        client.create(config_map(namespace))
    assert (caught.value.status, caught.value.answered) == (409, 'configmaps "c" already exists')
    with pytest.raises(official_errors.ConflictError) as official_one:
        official.create(official.resources.get(api_version="v1", kind="ConfigMap"), config_map(namespace))
    body = json.loads(official_one.value.body)
    assert (body["reason"], body["details"]) == ("AlreadyExists", {"name": "c", "kind": "configmaps"})


@covers("create")
def test_create_is_strict(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 08: with fieldValidation=Strict an unknown field is 400."""
    web = deployment(namespace)
    web["spec"]["replikas"] = 1
    with pytest.raises(errors.ManifestRefused) as caught:
        client.create(web)
    assert caught.value.status == 400 and 'unknown field "spec.replikas"' in caught.value.answered
    with pytest.raises(errors.ManifestRefused) as caught:
        client.create(config_map(namespace, "Not_A_Name"))
    assert caught.value.status == 422 and caught.value.causes[0][0] == "metadata.name"


@covers("create")
def test_create_in_no_namespace(client: ClusterClient) -> None:
    """Recorded transcript 06: 404 namespaces "x" not found."""
    with pytest.raises(errors.ObjectMissing) as caught:
        client.create(config_map("contract-no-such-namespace"))
    assert caught.value.answered == 'namespaces "contract-no-such-namespace" not found'


@covers("get")
def test_what_is_not_there(client: ClusterClient, raw: Raw, official: DynamicClient, namespace: str) -> None:
    """Recorded transcript 06: an absent object names itself; an unknown type is a Status with empty
    details; an unknown group is plain text."""
    with pytest.raises(errors.ObjectMissing) as caught:
        client.get(ObjectRef("apps/v1", "Deployment", "none", namespace))
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")
    assert caught.value.answered == 'deployments.apps "none" not found'
    with pytest.raises(official_errors.NotFoundError) as official_one:
        official.get(
            official.resources.get(api_version="apps/v1", kind="Deployment"), name="none", namespace=namespace
        )
    details = json.loads(official_one.value.body)["details"]
    assert details == {"name": "none", "group": "apps", "kind": "deployments"}
    status, _, body = raw("GET", f"/api/v1/namespaces/{namespace}/gadgets")
    assert (status, body["message"], body["details"]) == (
        404,
        "the server could not find the requested resource",
        {},
    )
    status, headers, body = raw("GET", "/apis/no.such.group/v1/things")
    assert (status, body) == (404, "404 page not found\n") and headers["content-type"].startswith(
        "text/plain"
    )


def test_methods_and_types_that_do_not_fit(raw: Raw, namespace: str) -> None:
    """Recorded transcript 06: 405, 406 and 415 as Status objects."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    status, _, body = raw("POST", f"{path}/c", {})
    assert (status, body["reason"]) == (405, "MethodNotAllowed")
    status, _, body = raw("GET", path, Accept="text/html")
    assert (status, body["reason"]) == (406, "NotAcceptable")
    status, _, body = raw("PATCH", f"{path}/c", {}, Content_Type="application/json")
    assert (status, body["reason"]) == (415, "UnsupportedMediaType")


@covers("create")
def test_too_large(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 06: over 3 MiB is 413, over 1 MiB of data 422."""
    with pytest.raises(errors.ManifestRefused) as caught:
        client.create(config_map(namespace, a="x" * 3_200_000))
    assert caught.value.status == 413
    with pytest.raises(errors.ManifestRefused) as caught:
        client.create(config_map(namespace, a="x" * 1_100_000))
    assert caught.value.status == 422 and len(caught.value.answered) <= 500


@covers("delete")
def test_delete_and_delete_again(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 18: an object without dependents is gone at once; then 404."""
    obj = client.apply(config_map(namespace))
    assert client.delete(ref(obj)) is True
    assert gone(client, ref(obj)) and client.delete(ref(obj)) is False
    assert client.delete(ObjectRef("v1", "ConfigMap", "c", "contract-no-such-namespace")) is False


@covers("delete")
def test_preconditions(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 06: another uid or resourceVersion is 409 Conflict and the object stays."""
    obj = client.apply(config_map(namespace))
    with pytest.raises(errors.Outdated) as caught:
        client.delete(ref(obj), uid="11111111-1111-4111-8111-111111111111")
    assert caught.value.status == 409 and "the UID in the precondition" in caught.value.answered
    with pytest.raises(errors.Outdated):
        client.delete(ref(obj), resource_version="1")
    assert not gone(client, ref(obj))
    meta = obj["metadata"]
    assert client.delete(ref(obj), uid=meta["uid"], resource_version=meta["resourceVersion"]) is True


@covers("delete", "create", "apply")
def test_finalizers_hold(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcripts 13 and 18: the object stays with a deletionTimestamp, a create under its
    name is 409 "object is being deleted", and the last finalizer lets it go."""
    obj = config_map(namespace)
    obj["metadata"]["finalizers"] = ["contract.pilothouse.io/wait"]
    client.create(obj)
    assert client.delete(ref(obj)) is True and client.delete(ref(obj)) is True
    assert client.get(ref(obj))["metadata"]["deletionTimestamp"]
    with pytest.raises(errors.AlreadyExists) as caught:
        client.create(config_map(namespace))
    assert (
        caught.value.answered == 'object is being deleted: configmaps "c" already exists'
        and caught.value.retryable
    )
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    assert raw("PATCH", path, {"metadata": {"finalizers": None}}, Content_Type=MERGE)[0] == 200
    assert gone(client, ref(obj))


@covers("delete")
def test_an_unscheduled_pod_goes_at_once(client: ClusterClient, namespace: str) -> None:
    """Recorded transcripts 18 and 18b: no grace where no node has it."""
    obj = client.create(pod(namespace))
    assert client.delete(ref(obj), grace=30) is True
    wait_for("end of the pod", lambda: gone(client, ref(obj)), 10)


def tree(client: ClusterClient, namespace: str) -> tuple[ObjectRef, str]:
    """A Deployment whose ReplicaSet and pod are there; the ReplicaSet's name."""
    web = client.apply(deployment(namespace))
    [replica_set] = wait_for("replica set", lambda: names(client, REPLICA_SETS, namespace))
    wait_for("pod", lambda: names(client, PODS, namespace))
    return ref(web), replica_set


@covers("delete")
def test_background(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 18: the owner goes at once, what it owned follows."""
    web, _ = tree(client, namespace)
    assert client.delete(web, propagation="Background") is True
    assert gone(client, web)
    wait_for("end of the pods", lambda: not names(client, PODS, namespace), 90)
    wait_for("end of the replica sets", lambda: not names(client, REPLICA_SETS, namespace), 90)


@covers("delete")
def test_foreground(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 18: the owner stays with the finalizer foregroundDeletion until all else is gone."""
    web, _ = tree(client, namespace)
    version = client.get(web)["metadata"]["resourceVersion"]
    assert client.delete(web, propagation="Foreground") is True
    wait_for("end of the deployment", lambda: gone(client, web), 90)
    assert not names(client, REPLICA_SETS, namespace)
    events = client.watch(
        ResourceKind("apps/v1", "Deployment"),
        namespace,
        version,
        field_selector="metadata.name=web",
        timeout_seconds=2,
    )
    finalizers = [event.object["metadata"].get("finalizers") for event in events if event.type == "MODIFIED"]
    assert ["foregroundDeletion"] in finalizers


@covers("delete")
def test_orphan(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 18: what it owned stays and loses its owner."""
    web, replica_set = tree(client, namespace)
    assert client.delete(web, propagation="Orphan") is True
    wait_for("end of the deployment", lambda: gone(client, web), 60)
    left = client.get(ObjectRef("apps/v1", "ReplicaSet", replica_set, namespace))
    assert not left["metadata"].get("ownerReferences")


@covers("delete")
def test_a_bad_propagation_policy(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 08: 422 of kind DeleteOptions."""
    obj = client.apply(config_map(namespace))
    with pytest.raises(errors.ClusterError) as caught:
        client.delete(ref(obj), propagation="Sideways")
    assert caught.value.status == 422 and "propagationPolicy" in caught.value.answered
    assert not gone(client, ref(obj))


@covers("delete")
def test_owner_references(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 24: garbage collection follows ownerReferences by uid."""
    owner = client.create(config_map(namespace, "owner"))
    owned = config_map(namespace, "owned")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    owned["metadata"]["ownerReferences"] = [reference]
    client.create(owned)
    client.create(config_map(namespace, "free"))
    client.delete(ref(owner))
    wait_for("end of what was owned", lambda: gone(client, ref(owned)), 60)
    assert not gone(client, ref(config_map(namespace, "free")))


@covers("delete", "create", "get")
def test_a_namespace_ends(client: ClusterClient, make_namespace: object, raw: Raw) -> None:
    """Recorded transcript 13: phase Terminating, a create is 403 with cause NamespaceTerminating, a
    second delete is fine, a create of the same name 409; finalizers of the content hold it, and the
    conditions say so; then it is gone with all that was in it."""
    name = make_namespace()  # type: ignore[operator]
    space = ObjectRef("v1", "Namespace", name)
    held = config_map(name, "held")
    held["metadata"]["finalizers"] = ["contract.pilothouse.io/wait"]
    client.create(held)
    client.create(service(name))
    assert client.delete(space) is True
    assert client.get(space)["status"]["phase"] == "Terminating"
    with pytest.raises(errors.ClusterForbids) as caught:
        client.create(config_map(name, "late"))
    assert caught.value.answered == (
        f'configmaps "late" is forbidden: unable to create new content in namespace {name} because it is being terminated'
    )
    assert caught.value.retryable
    with pytest.raises(errors.ClusterForbids):
        client.apply(config_map(name, "late"))
    assert client.delete(space) is True
    with pytest.raises(errors.AlreadyExists) as there:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    assert there.value.answered.startswith("object is being deleted: namespaces")

    def remaining() -> bool:
        conditions = client.get(space)["status"].get("conditions") or []
        return any(
            one["type"] == "NamespaceFinalizersRemaining" and one["status"] == "True" for one in conditions
        )

    wait_for("the condition NamespaceFinalizersRemaining", remaining, 60)
    assert gone(client, ref(service(name)))
    path = f"/api/v1/namespaces/{name}/configmaps/held"
    assert raw("PATCH", path, {"metadata": {"finalizers": None}}, Content_Type=MERGE)[0] == 200
    wait_for("end of the namespace", lambda: gone(client, space), 90)


@covers("delete")
def test_protected_namespaces(client: ClusterClient) -> None:
    """Recorded transcript 13: default may not be deleted."""
    with pytest.raises(errors.ClusterForbids) as caught:
        client.delete(ObjectRef("v1", "Namespace", "default"))
    assert caught.value.answered == 'namespaces "default" is forbidden: this namespace may not be deleted'
