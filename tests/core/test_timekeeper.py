"""Leases, and what the timekeeper finds due."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.health.assess import SILENT
from deployments.domain.states import Health, OperationKind, OperationState
from deployments.ledger import transitions
from deployments.models import Cluster, Deployment, Lease, Operation, Revision, Team
from deployments.observer import leases
from deployments.observer.due import Job
from deployments.observer.timekeeper import Timekeeper

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def cluster(db: None) -> Cluster:
    return Cluster.objects.create(name="c", server="https://c", credential=b"x", credential_kind="token")


def check(admin: Actor, cluster: Cluster, kind: OperationKind = OperationKind.CHECK_CHAT) -> Operation:
    return transitions.create(kind=kind, title="look", actor=admin, steps=["look"], cluster=cluster)


def test_a_lease_has_one_holder_until_it_expires() -> None:
    now = timezone.now()
    mine = leases.acquire("cluster:1", "a", now=now)
    assert mine is not None
    assert leases.acquire("cluster:1", "b", now=now + timedelta(seconds=9)) is None
    theirs = leases.acquire("cluster:1", "b", now=now + timedelta(seconds=11))
    assert theirs is not None and theirs.epoch == mine.epoch + 1
    assert not leases.renew(mine) and not leases.still_held(mine)
    assert leases.renew(theirs) and leases.still_held(theirs)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_what_counts_for_a_lease_is_not_the_hosts_clock(
    monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """One host's clock is wrong: it neither loses what it took nor keeps others out after its death."""
    right = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: right() + timedelta(minutes=minutes))
    wrong = Timekeeper("wrong")
    assert wrong.tick() and leases.acquire("cluster:1", "wrong") and leases.present("wrong") == 1
    monkeypatch.undo()
    assert not Timekeeper("right").tick() and not leases.acquire("cluster:1", "right")
    assert leases.present("right") == 2
    after = right() + leases.TTL + timedelta(seconds=1)
    assert leases.acquire("cluster:1", "right", now=after) and Timekeeper("right").tick(after)
    assert leases.present("right", now=after) == 1


def test_a_released_lease_is_free_at_once() -> None:
    mine = leases.acquire("timekeeper", "a")
    assert mine is not None
    leases.release(mine)
    assert leases.acquire("timekeeper", "b") is not None
    assert not leases.renew(mine)


def test_only_living_observers_count() -> None:
    now = timezone.now()
    assert leases.present("a", now=now) == 1
    assert leases.present("b", now=now) == 2
    assert leases.present("b", now=now + timedelta(seconds=30)) == 1
    leases.forget_the_dead(now=now + timedelta(hours=2))
    assert not Lease.objects.filter(name__startswith="observer:").exists()


def test_a_dead_timekeeper_is_replaced_within_fifteen_seconds() -> None:
    now = timezone.now()
    first, second = Timekeeper("first"), Timekeeper("second")
    assert first.tick(now)
    assert not second.tick(now + timedelta(seconds=1))
    assert second.tick(now + timedelta(seconds=12))
    assert not first.tick(now + timedelta(seconds=13))


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    ran: list[datetime] = []
    keeper = Timekeeper("a", jobs=[Job("job", timedelta(seconds=30), ran.append)])
    ahead, right = timezone.now() + timedelta(hours=1), timezone.now()
    assert keeper.tick(ahead) and keeper.tick(right) and keeper.tick(right + timedelta(seconds=1))
    assert ran == [ahead, right], "and what is due is not done twice"
    assert Lease.objects.get(name=leases.TIMEKEEPER).expires_at == right + leases.TTL, "it was renewed"


def test_a_lost_message_is_sent_again_once_a_minute(
    admin: Actor, cluster: Cluster, sent: list[tuple[int, str]]
) -> None:
    operation = check(admin, cluster)
    sent.clear()
    keeper, now = Timekeeper("t"), timezone.now()
    keeper.tick(now)
    assert sent == []
    keeper.tick(now + timedelta(seconds=61))
    keeper.tick(now + timedelta(seconds=62))
    assert sent == [(operation.pk, "control")]


def test_parked_work_is_sent_when_its_time_comes(
    admin: Actor, cluster: Cluster, sent: list[tuple[int, str]]
) -> None:
    operation = check(admin, cluster)
    now = timezone.now()
    Operation.objects.filter(pk=operation.pk).update(wake_at=now + timedelta(minutes=5), message_at=None)
    sent.clear()
    keeper = Timekeeper("t")
    keeper.tick(now + timedelta(minutes=4))
    assert sent == []
    keeper.tick(now + timedelta(minutes=5, seconds=1))
    assert sent == [(operation.pk, "control")]


def test_a_silent_worker_loses_its_operation(
    admin: Actor, cluster: Cluster, sent: list[tuple[int, str]]
) -> None:
    operation = check(admin, cluster)
    claim = transitions.claim(operation.pk, "w1", {"control"})  # type: ignore[arg-type]
    assert claim is not None
    sent.clear()
    now = timezone.now()
    Timekeeper("t").tick(now + timedelta(seconds=10))
    operation.refresh_from_db()
    assert operation.state == OperationState.RUNNING
    Timekeeper("u").tick(now + timedelta(seconds=40))
    operation.refresh_from_db()
    assert operation.state == OperationState.QUEUED and sent == [(operation.pk, "control")]
    with pytest.raises(transitions.ClaimLost):
        transitions.update_held(claim, waiting_for="too late")


def test_an_ended_question_goes_after_an_hour_and_work_stays(admin: Actor, cluster: Cluster) -> None:
    question = check(admin, cluster, OperationKind.PREFLIGHT)
    running = check(admin, cluster, OperationKind.PREFLIGHT)
    work = check(admin, cluster)
    for operation in (question, work):
        transitions.cancel_queued(operation.pk, "no longer wanted")
    Timekeeper("t").tick(timezone.now() + timedelta(hours=2))
    left = set(Operation.objects.values_list("pk", flat=True))
    assert left == {running.pk, work.pk}


@pytest.mark.parametrize(
    ("health", "sentence"),
    [
        (Health.HEALTHY, "r1 is ready on every server."),
        (Health.UNKNOWN, "All pods are ready; not checked yet is whether Ollama answers."),
    ],
)
def test_an_old_observation_is_said_to_be_old(
    team: Team, cluster: Cluster, revision: Revision, health: Health, sentence: str
) -> None:
    now = timezone.now()
    deployment = Deployment.objects.create(
        team=team, cluster=cluster, namespace="a", name="r1", revision=revision,
        health=health, health_sentence=sentence, observed_at=now - timedelta(minutes=4),
    )  # fmt: skip
    for kind in ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim"):
        cluster.watches.create(kind=kind, confirmed_at=now - timedelta(minutes=4))
    keeper = Timekeeper("t")
    keeper.tick(now)
    deployment.refresh_from_db()
    assert deployment.health == Health.UNKNOWN and deployment.health_sentence == SILENT
    assert deployment.version == 2
    keeper.tick(now + timedelta(minutes=30))
    deployment.refresh_from_db()
    assert deployment.health_sentence == SILENT and deployment.version == 2


def test_of_many_in_trouble_each_has_its_turn(team: Team, cluster: Cluster, revision: Revision) -> None:
    now = timezone.now()
    Deployment.objects.bulk_create(
        Deployment(
            team=team, cluster=cluster, namespace="a", name=f"r{number}", revision=revision,
            health=Health.FAILED, health_sentence="What was said before.", observed_at=now,
        )
        for number in range(130)
    )  # fmt: skip
    for kind in ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim"):
        cluster.watches.create(kind=kind, confirmed_at=now)
    left = Deployment.objects.filter(health_sentence="What was said before.")
    keeper = Timekeeper("t")
    keeper.tick(now)
    assert left.count() == 30  # a round costs no more, however many there are
    keeper.tick(now + timedelta(seconds=6))
    assert left.count() == 0


def test_each_job_has_its_own_pace_and_a_broken_one_holds_up_no_other() -> None:
    ran: list[str] = []

    def broken(now: datetime) -> None:
        raise ValueError("a job that fails")

    keeper = Timekeeper(
        "t",
        jobs=(
            Job("broken", timedelta(0), broken),
            Job("often", timedelta(seconds=15), lambda now: ran.append("often")),
            Job("seldom", timedelta(hours=1), lambda now: ran.append("seldom")),
        ),
    )
    now = timezone.now()
    for seconds in (0, 1, 15, 16, 30):
        assert keeper.tick(now + timedelta(seconds=seconds))
    assert ran == ["often", "seldom", "often", "often"]
