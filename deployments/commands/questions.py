"""Questions asked of a cluster about a draft or a deployment. They write no audit and end in an hour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.db import transaction

from deployments.commands.begin import begin
from deployments.commands.plans import STEPS
from deployments.commands.subjects import of_cluster, of_deployment, of_profile
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.names import require_deployment_name, require_namespace
from deployments.domain.spec import AutoscalingSpec, StackSpec, spec_from_json, spec_to_json
from deployments.domain.states import OperationKind
from deployments.domain.subjects import Subject
from deployments.ledger import audit, transitions
from deployments.models import Cluster, ClusterGrant, Operation, Revision, Team
from deployments.policies import Action, grant_for, may, require
from deployments.policies import require_namespace as require_granted
from deployments.selectors import lookup

# Stands for a namespace where none is meant: nothing is made in it.
ANY_NAMESPACE = "pilothouse-preflight"


def preflight(
    actor: Actor,
    *,
    revision_id: int,
    cluster_id: int,
    namespace: str,
    name: str,
    team_id: int | None = None,
) -> Operation:
    """Check whether a team, the profile's own unless another is given, could install a revision there.
    The findings are in ``result["findings"]``."""
    request, team, cluster = _draft(actor, revision_id, cluster_id, namespace, name, team_id)
    title = f"Preflight of {name} on {cluster.name}"
    return _ask(actor, OperationKind.PREFLIGHT, title, team=team, cluster=cluster, request=request)


def preflight_cluster(
    actor: Actor,
    *,
    cluster_id: int,
    revision_id: int | None = None,
    spec: StackSpec | None = None,
    servers: int | None = None,
) -> Operation:
    """Check whether a stack of this size would find room on a cluster, and what concerns the cluster
    alone. Give a revision or a spec; ``servers`` replaces its number of replicas.

    Raises :class:`InvalidInput` at ``revision`` or ``cluster``.
    """
    cluster = lookup.cluster(actor, cluster_id)
    if revision_id is not None:
        revision = _revision(actor, revision_id)
        spec, team = spec_from_json(revision.spec), revision.profile.team
        grant: ClusterGrant | None = grant_for(team.pk, cluster)
    else:
        grant = _grant_to_ask_by(actor, cluster)
    if spec is None:
        raise InvalidInput("Choose what is to be checked.", field="revision")
    if servers is not None:
        spec = replace(spec, server=replace(spec.server, replicas=servers, autoscaling=AutoscalingSpec()))
    exact = [name for name in grant.namespaces if not set(name) & set("*?[")] if grant else []
    request = {"cluster_only": True, "spec": spec_to_json(spec), "namespace": (exact or [ANY_NAMESPACE])[0]}
    title = f"Preflight of {cluster.name} for {spec.model.reference}"
    return _ask(
        actor,
        OperationKind.PREFLIGHT,
        title,
        team=grant.team if grant else None,
        cluster=cluster,
        request=request,
    )


def diff(
    actor: Actor,
    *,
    revision_id: int,
    cluster_id: int,
    namespace: str,
    name: str,
    deployment_id: int | None = None,
    team_id: int | None = None,
) -> Operation:
    """Ask the API server what applying a revision would change, by a dry run. For a deployment that
    is there, give its id. The objects and their diffs are in ``result["objects"]``."""
    deployment = lookup.deployment(actor, deployment_id) if deployment_id else None
    if deployment is not None:
        team_id = deployment.team_id
    request, team, cluster = _draft(actor, revision_id, cluster_id, namespace, name, team_id)
    return _ask(
        actor,
        OperationKind.DIFF,
        f"Compare {name} with {cluster.name}",
        team=team,
        cluster=cluster,
        deployment=deployment,
        request=request,
    )


def check_chat(actor: Actor, *, deployment_id: int) -> Operation:
    """Ask the chat for one token, by the path that people use."""
    deployment = lookup.deployment(actor, deployment_id)
    require(actor, Action.CHECK, of_deployment(deployment))
    if deployment.removed_at is not None:
        raise Conflict("This deployment was uninstalled.")
    with transaction.atomic():
        title = f"Check the chat of {deployment.name}"
        operation = begin(actor, OperationKind.CHECK_CHAT, deployment, title)
        # Not a preview: it loads the model onto the GPU, so it is on record.
        audit.record(
            actor,
            Action.CHECK,
            of_deployment(deployment),
            operation_id=operation.pk,
        )
    return operation


def _ask(actor: Actor, kind: OperationKind, title: str, **about: Any) -> Operation:
    with transaction.atomic():
        return transitions.create(kind=kind, title=title, actor=actor, steps=STEPS[kind], **about)


def _draft(
    actor: Actor, revision_id: int, cluster_id: int, namespace: str, name: str, team_id: int | None
) -> tuple[dict[str, Any], Team, Cluster]:
    revision = lookup.revision(actor, revision_id)
    team = revision.profile.team if team_id is None else lookup.team(actor, team_id)
    require(actor, Action.CHECK, Subject("profile", str(revision.profile_id), revision.profile.name, team.pk))
    cluster = lookup.cluster(actor, cluster_id)
    namespace = require_namespace(namespace.strip())
    name = require_deployment_name(name.strip())
    require_granted(grant_for(team.pk, cluster), namespace)
    return {"revision": revision.pk, "namespace": namespace, "name": name}, team, cluster


def _revision(actor: Actor, revision_id: int) -> Revision:
    revision = lookup.revision(actor, revision_id)
    require(actor, Action.CHECK, of_profile(revision.profile))
    return revision


def _grant_to_ask_by(actor: Actor, cluster: Cluster) -> ClusterGrant | None:
    """One of the caller's teams that may use the cluster and in which he may ask; None for a site admin
    without any."""
    grants = cluster.grants.select_related("team").order_by("team__name")
    usable = [grant for grant in grants if may(actor, Action.CHECK, grant.team_id)]
    if not usable:
        require(actor, Action.MANAGE_CLUSTERS, of_cluster(cluster))
        return None
    mine = [grant for grant in usable if grant.team_id in actor.roles]
    return (mine or usable)[0]
