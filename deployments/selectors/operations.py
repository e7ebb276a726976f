"""Operations for pages: lists, one operation with all that belongs to it, its log."""

from __future__ import annotations

from dataclasses import dataclass, field

from django.db.models import Prefetch, Q, QuerySet
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, CHANGING, EPHEMERAL, OperationKind, OperationState
from deployments.ledger.transitions import active_change
from deployments.models import Operation, OperationLog, OperationStep, PullProgress, PullWaiter
from deployments.policies import Action, may, needed_to_repeat
from deployments.selectors import lookup, scope

LOG_SHOWN = 200

AGAIN = CHANGING
"""What can be begun again from its own page."""

SORTS = {
    "started": "pk",
    "operation": "title",
    "state": "state",
    "deployment": "deployment__name",
    "who": "actor_name",
}


@dataclass(frozen=True)
class OperationFilter:
    """What a list is narrowed to; "" and None are everything. ``state`` may be "active"."""

    state: str = ""
    kind: str = ""
    deployment: int | None = None
    text: str = ""
    team: int | None = None
    sort: str = "-started"


@dataclass(frozen=True)
class OperationPage:
    """One operation with its steps, pulls and newest log lines, and what the caller may do with it."""

    operation: Operation
    steps: list[OperationStep]
    pulls: list[PullProgress]
    log: list[OperationLog]
    log_total: int
    may_cancel: bool
    may_retry: bool
    retried_as: Operation | None = None
    waiters: list[Operation] = field(default_factory=list)


def with_progress(rows: QuerySet[Operation]) -> QuerySet[Operation]:
    """With what a line of running work says: its steps, its pull, the pulls that it waits for."""
    awaited = PullWaiter.objects.select_related("pull__pull").order_by("pk")
    return rows.select_related("deployment", "cluster", "pull").prefetch_related(
        "steps", Prefetch("awaited_pulls", queryset=awaited)
    )


def pulls_of(operation: Operation) -> list[PullProgress]:
    """Its own pull, else those that it waits for. Needs :func:`with_progress` to cost no query."""
    own = getattr(operation, "pull", None)
    if own is not None:
        return [own]
    return [row.pull.pull for row in operation.awaited_pulls.all() if hasattr(row.pull, "pull")]


def operations(actor: Actor, wanted: OperationFilter) -> QuerySet[Operation]:
    """The caller's operations; questions of a draft stay out unless their kind is asked for."""
    rows = with_progress(scope.operations(actor)).select_related("team", "deployment__cluster")
    if wanted.kind:
        rows = rows.filter(kind=wanted.kind)
    else:
        rows = rows.exclude(kind__in=EPHEMERAL)
    rows = rows.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))
    if wanted.state == "active":
        rows = rows.filter(state__in=ACTIVE)
    elif wanted.state:
        rows = rows.filter(state=wanted.state)
    if wanted.deployment:
        rows = rows.filter(deployment_id=wanted.deployment)
    if wanted.team:
        rows = rows.filter(team_id=wanted.team)
    if wanted.text:
        rows = rows.filter(Q(title__icontains=wanted.text) | Q(actor_name__icontains=wanted.text))
    key = SORTS[wanted.sort.removeprefix("-")]
    return rows.order_by(f"-{key}" if wanted.sort.startswith("-") else key, "-pk")


def operation_page(actor: Actor, pk: int) -> OperationPage:
    """Everything the page of one operation shows; the same number of queries for every operation.

    Raises :class:`NotFound`.
    """
    operation = lookup.operation(actor, pk)
    log = operation.log.order_by("-pk")
    waiting = PullWaiter.objects.filter(operation=operation).values("pull_id")
    pulls = PullProgress.objects.filter(Q(operation_id=pk) | Q(operation_id__in=waiting))
    again = (
        scope.operations(actor)
        .filter(deployment_id=operation.deployment_id, kind=operation.kind, pk__gt=operation.pk)
        .order_by("pk")
        .first()
        if operation.deployment_id and operation.kind in AGAIN
        else None
    )
    return OperationPage(
        operation=operation,
        steps=list(operation.steps.all()),
        pulls=list(pulls.select_related("operation").order_by("pod", "pk")),
        log=list(log[:LOG_SHOWN]),
        log_total=log.count(),
        may_cancel=may_cancel(actor, operation),
        may_retry=again is None and may_retry(actor, operation),
        retried_as=again,
        waiters=[
            row.operation
            for row in operation.waiters.select_related("operation__deployment").order_by("pk")[:5]
        ],
    )


def may_cancel(actor: Actor, operation: Operation) -> bool:
    """Whether a button to cancel belongs on the page; the command decides for itself."""
    own = operation.team_id is None and operation.actor_id == actor.user_id
    return operation.state in ACTIVE and (own or may(actor, Action.CANCEL, operation.team_id))


def may_retry(actor: Actor, operation: Operation) -> bool:
    """Whether a button to begin again belongs on the page."""
    ended_badly = operation.state in (OperationState.FAILED, OperationState.CANCELLED)
    deployment = operation.deployment
    if not ended_badly or operation.kind not in AGAIN or deployment is None:
        return False
    if deployment.removed_at is not None or active_change(deployment.pk) is not None:
        return False
    needed = needed_to_repeat(OperationKind(operation.kind), operation.request)
    return all(may(actor, action, operation.team_id) for action in needed)


def whole_log(actor: Actor, pk: int) -> tuple[Operation, list[OperationLog]]:
    """Every line, oldest first. Raises :class:`NotFound`."""
    operation = lookup.operation(actor, pk)
    return operation, list(operation.log.order_by("pk"))
