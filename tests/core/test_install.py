"""Install, watch, repair and remove a stack on a living practice cluster, as workers do it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.commands.delete_model import delete_model
from deployments.commands.install import install, upgrade
from deployments.commands.operations import cancel, retry
from deployments.commands.profiles import create_profile
from deployments.commands.restart import restart
from deployments.commands.roll_back import roll_back
from deployments.commands.scale import scale
from deployments.commands.uninstall import uninstall
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.spec import (
    ChatSpec,
    ModelSpec,
    Secrets,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
)
from deployments.domain.states import OperationKind, OperationState, Queue
from deployments.ledger import transitions
from deployments.models import AuditEntry, Cluster, Deployment, Operation, PullProgress, Team
from deployments.selectors.models import stored_models
from deployments.workflows.engine import MAX_ATTEMPTS, run_operation
from deployments.workflows.keeper import keeper
from deployments.workflows.plans import PLANS
from deployments.workflows.probe import probe
from tests.core.chain import first_broken
from tests.core.conftest import connected
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def world() -> Iterator[RunningSandbox]:
    with running_sandbox(world=True, scenario="small", speed=100) as sandbox:
        yield sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    yield connected(admin, team, world)
    world.clear_faults()


def begin(owner: Actor, team: Team, cluster: Cluster, spec: StackSpec, namespace: str) -> Operation:
    revision = create_profile(owner, team_id=team.pk, name=f"for {namespace}", spec=spec)
    return install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace, name="r1", reason="a try"
    )


def names(world: RunningSandbox, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in items(world, path)}


def items(world: RunningSandbox, path: str) -> list[dict[str, Any]]:
    _, _, body = world.request("GET", path)
    return body["items"]


def test_a_stack_is_installed_checked_and_removed_without_a_trace(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    operation = work_off(begin(owner, team, cluster, StackSpec(), "llm"))
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    assert {step.state for step in operation.steps.all()} == {"done"}
    assert operation.result["chat"]["model"] == "deepseek-r1:1.5b"
    deployment = Deployment.objects.get()
    release = deployment.releases.get()
    assert release.applied_at and release.digest
    assert {m["kind"] for m in release.manifests} >= {"StatefulSet", "Service", "Deployment", "NetworkPolicy"}

    pull = Operation.objects.get(kind=OperationKind.PULL)
    progress = PullProgress.objects.get(operation=pull)
    assert progress.completed == progress.total > 1_000_000_000
    assert progress.phase == "done"

    with pytest.raises(InvalidInput, match="Type r1"):
        uninstall(owner, deployment_id=deployment.pk, confirmation="r2", delete_data=True)
    removal = work_off(
        uninstall(owner, deployment_id=deployment.pk, confirmation="r1", delete_data=True, reason="done")
    )
    assert removal.state == OperationState.SUCCEEDED, (removal.failure, removal.failure_answered)
    assert "llm" not in names(world, "/api/v1/namespaces")
    deployment.refresh_from_db()
    assert deployment.removed_at is not None
    actions = list(AuditEntry.objects.order_by("sequence").values_list("action", flat=True))
    assert actions[-2:] == ["deployment.uninstall_with_data", "operation.uninstall"]
    assert first_broken() is None


def test_nothing_is_applied_to_another_cluster_at_the_same_address(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    """The observer may not have met it yet."""
    Cluster.objects.filter(pk=cluster.pk).update(uid="of-the-one-before")
    operation = work_off(begin(owner, team, cluster, StackSpec(), "elsewhere"))
    assert operation.state == OperationState.FAILED and not operation.failure_retryable
    assert "Another cluster answers at this address" in operation.failure
    assert "elsewhere" not in names(world, "/api/v1/namespaces")


def test_what_pilothouse_did_not_make_stays(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    world.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "mine"}}
    )
    world.request(
        "POST",
        "/api/v1/namespaces/mine/configmaps",
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "keep-me"}},
    )
    operation = work_off(begin(owner, team, cluster, StackSpec(), "mine"))
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    removal = uninstall(owner, deployment_id=operation.deployment_id, confirmation="r1", delete_data=False)
    work_off(removal)
    assert removal.state == OperationState.SUCCEEDED, (removal.failure, removal.failure_answered)
    assert "mine" in names(world, "/api/v1/namespaces")
    assert "keep-me" in names(world, "/api/v1/namespaces/mine/configmaps")
    assert names(world, "/api/v1/namespaces/mine/persistentvolumeclaims") == {"models-r1-server-0"}
    assert names(world, "/apis/apps/v1/namespaces/mine/statefulsets") == set()


def test_two_replicas_on_a_shared_claim_pull_once(owner: Actor, team: Team, cluster: Cluster) -> None:
    spec = replace(
        StackSpec(),
        server=ServerSpec(replicas=2),
        storage=StorageSpec(mode=StorageMode.SHARED, storage_class="shared"),
    )
    operation = work_off(begin(owner, team, cluster, spec, "shared"))
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    assert Operation.objects.filter(kind=OperationKind.PULL).count() == 1


def test_a_tag_that_does_not_exist_fails_with_ollamas_reason_and_the_nearest_known(
    owner: Actor, team: Team, cluster: Cluster
) -> None:
    spec = replace(StackSpec(), model=ModelSpec(tag="3b"))
    operation = work_off(begin(owner, team, cluster, spec, "absent"))
    assert operation.state == OperationState.FAILED
    assert "file does not exist" in operation.failure_answered
    assert "1.5b" in operation.failure_remedy
    assert operation.failure_retryable is False


def test_a_cancelled_install_keeps_what_is_there_and_can_be_retried(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    world.faults("stalled_pull", namespace="stop")
    operation = begin(owner, team, cluster, StackSpec(), "stop")
    for _ in range(200):
        Operation.objects.filter(pk=operation.pk).update(wake_at=None)
        run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
        operation.refresh_from_db()
        if "pulled" in operation.waiting_for:
            break
    pull = Operation.objects.get(kind=OperationKind.PULL)
    cancel(owner, operation_id=operation.pk, reason="wrong size")
    operation.refresh_from_db()
    pull.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert pull.state == OperationState.CANCELLED, "nobody else waits for it"
    assert AuditEntry.objects.filter(action="operation.cancel", reason="wrong size").exists()
    assert names(world, "/apis/apps/v1/namespaces/stop/statefulsets") == {"r1-server"}

    world.clear_faults()
    again = work_off(retry(owner, operation_id=operation.pk))
    assert again.state == OperationState.SUCCEEDED, (again.failure, again.failure_answered)


def test_a_line_that_breaks_again_and_again_brings_the_model_in_the_end(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    world.request("PUT", "/sandbox/clock", {"speed": 5})
    try:
        # More often than a step is tried, were nothing gained meanwhile.
        world.faults("drop", namespace="breaks", path="*pull*", after_bytes=600, times=MAX_ATTEMPTS + 2)
        operation = work_off(begin(owner, team, cluster, StackSpec(), "breaks"))
    finally:
        world.clear_faults()
        world.request("PUT", "/sandbox/clock", {"speed": 100})
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    pull = Operation.objects.get(kind=OperationKind.PULL)
    assert pull.pull.attempt == MAX_ATTEMPTS + 3 and pull.pull.completed == pull.pull.total


def test_a_worker_that_dies_in_the_middle_is_replaced_and_nothing_is_done_twice(
    owner: Actor, team: Team, cluster: Cluster
) -> None:
    operation = begin(owner, team, cluster, StackSpec(), "killed")
    dead = transitions.claim(operation.pk, "dead", {Queue.CONTROL})
    assert dead is not None
    assert transitions.recover(operation.pk, now=timezone.now() + timedelta(minutes=1)) == "requeued"
    work_off(operation)
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    assert operation.deployment is not None
    assert operation.deployment.releases.count() == 1
    assert operation.recoveries == 1
    with pytest.raises(transitions.ClaimLost):
        transitions.finish(dead, OperationState.FAILED, "too late")


def test_a_stopping_worker_gives_its_row_back(
    owner: Actor, team: Team, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    operation = begin(owner, team, cluster, StackSpec(), "stopping")
    claimed = transitions.claim

    def then_stop(*arguments: object) -> object:
        held = claimed(*arguments)  # type: ignore[arg-type]
        keeper.stopping.set()
        return held

    monkeypatch.setattr(transitions, "claim", then_stop)
    try:
        run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
    finally:
        keeper.stopping.clear()
    operation.refresh_from_db()
    assert operation.state == OperationState.QUEUED
    assert operation.wake_at is None
    assert operation.transitions.last().cause == "its worker was stopped"


def test_an_upgrade_changes_what_changed_and_prunes_what_left(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    operation = work_off(begin(owner, team, cluster, StackSpec(), "change"))
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    assert names(world, "/apis/apps/v1/namespaces/change/deployments") == {"r1-chat"}
    without = create_profile(
        owner, team_id=team.pk, name="no chat", spec=replace(StackSpec(), chat=ChatSpec(enabled=False))
    )
    change = work_off(upgrade(owner, deployment_id=operation.deployment_id, revision_id=without.pk))
    assert change.state == OperationState.SUCCEEDED, (change.failure, change.failure_answered)
    assert names(world, "/apis/apps/v1/namespaces/change/deployments") == set()
    assert names(world, "/apis/apps/v1/namespaces/change/statefulsets") == {"r1-server"}
    assert names(world, "/api/v1/namespaces/change/persistentvolumeclaims") == {"models-r1-server-0"}
    assert not Operation.objects.filter(kind=OperationKind.PULL, pk__gt=change.pk).exists(), "still cached"


def test_an_upgrade_that_is_refused_before_the_apply_leaves_the_deployment_at_what_runs(
    owner: Actor, team: Team, cluster: Cluster
) -> None:
    operation = work_off(begin(owner, team, cluster, StackSpec(), "refused"))
    deployment = Deployment.objects.get(pk=operation.deployment_id)
    before = deployment.revision
    elsewhere = StorageSpec(mode=StorageMode.EXISTING, claim_name="nowhere")
    other = create_profile(
        owner, team_id=team.pk, name="elsewhere", spec=replace(StackSpec(), storage=elsewhere)
    )
    change = work_off(upgrade(owner, deployment_id=deployment.pk, revision_id=other.pk))
    assert change.state == OperationState.FAILED
    deployment.refresh_from_db()
    assert deployment.revision == before, "its pages speak of what is applied"
    assert deployment.releases.count() == 1


def test_pods_are_added_and_taken_without_another_revision(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    install = work_off(begin(owner, team, cluster, StackSpec(), "scaled"))
    deployment = Deployment.objects.get(pk=install.deployment_id)
    up = work_off(scale(owner, deployment_id=deployment.pk, server=2, reason="a demonstration"))
    assert up.state == OperationState.SUCCEEDED, (up.failure, up.failure_answered)
    claims = "/api/v1/namespaces/scaled/persistentvolumeclaims"
    assert names(world, claims) == {"models-r1-server-0", "models-r1-server-1"}
    pulls = Operation.objects.filter(kind=OperationKind.PULL, pk__gt=up.pk)
    assert [pull.state for pull in pulls] == [OperationState.SUCCEEDED], "the new volume gets the model"
    release = deployment.releases.first()
    assert (release.number, release.cause, release.revision_id) == (2, "scale", deployment.revision_id)
    assert release.digest != deployment.releases.last().digest

    with pytest.raises(Conflict, match="already"):
        scale(owner, deployment_id=deployment.pk, server=2)
    with pytest.raises(InvalidInput) as refused:
        scale(owner, deployment_id=deployment.pk, server=-1)
    assert refused.value.field == "server"
    down = work_off(scale(owner, deployment_id=deployment.pk, server=0, chat=0))
    assert down.state == OperationState.SUCCEEDED, (down.failure, down.failure_answered)
    assert names(world, "/api/v1/namespaces/scaled/pods") == set()
    assert len(names(world, claims)) == 2, "the model data stays"
    entry = AuditEntry.objects.filter(action="deployment.scale").order_by("sequence").last()
    assert (entry.before, entry.after) == ({"server": 2, "chat": 1}, {"server": 0, "chat": 0})


def test_a_restart_replaces_pods_and_a_roll_back_brings_back_what_was_applied(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    spec = replace(StackSpec(), chat=ChatSpec(has_access_code=True))
    revision = create_profile(owner, team_id=team.pk, name="coded", spec=spec, secrets=Secrets("first-code"))
    first = work_off(
        install(owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace="back", name="r1")
    )
    assert first.state == OperationState.SUCCEEDED, (first.failure, first.failure_answered)
    deployment = Deployment.objects.get(pk=first.deployment_id)
    pods = {pod["metadata"]["uid"] for pod in items(world, "/api/v1/namespaces/back/pods")}

    again = work_off(restart(owner, deployment_id=deployment.pk, reason="stuck"))
    assert again.state == OperationState.SUCCEEDED, (again.failure, again.failure_answered)
    fresh = {pod["metadata"]["uid"] for pod in items(world, "/api/v1/namespaces/back/pods")}
    assert len(fresh) == len(pods) == 2
    assert not fresh & pods, "no pod of before is left when it has ended"

    without = create_profile(
        owner, team_id=team.pk, name="bare", spec=replace(StackSpec(), chat=ChatSpec(enabled=False))
    )
    work_off(upgrade(owner, deployment_id=deployment.pk, revision_id=without.pk))
    assert names(world, "/api/v1/namespaces/back/secrets") == set()
    with pytest.raises(Conflict, match="applied now"):
        roll_back(owner, deployment_id=deployment.pk, release=3)
    back = work_off(roll_back(owner, deployment_id=deployment.pk, release=1, reason="chat is missed"))
    assert back.state == OperationState.SUCCEEDED, (back.failure, back.failure_answered)
    deployment.refresh_from_db()
    assert deployment.revision == revision
    assert names(world, "/apis/apps/v1/namespaces/back/deployments") == {"r1-chat"}
    (secret,) = items(world, "/api/v1/namespaces/back/secrets")
    assert b64decode(secret["data"]["code"]) == b"first-code"
    numbers = dict(deployment.releases.values_list("number", "digest"))
    assert numbers[4] == numbers[1] != numbers[2], "the same objects, not rendered anew"

    bare = work_off(roll_back(owner, deployment_id=deployment.pk, release=3))
    assert bare.state == OperationState.SUCCEEDED, (bare.failure, bare.failure_answered)
    assert names(world, "/apis/apps/v1/namespaces/back/deployments") == set(), (
        "what it does not have is pruned"
    )


def test_a_model_is_deleted_for_good_until_somebody_asks_for_it_again(
    owner: Actor, team: Team, cluster: Cluster
) -> None:
    install = work_off(begin(owner, team, cluster, StackSpec(), "models"))
    deployment = Deployment.objects.get(pk=install.deployment_id)
    larger = create_profile(
        owner, team_id=team.pk, name="larger", spec=replace(StackSpec(), model=ModelSpec(tag="7b"))
    )
    work_off(upgrade(owner, deployment_id=deployment.pk, revision_id=larger.pk))

    def there() -> dict[str, bool]:
        probe(deployment.pk)
        deployment.refresh_from_db()
        return {model.name: model.served for model in stored_models(deployment)}

    assert there() == {"deepseek-r1:7b": True, "deepseek-r1:1.5b": False}
    old, new = "deepseek-r1:1.5b", "deepseek-r1:7b"
    with pytest.raises(InvalidInput, match="to confirm"):
        delete_model(owner, deployment_id=deployment.pk, model=old, confirmation="r1")
    with pytest.raises(NotFound):
        delete_model(owner, deployment_id=deployment.pk, model="llama3:8b", confirmation="llama3:8b")
    for model in (old, new):
        gone = work_off(
            delete_model(owner, deployment_id=deployment.pk, model=model, confirmation=model, reason="space")
        )
        assert gone.state == OperationState.SUCCEEDED, (gone.failure, gone.failure_answered)
    assert there() == {}
    assert not Operation.objects.filter(pk__gt=gone.pk).exists(), "nobody pulls what was deleted on purpose"
    entry = AuditEntry.objects.filter(action="model.delete").order_by("sequence").last()
    assert entry.before["served"] is True and entry.before["bytes"] > 4_000_000_000
    again = work_off(restart(owner, deployment_id=deployment.pk))
    assert again.state == OperationState.SUCCEEDED, (again.failure, again.failure_answered)
    assert there() == {new: True}


def test_a_foreign_object_under_our_name_is_left_alone(
    owner: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    world.request(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "taken"}}
    )
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "r1-chat"},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "theirs"}},
    }
    world.request("POST", "/api/v1/namespaces/taken/services", body)
    operation = work_off(begin(owner, team, cluster, StackSpec(), "taken"))
    assert operation.state == OperationState.FAILED
    assert "r1-chat" in operation.failure_answered
    _, _, service = world.request("GET", "/api/v1/namespaces/taken/services/r1-chat")
    assert service["spec"]["selector"] == {"app": "theirs"}
