"""Quotas: what counts, what is left, what is refused and by how much, also where many ask at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from django.db import connections

from deployments.commands.install import install
from deployments.commands.profiles import create_profile
from deployments.commands.quotas import image_host
from deployments.commands.scale import scale
from deployments.domain.errors import InvalidInput
from deployments.domain.quota import Amounts, OverQuota, demand, from_json, left, read_amount, words
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import AutoscalingSpec, GpuVendor, ImageSpec, ModelSpec, StackSpec, StorageMode
from deployments.domain.states import Role
from deployments.models import ClusterGrant, Deployment
from deployments.selectors.quotas import used
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
