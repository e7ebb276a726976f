"""Questions asked of a live API server: connection, preflight, diff. No pod needs to run for them."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace

import pytest

from deployments.commands.install import install
from deployments.commands.profiles import create_profile
from deployments.commands.questions import diff, preflight
from deployments.domain.actors import Actor
from deployments.domain.spec import IngressSpec, StackSpec, StorageMode, StorageSpec
from deployments.domain.states import OperationState, Queue
from deployments.ledger import vault
from deployments.models import AuditEntry, Cluster, Operation, Revision, Team
from deployments.workflows.engine import run_operation
from deployments.workflows.plans import PLANS
from tests.core.conftest import connected
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(admin: Actor, team: Team, bare_sandbox: RunningSandbox) -> Cluster:
    return connected(admin, team, bare_sandbox)


def namespace() -> str:
    return f"q-{uuid.uuid4().hex[:8]}"


def found(operation: Operation) -> dict[str, dict]:
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    return {finding["check"]: finding for finding in operation.result["findings"]}


def test_connecting_says_which_cluster_it_is(cluster: Cluster) -> None:
    check = Operation.objects.get(kind="check_connection")
    work_off(check)
    cluster.refresh_from_db()
    assert check.state == OperationState.SUCCEEDED
    assert cluster.kubernetes_version.startswith("v1.")
    assert cluster.uid and cluster.last_seen_at and not cluster.last_error
    assert check.result["missing"] == []


def test_a_stored_credential_is_not_readable_in_the_database(cluster: Cluster, bare_sandbox) -> None:
    assert bare_sandbox.token.encode() not in bytes(cluster.credential)
    assert bare_sandbox.token in vault.unseal(cluster.credential) or "PRIVATE KEY" in vault.unseal(
        cluster.credential
    )


def test_another_cluster_behind_the_address_is_refused(cluster: Cluster) -> None:
    Cluster.objects.update(uid="11111111-2222-4333-8444-555555555555")
    check = Operation.objects.get(kind="check_connection")
    work_off(check)
    cluster.refresh_from_db()
    assert check.state == OperationState.FAILED
    assert "Another cluster" in cluster.last_error


def test_a_sound_draft_passes_and_writes_no_audit(owner: Actor, cluster: Cluster, revision: Revision) -> None:
    entries = AuditEntry.objects.count()
    operation = preflight(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace(), name="one"
    )
    findings = found(work_off(operation))
    assert findings["rights"]["level"] == "pass"
    assert findings["namespace"]["level"] == "pass"
    assert AuditEntry.objects.count() == entries
    assert operation.expires_at is not None


def test_a_namespace_of_another_tool_is_refused_and_a_persons_own_is_fine(
    owner: Actor, cluster: Cluster, revision: Revision, bare_sandbox: RunningSandbox
) -> None:
    for labels, level in (({"app.kubernetes.io/managed-by": "Helm"}, "fail"), ({"team": "x"}, "pass")):
        name = namespace()
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        bare_sandbox.request("POST", "/api/v1/namespaces", body)
        operation = preflight(
            owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=name, name="one"
        )
        assert found(work_off(operation))["namespace"]["level"] == level


def test_a_storage_class_that_is_not_there_is_found(owner: Actor, team: Team, cluster: Cluster) -> None:
    spec = replace(StackSpec(), storage=StorageSpec(storage_class="nowhere"))
    revision = create_profile(owner, team_id=team.pk, name="x", spec=spec)
    operation = preflight(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace(), name="one"
    )
    finding = found(work_off(operation))["storage"]
    assert (finding["level"], finding["field"]) == ("fail", "storage_class")


def test_a_missing_claim_and_a_taken_host_are_found(
    owner: Actor, team: Team, cluster: Cluster, bare_sandbox: RunningSandbox
) -> None:
    place = namespace()
    bare_sandbox.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}}
    )
    host = f"{place}.example.com"
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "web"},
        "spec": {
            "rules": [
                {
                    "host": host,
                    "http": {
                        "paths": [
                            {
                                "path": "/",
                                "pathType": "Prefix",
                                "backend": {"service": {"name": "web", "port": {"number": 80}}},
                            }
                        ]
                    },
                }
            ]
        },
    }
    bare_sandbox.request("POST", f"/apis/networking.k8s.io/v1/namespaces/{place}/ingresses", ingress)
    spec = replace(
        StackSpec(),
        storage=StorageSpec(mode=StorageMode.EXISTING, claim_name="deepseek-models"),
        ingress=IngressSpec(enabled=True, host=host),
    )
    revision = create_profile(owner, team_id=team.pk, name="x", spec=spec)
    operation = preflight(owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=place, name="one")
    findings = found(work_off(operation))
    assert findings["storage"]["level"] == "fail" and findings["storage"]["field"] == "claim_name"
    assert findings["ingress_host"]["level"] == "fail"
    assert f"{place}/web" in findings["ingress_host"]["evidence"]


def test_an_identity_without_rights_is_told_which(
    admin: Actor, owner: Actor, team: Team, revision: Revision
) -> None:
    with running_sandbox(tokens={"weak-token": ("weak", ())}) as sandbox:
        sandbox.kubeconfig["users"][0]["user"] = {"token": "weak-token"}
        sandbox.kubeconfig_path.write_text(json.dumps(sandbox.kubeconfig))
        cluster = connected(admin, team, sandbox, name="weak")
        operation = preflight(
            owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace(), name="one"
        )
        finding = found(work_off(operation))["rights"]
    assert finding["level"] == "fail"
    assert "configmaps" in finding["evidence"]


def test_everything_is_new_where_the_namespace_is_not_there_yet(
    owner: Actor, cluster: Cluster, revision: Revision
) -> None:
    operation = diff(owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace(), name="one")
    work_off(operation)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    assert operation.result["asked"] is False
    assert {item["change"] for item in operation.result["objects"]} == {"new"}


def test_a_dry_run_shows_what_an_apply_would_change(
    owner: Actor, team: Team, cluster: Cluster, revision: Revision
) -> None:
    spec = replace(StackSpec(), chat=replace(StackSpec().chat, port=3100))
    operation = _compared(owner, team, cluster, revision, spec)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    objects = {(item["kind"], item["name"]): item for item in operation.result["objects"]}
    assert objects["Service", "one-chat"]["change"] == "changed", objects
    assert any("3100" in line[1] for line in objects["Service", "one-chat"]["lines"] if line[0] == "add")
    assert objects["StatefulSet", "one-server"]["change"] == "same"


def test_a_namespace_that_a_person_made_stays_as_it_is(
    owner: Actor, cluster: Cluster, revision: Revision, bare_sandbox: RunningSandbox
) -> None:
    place = namespace()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": place}}
    bare_sandbox.request("POST", "/api/v1/namespaces", body)
    operation = diff(owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=place, name="one")
    work_off(operation)
    assert operation.result["asked"] is True
    changes = {item["kind"]: item["change"] for item in operation.result["objects"]}
    assert changes.pop("Namespace") == "same" and set(changes.values()) == {"new"}


def test_a_refused_dry_run_shows_what_was_asked_for_and_nothing_else(
    owner: Actor, team: Team, cluster: Cluster, revision: Revision
) -> None:
    """What the server fills in, and the order of what it answers, are no differences."""
    spec = replace(StackSpec(), storage=StorageSpec(mode=StorageMode.SHARED))
    operation = _compared(owner, team, cluster, revision, spec)
    (item,) = [item for item in operation.result["objects"] if item["kind"] == "StatefulSet"]
    assert "updates to statefulset spec" in item["problem"]
    differing = [line[1].strip(" -") for line in item["lines"] if line[0] in ("add", "del")]
    assert "volumeClaimTemplates:" in differing and "claimName: one-models" in differing
    assert not {"apiVersion: apps/v1", "kind: StatefulSet", "name: one-server"} & set(differing), differing


def _compared(owner: Actor, team: Team, cluster: Cluster, revision: Revision, spec: StackSpec) -> Operation:
    """A dry run of another spec for a deployment that a revision was just applied to."""
    place = namespace()
    first = install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=place, name="one", anyway=True
    )
    _until_applied(first)
    changed = create_profile(owner, team_id=team.pk, name="changed", spec=spec)
    operation = diff(
        owner,
        revision_id=changed.pk,
        cluster_id=cluster.pk,
        namespace=place,
        name="one",
        deployment_id=first.deployment_id,
    )
    return work_off(operation)


def _until_applied(operation: Operation) -> None:
    for _ in range(10):
        operation.refresh_from_db()
        if operation.release_id and operation.release.applied_at:
            return
        Operation.objects.filter(pk=operation.pk).update(wake_at=None)
        run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
    steps = list(operation.steps.values_list("name", "state", "detail"))
    raise AssertionError(f"not applied: {steps} {operation.failure} {operation.failure_answered}")
