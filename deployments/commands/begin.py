"""The beginning of an operation of a deployment."""

from __future__ import annotations

from typing import Any

from deployments.commands.base import checked_reason
from deployments.commands.plans import STEPS
from deployments.domain.actors import Actor
from deployments.domain.states import OperationKind, Queue
from deployments.ledger import transitions
from deployments.models import Deployment, Operation


def begin(
    actor: Actor,
    kind: OperationKind,
    deployment: Deployment,
    title: str,
    *,
    request: dict[str, Any] | None = None,
    reason: str = "",
) -> Operation:
    """Write the operation, queued, with the steps of its kind; call it inside the command's transaction.

    Raises :class:`Conflict` where another changing operation of the deployment is active, and
    :class:`InvalidInput` at ``reason``.
    """
    return transitions.create(
        kind=kind,
        title=title,
        actor=actor,
        steps=STEPS[kind],
        queue=Queue.PULL if kind is OperationKind.PULL else Queue.CONTROL,
        team=deployment.team,
        cluster=deployment.cluster,
        deployment=deployment,
        request=request,
        reason=checked_reason(reason),
    )
