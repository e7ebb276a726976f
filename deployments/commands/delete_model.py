"""Delete a model from the volumes of a deployment."""

from __future__ import annotations

from deployments.commands.applied import applied
from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.states import OperationKind
from deployments.ledger import audit, transitions
from deployments.models import ActivePull, Deployment, Operation
from deployments.policies import Action
from deployments.selectors.models import StoredModel, stored_models


@command(Action.DELETE_MODEL)
def delete_model(
    actor: Actor, *, deployment_id: int, model: str, confirmation: str, reason: str = ""
) -> Operation:
    """Have Ollama delete a model from every volume of the deployment that a running server mounts.

    ``confirmation`` must be the model's name. The model that the deployment serves may be deleted too:
    it then answers no more until somebody applies a revision, which pulls it again. Raises
    :class:`NotFound` where the model is not there, and :class:`Conflict` where another deployment answers
    with it from the same volume, while it is being pulled and while the deployment is being changed.
    """
    deployment, _release = applied(actor, deployment_id, Action.DELETE_MODEL)
    stored = next((each for each in stored_models(deployment) if each.name == model), None)
    if stored is None:
        raise NotFound("This model was not seen on the deployment's volumes.")
    _refuse(deployment, stored)
    if confirmation.strip() != model:
        raise InvalidInput(f"Type {model} to confirm.", field="confirmation")
    operation = begin(
        actor,
        OperationKind.DELETE_MODEL,
        deployment,
        f"Delete {model}",
        request={"model": model},
        reason=reason,
    )
    audit.record(
        actor,
        Action.DELETE_MODEL,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        before={"model": model, "volumes": stored.volumes, "bytes": stored.bytes, "served": stored.served},
        after={"model": model, "volumes": []},
    )
    return operation


def _refuse(deployment: Deployment, stored: StoredModel) -> None:
    if stored.others:
        # Their next check would see it missing and pull it again.
        ours = [other.name for other in stored.others if other.team_id == deployment.team_id]
        raise Conflict(
            f"{', '.join(ours) or 'A deployment of another team'} answers with this model from the same volume.",
            remedy="Bring it to another model first.",
        )
    holder = transitions.active_change(deployment.pk)
    if holder is not None:
        raise Conflict(
            f"“{holder.title}” is under way, started by {holder.actor_name}.",
            remedy="Wait until it has ended, or cancel it first.",
        )
    pulling = ActivePull.objects.filter(
        cluster_id=deployment.cluster_id, volume__in=stored.volumes, model=stored.name
    )
    if pulling.exists():
        raise Conflict("This model is being pulled.", remedy="Cancel the pull first.")
