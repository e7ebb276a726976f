"""Requests that wait for somebody's yes, as pages show them."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.states import Approver, OperationState
from deployments.models import Approval
from deployments.policies import NEEDS, Action, may_approve
from deployments.selectors import scope


def approval_list(actor: Actor, *, open_only: bool = True) -> QuerySet[Approval]:
    """What concerns the caller's teams, the oldest open ones first."""
    rows = Approval.objects.filter(operation__in=scope.operations(actor)).select_related(
        "operation__team", "operation__cluster", "operation__deployment", "release"
    )
    if open_only:
        return _open(rows).order_by("asked_at")
    return rows.order_by("-asked_at")


def waiting(actor: Actor, team_id: int | None = None) -> QuerySet[Approval]:
    """Open requests that the caller may decide about, of one team where it is given."""
    rows = _open(Approval.objects.exclude(operation__actor_id=actor.user_id or 0))
    if team_id:
        rows = rows.filter(operation__team_id=team_id)
    if actor.admin:
        return rows
    mine = [pk for pk, role in actor.roles.items() if role.rank >= NEEDS[Action.APPROVE].rank]
    return rows.filter(approver=Approver.OWNER, operation__team_id__in=mine) if mine else rows.none()


def waiting_for(actor: Actor) -> int:
    """How many those are: the badge in the menu."""
    return waiting(actor).count()


def approval(actor: Actor, pk: int) -> Approval:
    """One request. Raises :class:`NotFound`."""
    found = approval_list(actor, open_only=False).filter(pk=pk).first()
    if found is None:
        raise NotFound("There is no such request.")
    return found


def may_decide(actor: Actor, found: Approval) -> bool:
    """Whether the caller may agree or refuse now."""
    operation = found.operation
    return (
        found.decided_at is None
        and found.expires_at > timezone.now()
        and operation.actor_id != actor.user_id
        and may_approve(actor, Approver(found.approver), operation.team_id)
    )


def _open(rows: QuerySet[Approval]) -> QuerySet[Approval]:
    return rows.filter(
        Q(decided_at=None),
        expires_at__gt=timezone.now(),
        operation__state=OperationState.AWAITING_APPROVAL,
    )
