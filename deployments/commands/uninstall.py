"""Take a stack off its cluster."""

from __future__ import annotations

from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.states import ACTIVE, OperationKind
from deployments.ledger import audit, transitions
from deployments.models import Operation
from deployments.policies import Action, require
from deployments.selectors import lookup


@command(Action.UNINSTALL)
def uninstall(
    actor: Actor, *, deployment_id: int, confirmation: str, delete_data: bool, reason: str = ""
) -> Operation:
    """Delete what Pilothouse applied for a deployment, and nothing else.

    ``confirmation`` must be the deployment's name. ``delete_data`` also deletes the claims that were
    made for it; a claim that was there before is never touched. Running pulls are cancelled.
    """
    deployment = lookup.deployment(actor, deployment_id)
    require(actor, Action.UNINSTALL, of_deployment(deployment))
    if delete_data:
        require(actor, Action.UNINSTALL_WITH_DATA, of_deployment(deployment))
    if confirmation.strip() != deployment.name:
        raise InvalidInput(f"Type {deployment.name} to confirm.", field="confirmation")
    if deployment.removed_at is not None:
        raise Conflict("This deployment is uninstalled already.")
    operation = begin(
        actor,
        OperationKind.UNINSTALL,
        deployment,
        f"Uninstall {deployment.name}",
        request={"delete_data": delete_data},
        reason=reason,
    )
    pulls = deployment.operations.filter(kind=OperationKind.PULL, state__in=ACTIVE)
    for pull in pulls.values_list("pk", flat=True):
        transitions.request_cancel(pull, actor.name)
        transitions.cancel_queued(pull, "the deployment is being uninstalled")
    audit.record(
        actor,
        Action.UNINSTALL_WITH_DATA if delete_data else Action.UNINSTALL,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        after={"model_data": "deleted" if delete_data else "kept"},
    )
    return operation
