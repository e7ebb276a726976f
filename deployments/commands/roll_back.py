"""Bring a stack back to what was applied before."""

from __future__ import annotations

from deployments.commands.applied import applied
from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.quotas import reserve
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, NotFound
from deployments.domain.spec import spec_from_json
from deployments.domain.states import OperationKind
from deployments.ledger import audit
from deployments.models import Operation
from deployments.policies import Action


@command(Action.ROLL_BACK)
def roll_back(actor: Actor, *, deployment_id: int, release: int, reason: str = "") -> Operation:
    """Apply the objects of the release with this number again, as they were, secrets included.

    What has come since is removed. Raises :class:`NotFound` where there is no such release, and
    :class:`Conflict` where it is the newest or was never applied to its end.
    """
    deployment, last = applied(actor, deployment_id, Action.ROLL_BACK)
    target = deployment.releases.select_related("revision__profile").filter(number=release).first()
    if target is None:
        raise NotFound(f"{deployment.name} has no release {release}.")
    if target.applied_at is None:
        raise Conflict(
            f"Release {release} was never applied to its end.",
            remedy="Choose one that was, or apply a revision.",
        )
    if not deployment.releases.filter(number__gt=release).exists():
        raise Conflict(
            f"Release {release} is the one that is applied now.",
            remedy="To put back what was changed on the cluster, apply its revision again.",
        )
    reserve(deployment, spec_from_json(target.spec))
    operation = begin(
        actor,
        OperationKind.ROLL_BACK,
        deployment,
        f"Roll {deployment.name} back to release {release}",
        request={"release": release},
        reason=reason,
    )
    audit.record(
        actor,
        Action.ROLL_BACK,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        before={"release": last.number, "revision": deployment.revision.number},
        after={
            "release": release,
            "profile": target.revision.profile.name,
            "revision": target.revision.number,
        },
        manifest_digest=target.digest,
    )
    return operation
