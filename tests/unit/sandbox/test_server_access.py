"""Who may what: certificates, tokens, roles, reviews, escalation (recorded transcripts 05 and 27)."""

from __future__ import annotations

import base64
import ssl
from http.client import HTTPSConnection
from pathlib import Path

import pytest

from sandbox import certificates, protobuf
from tests.sandbox_server import RunningSandbox, running_sandbox

ROLES = "/apis/rbac.authorization.k8s.io/v1"


def grant(cluster: RunningSandbox, namespace: str, name: str, rules: list[dict[str, list[str]]]) -> None:
    code, _, answer = cluster.request(
        "POST", f"{ROLES}/namespaces/{namespace}/roles", {"metadata": {"name": name}, "rules": rules}
    )
    assert code == 201, answer
    binding = {
        "metadata": {"name": name},
        "subjects": [{"kind": "User", "name": "dashboard-sa", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
    }
    assert cluster.request("POST", f"{ROLES}/namespaces/{namespace}/rolebindings", binding)[0] == 201


def test_a_client_certificate_carries_name_and_groups(cluster: RunningSandbox, tmp_path: Path) -> None:
    context = cluster.ssl_context()
    pair = certificates.issue(cluster.cluster.certificates.authority, "jane", ("devs",))
    chain = tmp_path / "pair.pem"
    chain.write_text(pair.certificate + pair.key)
    context.load_cert_chain(chain)
    connection = HTTPSConnection(cluster.url.removeprefix("https://"), context=context, timeout=5)
    connection.request("GET", "/api/v1/namespaces/default/pods")
    answer = connection.getresponse()
    assert answer.status == 403
    assert b'User \\"jane\\" cannot list' in answer.read()
    connection.close()


def test_a_certificate_of_another_authority_is_refused(cluster: RunningSandbox, tmp_path: Path) -> None:
    context = cluster.ssl_context()
    pair = certificates.issue(certificates.make_authority(), "kubernetes-admin", ("system:masters",))
    chain = tmp_path / "pair.pem"
    chain.write_text(pair.certificate + pair.key)
    context.load_cert_chain(chain)
    connection = HTTPSConnection(cluster.url.removeprefix("https://"), context=context, timeout=5)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        connection.request("GET", "/version")
        connection.getresponse()
    connection.close()


def test_rights_follow_roles_at_once(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    assert cluster.request("GET", path, token="dash-token")[0] == 403
    grant(cluster, namespace, "reader", [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])
    assert cluster.request("GET", path, token="dash-token")[0] == 200
    assert cluster.request("GET", f"{path}?watch=true", token="dash-token")[0] == 403
    cluster.request("DELETE", f"{ROLES}/namespaces/{namespace}/rolebindings/reader")
    assert cluster.request("GET", path, token="dash-token")[0] == 403


def test_a_review_names_the_binding_and_dry_runs_need_the_same_right(
    cluster: RunningSandbox, namespace: str
) -> None:
    grant(cluster, namespace, "sub", [{"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}])
    attributes = {"namespace": namespace, "verb": "get", "resource": "pods", "subresource": "log"}
    body = {"spec": {"resourceAttributes": attributes}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    code, _, answer = cluster.request("POST", path, body, token="dash-token")
    assert code == 201
    assert answer["status"]["allowed"] is True
    assert f'RoleBinding "sub/{namespace}" of Role "sub" to User "dashboard-sa"' in answer["status"]["reason"]
    attributes["subresource"] = "exec"
    assert cluster.request("POST", path, body, token="dash-token")[2]["status"] == {"allowed": False}
    dry = f"/api/v1/namespaces/{namespace}/configmaps?dryRun=All"
    assert cluster.request("POST", dry, {"metadata": {"name": "x"}}, token="dash-token")[0] == 403


def test_a_review_in_protobuf_as_kubectl_posts_it(cluster: RunningSandbox) -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    attributes = field(1, b"default") + field(2, b"list") + field(5, b"pods")
    review = field(1, b"") + field(2, field(1, attributes)) + field(3, b"")
    head = field(1, b"authorization.k8s.io/v1") + field(2, b"SelfSubjectAccessReview")
    raw = b"k8s\0" + field(1, head) + field(2, review)
    headers = {"Content-Type": protobuf.MEDIA_TYPE, "Accept": f"{protobuf.MEDIA_TYPE},application/json"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    code, answered, body = cluster.request("POST", path, raw, headers)
    assert (code, answered["content-type"]) == (201, "application/json")
    assert body["spec"] == {
        "resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}
    }
    assert body["status"] == {"allowed": True}
    code, _, body = cluster.request("POST", path, raw[:30], headers)
    assert code == 400
    code, _, body = cluster.request("POST", "/apis/apps/v1/namespaces/default/deployments", raw, headers)
    assert (code, body["reason"]) == (415, "UnsupportedMediaType")


def test_service_account_tokens_work_until_they_expire(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    code, _, answer = cluster.request("POST", path, {"spec": {"expirationSeconds": 600}})
    assert code == 201
    token = answer["status"]["token"]
    code, _, refused = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods", token=token)
    assert code == 403
    assert f"system:serviceaccount:{namespace}:default" in refused["message"]
    clock = cluster.cluster.store.clock
    try:
        cluster.cluster.store.clock = lambda: clock() + 601
        assert cluster.request("GET", "/version", token=token)[0] == 401
    finally:
        cluster.cluster.store.clock = clock


def test_a_token_secret_is_filled_and_outlives_a_restart(tmp_path: Path) -> None:
    path = "/api/v1/namespaces/default/secrets"
    secret = {
        "metadata": {"name": "t", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    with running_sandbox(state=tmp_path) as first:
        assert first.request("POST", path, secret)[0] == 201
        _, _, filled = first.request("GET", f"{path}/t")
        assert base64.b64decode(filled["data"]["ca.crt"]).decode() == first.ca_pem
        token = base64.b64decode(filled["data"]["token"]).decode()
        assert first.request("GET", "/version", token=token)[0] == 200
    with running_sandbox(state=tmp_path) as second:
        assert second.request("GET", "/version", token=token)[0] == 200
        second.request("DELETE", f"{path}/t")
        assert second.request("GET", "/version", token=token)[0] == 401


def test_a_role_may_not_give_away_what_its_writer_lacks(cluster: RunningSandbox, namespace: str) -> None:
    rights = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]}
    grant(cluster, namespace, "maker", [rights])
    path = f"{ROLES}/namespaces/{namespace}/roles"
    more = {
        "metadata": {"name": "m"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
    }
    code, _, answer = cluster.request("POST", path, more, token="dash-token")
    assert code == 403
    assert 'not currently held:\n{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in answer["message"]
    same = {"metadata": {"name": "m"}, "rules": [rights]}
    assert cluster.request("POST", path, same, token="dash-token")[0] == 201


def test_control_paths_are_for_administrators_only(cluster: RunningSandbox) -> None:
    assert cluster.request("GET", "/sandbox/faults", token="nobody-token")[0] == 403
    assert cluster.request("GET", "/sandbox/faults", token="")[0] == 403
    assert cluster.request("GET", "/sandbox/faults")[0] == 404, "this cluster has no world"


def test_identity_and_objects_survive_a_restart(tmp_path: Path) -> None:
    with running_sandbox(state=tmp_path) as first:
        url, ca, token = first.url, first.ca_pem, first.token
        first.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "kept"}})
        _, _, before = first.request("GET", "/api/v1/namespaces/default/configmaps/kept")
        first.request("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "later"}})
        uids = {obj["metadata"]["uid"] for obj in first.run(lambda store: store.dump())["objects"]}
    assert (tmp_path / "identity.json").stat().st_mode & 0o077 == 0
    with running_sandbox(state=tmp_path) as second:
        assert (second.url, second.ca_pem, second.token) == (url, ca, token)
        _, _, after = second.request("GET", "/api/v1/namespaces/default/configmaps/kept")
        assert after == before
        _, _, made = second.request(
            "POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "new"}}
        )
        assert int(made["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
        assert made["metadata"]["uid"] not in uids
        old = before["metadata"]["resourceVersion"]
        path = f"/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=2&resourceVersion={old}"
        assert [event["object"].get("code") for event in second.events(path)] == [410]


def test_a_cluster_that_is_started_again_has_the_same_cards(tmp_path: Path) -> None:
    def cards() -> set[str]:
        with running_sandbox(world=True, scenario="small", seed=None, state=tmp_path) as sandbox:
            nodes = sandbox.cluster.world.devices.nodes
            return {device.uuid for devices in nodes.values() for device in devices}

    first = cards()
    assert first
    assert cards() == first
