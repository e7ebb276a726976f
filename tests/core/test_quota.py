"""Quotas: what counts, what is left, what is refused and by how much, also where many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import connections
from django.utils import timezone

from deployments.commands.install import install, upgrade
from deployments.commands.operations import cancel, retry
from deployments.commands.plans import STEPS
from deployments.commands.profiles import create_profile, save_revision
from deployments.commands.quotas import image_host, settle_ended
from deployments.commands.scale import scale
from deployments.domain.errors import InvalidInput
from deployments.domain.findings import Finding
from deployments.domain.quota import Amounts, OverQuota, demand, from_json, left, read_amount, words
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import AutoscalingSpec, GpuVendor, ImageSpec, ModelSpec, StackSpec, StorageMode
from deployments.domain.states import FindingLevel, OperationKind, OperationState, Role
from deployments.ledger import transitions
from deployments.models import ClusterGrant, Deployment, Operation, Release, Revision
from deployments.observer import timekeeper
from deployments.selectors.quotas import standing, used
from deployments.workflows.checks.granted import granted
from tests import factories as make
from tests.web import rows

GPU = replace(StackSpec(), server=replace(StackSpec().server, gpu_vendor=GpuVendor.NVIDIA, gpu_count=2))


def asked(spec: StackSpec) -> Amounts:
    return demand(sized(spec, size_stack(spec, None)))


class World:
    def __init__(self, spec: StackSpec = GPU, **grant) -> None:
        team = make.default_team()
        self.who = make.as_actor(make.make_member(team, Role.OWNER, "owner"))
        self.cluster = make.make_cluster(make.make_admin(), teams=[team])
        ClusterGrant.objects.update(**grant)
        self.revision = create_profile(self.who, team_id=team.pk, name="p", spec=spec)

    def install(self, name: str = "r1"):
        return install(
            self.who, revision_id=self.revision.pk, cluster_id=self.cluster.pk, namespace="llm", name=name
        )


def test_a_stack_counts_with_the_most_pods_it_may_have():
    grown = replace(GPU, server=replace(GPU.server, autoscaling=AutoscalingSpec(True, 1, 5)))
    assert (asked(GPU).gpus, asked(grown).gpus) == (2, 10)
    shared = replace(grown, storage=replace(GPU.storage, mode=StorageMode.SHARED))
    assert asked(grown).storage == 5 * asked(shared).storage > 0
    plain = replace(StackSpec(), server=replace(StackSpec().server, gpu_count=4))
    assert asked(plain).gpus == 0


@pytest.mark.parametrize(
    "name, text, amount",
    [("cpu", "1500m", 1500), ("cpu", "2", 2000), ("memory", "1Gi", 2**30), ("gpus", "", None)],
)
def test_bounds_are_written_as_quantities(name, text, amount):
    assert read_amount(name, text) == amount
    if amount is not None:
        assert read_amount(name, words(name, amount)) == amount


def test_bad_bounds_are_refused_at_their_field():
    with pytest.raises(InvalidInput) as error:
        read_amount("memory", "8G i")
    assert error.value.field == "memory"


def test_what_is_left_is_never_below_nothing():
    assert left(from_json({"gpus": 1}, missing=None), Amounts(gpus=3)).gpus == 0
    assert left(from_json({}, missing=None), Amounts(gpus=3)).gpus is None
    assert from_json({"gpus": "many", "cpu": True, "memory": -1}, missing=7) == Amounts(7, 7, 7, 7, 7)


@pytest.mark.django_db
def test_over_the_quota_says_by_how_much():
    world = World(quota={"gpus": 3})
    world.install()
    with pytest.raises(OverQuota) as error:
        world.install("r2")
    assert "may use 3, 2 are taken and this asks for 2, 1 too much" in error.value.sentence
    assert Deployment.objects.count() == 1


@pytest.mark.django_db
def test_what_was_uninstalled_counts_no_more():
    world = World(quota={"deployments": 1})
    world.install()
    Deployment.objects.update(removed_at="2026-01-01T00:00:00Z")
    world.install("r2")
    assert used(ClusterGrant.objects.get()).deployments == 1


@pytest.mark.django_db
def test_a_lowered_bound_stops_only_more():
    world = World()
    world.install()
    deployment = Deployment.objects.get()
    rows.release(deployment, 1, [])
    ClusterGrant.objects.update(quota={"gpus": 1})
    Deployment.objects.update(demand={**deployment.demand, "gpus": 2})
    with pytest.raises(OverQuota):
        scale(world.who, deployment_id=deployment.pk, server=2)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "spec, allowed",
    [
        (GPU, {"model_registries": ["registry.example.com"]}),
        (
            replace(GPU, model=ModelSpec(registry="elsewhere.example.com/team")),
            {"model_registries": ["registry.ollama.ai"]},
        ),
        (GPU, {"image_registries": ["registry.example.com"]}),
        (replace(GPU, images=ImageSpec(registry="mirror.example.com")), {"image_registries": ["docker.io"]}),
    ],
)
def test_registries_that_the_grant_does_not_name_are_refused(spec, allowed):
    world = World(spec, **allowed)
    with pytest.raises(InvalidInput) as error:
        world.install()
    assert error.value.field == "revision"
    assert not Deployment.objects.exists()


@pytest.mark.django_db
def test_registries_that_it_names_are_fine():
    spec = replace(GPU, images=ImageSpec(registry="mirror.example.com/hub"))
    World(spec, image_registries=["mirror.example.com"], model_registries=["registry.ollama.ai"]).install()


def test_image_hosts():
    assert image_host("ollama/ollama:0.9.6") == "docker.io"
    assert image_host("docker.io/ollama/ollama") == "docker.io"
    assert image_host("ghcr.io/x/y@sha256:" + "0" * 64) == "ghcr.io"


@pytest.mark.django_db(transaction=True)
def test_a_hundred_at_once_against_a_quota_of_ten(sent):
    """Whatever the database, exactly ten get in."""
    world = World(StackSpec(), quota={"deployments": 10})

    def attempt(number: int) -> bool:
        try:
            world.install(f"r{number}")
        except OverQuota:
            return False
        finally:
            connections.close_all()
        return True

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(attempt, range(100)))
    assert sum(outcomes) == 10
    assert Deployment.objects.count() == 10


# -- a change that has not ended yet counts with the larger of before and after ---------------------------


def applied(world: World, name: str = "r1") -> Deployment:
    """A deployment whose install has succeeded."""
    operation = world.install(name)
    deployment = Deployment.objects.get(name=name)
    rows.release(deployment, 1, [])
    Operation.objects.filter(pk=operation.pk).update(state=OperationState.SUCCEEDED)
    return deployment


def change(world: World, spec: StackSpec) -> Revision:
    latest = world.revision.profile.revisions.latest("number")
    return save_revision(
        world.who, profile_id=world.revision.profile_id, based_on=latest.number, spec=spec, note="change"
    )


@pytest.mark.django_db
def test_asking_for_less_frees_nothing_before_it_is_applied():
    world = World(quota={"gpus": 3})
    deployment = applied(world)
    smaller = upgrade(world.who, deployment_id=deployment.pk, revision_id=change(world, StackSpec()).pk)
    with pytest.raises(OverQuota):
        world.install("r2")
    cancel(world.who, operation_id=smaller.pk)
    with pytest.raises(OverQuota):
        world.install("r2")
    assert used(ClusterGrant.objects.get()).gpus == 2


@pytest.mark.django_db
def test_what_a_cancelled_change_had_reserved_is_free_again():
    world = World(quota={"gpus": 4})
    deployment = applied(world)
    larger = change(world, replace(GPU, server=replace(GPU.server, gpu_count=4)))
    operation = upgrade(world.who, deployment_id=deployment.pk, revision_id=larger.pk)
    with pytest.raises(OverQuota):
        world.install("r2")
    cancel(world.who, operation_id=operation.pk)
    world.install("r2")
    # And beginning it again asks again, and does not go by what was reserved once.
    with pytest.raises(OverQuota) as error:
        retry(world.who, operation_id=operation.pk)
    assert "2 too much" in error.value.sentence


@pytest.mark.django_db
@pytest.mark.parametrize("at, counted", [("preflight", 2), ("apply", 4), ("ready", 4)])
def test_a_failed_change_counts_with_what_may_be_on_the_cluster(at: str, counted: int):
    world = World()
    deployment = applied(world)
    larger = change(world, replace(GPU, server=replace(GPU.server, gpu_count=4)))
    operation = upgrade(world.who, deployment_id=deployment.pk, revision_id=larger.pk)
    operation.step = STEPS[OperationKind.UPGRADE].index(at)
    if at != "preflight":
        operation.release = Release.objects.create(
            deployment=deployment, number=2, revision=larger, spec=larger.spec, manifests=[], digest="0" * 64
        )
    settle_ended(operation)
    assert used(ClusterGrant.objects.get()).gpus == counted


@pytest.mark.django_db
def test_what_a_change_had_reserved_whose_worker_died_is_free_again():
    world = World()
    deployment = applied(world)
    larger = change(world, replace(GPU, server=replace(GPU.server, gpu_count=4)))
    operation = upgrade(world.who, deployment_id=deployment.pk, revision_id=larger.pk)
    assert used(ClusterGrant.objects.get()).gpus == 4
    Operation.objects.filter(pk=operation.pk).update(
        state=OperationState.RUNNING, recoveries=transitions.MAX_RECOVERIES, heartbeat_at=None
    )
    assert timekeeper.recover(timezone.now()) == {"failed": 1}
    assert used(ClusterGrant.objects.get()).gpus == 2


# -- the same as findings of a preflight -----------------------------------------------------------------


def findings(world: World, spec: StackSpec, deployment: Deployment | None = None) -> dict[str, Finding]:
    team = make.default_team()
    return {one.check: one for one in granted(standing(team.pk, world.cluster.pk, deployment), spec)}


@pytest.mark.django_db
def test_a_preflight_says_what_is_asked_used_and_left():
    world = World(quota={"gpus": 3, "memory": 2**40})
    world.install()
    found = findings(world, GPU)["team_quota"]
    assert found.level == FindingLevel.FAIL
    assert found.evidence == "GPUs: asks for 2, 2 of 3 used, 1 left, 1 too much"
    assert not found.waivable, "the command refuses it whatever a person says"
    found = findings(world, StackSpec())["team_quota"]
    assert found.level == FindingLevel.PASS
    assert found.evidence.startswith("GPUs: asks for 0, 2 of 3 used, 1 left; memory: asks for ")


@pytest.mark.django_db
def test_a_deployment_is_not_counted_against_itself():
    world = World(quota={"gpus": 5})
    deployment = applied(world)
    applied(world, "r2")
    found = findings(world, replace(GPU, server=replace(GPU.server, gpu_count=3)), deployment)["team_quota"]
    assert (found.level, found.evidence) == (
        FindingLevel.PASS,
        "GPUs: asks for 3 instead of 2, 2 of 5 used by others, 3 left",
    )
    found = findings(world, replace(GPU, server=replace(GPU.server, gpu_count=4)), deployment)["team_quota"]
    assert (found.level, "4 instead of 2, 2 of 5 used by others, 3 left, 1 too much" in found.evidence) == (
        FindingLevel.FAIL,
        True,
    )
    ClusterGrant.objects.update(quota={"gpus": 1})
    assert findings(world, GPU, deployment)["team_quota"].level == FindingLevel.PASS, "no more than it has"


@pytest.mark.django_db
def test_registries_are_findings_with_a_remedy_each():
    world = World(model_registries=["registry.example.com"], image_registries=["docker.io", "ghcr.io"])
    found = findings(world, GPU)["team_registries"]
    assert (found.level, found.field) == (FindingLevel.FAIL, "model")
    assert "may not pull models from registry.ollama.ai" in found.title
    assert found.evidence == "allowed: registry.example.com"
    assert "registry.ollama.ai" in found.remedy
    ClusterGrant.objects.update(model_registries=[])
    assert findings(world, GPU)["team_registries"].level == FindingLevel.PASS
    assert findings(world, GPU)["team_quota"].title.startswith("No quota")


@pytest.mark.django_db
def test_who_asks_for_no_team_is_told_of_no_quota():
    assert list(granted(standing(None, 1, None), GPU)) == []
