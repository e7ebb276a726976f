"""What open lists are told of: they follow what they show, and cannot know what ought to be on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import Health, OperationKind, OperationState
from deployments.ledger import transitions
from deployments.models import Cluster, Deployment, Revision, Team, WatchState
from deployments.observer import leases
from deployments.observer.backlog import Backlog, Broken, Confirmed, Reached
from deployments.observer.health import reassess
from deployments.observer.writer import Writer
from tests.web import rows

pytestmark = pytest.mark.django_db

Told = Callable[[], Any]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any) -> Told:
    """A block, and the (object, team) that were announced at its commit."""

    @contextmanager
    def listen() -> Iterator[list[tuple[str, int | None]]]:
        heard: list[tuple[str, int | None]] = []

        def hear(lines: list[bytes]) -> None:
            heard.extend((said["o"], said["t"]) for said in map(orjson.loads, lines))

        monkeypatch.setattr("deployments.ledger.announce._publish", hear)
        with django_capture_on_commit_callbacks(execute=True):
            yield heard

    return listen


@pytest.fixture
def deployment(revision: Revision) -> Deployment:
    return rows.deployment(revision, rows.cluster())


def test_lists_hear_of_a_deployment_that_turns_ill_and_not_of_one_that_stays_so(
    deployment: Deployment, team: Team, told: Told
) -> None:
    with told() as heard:
        assert reassess(deployment.pk, timezone.now())
    deployment.refresh_from_db()
    assert deployment.health != Health.HEALTHY
    assert heard == [(f"deployment:{deployment.pk}", team.pk), ("list:0", team.pk)]
    Deployment.objects.filter(pk=deployment.pk).update(health_sentence="Other words.")
    with told() as heard:
        assert reassess(deployment.pk, timezone.now() + timedelta(seconds=1))
    assert heard == [(f"deployment:{deployment.pk}", team.pk)]


def test_lists_hear_when_a_change_begins_and_when_it_ends(
    owner: Actor, deployment: Deployment, team: Team, told: Told
) -> None:
    def begin(kind: OperationKind) -> Any:
        return transitions.create(
            kind=kind, title="A change", actor=owner, steps=["one"], team=team, deployment=deployment
        )

    with told() as heard:
        operation = begin(OperationKind.UPGRADE)
    assert ("list:0", team.pk) in heard
    held = transitions.claim(operation.pk, "a worker", {operation.queue})
    assert held is not None
    with told() as heard:
        transitions.park(held, seconds=5, waiting_for="something")
    assert ("list:0", team.pk) not in heard
    with told() as heard:
        assert transitions.cancel_queued(operation.pk, "not wanted")
    assert ("list:0", team.pk) in heard
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED


@pytest.mark.django_db(transaction=True)
def test_lists_hear_of_a_cluster_that_falls_silent_and_answers_again(told: Told) -> None:
    cluster, backlog = rows.cluster(), Backlog()
    lease = leases.acquire(leases.cluster_lease(cluster.pk), "a test")
    assert lease is not None
    answers = Reached(cluster.pk, lease, timezone.now(), uid="1", version="v1.36.2")
    silent = replace(answers, uid="", version="", error="It does not answer.", remedy="Wait.")
    for change, expected in ((silent, 1), (silent, 0), (answers, 1), (answers, 0)):
        backlog.put(change)
        with told() as heard:
            assert Writer(backlog).flush() == 1
        assert heard.count(("list:0", None)) == expected, change
    assert Cluster.objects.get(pk=cluster.pk).last_error == ""


@pytest.mark.django_db(transaction=True)
def test_a_cluster_that_falls_silent_says_since_when_and_its_deployments_hear_of_it(
    revision: Revision, told: Told
) -> None:
    cluster, backlog = rows.cluster(), Backlog()
    deployment = f"deployment:{rows.deployment(revision, cluster).pk}"
    lease = leases.acquire(leases.cluster_lease(cluster.pk), "a test")
    assert lease is not None
    began = timezone.now()
    silent = Reached(cluster.pk, lease, began, error="It does not answer.", remedy="Wait.")
    later = replace(silent, at=began + timedelta(minutes=1), error="It is not there.")
    for change, expected in ((silent, True), (later, False)):
        backlog.put(change)
        with told() as heard:
            Writer(backlog).flush()
        assert (deployment in {what for what, _team in heard}) == expected, change
    assert Cluster.objects.get(pk=cluster.pk).last_error_at == began
    backlog.put(Reached(cluster.pk, lease, timezone.now(), uid="1", version="v1.36.2"))
    with told() as heard:
        Writer(backlog).flush()
    assert deployment in {what for what, _team in heard}


@pytest.mark.django_db(transaction=True)
def test_pages_of_a_cluster_hear_that_a_watch_fails_and_that_it_works_again(told: Told) -> None:
    cluster, backlog = rows.cluster(), Backlog()
    lease = leases.acquire(leases.cluster_lease(cluster.pk), "a test")
    assert lease is not None
    now = timezone.now()
    works = Confirmed(cluster.pk, lease, "Node", now, "1", listed=True)
    fails = Broken(cluster.pk, lease, "Node", "Node: The cluster's API server failed to answer.")
    for change, expected in ((works, 1), (works, 0), (fails, 1), (fails, 0), (works, 1)):
        backlog.put(change)
        with told() as heard:
            writer = Writer(backlog)
            writer.flush()
            writer.tell_inventory()
        assert heard.count((f"cluster:{cluster.pk}", None)) == expected, change
    backlog.put(fails)
    backlog.put(Reached(cluster.pk, lease, now, error="It does not answer.", remedy="Wait."))
    Writer(backlog).flush()
    backlog.put(Reached(cluster.pk, lease, now, uid="1", version="v1.36.2"))
    Writer(backlog).flush()
    assert WatchState.objects.get(cluster=cluster, kind="Node").error == "", "the server answers again"
