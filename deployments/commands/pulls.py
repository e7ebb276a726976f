"""Pulling a model onto one volume. One pull runs for each volume and model; who comes later waits
for the same one."""

from __future__ import annotations

from django.db import IntegrityError, transaction

from deployments.commands.applied import applied
from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict
from deployments.domain.spec import spec_from_json
from deployments.domain.states import OperationKind
from deployments.ledger import audit, transitions
from deployments.models import ActivePull, Deployment, Operation, PullProgress, PullWaiter
from deployments.policies import Action, require
from deployments.selectors.models import volumes_without


@command(Action.PULL)
def pull_again(actor: Actor, *, deployment_id: int, reason: str = "") -> list[Operation]:
    """Pull the deployment's model onto each volume that lacked it when it was last looked at.

    Raises :class:`Conflict` where none does, and while the deployment is being changed: an install or
    an upgrade pulls by itself.
    """
    deployment, release = applied(actor, deployment_id, Action.PULL)
    holder = transitions.active_change(deployment.pk)
    if holder is not None:
        raise Conflict(f"“{holder.title}” is under way.", remedy="It pulls what is missing by itself.")
    missing = volumes_without(deployment)
    if not missing:
        raise Conflict("No volume that was looked at lacks the model.")
    model = spec_from_json(release.spec).model
    return [
        ensure_pull(
            actor,
            deployment=deployment,
            volume=volume,
            pod=pod,
            model=model.reference,
            insecure=model.insecure,
            reason=reason,
        )
        for volume, pod in missing.items()
    ]


def ensure_pull(
    actor: Actor,
    *,
    deployment: Deployment,
    volume: str,
    pod: str,
    model: str,
    insecure: bool,
    expected: int = 0,
    waiter: Operation | None = None,
    reason: str = "",
) -> Operation:
    """The pull of ``model`` onto ``volume``: the one that runs, else a new one.

    ``volume`` is "claim:<uid>" or "pod:<uid>", ``pod`` the pod that mounts it, ``expected`` the bytes
    that the registry's manifest promises. ``waiter`` is woken when the pull ends.
    """
    require(actor, Action.PULL, of_deployment(deployment))
    with transaction.atomic():
        running = _running(deployment, volume, model)
        operation = running or _begin(actor, deployment, volume, pod, model, insecure, expected, reason)
        if waiter is not None:
            PullWaiter.objects.get_or_create(pull=operation, operation=waiter)
    return operation


def _running(deployment: Deployment, volume: str, model: str) -> Operation | None:
    active = (
        ActivePull.objects.select_related("operation")
        .filter(cluster_id=deployment.cluster_id, volume=volume, model=model)
        .first()
    )
    return active.operation if active else None


def _begin(
    actor: Actor,
    deployment: Deployment,
    volume: str,
    pod: str,
    model: str,
    insecure: bool,
    expected: int,
    reason: str,
) -> Operation:
    try:
        with transaction.atomic():
            operation = begin(
                actor,
                OperationKind.PULL,
                deployment,
                f"Pull {model}",
                request={"model": model, "insecure": insecure, "volume": volume, "pod": pod},
                reason=reason,
            )
            ActivePull.objects.create(
                cluster_id=deployment.cluster_id, volume=volume, model=model, operation=operation
            )
            PullProgress.objects.create(
                operation=operation,
                cluster_id=deployment.cluster_id,
                namespace=deployment.namespace,
                volume=volume,
                pod=pod,
                model=model,
                expected=expected,
            )
            audit.record(
                actor,
                Action.PULL,
                of_deployment(deployment),
                operation_id=operation.pk,
                reason=operation.reason,
                after={"model": model, "volume": volume},
            )
    except IntegrityError:
        running = _running(deployment, volume, model)
        if running is None:
            raise
        return running
    return operation
