"""Operations as durable rows: claims, epochs, parking, recovery, cancellation."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, PilothouseError, RightMissing
from deployments.domain.states import OperationKind, OperationState, Queue, StepState
from deployments.ledger import progress, transitions
from deployments.ledger.transitions import ClaimLost
from deployments.models import Cluster, Deployment, Operation, Revision, Team
from deployments.workflows.engine import Done, Run, Step, Wait, run_operation
from deployments.workflows.keeper import Cancelled

pytestmark = pytest.mark.django_db(transaction=True)


def queued(actor: Actor, team: Team, steps: tuple[str, ...] = ("one", "two")) -> Operation:
    return transitions.create(
        kind=OperationKind.PREFLIGHT, title="A question", actor=actor, steps=list(steps), team=team
    )


def plan(*functions, attempts: int = 3):
    names = ("one", "two", "three")
    steps = [
        Step(name, function, attempts=attempts) for name, function in zip(names, functions, strict=False)
    ]
    return {OperationKind.PREFLIGHT: steps}


def test_a_row_is_claimed_once(admin: Actor, team: Team, sent) -> None:
    operation = queued(admin, team)
    assert sent == [(operation.pk, "control")]
    first = transitions.claim(operation.pk, "a", {Queue.CONTROL})
    assert first is not None
    assert transitions.claim(operation.pk, "b", {Queue.CONTROL}) is None
    assert transitions.claim(operation.pk, "b", {Queue.PULL}) is None


def test_a_worker_that_lost_its_claim_writes_nothing(admin: Actor, team: Team) -> None:
    operation = queued(admin, team)
    held = transitions.claim(operation.pk, "a", {Queue.CONTROL})
    later = timezone.now() + timedelta(minutes=1)
    assert transitions.recover(operation.pk, now=later) == "requeued"
    other = transitions.claim(operation.pk, "b", {Queue.CONTROL})
    assert other.epoch > held.epoch
    for write in (
        lambda: progress.begin_step(held, 0),
        lambda: progress.note(held, "one", "still here"),
        lambda: transitions.park(held, seconds=5, waiting_for="x"),
        lambda: transitions.finish(held, OperationState.SUCCEEDED, "done"),
    ):
        with pytest.raises(ClaimLost):
            write()
    operation.refresh_from_db()
    assert operation.state == OperationState.RUNNING
    assert not operation.log.filter(text="still here").exists()


def test_a_living_worker_is_not_recovered(admin: Actor, team: Team) -> None:
    operation = queued(admin, team)
    transitions.claim(operation.pk, "a", {Queue.CONTROL})
    assert transitions.recover(operation.pk, now=timezone.now() + timedelta(seconds=5)) == ""


@pytest.mark.parametrize(
    ("age", "renewed"),
    [(timedelta(seconds=1), False), (timedelta(seconds=4), True), (timedelta(days=1), True)],
)
def test_a_heartbeat_is_renewed_once_it_is_old(
    admin: Actor, team: Team, age: timedelta, renewed: bool
) -> None:
    operation = queued(admin, team)
    held = transitions.claim(operation.pk, "a", {Queue.CONTROL})
    before = timezone.now() - age
    Operation.objects.filter(pk=operation.pk).update(heartbeat_at=before)
    assert [row.ours for row in progress.beat([held])] == [True]
    operation.refresh_from_db()
    assert (operation.heartbeat_at > before) is renewed


def test_a_lost_message_is_sent_again_once_a_minute(admin: Actor, team: Team, sent) -> None:
    operation = queued(admin, team)
    sent.clear()
    now = timezone.now()
    assert transitions.recover(operation.pk, now=now + timedelta(seconds=30)) == ""
    assert transitions.recover(operation.pk, now=now + timedelta(seconds=61)) == "sent"
    assert transitions.recover(operation.pk, now=now + timedelta(seconds=90)) == ""
    assert sent == [(operation.pk, "control")]


def test_a_parked_row_is_left_alone_until_it_is_due_or_woken(admin: Actor, team: Team, sent) -> None:
    operation = queued(admin, team)
    held = transitions.claim(operation.pk, "a", {Queue.CONTROL})
    transitions.park(held, seconds=300, waiting_for="a pod")
    sent.clear()
    assert transitions.recover(operation.pk, now=timezone.now() + timedelta(seconds=200)) == ""
    assert transitions.claim(operation.pk, "b", {Queue.CONTROL}) is None
    assert transitions.wake(Operation.objects.filter(pk=operation.pk)) == 1
    assert sent == [(operation.pk, "control")]
    assert transitions.claim(operation.pk, "b", {Queue.CONTROL}) is not None


def test_steps_run_once_each_and_a_repeated_message_does_nothing(admin: Actor, team: Team) -> None:
    ran: list[str] = []

    def one(run: Run) -> Done:
        ran.append("one")
        return Done("first", memory={"x": 1}, result={"a": 1})

    def two(run: Run) -> Done:
        assert run.operation.memory == {"x": 1}
        ran.append("two")
        return Done("second", result={"b": 2})

    operation = queued(admin, team)
    run_operation(operation.pk, "w", Queue.CONTROL, plan(one, two))
    run_operation(operation.pk, "w", Queue.CONTROL, plan(one, two))
    operation.refresh_from_db()
    assert ran == ["one", "two"]
    assert operation.state == OperationState.SUCCEEDED
    assert operation.result == {"a": 1, "b": 2}
    assert [t.after for t in operation.transitions.all()] == ["queued", "running", "succeeded"]


def test_a_waiting_step_gives_its_worker_back_and_resumes(admin: Actor, team: Team) -> None:
    answers = [Wait(60, "a pod to start"), Done("it started")]
    operation = queued(admin, team, ("one",))
    plans = plan(lambda run: answers.pop(0))
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert (operation.state, operation.waiting_for) == (OperationState.QUEUED, "a pod to start")
    assert operation.steps.get().state == StepState.WAITING
    transitions.wake(Operation.objects.filter(pk=operation.pk))
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert operation.state == OperationState.SUCCEEDED


def test_a_retryable_failure_backs_off_and_ends_with_its_words(admin: Actor, team: Team) -> None:
    def fails(run: Run) -> Done:
        raise PilothouseError(
            "The line is busy.", tried="call", answered="busy", remedy="Wait.", retryable=True, retry_after=7
        )

    operation = queued(admin, team, ("one",))
    plans = plan(fails, attempts=2)
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert operation.state == OperationState.QUEUED
    assert operation.wake_at > timezone.now() + timedelta(seconds=6), "Retry-After is obeyed"
    Operation.objects.filter(pk=operation.pk).update(wake_at=None)
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert operation.state == OperationState.FAILED
    assert (operation.failure, operation.failure_answered) == ("The line is busy.", "busy")
    assert operation.failure_retryable is True


def test_failures_do_not_add_up_over_what_went_well_between_them(admin: Actor, team: Team) -> None:
    busy = PilothouseError("The line is busy.", retryable=True)
    answers: list[tuple[bool, Wait | Done | PilothouseError]] = [
        *[(False, busy), (False, Wait(0, "more"))] * 3,
        *[(True, busy)] * 3,
        (False, Done()),
    ]

    def now_and_then(run: Run) -> Wait | Done:
        run.moved_on, answer = answers.pop(0)
        if isinstance(answer, PilothouseError):
            raise answer
        return answer

    operation = queued(admin, team, ("one",))
    plans = plan(now_and_then, attempts=2)
    while answers:
        Operation.objects.filter(pk=operation.pk).update(wake_at=None)
        run_operation(operation.pk, "w", Queue.CONTROL, plans)
        operation.refresh_from_db()
        assert operation.state in (OperationState.QUEUED, OperationState.SUCCEEDED), operation.failure
    assert operation.state == OperationState.SUCCEEDED


def test_a_right_that_was_there_is_asked_for_again_and_one_that_never_was_is_not(
    admin: Actor, team: Team
) -> None:
    """As seen of kube-apiserver 1.36.3: started anew, it refuses everything until it has read its roles."""
    answers = [True, False]

    def refused_once(run: Run) -> Done:
        if answers.pop(0):
            raise RightMissing("The cluster does not allow this.")
        return Done()

    operation = queued(admin, team)
    plans = plan(lambda run: Done(), refused_once)
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert operation.state == OperationState.QUEUED
    Operation.objects.filter(pk=operation.pk).update(wake_at=None)
    run_operation(operation.pk, "w", Queue.CONTROL, plans)
    operation.refresh_from_db()
    assert operation.state == OperationState.SUCCEEDED

    answers[:] = [True]
    first = queued(admin, team, ("one",))
    run_operation(first.pk, "w", Queue.CONTROL, plan(refused_once))
    first.refresh_from_db()
    assert first.state == OperationState.FAILED


def test_a_fault_of_the_program_shows_no_traceback(admin: Actor, team: Team) -> None:
    operation = queued(admin, team, ("one",))
    run_operation(operation.pk, "w", Queue.CONTROL, plan(lambda run: 1 / 0))
    operation.refresh_from_db()
    assert operation.state == OperationState.FAILED
    assert "ZeroDivision" not in operation.failure + operation.failure_answered
    assert str(operation.pk) in operation.failure_remedy


def test_a_running_step_sees_the_request_to_cancel_within_two_seconds(admin: Actor, team: Team) -> None:
    def waits(run: Run) -> Done:
        transitions.request_cancel(run.operation.pk, "somebody")
        began = timezone.now()
        with pytest.raises(Cancelled):
            run.hold.pause(10)
        assert timezone.now() - began < timedelta(seconds=2)
        run.hold.check()
        return Done()

    operation = queued(admin, team, ("one",))
    run_operation(operation.pk, "w", Queue.CONTROL, plan(waits))
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert operation.steps.get().state == StepState.CANCELLED


def test_a_row_that_nobody_holds_is_cancelled_at_once(admin: Actor, team: Team) -> None:
    operation = queued(admin, team)
    assert transitions.cancel_queued(operation.pk, "enough")
    operation.refresh_from_db()
    assert operation.state == OperationState.CANCELLED
    assert transitions.claim(operation.pk, "w", {Queue.CONTROL}) is None


def test_only_one_changing_operation_per_deployment(admin: Actor, team: Team, revision: Revision) -> None:

    cluster = Cluster.objects.create(name="c", server="https://c", credential=b"x", credential_kind="token")
    deployment = Deployment.objects.create(
        team=team, cluster=cluster, namespace="n", name="d", revision=revision
    )
    words = {"actor": admin, "steps": ["one"], "team": team, "cluster": cluster, "deployment": deployment}
    transitions.create(kind=OperationKind.INSTALL, title="Install d", **words)
    with pytest.raises(Conflict, match=r"Install d.*admin"):
        transitions.create(kind=OperationKind.UNINSTALL, title="Uninstall d", **words)
    transitions.create(kind=OperationKind.PULL, title="Pull", **words)


def test_a_worker_that_keeps_dying_ends_the_operation(admin: Actor, team: Team) -> None:
    operation = queued(admin, team)
    Operation.objects.filter(pk=operation.pk).update(recoveries=transitions.MAX_RECOVERIES)
    transitions.claim(operation.pk, "w", {Queue.CONTROL})
    assert transitions.recover(operation.pk, now=timezone.now() + timedelta(minutes=1)) == "failed"
    operation.refresh_from_db()
    assert "died" in operation.failure
