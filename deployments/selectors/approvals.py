"""Requests that wait for somebody's yes, as pages show them."""

from __future__ import annotations

from django.db.models import Q, QuerySet
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.states import Approver, OperationState, Role
from deployments.models import Approval
from deployments.policies import may_approve
from deployments.selectors import scope


def approval_list(actor: Actor, *, open_only: bool = True) -> QuerySet[Approval]:
    """What concerns the caller's teams, the oldest open ones first."""
    rows = Approval.objects.filter(operation__in=scope.operations(actor)).select_related(
        "operation__team", "operation__cluster", "operation__deployment", "release"
    )
    if open_only:
        return _open(rows).order_by("asked_at")
    return rows.order_by("-asked_at")


def waiting_for(actor: Actor) -> int:
    """How many open requests the caller may decide about: the badge in the menu."""
    rows = _open(Approval.objects.exclude(operation__actor_id=actor.user_id or 0))
    if actor.admin:
        return rows.count()
    mine = [pk for pk, role in actor.roles.items() if role is Role.OWNER]
    return rows.filter(approver=Approver.OWNER, operation__team_id__in=mine).count() if mine else 0


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
