"""People, a team and a practice cluster for the core's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deployments.commands.clusters import connect_cluster
from deployments.commands.profiles import create_profile
from deployments.domain.actors import Actor
from deployments.domain.spec import StackSpec
from deployments.domain.states import Role, SiteRole
from deployments.gateways.kubernetes import import_context, read_kubeconfig
from deployments.models import Cluster, Membership, Revision, Team, User
from deployments.selectors.actors import actor_for
from tests.sandbox_server import RunningSandbox, running_sandbox


@pytest.fixture
def team(db: None) -> Team:
    return Team.objects.get(slug="default")


@pytest.fixture
def admin(db: None) -> Actor:
    user = User.objects.create_user("admin", password="not-a-real-password", site_role=SiteRole.ADMIN)
    return actor_for(user, "127.0.0.1")


def member(team: Team, role: Role, name: str = "") -> Actor:
    user = User.objects.create_user(name or str(role))
    Membership.objects.create(team=team, user=user, role=role)
    return actor_for(user, "127.0.0.1")


@pytest.fixture
def owner(team: Team) -> Actor:
    return member(team, Role.OWNER)


@pytest.fixture(scope="session")
def bare_sandbox() -> Iterator[RunningSandbox]:
    """The API server alone: nothing runs there."""
    with running_sandbox() as sandbox:
        sandbox.request(
            "POST",
            "/apis/storage.k8s.io/v1/storageclasses",
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "metadata": {
                    "name": "standard",
                    "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
                },
                "provisioner": "example.com/disks",
            },
        )
        yield sandbox


@pytest.fixture
def practice() -> Iterator[RunningSandbox]:
    """A small living cluster, fresh for each test."""
    with running_sandbox(world=True, scenario="small", speed=60) as sandbox:
        yield sandbox


def connected(admin: Actor, team: Team, sandbox: RunningSandbox, name: str = "practice") -> Cluster:
    file = read_kubeconfig(sandbox.kubeconfig_path.read_text())
    credential = import_context(file, allow_loopback=True)
    cluster, _ = connect_cluster(
        admin, name=name, credential=credential, teams=[team], namespaces=["*"], simulated=True
    )
    return cluster


@pytest.fixture
def revision(owner: Actor, team: Team) -> Revision:
    return create_profile(owner, team_id=team.pk, name="small", spec=StackSpec())
