"""Server-side apply: ownership, conflict, force, lists, refusals, dry run."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import BadRequestError, ConflictError

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from tests.contract.conftest import Raw
from tests.contract.support import Object, config_map, covers, deployment, ref, service

APPLY = "application/apply-patch+yaml"


def owners(obj: Object) -> dict[tuple[str, str, str], Object]:
    """(manager, operation, subresource) -> the fields it owns."""
    return {
        (entry["manager"], entry["operation"], entry.get("subresource", "")): entry["fieldsV1"]
        for entry in obj["metadata"]["managedFields"]
    }


@covers("apply")
def test_create_then_nothing_then_change(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: a first apply creates; the same again changes neither resourceVersion nor
    the time of the managedFields entry; a change does."""
    web = deployment(namespace, replicas=0)
    made = client.apply(web)
    assert made["metadata"]["uid"] and made["metadata"]["generation"] == 1
    [(key, fields)] = [one for one in owners(made).items() if one[0][0] == "pilothouse"]
    assert key == ("pilothouse", "Apply", "")
    assert fields["f:spec"]["f:replicas"] == {}
    assert 'k:{"name":"main"}' in fields["f:spec"]["f:template"]["f:spec"]["f:containers"]
    again = client.apply(web)
    ours = [
        [entry for entry in one["metadata"]["managedFields"] if entry["manager"] == "pilothouse"]
        for one in (made, again)
    ]
    assert ours[0] == ours[1]
    web["spec"]["template"]["spec"]["containers"][0]["image"] += "-other"
    changed = client.apply(web)
    assert changed["metadata"]["generation"] == 2 and changed["metadata"]["uid"] == made["metadata"]["uid"]


@covers("apply")
def test_a_no_op_keeps_the_version(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15, on an object that no controller touches."""
    made = client.apply(config_map(namespace, a="1"))
    again = client.apply(config_map(namespace, a="1"))
    assert made["metadata"] == again["metadata"]


@covers("apply")
def test_status_codes_of_apply(raw: Raw, namespace: str) -> None:
    """Recorded transcript 15: 201 for the apply that creates, 200 for later ones."""
    path = f"/api/v1/namespaces/{namespace}/configmaps/c?fieldManager=one"
    body = config_map(namespace)
    assert raw("PATCH", path, body, Content_Type=APPLY)[0] == 201
    assert raw("PATCH", path, body, Content_Type=APPLY)[0] == 200


@covers("apply")
def test_what_is_left_out_goes(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: a field left out is removed where nobody else owns it."""
    client.apply(config_map(namespace, a="1", b="2"))
    assert client.apply(config_map(namespace, a="1"))["data"] == {"a": "1"}
    client.apply(config_map(namespace, b="2"), field_manager="two")
    assert client.apply(config_map(namespace, a="1"))["data"] == {"a": "1", "b": "2"}
    assert client.apply(config_map(namespace, a="1", b="2"))["data"] == {"a": "1", "b": "2"}
    assert client.apply(config_map(namespace, a="1"))["data"] == {"a": "1", "b": "2"}


@covers("apply")
def test_environment_and_arguments_left_out(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: an entry of a list map, and an atomic list, are removed when left out."""
    web = deployment(namespace, replicas=0)
    container = web["spec"]["template"]["spec"]["containers"][0]
    container |= {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "args": ["x", "y"]}
    client.apply(web)
    container["env"] = [{"name": "B", "value": "2"}]
    del container["args"]
    live = client.apply(web)["spec"]["template"]["spec"]["containers"][0]
    assert live["env"] == [{"name": "B", "value": "2"}] and "args" not in live


@covers("apply")
def test_one_conflict(client: ClusterClient, official: DynamicClient, namespace: str) -> None:
    """Recorded transcript 15: 409 with FieldManagerConflict causes, the text on one line; dry run alike."""
    client.apply(deployment(namespace, replicas=0), field_manager="one")
    other = deployment(namespace, replicas=3)
    for dry_run in (False, True):
        with pytest.raises(errors.FieldConflict) as caught:
            client.apply(other, field_manager="two", dry_run=dry_run)
        assert caught.value.conflicts == [("one", ".spec.replicas")] and not caught.value.retryable
        assert caught.value.answered == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    with pytest.raises(ConflictError) as official_one:
        resource = official.resources.get(api_version="apps/v1", kind="Deployment")
        official.server_side_apply(resource, other, namespace=namespace, field_manager="two")
    body = json.loads(official_one.value.body)
    assert body["reason"] == "Conflict" and body["details"] == {
        "causes": [
            {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".spec.replicas"}
        ]
    }
    assert client.get(ref(other))["spec"]["replicas"] == 0


@covers("apply", "scale")
def test_conflicts_with_several_managers(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcript 15: managers sorted, Update managers "using" their version, sub-resources named."""
    web = deployment(namespace, replicas=0)
    client.apply(web, field_manager="one")
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/web"
    patch = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 31}}}}
    assert (
        raw("PATCH", f"{path}?fieldManager=editor", patch, Content_Type="application/merge-patch+json")[0]
        == 200
    )
    assert client.scale(ref(web), 2, field_manager="scaler") == 2
    third = copy.deepcopy(web)
    third["spec"]["replicas"] = 5
    third["spec"]["template"]["spec"] |= {"terminationGracePeriodSeconds": 33}
    third["spec"]["template"]["spec"]["containers"][0]["image"] = "example/z:1"
    with pytest.raises(errors.FieldConflict) as caught:
        client.apply(third, field_manager="three")
    assert caught.value.answered.split("\n") == [
        'Apply failed with 3 conflicts: conflicts with "editor" using apps/v1:',
        "- .spec.template.spec.terminationGracePeriodSeconds",
        'conflicts with "one":',
        '- .spec.template.spec.containers[name="main"].image',
        'conflicts with "scaler" with subresource "scale" using apps/v1:',
        "- .spec.replicas",
    ]
    assert sorted(caught.value.conflicts) == [
        ("editor", ".spec.template.spec.terminationGracePeriodSeconds"),
        ("one", '.spec.template.spec.containers[name="main"].image'),
        ("scaler", ".spec.replicas"),
    ]


@covers("apply")
def test_the_same_value_is_shared_and_force_takes(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: equal values are shared; force moves ownership, and then the first
    manager conflicts until it gives the field up."""
    client.apply(deployment(namespace, replicas=1), field_manager="one")
    shared = client.apply(deployment(namespace, replicas=1), field_manager="two")
    for manager in ("one", "two"):
        assert "f:replicas" in owners(shared)[manager, "Apply", ""]["f:spec"]
    with pytest.raises(errors.FieldConflict):
        client.apply(deployment(namespace, replicas=0), field_manager="two")
    forced = client.apply(deployment(namespace, replicas=0), field_manager="two", force=True)
    assert forced["spec"]["replicas"] == 0
    assert "f:replicas" not in owners(forced)["one", "Apply", ""].get("f:spec", {})
    with pytest.raises(errors.FieldConflict) as caught:
        client.apply(deployment(namespace, replicas=1), field_manager="one")
    assert caught.value.conflicts == [("two", ".spec.replicas")]
    assert client.apply(deployment(namespace, replicas=None), field_manager="one")["spec"]["replicas"] == 0


@covers("apply", "create")
def test_apply_and_update_of_one_manager_conflict(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: entries of the same name with another operation are another owner."""
    client.create(config_map(namespace, a="1"))
    with pytest.raises(errors.FieldConflict) as caught:
        client.apply(config_map(namespace, a="2"))
    assert (
        caught.value.answered == 'Apply failed with 1 conflict: conflict with "pilothouse" using v1: .data.a'
    )


@covers("apply")
def test_giving_up_a_required_field(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: 422, it is not ignored."""
    web = deployment(namespace, replicas=0)
    client.apply(web)
    bare = {key: web[key] for key in ("apiVersion", "kind", "metadata")}
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(bare)
    assert caught.value.status == 422 and caught.value.reason == "Invalid" and caught.value.causes


@covers("apply")
def test_ports_are_keyed_by_number_and_protocol(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: list maps; another manager's new container goes last."""
    web = deployment(namespace, replicas=0)
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    web["spec"]["template"]["spec"]["containers"][0]["ports"] = ports
    live = client.apply(web, field_manager="one")
    assert live["spec"]["template"]["spec"]["containers"][0]["ports"] == ports
    second: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": web["metadata"],
        "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "i"}]}}},
    }
    client.apply(second, field_manager="two")
    live = client.apply(web, field_manager="one")
    assert [one["name"] for one in live["spec"]["template"]["spec"]["containers"]] == ["main", "side"]


@covers("apply")
def test_service_ports_of_two_managers(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15 and the Kubernetes API reference (ServicePort): keyed by port and protocol."""
    client.apply(service(namespace), field_manager="one")
    second = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "s", "namespace": namespace},
        "spec": {"ports": [{"name": "metrics", "port": 9090, "protocol": "TCP"}]},
    }
    live = client.apply(second, field_manager="two")
    assert sorted(port["port"] for port in live["spec"]["ports"]) == [80, 9090]


def duplicate_ports(web: Object) -> None:
    web["spec"]["template"]["spec"]["containers"][0]["ports"] = [{"containerPort": 80}, {"containerPort": 80}]


def duplicate_containers(web: Object) -> None:
    web["spec"]["template"]["spec"]["containers"] *= 2


def unknown_field(web: Object) -> None:
    web["spec"]["replikas"] = 1


def wrong_type(web: Object) -> None:
    web["spec"]["template"]["spec"]["containers"] = "main"


@pytest.mark.parametrize(
    "spoil, words",
    [
        (duplicate_ports, "duplicate entries for key"),
        (duplicate_containers, 'duplicate entries for key [name="main"]'),
        (unknown_field, ".spec.replikas: field not declared in schema"),
        (wrong_type, ".spec.template.spec.containers: expected list"),
    ],
)
@covers("apply")
def test_bodies_that_fit_no_schema(client: ClusterClient, namespace: str, spoil: Any, words: str) -> None:
    """Recorded transcripts 08 and 15: 500 "failed to create typed patch object", which is the manifest's fault."""
    web = deployment(namespace, replicas=0)
    spoil(web)
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(web)
    assert caught.value.status == 500 and not caught.value.retryable
    assert (
        caught.value.answered.startswith("failed to create typed patch object")
        and words in caught.value.answered
    )


@covers("apply")
def test_bodies_that_are_not_valid(client: ClusterClient, namespace: str) -> None:
    """Recorded transcripts 07 and 15: 422 with causes, details.kind is the Kind."""
    web = deployment(namespace, replicas=-1)
    web["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(web)
    assert caught.value.status == 422 and caught.value.answered.startswith(
        'Deployment.apps "web" is invalid: ['
    )
    assert {"spec.replicas", "spec.template.metadata.labels"} <= {field for field, _ in caught.value.causes}
    quantity = deployment(namespace)
    quantity["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "8G i"}}
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(quantity)
    assert (
        caught.value.status in (400, 500)
        and "quantities must match the regular expression" in caught.value.answered
    )


@covers("apply")
def test_managed_fields_in_the_body(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: 400 "metadata.managedFields must be nil"."""
    obj = config_map(namespace)
    obj["metadata"]["managedFields"] = []
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(obj)
    assert (caught.value.status, caught.value.answered) == (400, "metadata.managedFields must be nil")


@covers("apply")
def test_optimistic_lock_and_uid(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 15: a stale resourceVersion is 409 without FieldManagerConflict; another uid is 422."""
    client.apply(config_map(namespace))
    stale = config_map(namespace)
    stale["metadata"]["resourceVersion"] = "1"
    with pytest.raises(errors.Outdated) as caught:
        client.apply(stale)
    assert (caught.value.status, caught.value.reason, caught.value.retryable) == (409, "Conflict", True)
    other = config_map(namespace)
    other["metadata"]["uid"] = "11111111-1111-4111-8111-111111111111"
    with pytest.raises(errors.ManifestRefused) as refused:
        client.apply(other)
    assert refused.value.causes[0][0] == "metadata.uid"


@pytest.mark.parametrize("text", ["🚀 ready", "深度求索", 'naïve\t"quoted" <b>&\u2028', "𝕏 \U0001f468‍👩‍👧"])
@covers("apply")
def test_text_beyond_ascii(client: ClusterClient, namespace: str, text: str) -> None:
    """Recorded transcript 16: raw UTF-8 in an apply body is taken as it is."""
    obj = config_map(namespace, a=text)
    obj["metadata"]["annotations"] = {"contract.pilothouse.io/text": text}
    client.apply(obj)
    live = client.get(ref(obj))
    assert (
        live["data"]["a"] == text and live["metadata"]["annotations"]["contract.pilothouse.io/text"] == text
    )


def test_escaped_surrogates_are_refused(official: DynamicClient, namespace: str) -> None:
    """Recorded transcript 16: the official client's own escapes are 400, which is why it gets our transport."""
    resource = official.resources.get(api_version="v1", kind="ConfigMap")
    with pytest.raises(BadRequestError) as caught:
        official.server_side_apply(
            resource, config_map(namespace, a="🚀"), namespace=namespace, field_manager="x"
        )
    assert "found invalid Unicode character escape code" in caught.value.body
    official.server_side_apply(
        resource, config_map(namespace, a="深"), namespace=namespace, field_manager="x"
    )


def test_a_field_manager_is_required(raw: Raw, namespace: str) -> None:
    """Recorded transcript 15: without fieldManager 422 of kind PatchOptions."""
    path = f"/api/v1/namespaces/{namespace}/configmaps/c"
    status, _, body = raw("PATCH", path, config_map(namespace), Content_Type=APPLY)
    assert (status, body["details"]["kind"]) == (422, "PatchOptions")
    assert (
        body["message"]
        == 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
    )


@covers("apply")
def test_dry_run_stores_nothing(client: ClusterClient, namespace: str) -> None:
    """Recorded transcripts 14 and 15: admission and defaults run; a dry-run create has a uid but no
    resourceVersion."""
    made = client.apply(deployment(namespace), dry_run=True)
    assert made["metadata"]["uid"] and "resourceVersion" not in made["metadata"]
    assert made["spec"]["strategy"]["type"] == "RollingUpdate"
    with pytest.raises(errors.ObjectMissing):
        client.get(ref(deployment(namespace)))
    live = client.apply(config_map(namespace, a="1"))
    assert client.apply(config_map(namespace, a="2"), dry_run=True)["data"] == {"a": "2"}
    assert (
        client.get(ref(config_map(namespace)))["metadata"]["resourceVersion"]
        == live["metadata"]["resourceVersion"]
    )


@pytest.mark.parametrize("dry_run", [False, True])
@covers("apply")
def test_no_such_namespace(client: ClusterClient, dry_run: bool) -> None:
    """Recorded transcript 15: 404 namespaces "x" not found, for a dry run too."""
    with pytest.raises(errors.ObjectMissing) as caught:
        client.apply(config_map("contract-no-such-namespace"), dry_run=dry_run)
    assert caught.value.answered == 'namespaces "contract-no-such-namespace" not found'
    assert (caught.value.status, caught.value.reason) == (404, "NotFound")


@covers("apply")
def test_a_selector_is_immutable(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 07: spec.selector of a Deployment: field is immutable."""
    client.apply(deployment(namespace, replicas=0))
    other = deployment(namespace, replicas=0)
    other["spec"]["selector"]["matchLabels"]["tier"] = "x"
    other["spec"]["template"]["metadata"]["labels"]["tier"] = "x"
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(other)
    assert caught.value.status == 422 and "field is immutable" in caught.value.answered


@covers("apply", "scale", "get")
def test_scaling_through_the_subresource(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 17 (scale): the replicas change, and belong to the manager with subresource scale."""
    web = deployment(namespace, replicas=0)
    client.apply(web)
    assert client.scale(ref(web), 1, field_manager="scaler") == 1
    live = client.get(ref(web))
    assert live["spec"]["replicas"] == 1
    assert owners(live)["scaler", "Update", "scale"] == {"f:spec": {"f:replicas": {}}}
    with pytest.raises(errors.ObjectMissing):
        client.scale(ObjectRef("apps/v1", "Deployment", "none", namespace), 1)
    with pytest.raises(errors.ManifestRefused) as caught:
        client.scale(ref(web), -1)
    assert caught.value.status == 422
