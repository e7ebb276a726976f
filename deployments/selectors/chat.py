"""Where the chat of a deployment is, for whoever may use it."""

from __future__ import annotations

from django.conf import settings

from deployments import policies
from deployments.domain.actors import Actor
from deployments.domain.errors import Denied
from deployments.domain.names import ObjectNames
from deployments.domain.spec import spec_from_json
from deployments.gateways.chat import ChatTarget
from deployments.gateways.kubernetes import ClusterCredential
from deployments.ledger import vault
from deployments.models import Deployment
from deployments.policies import Action
from deployments.selectors import scope


def chat_target(actor: Actor, public_id: str) -> ChatTarget | None:
    """None where there is no such deployment for the caller, or not any more. Raises :class:`Denied`
    without the role, :class:`Unreadable` where the cluster's credential cannot be decrypted.

    The model is that of the last release, or of the revision while nothing has been applied.
    """
    rows = scope.deployments(actor).select_related("cluster", "revision").filter(removed_at=None)
    deployment = rows.filter(public_id=public_id).first()
    return target_of(actor, deployment) if deployment is not None else None


def target_of(actor: Actor, deployment: Deployment) -> ChatTarget:
    """The same for a row that is at hand."""
    if not policies.may(actor, Action.CHAT, deployment.team_id):
        raise Denied("Your role does not include chatting here.", remedy="Ask an owner of the team.")
    release = deployment.releases.exclude(applied_at=None).first()
    spec = spec_from_json(release.spec if release else deployment.revision.spec)
    names = ObjectNames(deployment.name)
    return ChatTarget(
        public_id=deployment.public_id,
        credential=ClusterCredential.from_json(vault.unseal(deployment.cluster.credential)),
        namespace=deployment.namespace,
        chat_service=names.chat if spec.chat.enabled else "",
        server_service=names.server,
        models=(spec.model.reference,),
        dashboard_origin=settings.PUBLIC_URL,
        deployment_url=f"{settings.PUBLIC_URL}/deployments/{deployment.pk}/",
        allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
    )
