"""Who we are, what the cluster is, what we may do."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import pytest
from kubernetes.client import ApiClient, CoreV1Api
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, Decision, ObjectRef, Verdict
from tests.contract.support import CONFIG_MAPS, config_map, covers, wait_for

Make = Callable[..., ClusterClient]


@covers("version")
def test_version(client: ClusterClient) -> None:
    """Recorded transcript 01 (version; each answer carries a Date)."""
    version = client.version()
    assert version.clock_ahead is not None and abs(version.clock_ahead) < 30
    assert version.git_version.startswith(f"v{version.major}.{version.minor}.") and version.platform


@covers("cluster_uid", "get")
def test_cluster_uid_is_that_of_kube_system(client: ClusterClient) -> None:
    """Kubernetes documentation, "Cluster Architecture": kube-system is there always, its uid never changes."""
    uid = client.cluster_uid()
    assert (
        uid
        == client.cluster_uid()
        == client.get(ObjectRef("v1", "Namespace", "kube-system"))["metadata"]["uid"]
    )


@covers("who_am_i")
def test_who_am_i(client: ClusterClient, make_client: Make, account_token: tuple[str, str]) -> None:
    """Recorded transcript 27 (SelfSubjectReview)."""
    assert "system:authenticated" in client.who_am_i().groups
    user, token = account_token
    found = make_client(token=token).who_am_i()
    assert found.username == user and "system:serviceaccounts" in found.groups


@covers("close")
def test_a_closed_client_can_be_used_again(client: ClusterClient) -> None:
    """Kubernetes API concepts: requests stand alone, so nothing but connections is lost."""
    client.close()
    assert client.version().major == 1


@covers("allowed")
def test_what_an_account_without_rights_may_do(
    make_client: Make, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 27: denied is allowed=false without "denied"; unknown types are answered alike."""
    nobody = make_client(token=account_token[1])
    assert nobody.allowed("delete", "", "pods", namespace=namespace) == Verdict(Decision.DENIED)
    assert nobody.allowed("get", "", "pods", "log", namespace=namespace).decision is Decision.DENIED
    assert nobody.allowed("list", "", "nodes").decision is Decision.DENIED
    assert (
        nobody.allowed("get", "no.such.group", "gadgets", namespace="no-such-namespace").decision
        is Decision.DENIED
    )


@covers("allowed")
def test_rights_of_a_role_are_seen(
    client: ClusterClient, make_client: Make, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcripts 05 and 27: sub-resources and resourceNames are rights of their own; a
    proxied service is named with its scheme and port."""
    rules = [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {
            "apiGroups": [""],
            "resources": ["services/proxy"],
            "verbs": ["get"],
            "resourceNames": ["http:ollama:11434"],
        },
    ]
    meta = {"name": "r", "namespace": namespace}
    client.apply(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules}
    )
    client.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": namespace}],
        }
    )
    account = make_client(token=account_token[1])
    wait_for("the role to count", lambda: account.allowed("list", "", "pods", namespace=namespace).allowed)
    verdict = account.allowed("get", "", "pods", "log", namespace=namespace)
    assert verdict.allowed and "RBAC: allowed by RoleBinding" in verdict.reason
    assert not account.allowed("delete", "", "pods", namespace=namespace).allowed
    assert not account.allowed("list", "", "pods").allowed
    assert account.allowed("get", "", "services", "proxy", namespace, "http:ollama:11434").allowed
    assert not account.allowed("get", "", "services", "proxy", namespace, "ollama").allowed
    assert not account.allowed("create", "", "services", "proxy", namespace, "http:ollama:11434").allowed


@covers("get")
def test_a_wrong_token_is_401(make_client: Make) -> None:
    """Recorded transcript 05: a wrong bearer token is 401 with a Status, whatever is asked."""
    stranger = make_client(token="not-a-token")
    with pytest.raises(errors.CredentialRefused) as caught:
        stranger.version()
    assert (caught.value.status, caught.value.reason) == (401, "Unauthorized") and "not-a-token" not in str(
        vars(caught.value)
    )
    with pytest.raises(errors.CredentialRefused):
        stranger.get(ObjectRef("v1", "Namespace", "kube-system"))


def test_the_official_client_sees_401(official: DynamicClient) -> None:
    """Recorded transcript 05, as the official client raises it."""
    configuration = copy.copy(official.configuration)
    configuration.cert_file = configuration.key_file = None
    configuration.api_key = {"BearerToken": "not-a-token"}
    configuration.api_key_prefix = {"BearerToken": "Bearer"}
    stranger = ApiClient(configuration)
    with pytest.raises(ApiException) as caught:
        CoreV1Api(stranger).list_namespaced_config_map("default")
    assert caught.value.status == 401 and json.loads(caught.value.body)["reason"] == "Unauthorized"
    stranger.close()


@covers("get", "list_pages", "create", "apply", "delete")
def test_403_comes_before_404_and_names_what_is_missing(
    make_client: Make, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 05: an absent namespace or type gives the ordinary 403 text."""
    user, token = account_token
    nobody = make_client(token=token)
    with pytest.raises(errors.ClusterForbids) as caught:
        nobody.get(ObjectRef("v1", "ConfigMap", "c", namespace))
    assert caught.value.answered == (
        f'configmaps "c" is forbidden: User "{user}" cannot get resource "configmaps" '
        f'in API group "" in the namespace "{namespace}"'
    )
    with pytest.raises(errors.ClusterForbids) as caught:
        list(nobody.list_pages(CONFIG_MAPS))
    assert 'cannot list resource "configmaps" in API group "" at the cluster scope' in caught.value.answered
    with pytest.raises(errors.ClusterForbids):
        nobody.get(ObjectRef("v1", "ConfigMap", "c", "no-such-namespace"))
    with pytest.raises(errors.ClusterForbids) as caught:
        nobody.apply(config_map(namespace))
    assert 'cannot patch resource "configmaps"' in caught.value.answered
    with pytest.raises(errors.ClusterForbids):
        nobody.create(config_map(namespace))
    with pytest.raises(errors.ClusterForbids):
        nobody.delete(ObjectRef("v1", "ConfigMap", "c", namespace))


def test_apply_needs_create_where_the_object_is_absent(
    client: ClusterClient, make_client: Make, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 05: patch alone does not make an object."""
    meta = {"name": "patcher", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch", "get"]}]
    client.apply(
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules}
    )
    client.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"},
            "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": namespace}],
        }
    )
    account = make_client(token=account_token[1])
    wait_for(
        "the role to count", lambda: account.allowed("patch", "", "configmaps", namespace=namespace).allowed
    )
    with pytest.raises(errors.ClusterForbids) as caught:
        account.apply(config_map(namespace, a="1"))
    assert 'cannot create resource "configmaps"' in caught.value.answered
    client.apply(config_map(namespace, a="1"))
    assert account.apply(config_map(namespace, a="1"))["data"] == {"a": "1"}


def test_no_credential_is_anonymous_and_403(make_client: Make) -> None:
    """Recorded transcript 05: without any credential one is system:anonymous, not 401."""
    with pytest.raises(errors.ClusterForbids) as caught:
        list(make_client(token=None).list_pages(CONFIG_MAPS, "default"))
    assert 'User "system:anonymous" cannot' in caught.value.answered
