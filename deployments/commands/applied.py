"""What changes of an installed stack begin with: the deployment and what was last applied for it."""

from __future__ import annotations

from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict
from deployments.models import Deployment, Release
from deployments.policies import Action, require
from deployments.selectors import lookup


def applied(actor: Actor, deployment_id: int, action: Action) -> tuple[Deployment, Release]:
    """The deployment and its newest applied release, for whoever may do this.

    Raises :class:`NotFound`, :class:`Denied`, and :class:`Conflict` where it was uninstalled or where
    nothing was applied yet.
    """
    deployment = lookup.deployment(actor, deployment_id)
    require(actor, action, of_deployment(deployment))
    if deployment.removed_at is not None:
        raise Conflict("This deployment was uninstalled.", remedy="Install it anew.")
    release = deployment.releases.exclude(applied_at=None).first()
    if release is None:
        raise Conflict("Nothing was applied yet.", remedy="Wait for the install, or begin it again.")
    return deployment, release
