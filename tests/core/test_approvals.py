"""What needs somebody else's yes: asked for, agreed to, refused, run out, and applied exactly so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from django.core import mail
from django.utils import timezone

from deployments.commands.approvals import decide, expire
from deployments.commands.install import install, upgrade
from deployments.commands.operations import cancel, retry
from deployments.commands.profiles import create_profile, save_revision
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.spec import ChatSpec, GpuVendor, ServerSpec, StackSpec
from deployments.domain.states import Approver, OperationState, Role
from deployments.models import (
    Approval,
    AuditEntry,
    Cluster,
    ClusterGrant,
    Deployment,
    Operation,
    OwnedObject,
    Release,
    Team,
    User,
)
from deployments.selectors.approvals import approval_list, may_decide, waiting_for
from deployments.workflows import install as install_steps
from deployments.workflows.engine import Run
from tests.core.conftest import connected, member
from tests.factories import make_team
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)
NO_CHAT = replace(StackSpec(), server=ServerSpec(replicas=0), chat=ChatSpec(enabled=False))


@pytest.fixture(scope="module")
def world() -> Iterator[RunningSandbox]:
    with running_sandbox(world=True, scenario="small", speed=100) as sandbox:
        yield sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, world: RunningSandbox) -> Cluster:
    found = connected(admin, team, world)
    ClusterGrant.objects.update(approver=Approver.OWNER)
    return found


@pytest.fixture
def asker(team: Team) -> Actor:
    return member(team, Role.OPERATOR, "asker")


def ask(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, namespace: str, spec: StackSpec = NO_CHAT
) -> Operation:
    revision = create_profile(owner, team_id=team.pk, name=f"for {namespace}", spec=spec)
    operation = install(
        asker, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace, name="r1", reason="a demo"
    )
    return work_off(operation, until=OperationState.AWAITING_APPROVAL)


def objects(world: RunningSandbox, namespace: str) -> list[str]:
    _, _, body = world.request("GET", f"/apis/apps/v1/namespaces/{namespace}/statefulsets")
    return [item["metadata"]["name"] for item in body.get("items", [])]


def test_a_yes_applies_exactly_what_was_shown(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    operation = ask(owner, asker, team, cluster, "yes")
    approval = Approval.objects.get()
    assert objects(world, "yes") == []
    assert approval.digest == approval.release.digest
    assert (waiting_for(owner), waiting_for(asker)) == (1, 0)
    decide(owner, approval_id=approval.pk, approve=True, reason="fine")
    operation = work_off(operation)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    assert operation.release == approval.release
    assert objects(world, "yes") == ["r1-server"]
    entry = AuditEntry.objects.get(action="operation.approve")
    assert (entry.actor_name, entry.reason, entry.manifest_digest) == ("owner", "fine", approval.digest)
    with pytest.raises(Conflict):
        decide(owner, approval_id=approval.pk, approve=False, reason="no")


def test_what_was_altered_after_the_yes_is_not_applied(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    operation = ask(owner, asker, team, cluster, "altered")
    decide(owner, approval_id=Approval.objects.get().pk, approve=True)
    release = Release.objects.get()
    release.manifests[-1]["metadata"]["labels"]["altered"] = "yes"  # and its digest is left as it was
    release.save()
    operation = work_off(operation)
    assert operation.state == OperationState.FAILED
    assert "not what was agreed to" in operation.failure
    assert objects(world, "altered") == []


def test_what_was_altered_right_before_the_apply_is_not_applied(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, world: RunningSandbox, monkeypatch
) -> None:
    operation = ask(owner, asker, team, cluster, "late-change")
    decide(owner, approval_id=Approval.objects.get().pk, approve=True)
    release_of = install_steps.release_of

    def altering(run: Run) -> Release:
        release = release_of(run)
        release.manifests[-1]["metadata"]["labels"]["altered"] = "yes"
        return release

    monkeypatch.setattr(install_steps, "release_of", altering)
    operation = work_off(operation)
    assert operation.state == OperationState.FAILED
    assert "not what was agreed to" in operation.failure
    assert operation.steps.get(name="approval").state == "done"
    assert objects(world, "late-change") == []


def test_a_smaller_request_than_the_threshold_needs_no_yes_whatever_was_there(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster
) -> None:
    ClusterGrant.objects.update(approver=Approver.NOBODY, approve_over_gpus=1)
    revision = create_profile(owner, team_id=team.pk, name="shrinks", spec=NO_CHAT)
    first = install(asker, revision_id=revision.pk, cluster_id=cluster.pk, namespace="shrinks", name="r1")
    assert work_off(first).state == OperationState.SUCCEEDED
    deployment = Deployment.objects.get()
    Deployment.objects.update(demand={**deployment.demand, "gpus": 8})
    ClusterGrant.objects.update(approver=Approver.OWNER)
    again = upgrade(asker, deployment_id=deployment.pk, revision_id=revision.pk)
    assert work_off(again).state == OperationState.SUCCEEDED


def test_nobody_agrees_to_his_own_request(owner: Actor, team: Team, cluster: Cluster, admin: Actor) -> None:
    operation = ask(owner, owner, team, cluster, "own")
    approval = Approval.objects.get()
    assert waiting_for(owner) == 0
    assert not may_decide(owner, approval)
    with pytest.raises(Denied, match="own request"):
        decide(owner, approval_id=approval.pk, approve=True)
    decide(admin, approval_id=approval.pk, approve=True)
    operation.refresh_from_db()
    assert operation.state == OperationState.QUEUED


def test_who_may_agree(owner: Actor, asker: Actor, team: Team, cluster: Cluster) -> None:
    ClusterGrant.objects.update(approver=Approver.ADMIN)
    ask(owner, asker, team, cluster, "who")
    approval = Approval.objects.get()
    with pytest.raises(Denied, match="site admin"):
        decide(owner, approval_id=approval.pk, approve=True)
    with pytest.raises(Denied):
        decide(member(team, Role.MAINTAINER), approval_id=approval.pk, approve=True)
    stranger = member(make_team("Other"), Role.OWNER, "stranger")
    with pytest.raises(NotFound):
        decide(stranger, approval_id=approval.pk, approve=True)
    assert not approval_list(stranger).exists()
    assert AuditEntry.objects.filter(action="operation.approve", outcome="denied").count() == 2


def test_a_refusal_says_why_and_frees_the_name(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster
) -> None:
    User.objects.filter(username="asker").update(email="asker@example.com")
    operation = ask(owner, asker, team, cluster, "refused")
    approval = Approval.objects.get()
    with pytest.raises(InvalidInput):
        decide(owner, approval_id=approval.pk, approve=False)
    decide(owner, approval_id=approval.pk, approve=False, reason="too large")
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert "too large" in operation.transitions.order_by("-pk").first().cause
    assert not Deployment.objects.filter(removed_at=None).exists()


def test_a_refused_upgrade_leaves_what_is_applied(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster
) -> None:
    ClusterGrant.objects.update(approver=Approver.NOBODY)
    revision = create_profile(owner, team_id=team.pk, name="grown", spec=NO_CHAT)
    first = install(asker, revision_id=revision.pk, cluster_id=cluster.pk, namespace="grown", name="r1")
    assert work_off(first).state == OperationState.SUCCEEDED
    ClusterGrant.objects.update(approver=Approver.OWNER)
    newer = save_revision(
        owner, profile_id=revision.profile_id, based_on=1, spec=replace(NO_CHAT, chat=ChatSpec(replicas=2))
    )
    deployment = Deployment.objects.get()
    before = deployment.demand
    operation = upgrade(asker, deployment_id=deployment.pk, revision_id=newer.pk)
    work_off(operation, until=OperationState.AWAITING_APPROVAL)
    decide(owner, approval_id=Approval.objects.get().pk, approve=False, reason="not now")
    deployment.refresh_from_db()
    assert deployment.removed_at is None
    assert (deployment.revision, deployment.demand) == (revision, before)


def test_only_large_requests_need_a_yes(owner: Actor, asker: Actor, team: Team, cluster: Cluster) -> None:
    ClusterGrant.objects.update(approve_over_gpus=1)
    revision = create_profile(owner, team_id=team.pk, name="tiny", spec=NO_CHAT)
    operation = install(asker, revision_id=revision.pk, cluster_id=cluster.pk, namespace="tiny", name="r1")
    assert work_off(operation).state == OperationState.SUCCEEDED
    assert not Approval.objects.exists()


def test_asking_again_after_a_cancelled_request_asks_again(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    """What a request had reserved is given back when it is cancelled, so that is not what the threshold
    goes by."""
    ClusterGrant.objects.update(approve_over_gpus=1)
    revision = create_profile(owner, team_id=team.pk, name="grows", spec=NO_CHAT)
    first = install(asker, revision_id=revision.pk, cluster_id=cluster.pk, namespace="grows", name="r1")
    assert work_off(first).state == OperationState.SUCCEEDED
    large = replace(NO_CHAT, server=ServerSpec(gpu_vendor=GpuVendor.NVIDIA, gpu_count=2))
    newer = save_revision(owner, profile_id=revision.profile_id, based_on=1, spec=large)
    asked = upgrade(asker, deployment_id=Deployment.objects.get().pk, revision_id=newer.pk, anyway=True)
    work_off(asked, until=OperationState.AWAITING_APPROVAL)
    cancel(asker, operation_id=asked.pk)
    assert Deployment.objects.get().demand["gpus"] == 0
    again = work_off(retry(asker, operation_id=asked.pk), until=OperationState.AWAITING_APPROVAL)
    assert again.state == OperationState.AWAITING_APPROVAL
    assert again.approval.decided_at is None


def test_a_cancelled_request_is_closed(owner: Actor, asker: Actor, team: Team, cluster: Cluster) -> None:
    operation = ask(owner, asker, team, cluster, "cancelled")
    cancel(asker, operation_id=operation.pk)
    assert Approval.objects.get().approved is False
    with pytest.raises(Conflict):
        decide(owner, approval_id=Approval.objects.get().pk, approve=True)
    assert not Deployment.objects.filter(removed_at=None).exists()


def test_what_an_earlier_try_left_on_the_cluster_is_not_forgotten(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster
) -> None:
    operation = ask(owner, asker, team, cluster, "half-way")
    deployment = Deployment.objects.get()
    OwnedObject.objects.create(
        deployment=deployment,
        api_version="apps/v1",
        kind="StatefulSet",
        namespace="half-way",
        name="r1-server",
    )
    cancel(asker, operation_id=operation.pk)
    deployment.refresh_from_db()
    assert deployment.removed_at is None, "else its pods would run on and count for nobody"


def test_nobody_in_time_is_a_no(owner: Actor, asker: Actor, team: Team, cluster: Cluster) -> None:
    operation = ask(owner, asker, team, cluster, "late")
    later = timezone.now() + timedelta(days=8)
    assert expire(timezone.now()) == 0
    assert expire(later) == 1
    assert expire(later) == 0
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert AuditEntry.objects.filter(action="approval.expire").count() == 1


def test_letters_go_to_those_who_may_decide_and_back(
    owner: Actor, asker: Actor, team: Team, cluster: Cluster, settings
) -> None:
    settings.MAIL_CONFIGURED = True
    User.objects.filter(username="owner").update(email="owner@example.com")
    User.objects.filter(username="asker").update(email="asker@example.com")
    ask(owner, asker, team, cluster, "mail")
    approval = Approval.objects.get()
    assert [letter.to for letter in mail.outbox] == [["owner@example.com"]]
    assert f"/approvals/{approval.pk}/" in mail.outbox[0].body
    decide(owner, approval_id=approval.pk, approve=True)
    assert mail.outbox[1].to == ["asker@example.com"]
