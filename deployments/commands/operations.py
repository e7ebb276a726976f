"""Cancel an operation, or begin a failed one again."""

from __future__ import annotations

from django.db.models import Exists, OuterRef

from deployments.commands.approvals import withdraw
from deployments.commands.base import checked_reason, command
from deployments.commands.begin import begin
from deployments.commands.quotas import reserve, settle_ended
from deployments.commands.scale import scaled
from deployments.commands.subjects import of_operation
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.domain.states import ACTIVE, EPHEMERAL, OperationKind, OperationState
from deployments.ledger import audit, transitions
from deployments.models import Deployment, Operation, PullWaiter, Revision
from deployments.policies import Action, needed_to_repeat, require, require_usable
from deployments.selectors import lookup
from deployments.selectors.operations import AGAIN


@command(Action.CANCEL)
def cancel(actor: Actor, *, operation_id: int, reason: str = "") -> None:
    """Ask an operation to stop. One that nobody holds ends at once, one that runs within seconds.

    Pulls that only this operation waits for stop with it; what they have downloaded stays.

    Raises :class:`Conflict` where it has ended already.
    """
    operation = lookup.operation(actor, operation_id)
    _require(actor, Action.CANCEL, operation)
    if OperationState(operation.state).terminal:
        raise Conflict(f"This operation has ended already: {operation.state}.")
    if not transitions.request_cancel(operation.pk, actor.name):
        return
    if transitions.cancel_queued(operation.pk, f"cancelled by {actor.name}"):
        withdraw(operation)
        settle_ended(operation)
    for pull in _only_awaited_by(operation):
        transitions.request_cancel(pull, actor.name)
        transitions.cancel_queued(pull, f"nobody waits for it any more: {operation.title} was cancelled")
    if operation.kind not in EPHEMERAL:
        audit.record(
            actor,
            Action.CANCEL,
            of_operation(operation),
            operation_id=operation.pk,
            reason=checked_reason(reason),
        )


@command(Action.RETRY)
def retry(actor: Actor, *, operation_id: int, anyway: bool = False) -> Operation:
    """Begin a failed or cancelled operation again, as a new one with the same request.

    Steps are safe to repeat, so it goes over what is done quickly. ``anyway`` goes on where the
    preflight found no room (``Finding.waivable``). It is judged as if it was asked for the first time: by
    the roles of whoever asks now, the quota and the sharing.
    """
    old = lookup.operation(actor, operation_id)
    kind = OperationKind(old.kind)
    for action in needed_to_repeat(kind, old.request):
        _require(actor, action, old)
    if old.state not in (OperationState.FAILED, OperationState.CANCELLED):
        raise Conflict("Only an operation that failed or was cancelled can be tried again.")
    if kind not in AGAIN or old.deployment is None:
        raise Conflict("This operation is begun again from the page that it belongs to.")
    if old.deployment.removed_at is not None:
        raise Conflict("The deployment was uninstalled since.")
    request = {**old.request, "anyway": True} if anyway else old.request
    spec = _spec_of(old, old.deployment)
    if spec is not None:
        reserve(old.deployment, spec)
    operation = begin(actor, kind, old.deployment, old.title, request=request, reason=old.reason)
    audit.record(
        actor,
        Action.RETRY,
        of_operation(old),
        operation_id=operation.pk,
        reason=old.reason,
        after={"again": old.pk, **({"anyway": True} if anyway else {})},
    )
    return operation


def _spec_of(old: Operation, deployment: Deployment) -> StackSpec | None:
    """What it would bring the deployment to; None where it takes no more than is there. Raises
    :class:`InvalidInput` where the team may not use the profile any more."""
    request = old.request
    if old.kind in (OperationKind.INSTALL, OperationKind.UPGRADE):
        revision = Revision.objects.select_related("profile").get(pk=request["revision"])
        applied = deployment.releases.exclude(applied_at=None).first()
        if applied is None or applied.revision_id != revision.pk:
            require_usable(revision.profile, deployment.team_id)
        return spec_from_json(revision.spec)
    if old.kind == OperationKind.ROLL_BACK:
        return spec_from_json(deployment.releases.get(number=request["release"]).spec)
    applied = deployment.releases.exclude(applied_at=None).first()
    if old.kind == OperationKind.SCALE and applied is not None:
        return scaled(spec_from_json(applied.spec), request)
    return None


def _only_awaited_by(operation: Operation) -> list[int]:
    """Ids of running pulls that no other active operation waits for."""
    awaited = Operation.objects.filter(waiters__operation=operation, state__in=ACTIVE)
    others = PullWaiter.objects.filter(pull=OuterRef("pk"), operation__state__in=ACTIVE).exclude(
        operation=operation
    )
    return list(awaited.filter(~Exists(others)).values_list("pk", flat=True))


def _require(actor: Actor, action: Action, operation: Operation) -> None:
    if operation.team_id is None and operation.actor_id == actor.user_id:
        return  # a question of one's own
    require(actor, action, of_operation(operation))
