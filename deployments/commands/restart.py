"""Replace the pods of a stack by new ones of the same description."""

from __future__ import annotations

from collections.abc import Sequence

from deployments.commands.applied import applied
from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput
from deployments.domain.spec import spec_from_json
from deployments.domain.states import OperationKind
from deployments.ledger import audit
from deployments.models import Operation
from deployments.policies import Action

COMPONENTS = ("server", "chat")


@command(Action.RESTART)
def restart(
    actor: Actor, *, deployment_id: int, components: Sequence[str] = COMPONENTS, reason: str = ""
) -> Operation:
    """Replace the pods of ``components``, one after the other, as an update does.

    Raises :class:`InvalidInput` at ``components`` where there is nothing of the kind to restart.
    """
    deployment, release = applied(actor, deployment_id, Action.RESTART)
    spec = spec_from_json(release.spec)
    there = [part for part in COMPONENTS if part == "server" or spec.chat.enabled]
    chosen = [part for part in there if part in components]
    if not chosen or not set(components) <= set(COMPONENTS):
        raise InvalidInput("Say what is to be restarted: the servers, the chat or both.", field="components")
    titles: dict[tuple[str, ...], str] = {
        ("server",): f"Restart the servers of {deployment.name}",
        ("chat",): f"Restart the chat of {deployment.name}",
    }
    operation = begin(
        actor,
        OperationKind.RESTART,
        deployment,
        titles.get(tuple(chosen), f"Restart {deployment.name}"),
        request={"components": chosen},
        reason=reason,
    )
    audit.record(
        actor,
        Action.RESTART,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        after={"components": chosen},
    )
    return operation
