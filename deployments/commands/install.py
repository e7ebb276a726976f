"""Install a stack, or bring an installed one to another revision."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models import F

from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.quotas import reserve
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.names import require_deployment_name, require_namespace
from deployments.domain.spec import spec_from_json
from deployments.domain.states import OperationKind
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import Deployment, Operation, Revision
from deployments.policies import Action, grant_for, require, require_usable
from deployments.policies import require_namespace as require_granted
from deployments.selectors import lookup


@command(Action.INSTALL)
def install(
    actor: Actor,
    *,
    revision_id: int,
    cluster_id: int,
    namespace: str,
    name: str,
    create_namespace: bool = True,
    team_id: int | None = None,
    anyway: bool = False,
    reason: str = "",
) -> Operation:
    """Install the stack of a revision as ``cluster/namespace/name`` of a team: the profile's own, or
    ``team_id`` where the profile is shared with that one or stands in the catalog.

    ``anyway`` goes on where the preflight finds no room now (``Finding.waivable``): a person has seen
    that, and the pods wait.

    Raises :class:`InvalidInput` with the field, :class:`Conflict` where the name is taken.
    """
    revision = _revision(actor, revision_id)
    team = revision.profile.team if team_id is None else lookup.team(actor, team_id)
    require_usable(revision.profile, team.pk)
    require(actor, Action.INSTALL, Subject("deployment", name=f"{namespace}/{name}", team_id=team.pk))
    cluster = lookup.cluster(actor, cluster_id)
    namespace = require_namespace(namespace.strip())
    name = require_deployment_name(name.strip())
    require_granted(grant_for(team.pk, cluster), namespace)
    taken = Deployment.objects.filter(
        cluster=cluster, namespace=namespace, name=name, removed_at=None
    ).select_related("team")
    try:
        with transaction.atomic():
            deployment = Deployment.objects.create(
                team=team,
                cluster=cluster,
                namespace=namespace,
                name=name,
                revision=revision,
                created_by_id=actor.user_id,
            )
    except IntegrityError as error:
        holder = taken.first()
        if holder is None:
            raise
        mine = holder.team_id in actor.roles or actor.sees_everything
        raise Conflict(
            f"There is a deployment named {name} in {cluster.name}/{namespace} already"
            + (f", of team {holder.team.name}." if mine else "."),
            remedy="Choose another name.",
        ) from error
    reserve(deployment, spec_from_json(revision.spec))
    operation = begin(
        actor,
        OperationKind.INSTALL,
        deployment,
        f"Install {name}",
        request={"create_namespace": create_namespace, "revision": revision.pk, "anyway": anyway},
        reason=reason,
    )
    audit.record(
        actor,
        Action.INSTALL,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        after={
            "profile": revision.profile.name,
            "revision": revision.number,
            "cluster": cluster.name,
            "namespace": namespace,
            **({"anyway": True} if anyway else {}),
        },
    )
    return operation


@command(Action.UPGRADE)
def upgrade(
    actor: Actor,
    *,
    deployment_id: int,
    revision_id: int,
    force_conflicts: bool = False,
    anyway: bool = False,
    reason: str = "",
) -> Operation:
    """Apply a revision to a deployment that is there: a newer one, or the same again to repair.

    The deployment stands at it once its release is written, right before the apply: what is refused or
    cancelled until then leaves what runs as it is, and so what is said of it.

    ``force_conflicts`` takes fields that other managers own; a person has seen which. ``anyway`` as for
    :func:`install`.
    """
    deployment = lookup.deployment(actor, deployment_id)
    require(actor, Action.UPGRADE, of_deployment(deployment))
    if force_conflicts:
        require(actor, Action.FORCE_CONFLICTS, of_deployment(deployment))
    if deployment.removed_at is not None:
        raise Conflict("This deployment was uninstalled.", remedy="Install it anew.")
    revision = _revision(actor, revision_id)
    # What is applied may be applied again, to repair; anything else needs the profile, also another revision
    # of it after a sharing ended.
    applied = deployment.releases.exclude(applied_at=None).first()
    if applied is None or applied.revision_id != revision.pk:
        require_usable(revision.profile, deployment.team_id)
    before = deployment.revision
    reserve(deployment, spec_from_json(revision.spec))
    Deployment.objects.filter(pk=deployment.pk).update(version=F("version") + 1)
    operation = begin(
        actor,
        OperationKind.UPGRADE,
        deployment,
        f"Apply revision {revision.number} to {deployment.name}",
        request={
            "create_namespace": deployment.made_namespace,
            "revision": revision.pk,
            "force": force_conflicts,
            "anyway": anyway,
        },
        reason=reason,
    )
    audit.record(
        actor,
        Action.UPGRADE,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        before={"profile": before.profile.name, "revision": before.number},
        after={
            "profile": revision.profile.name,
            "revision": revision.number,
            "forced": force_conflicts,
            **({"anyway": True} if anyway else {}),
        },
    )
    return operation


def _revision(actor: Actor, revision_id: int) -> Revision:
    revision = lookup.revision(actor, revision_id)
    if revision.profile.archived_at is not None:
        raise InvalidInput("This profile is archived.", field="revision")
    return revision
