"""The only code that changes an operation's state.

Every change is a compare-and-swap: an update filtered by what the row was (its state, and for a
worker its claim epoch). Zero rows means that somebody else got there first, and is never an error of
the caller's: a message delivered twice, or a worker that wakes from a pause, does nothing twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.errors import Conflict, PilothouseError
from deployments.domain.states import (
    ACTIVE,
    CHANGING,
    EPHEMERAL,
    OperationKind,
    OperationState,
    Outcome,
    Queue,
    StepState,
)
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.ledger.announce import announce, announce_lists
from deployments.ledger.queue import send_on_commit
from deployments.models import (
    ActivePull,
    Cluster,
    Deployment,
    Operation,
    OperationLog,
    OperationStep,
    OperationTransition,
    PullWaiter,
    Release,
    Team,
)

HEARTBEAT_LOST_AFTER = timedelta(seconds=20)
MESSAGE_AGAIN_AFTER = timedelta(seconds=60)
EPHEMERAL_KEPT_FOR = timedelta(hours=1)
MAX_RECOVERIES = 20


class ClaimLost(Exception):
    """This worker no longer holds the operation: stop at once and write nothing more."""


@dataclass(frozen=True)
class Claim:
    """A worker's hold on an operation. Every write it makes names the epoch."""

    operation_id: int
    epoch: int


def create(
    *,
    kind: OperationKind,
    title: str,
    actor: Actor,
    steps: list[str],
    queue: Queue = Queue.CONTROL,
    team: Team | None = None,
    cluster: Cluster | None = None,
    deployment: Deployment | None = None,
    release: Release | None = None,
    request: dict[str, Any] | None = None,
    reason: str = "",
) -> Operation:
    """Write a QUEUED operation with its steps, and send its id on commit.

    Raises :class:`Conflict` where another changing operation of the deployment is active, saying who
    holds it and since when.
    """
    now = timezone.now()
    try:
        with transaction.atomic():
            operation = Operation.objects.create(
                kind=kind,
                state=OperationState.QUEUED,
                title=title[:200],
                actor_id=actor.user_id,
                actor_name=actor.name[:150],
                team=team,
                cluster=cluster,
                deployment=deployment,
                release=release,
                request=request or {},
                reason=reason,
                queue=queue,
                message_at=now,
                expires_at=now + EPHEMERAL_KEPT_FOR if kind in EPHEMERAL else None,
            )
    except IntegrityError as error:
        holder = active_change(deployment.pk) if deployment else None
        if holder is None:
            raise
        raise Conflict(
            f"“{holder.title}” is under way, started by {holder.actor_name} at "
            f"{holder.created_at:%H:%M} UTC.",
            remedy="Wait until it has ended, or cancel it first.",
        ) from error
    OperationStep.objects.bulk_create(
        OperationStep(operation=operation, position=position, name=name)
        for position, name in enumerate(steps)
    )
    _transition(operation.pk, "", OperationState.QUEUED, f"asked for by {actor.name}", 0, now)
    announce_operation(operation)
    announce_lists(operation.team_id)
    send_on_commit(operation.pk, queue)
    return operation


def active_change(deployment_id: int) -> Operation | None:
    """The changing operation that holds a deployment now."""
    return Operation.objects.filter(deployment_id=deployment_id, state__in=ACTIVE, kind__in=CHANGING).first()


def claim(operation_id: int, worker: str, queues: set[Queue]) -> Claim | None:
    """Take a QUEUED operation that is due and whose next step belongs to one of ``queues``."""
    now = timezone.now()
    with transaction.atomic():
        taken = (
            Operation.objects.filter(Q(wake_at=None) | Q(wake_at__lte=now))
            .filter(pk=operation_id, state=OperationState.QUEUED, queue__in=queues)
            .update(
                state=OperationState.RUNNING,
                claim_epoch=F("claim_epoch") + 1,
                worker=worker[:120],
                heartbeat_at=now,
                wake_at=None,
                waiting_for="",
                version=F("version") + 1,
            )
        )
        if not taken:
            return None
        Operation.objects.filter(pk=operation_id, started_at=None).update(started_at=now)
        operation = Operation.objects.get(pk=operation_id)
        _transition(
            operation_id,
            OperationState.QUEUED,
            OperationState.RUNNING,
            f"taken by {worker}",
            operation.claim_epoch,
            now,
        )
        announce_operation(operation)
    return Claim(operation_id, operation.claim_epoch)


def park(
    held: Claim, *, seconds: float, waiting_for: str, queue: Queue | None = None, cause: str = ""
) -> None:
    """Give the worker back: QUEUED again, left alone until ``seconds`` from now or until woken.

    With ``queue`` and 0 seconds it hands the row on to the workers of that queue at once.
    """
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": OperationState.QUEUED,
        "wake_at": now + timedelta(seconds=seconds) if seconds > 0 else None,
        "waiting_for": waiting_for[:300],
        "message_at": None if seconds > 0 else now,
        "worker": "",
        "heartbeat_at": None,
    }
    if queue is not None:
        changes["queue"] = queue
    with transaction.atomic():
        operation = _swap(held, changes)
        _transition(
            held.operation_id,
            OperationState.RUNNING,
            OperationState.QUEUED,
            cause or (f"waits for {waiting_for}" if waiting_for else "handed on"),
            held.epoch,
            now,
        )
        announce_operation(operation)
        if seconds <= 0:
            send_on_commit(held.operation_id, Queue(operation.queue))


def await_approval(held: Claim, cause: str) -> None:
    """Give the worker back until somebody has agreed; nothing wakes the row before that."""
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": OperationState.AWAITING_APPROVAL,
        "wake_at": None,
        "waiting_for": cause[:300],
        "message_at": None,
        "worker": "",
        "heartbeat_at": None,
    }
    with transaction.atomic():
        operation = _swap(held, changes)
        _transition(
            held.operation_id,
            OperationState.RUNNING,
            OperationState.AWAITING_APPROVAL,
            cause,
            held.epoch,
            now,
        )
        announce_operation(operation)
        announce_lists(operation.team_id)


def approved(operation_id: int, cause: str) -> bool:
    """Queue an operation that somebody has agreed to. False where it waits for nobody's yes."""
    now = timezone.now()
    with transaction.atomic():
        swapped = Operation.objects.filter(
            pk=operation_id, state=OperationState.AWAITING_APPROVAL, cancel_requested_at=None
        ).update(state=OperationState.QUEUED, waiting_for="", message_at=now, version=F("version") + 1)
        if not swapped:
            return False
        operation = Operation.objects.get(pk=operation_id)
        _transition(
            operation_id,
            OperationState.AWAITING_APPROVAL,
            OperationState.QUEUED,
            cause,
            operation.claim_epoch,
            now,
        )
        announce_operation(operation)
        send_on_commit(operation_id, Queue(operation.queue))
    return True


def finish(
    held: Claim, state: OperationState, cause: str, *, error: PilothouseError | None = None
) -> Operation:
    """End a RUNNING operation that this worker holds."""
    now = timezone.now()
    changes: dict[str, Any] = {
        "state": state,
        "finished_at": now,
        "heartbeat_at": None,
        "waiting_for": "",
        **_failure(error),
    }
    with transaction.atomic():
        operation = _swap(held, changes)
        _ended(operation, OperationState.RUNNING, cause, now)
    return operation


def cancel_queued(operation_id: int, cause: str) -> bool:
    """End an operation that no worker holds. False where a worker has it (it will see the request)."""
    now = timezone.now()
    with transaction.atomic():
        operation = Operation.objects.filter(pk=operation_id).first()
        if operation is None or operation.state not in (
            OperationState.QUEUED,
            OperationState.AWAITING_APPROVAL,
        ):
            return False
        before = operation.state
        swapped = Operation.objects.filter(pk=operation_id, state=before).update(
            state=OperationState.CANCELLED,
            finished_at=now,
            wake_at=None,
            waiting_for="",
            version=F("version") + 1,
        )
        if not swapped:
            return False
        operation.refresh_from_db()
        _ended(operation, OperationState(before), cause, now)
    return True


def request_cancel(operation_id: int, by: str) -> bool:
    """Ask for cancellation. False where the operation has ended already or was asked before."""
    with transaction.atomic():
        asked = Operation.objects.filter(pk=operation_id, state__in=ACTIVE, cancel_requested_at=None).update(
            cancel_requested_at=timezone.now(),
            cancel_requested_by=by[:150],
            version=F("version") + 1,
        )
        if asked:
            announce_operation(Operation.objects.get(pk=operation_id))
    return bool(asked)


def wake(operations: Any) -> int:
    """Make parked rows of the queryset ``operations`` due now and send them. Returns how many."""
    now = timezone.now()
    woken = 0
    for pk, queue in operations.filter(state=OperationState.QUEUED, wake_at__isnull=False).values_list(
        "pk", "queue"
    ):
        with transaction.atomic():
            if Operation.objects.filter(pk=pk, state=OperationState.QUEUED, wake_at__isnull=False).update(
                wake_at=None, message_at=now
            ):
                send_on_commit(pk, Queue(queue))
                woken += 1
    return woken


def recover(operation_id: int, *, now: datetime) -> str:
    """What the reaper does with one row: "sent", "requeued", "failed" or "" (nothing was due)."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None:
        return ""
    if operation.state == OperationState.QUEUED:
        with transaction.atomic():
            due = (
                Operation.objects.filter(pk=operation_id, state=OperationState.QUEUED)
                .filter(Q(wake_at=None) | Q(wake_at__lte=now))
                .filter(Q(message_at=None) | Q(message_at__lte=now - MESSAGE_AGAIN_AFTER))
                .update(message_at=now)
            )
            if due:
                send_on_commit(operation_id, Queue(operation.queue))
        return "sent" if due else ""
    if operation.state != OperationState.RUNNING:
        return ""
    silent = Operation.objects.filter(
        Q(heartbeat_at=None) | Q(heartbeat_at__lte=now - HEARTBEAT_LOST_AFTER),
        pk=operation_id,
        state=OperationState.RUNNING,
        claim_epoch=operation.claim_epoch,
    )
    with transaction.atomic():
        if operation.recoveries >= MAX_RECOVERIES:
            error = PilothouseError(
                f"Its worker died {MAX_RECOVERIES} times in a row.",
                tried=f"run “{operation.title}”",
                remedy="Look into the worker's log for what kills it, then retry.",
                retryable=False,
            )
            if silent.update(
                state=OperationState.FAILED,
                claim_epoch=F("claim_epoch") + 1,
                finished_at=now,
                version=F("version") + 1,
                **_failure(error),
            ):
                operation.refresh_from_db()
                _ended(operation, OperationState.RUNNING, error.sentence, now)
                if operation.kind not in EPHEMERAL:
                    _audit_failure(operation, error.sentence)
                return "failed"
            return ""
        # The epoch rises here already, so that the lost worker's writes stop at once.
        if not silent.update(
            state=OperationState.QUEUED,
            claim_epoch=F("claim_epoch") + 1,
            recoveries=F("recoveries") + 1,
            heartbeat_at=None,
            worker="",
            message_at=now,
            version=F("version") + 1,
        ):
            return ""
        cause = f"worker {operation.worker or '?'} fell silent; queued again"
        _transition(
            operation_id,
            OperationState.RUNNING,
            OperationState.QUEUED,
            cause,
            operation.claim_epoch + 1,
            now,
        )
        OperationLog.objects.create(operation_id=operation_id, at=now, warning=True, text=cause)
        operation.refresh_from_db()
        announce_operation(operation)
        send_on_commit(operation_id, Queue(operation.queue))
    return "requeued"


def update_held(held: Claim, **changes: Any) -> Operation:
    """Change columns of a RUNNING operation. Raises :class:`ClaimLost`."""
    with transaction.atomic():
        operation = _swap(held, changes)
        announce_operation(operation)
    return operation


def announce_operation(operation: Operation) -> None:
    announce("operation", operation.pk, operation.version, team=operation.team_id)
    if operation.deployment_id:
        announce("deployment", operation.deployment_id, operation.version, team=operation.team_id)
    if operation.cluster_id and not operation.deployment_id:
        announce("cluster", operation.cluster_id, operation.version)


def _swap(held: Claim, changes: dict[str, Any]) -> Operation:
    swapped = Operation.objects.filter(
        pk=held.operation_id, state=OperationState.RUNNING, claim_epoch=held.epoch
    ).update(version=F("version") + 1, **changes)
    if not swapped:
        raise ClaimLost
    return Operation.objects.get(pk=held.operation_id)


def _ended(operation: Operation, before: OperationState, cause: str, now: datetime) -> None:
    """What belongs to every end: the transition, unfinished steps, the pull's slot, who waits."""
    _transition(operation.pk, before, OperationState(operation.state), cause, operation.claim_epoch, now)
    if operation.state == OperationState.CANCELLED:
        operation.steps.filter(state__in=[StepState.RUNNING, StepState.WAITING]).update(
            state=StepState.CANCELLED, finished_at=now
        )
    ActivePull.objects.filter(operation=operation).delete()
    announce_operation(operation)
    announce_lists(operation.team_id)
    waiters = list(PullWaiter.objects.filter(pull=operation).values_list("operation_id", flat=True))
    if waiters:
        wake(Operation.objects.filter(pk__in=waiters))


def _audit_failure(operation: Operation, why: str) -> None:
    """The end of an operation that no worker could bring to one."""
    deployment = operation.deployment
    subject = (
        Subject("deployment", str(deployment.pk), str(deployment), operation.team_id, operation.cluster_id)
        if deployment is not None
        else Subject("operation", str(operation.pk), operation.title, operation.team_id, operation.cluster_id)
    )
    who = Actor(operation.actor_id, operation.actor_name or PILOTHOUSE.name, "timekeeper")
    action = f"operation.{operation.kind}"
    audit.record(who, action, subject, outcome=Outcome.FAILED, operation_id=operation.pk, reason=why)


def _transition(
    operation_id: int,
    before: OperationState | str,
    after: OperationState,
    cause: str,
    epoch: int,
    at: datetime,
) -> None:
    OperationTransition.objects.create(
        operation_id=operation_id, before=before, after=after, cause=cause[:300], epoch=epoch, at=at
    )


def _failure(error: PilothouseError | None) -> dict[str, Any]:
    if error is None:
        return {}
    return {
        "failure": error.sentence[:1000],
        "failure_tried": error.tried[:500],
        "failure_answered": error.answered[:1000],
        "failure_remedy": error.remedy[:500],
        "failure_retryable": error.retryable,
    }
