"""Steps, log lines and pull figures of an operation that this worker holds.

Everything is fenced by the claim's epoch: a worker that lost its claim raises
:class:`~deployments.ledger.transitions.ClaimLost` and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from deployments.domain.states import OperationState, StepState
from deployments.ledger.transitions import Claim, ClaimLost, announce_operation
from deployments.models import Operation, OperationLog, OperationStep, PullProgress

BEAT_AGAIN_AFTER = timedelta(seconds=3)


def begin_step(held: Claim, position: int) -> OperationStep:
    """Mark a step as running; its first start is kept over retries and waits."""
    now = timezone.now()
    with transaction.atomic():
        operation = _touch(held)
        step = operation.steps.get(position=position)
        step.state = StepState.RUNNING
        step.attempts += 1
        step.started_at = step.started_at or now
        step.finished_at = None
        step.save()
        announce_operation(operation)
    return step


def end_step(
    held: Claim,
    position: int,
    state: StepState,
    detail: str,
    *,
    memory: dict[str, Any] | None = None,
    result: dict[str, Any] | None = None,
    advance: bool = False,
    well: bool = False,
) -> None:
    """Write how a step ended (or that it waits), and what it leaves for later steps.

    ``well`` says that it waits and nothing is wrong: failures before this are forgotten, so that those of
    hours do not add up to the end of an operation.

    With ``advance`` the operation moves to the next step in the same transaction, so that a step is
    never done without the row knowing it.
    """
    now = timezone.now()
    with transaction.atomic():
        operation = _touch(held)
        step = operation.steps.get(position=position)
        if detail and step.detail != detail[:500]:
            _log(operation.pk, step.name, detail, warning=state is StepState.FAILED, at=now)
        step.state = state
        step.detail = detail[:500]
        step.finished_at = None if state is StepState.WAITING else now
        step.save()
        if memory:
            operation.memory = {**operation.memory, **memory}
        if result:
            operation.result = {**operation.result, **result}
        if advance:
            operation.step = position + 1
        if advance or well:
            operation.attempts = 0
        operation.save(update_fields=["memory", "result", "step", "attempts"])
        announce_operation(operation)


def note(held: Claim, step: str, text: str, *, warning: bool = False) -> None:
    """Add a line to the log."""
    with transaction.atomic():
        operation = _touch(held)
        _log(operation.pk, step, text, warning=warning, at=timezone.now())
        announce_operation(operation)


def _log(operation_id: int, step: str, text: str, *, warning: bool, at: datetime) -> None:
    OperationLog.objects.create(
        operation_id=operation_id, at=at, step=step, warning=warning, text=text[:1000]
    )


def _touch(held: Claim) -> Operation:
    touched = Operation.objects.filter(
        pk=held.operation_id, state=OperationState.RUNNING, claim_epoch=held.epoch
    ).update(version=F("version") + 1, heartbeat_at=timezone.now())
    if not touched:
        raise ClaimLost
    return Operation.objects.get(pk=held.operation_id)


@dataclass
class PullFigures:
    """One pull's figures as they stand now; see :class:`~deployments.models.PullProgress`."""

    held: Claim
    values: dict[str, Any]
    lines: list[tuple[str, bool]] = field(default_factory=list)


@dataclass(frozen=True)
class HeldNow:
    """What the database says of a held operation: still ours, and whether to stop."""

    operation_id: int
    ours: bool
    cancelled_by: str


def write_figures(figures: Iterable[PullFigures]) -> set[int]:
    """Write the figures of several pulls in one transaction.

    Returns the ids of operations that are no longer held by the claim that wrote.
    """
    lost: set[int] = set()
    now = timezone.now()
    with transaction.atomic():
        for item in figures:
            touched = Operation.objects.filter(
                pk=item.held.operation_id,
                state=OperationState.RUNNING,
                claim_epoch=item.held.epoch,
            ).update(version=F("version") + 1, heartbeat_at=now)
            if not touched:
                lost.add(item.held.operation_id)
                continue
            PullProgress.objects.filter(operation_id=item.held.operation_id).update(
                updated_at=now, **item.values
            )
            OperationLog.objects.bulk_create(
                OperationLog(
                    operation_id=item.held.operation_id,
                    at=now,
                    step="pull",
                    warning=warning,
                    text=text[:1000],
                )
                for text, warning in item.lines
            )
        ids = [item.held.operation_id for item in figures]
        for operation in Operation.objects.filter(pk__in=ids).only(
            "pk", "version", "team_id", "deployment_id", "cluster_id"
        ):
            announce_operation(operation)
    return lost


def beat(claims: Iterable[Claim]) -> list[HeldNow]:
    """Renew the heartbeat of several claims in one transaction and tell how each one stands."""
    epochs = {claim.operation_id: claim.epoch for claim in claims}
    if not epochs:
        return []
    now = timezone.now()
    rows = {
        row["pk"]: row
        for row in Operation.objects.filter(pk__in=epochs).values(
            "pk", "state", "claim_epoch", "cancel_requested_at", "cancel_requested_by", "heartbeat_at"
        )
    }
    standing, due = [], []
    for operation_id, epoch in epochs.items():
        row = rows.get(operation_id)
        ours = bool(row and row["claim_epoch"] == epoch and row["state"] == OperationState.RUNNING)
        asked = row["cancel_requested_by"] or "somebody" if row and row["cancel_requested_at"] else ""
        standing.append(HeldNow(operation_id, ours, asked))
        if ours and row and (row["heartbeat_at"] is None or now - row["heartbeat_at"] >= BEAT_AGAIN_AFTER):
            due.append(operation_id)
    for operation_id in due:
        Operation.objects.filter(
            pk=operation_id, state=OperationState.RUNNING, claim_epoch=epochs[operation_id]
        ).update(heartbeat_at=now)
    return standing
