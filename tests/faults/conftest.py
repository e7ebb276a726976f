"""A living practice cluster whose faults can be switched, with an observer that watches it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import Client

from deployments.domain.actors import Actor
from deployments.models import Cluster, Team, User
from deployments.observer.clusters import ANSWERS_WITHIN
from deployments.observer.service import Observer
from deployments.selectors.actors import actor_for
from tests.core.conftest import connected
from tests.factories import make_admin
from tests.sandbox_server import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def world() -> Iterator[RunningSandbox]:
    with running_sandbox(world=True, scenario="small", speed=100) as sandbox:
        yield sandbox


@pytest.fixture
def admin_user(ground: None) -> User:
    return make_admin()


@pytest.fixture
def actor(admin_user: User) -> Actor:
    return actor_for(admin_user, "127.0.0.1")


@pytest.fixture
def team(ground: None) -> Team:
    return Team.objects.get(slug="default")


@pytest.fixture
def cluster(actor: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    world.clear_faults()
    yield connected(actor, team, world)
    world.clear_faults()


@pytest.fixture
def page(admin_user: User) -> Callable[[str], str]:
    """The text of a page, as the site's admin sees it."""
    browser = Client()
    browser.force_login(admin_user, backend="django.contrib.auth.backends.ModelBackend")

    def get(address: str) -> str:
        answer = browser.get(address)
        assert answer.status_code == 200, (address, answer.status_code)
        return " ".join(answer.content.decode().replace("&#x27;", "'").replace("&quot;", '"').split())

    return get


@contextmanager
def observing(answers_within: float = ANSWERS_WITHIN) -> Iterator[None]:
    observer = Observer("faults", answers_within=answers_within)
    thread = threading.Thread(target=observer.run, name="observer", daemon=True)
    thread.start()
    try:
        yield
    finally:
        observer.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def observer(cluster: Cluster) -> Iterator[None]:
    with observing():
        yield


def switched(sandbox: RunningSandbox, fault: str, params: dict[str, Any]) -> None:
    status, _, answer = sandbox.faults(fault, **params)
    assert status < 300, answer


@contextmanager
def slow_motion(sandbox: RunningSandbox) -> Iterator[None]:
    """Simulated time goes as real time does: what passes by itself stays long enough to be looked at."""
    sandbox.request("PUT", "/sandbox/clock", {"speed": 1})
    try:
        yield
    finally:
        sandbox.request("PUT", "/sandbox/clock", {"speed": sandbox.speed})
