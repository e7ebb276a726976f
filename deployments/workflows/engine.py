"""Carries out operations: claims a row, runs its steps, gives the worker back where one waits.

A step is a function of a :class:`Run`. It returns :class:`Done` or :class:`Wait`, or raises a
:class:`PilothouseError`: retryable ones are tried again with growing pauses, permanent ones end the
operation with their sentence. Every step must be safe to repeat, for a worker may die after the work
and before the row knows.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from deployments.commands.quotas import settle_ended
from deployments.commands.subjects import of_deployment, of_operation
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.errors import PilothouseError, RightMissing
from deployments.domain.states import (
    EPHEMERAL,
    OperationKind,
    OperationState,
    Outcome,
    Queue,
    StepState,
)
from deployments.ledger import audit, progress, transitions
from deployments.ledger.transitions import Claim, ClaimLost
from deployments.logs import log_context
from deployments.models import Cluster, Deployment, Operation
from deployments.workflows.keeper import Cancelled, Hold, Stopping, keeper

MAX_ATTEMPTS = 6
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 120.0

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Done:
    """The step is finished. ``memory`` is kept for later steps, ``result`` shown to people."""

    detail: str = ""
    memory: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wait:
    """Nothing to do for now: run the step again after ``seconds``, or when the observer wakes it."""

    seconds: float
    waiting_for: str
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ask:
    """Somebody has to agree before the step can be done; it is run again after the yes."""

    waiting_for: str


@dataclass
class Run:
    """What a step gets to see. A step sets ``moved_on`` where it got further than any try before it: then
    the tries begin to be counted anew."""

    operation: Operation
    hold: Hold
    step: str
    moved_on: bool = False

    @property
    def claim(self) -> Claim:
        return self.hold.claim

    @property
    def cluster(self) -> Cluster:
        """The cluster it works on; for kinds of operations that have one."""
        assert self.operation.cluster is not None
        return self.operation.cluster

    @property
    def deployment(self) -> Deployment:
        """The deployment it works on; for kinds of operations that have one."""
        assert self.operation.deployment is not None
        return self.operation.deployment

    def note(self, text: str, *, warning: bool = False) -> None:
        """A line in the operation's log."""
        progress.note(self.claim, self.step, text, warning=warning)


@dataclass(frozen=True)
class Step:
    name: str
    run: Callable[[Run], Done | Wait | Ask]
    queue: Queue = Queue.CONTROL
    attempts: int = MAX_ATTEMPTS


Plan = dict[OperationKind, list[Step]]


def run_operation(operation_id: int, worker: str, queue: Queue, plans: Plan) -> None:
    """Claim an operation and carry it as far as it goes here. Returns without a word where another
    worker has it, or where it is not due."""
    if keeper.stopping.is_set():
        return
    claim = transitions.claim(operation_id, worker, {queue})
    if claim is None:
        return
    with log_context(operation=operation_id), keeper.hold(claim) as hold:
        try:
            _carry(hold, queue, plans)
        except ClaimLost:
            log.info("another worker holds the operation now")


def _carry(hold: Hold, queue: Queue, plans: Plan) -> None:
    while True:
        operation = Operation.objects.select_related(
            "team", "cluster", "deployment__revision", "release"
        ).get(pk=hold.claim.operation_id)
        plan = plans[OperationKind(operation.kind)]
        if operation.step >= len(plan):
            _succeed(hold, operation)
            return
        step = plan[operation.step]
        if step.queue is not queue:
            transitions.park(hold.claim, seconds=0, waiting_for="", queue=step.queue)
            return
        if not _one_step(hold, operation, step):
            return


def _one_step(hold: Hold, operation: Operation, step: Step) -> bool:
    """Run one step; True where the operation may go on to the next one here."""
    claim, position = hold.claim, operation.step
    run = Run(operation, hold, step.name)
    try:
        hold.check()
        progress.begin_step(claim, position)
        outcome = step.run(run)
        hold.check()
    except Cancelled as asked:
        _cancel(hold, operation, step, str(asked))
        return False
    except Stopping:
        transitions.park(hold.claim, seconds=0, waiting_for="", cause="its worker was stopped")
        return False
    except PilothouseError as error:
        return _failed(run, step, error)
    except ClaimLost:
        raise
    except Exception:
        log.exception("step %s failed unexpectedly", step.name)
        fault = PilothouseError(
            "Pilothouse itself failed here; this is a fault of the program.",
            tried=f"{step.name} of “{operation.title}”",
            remedy=f"The worker's log has the details under operation={operation.pk}.",
            retryable=False,
        )
        return _failed(run, step, fault)
    if isinstance(outcome, Wait):
        progress.end_step(
            claim, position, StepState.WAITING, outcome.waiting_for, memory=outcome.memory, well=True
        )
        transitions.park(claim, seconds=max(outcome.seconds, 0.2), waiting_for=outcome.waiting_for)
        return False
    if isinstance(outcome, Ask):
        progress.end_step(claim, position, StepState.WAITING, outcome.waiting_for)
        transitions.await_approval(claim, outcome.waiting_for)
        return False
    progress.end_step(
        claim,
        position,
        StepState.DONE,
        outcome.detail,
        memory=outcome.memory,
        result=outcome.result,
        advance=True,
    )
    return True


def _failed(run: Run, step: Step, error: PilothouseError) -> bool:
    """Try again later, or end the operation with the error's sentence."""
    hold, operation = run.hold, run.operation
    attempt = 1 if run.moved_on else operation.attempts + 1
    if _again(operation, error) and attempt < step.attempts:
        pause = pause_before(attempt, error.retry_after)
        words = f"{error.sentence} Attempt {attempt + 1} of {step.attempts} in {pause:.0f} s."
        log.warning("step %s: %s (%s)", step.name, words, error.answered)
        progress.end_step(hold.claim, operation.step, StepState.WAITING, words)
        transitions.update_held(hold.claim, attempts=attempt)
        transitions.park(hold.claim, seconds=pause, waiting_for=words)
        return False
    log.warning("step %s failed: %s", step.name, error.sentence, exc_info=error.__cause__)
    progress.end_step(hold.claim, operation.step, StepState.FAILED, error.sentence)
    with transaction.atomic():
        transitions.finish(hold.claim, OperationState.FAILED, error.sentence, error=error)
        settle_ended(operation)
        if operation.kind not in EPHEMERAL:
            _audit_end(operation, Outcome.FAILED, error.sentence)
    return False


def _again(operation: Operation, error: PilothouseError) -> bool:
    """Whether the same may succeed later. A right that was there at an earlier step is not given up at the
    first word: an API server that has just been started has yet to read its roles."""
    return error.retryable or (isinstance(error, RightMissing) and operation.step > 0)


def _cancel(hold: Hold, operation: Operation, step: Step, by: str) -> None:
    progress.end_step(hold.claim, operation.step, StepState.CANCELLED, f"cancelled by {by}")
    with transaction.atomic():
        transitions.finish(hold.claim, OperationState.CANCELLED, f"cancelled by {by}")
        settle_ended(operation)


def _succeed(hold: Hold, operation: Operation) -> None:
    with transaction.atomic():
        transitions.finish(hold.claim, OperationState.SUCCEEDED, "every step is done")
        if operation.kind not in EPHEMERAL:
            _audit_end(operation, Outcome.DONE, "")


def _audit_end(operation: Operation, outcome: Outcome, why: str) -> None:
    digest = operation.release.digest if operation.release else ""
    audit.record(
        on_behalf_of(operation),
        f"operation.{operation.kind}",
        of_deployment(operation.deployment) if operation.deployment else of_operation(operation),
        outcome=outcome,
        operation_id=operation.pk,
        reason=why,
        manifest_digest=digest,
    )


def on_behalf_of(operation: Operation) -> Actor:
    """Who an audit entry of a worker names: the person who asked, acting through a worker."""
    return Actor(
        user_id=operation.actor_id,
        name=operation.actor_name or PILOTHOUSE.name,
        source="worker",
        site_role=PILOTHOUSE.site_role,
    )


def pause_before(attempt: int, retry_after: float | None) -> float:
    """Seconds before try ``attempt + 1``: doubling with jitter, never less than the server asked for."""
    grown = min(FIRST_PAUSE * 2.0 ** (attempt - 1), LONGEST_PAUSE)
    return max(grown * random.uniform(0.75, 1.25), retry_after or 0.0)  # noqa: S311  (no secret)


def age(moment: datetime) -> float:
    """Seconds since a moment in the past."""
    return (timezone.now() - moment).total_seconds()
