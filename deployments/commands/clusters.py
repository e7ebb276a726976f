"""Connecting, checking and removing clusters."""

from __future__ import annotations

import re
from dataclasses import replace

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from deployments.commands.base import checked_reason, command
from deployments.commands.plans import STEPS
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.names import require_namespace_patterns
from deployments.domain.states import OperationKind
from deployments.domain.subjects import Subject
from deployments.gateways.kubernetes import (
    ClusterCredential,
    import_context,
    in_cluster_credential,
    read_kubeconfig,
)
from deployments.ledger import audit, transitions, vault
from deployments.ledger.announce import announce, announce_lists
from deployments.models import Cluster, ClusterGrant, Operation, Release, Revision, Team
from deployments.policies import Action, require
from deployments.selectors import lookup

Credential = ClusterCredential
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._ -]{0,61}[A-Za-z0-9])?")


def contexts(text: str | bytes) -> tuple[list[tuple[str, str]], str]:
    """The contexts of a kubeconfig as (name, server), and the name of the current one.

    Raises :class:`InvalidInput` at ``kubeconfig`` where the file cannot be used at all.
    """
    file = read_kubeconfig(text)
    return [(context.name, context.server) for context in file.contexts], file.current


def read_credential(
    text: str | bytes, context: str | None = None, *, allow_loopback: bool = False
) -> ClusterCredential:
    """What is kept of one context of a kubeconfig. Raises :class:`InvalidInput` at ``kubeconfig``, or
    at ``context`` where there are several and none was chosen."""
    return import_context(read_kubeconfig(text), context or None, allow_loopback=allow_loopback)


def service_account_credential() -> ClusterCredential:
    """The service account of the pod that Pilothouse runs in. Raises :class:`InvalidInput` at
    ``credential`` outside of a cluster."""
    return in_cluster_credential()


@command(Action.MANAGE_CLUSTERS)
def connect_cluster(
    actor: Actor,
    *,
    name: str,
    credential: ClusterCredential,
    teams: list[Team],
    namespaces: list[str],
    simulated: bool = False,
    reason_required: bool = False,
) -> tuple[Cluster, Operation]:
    """Store a cluster with its encrypted credential, grant it to ``teams``, and begin a check of the
    connection. Raises :class:`InvalidInput` (name) and :class:`Conflict` (the name is taken)."""
    require(actor, Action.MANAGE_CLUSTERS, Subject("cluster", name=name))
    name = name.strip()
    if not NAME.fullmatch(name):
        raise InvalidInput(
            "A cluster's name has 1 to 63 letters, digits, spaces, dots, dashes and underscores, and "
            "begins and ends with a letter or digit.",
            field="name",
        )
    namespaces = require_namespace_patterns(namespaces)
    try:
        with transaction.atomic():
            cluster = Cluster.objects.create(
                name=name,
                server=credential.server,
                credential=vault.seal(credential.to_json()),
                credential_kind=credential.kind,
                simulated=simulated,
                reason_required=reason_required,
                created_by_id=actor.user_id,
            )
    except IntegrityError as error:
        raise Conflict(f"There is a cluster named {name} already.", remedy="Choose another name.") from error
    for team in teams:
        ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=namespaces)
    check = _check(actor, cluster)
    announce_lists(None)
    audit.record(
        actor,
        "cluster.connect",
        of_cluster(cluster),
        operation_id=check.pk,
        after={
            "server": credential.server,
            "credential": credential.kind,
            "teams": [team.name for team in teams],
            "namespaces": namespaces,
            **({"reason_required": True} if reason_required else {}),
        },
    )
    return cluster, check


@command(Action.MANAGE_CLUSTERS)
def replace_credential(actor: Actor, *, cluster_id: int, credential: ClusterCredential) -> Operation:
    """Give a cluster another credential, say after the old one ran out, and check it."""
    cluster = lookup.cluster(actor, cluster_id)
    require(actor, Action.MANAGE_CLUSTERS, of_cluster(cluster))
    before = {"server": cluster.server, "credential": cluster.credential_kind}
    Cluster.objects.filter(pk=cluster.pk).update(
        server=credential.server,
        credential=vault.seal(credential.to_json()),
        credential_kind=credential.kind,
        version=F("version") + 1,
    )
    cluster.refresh_from_db()
    check = _check(actor, cluster)
    announce("cluster", cluster.pk, cluster.version)
    audit.record(
        actor,
        "cluster.replace_credential",
        of_cluster(cluster),
        operation_id=check.pk,
        before=before,
        after={"server": credential.server, "credential": credential.kind},
    )
    return check


def check_connection(actor: Actor, *, cluster_id: int) -> Operation:
    """Ask a cluster who it is and what we may do there. A question: no audit entry, gone in an hour."""
    cluster = lookup.cluster(actor, cluster_id)
    if not actor.admin:
        grant = cluster.grants.filter(team_id__in=actor.roles).first()
        subject = replace(of_cluster(cluster), team_id=grant.team_id if grant else None)
        require(actor, Action.CHECK, subject)
    with transaction.atomic():
        return _check(actor, cluster)


@command(Action.MANAGE_CLUSTERS)
def remove_cluster(actor: Actor, *, cluster_id: int, reason: str = "") -> None:
    """Forget a cluster's credential. What is installed there stays as it is.

    Raises :class:`Conflict` while deployments of it are known.
    """
    cluster = lookup.cluster(actor, cluster_id)
    require(actor, Action.MANAGE_CLUSTERS, of_cluster(cluster))
    left = cluster.deployments.filter(removed_at=None).count()
    if left:
        raise Conflict(
            f"{left} deployment{'s are' if left > 1 else ' is'} still installed there.",
            remedy="Uninstall first; otherwise nobody would look after what is on the cluster.",
        )
    Cluster.objects.filter(pk=cluster.pk).update(
        removed_at=timezone.now(), credential=b"", version=F("version") + 1
    )
    announce_lists(None)
    audit.record(actor, "cluster.remove", of_cluster(cluster), reason=checked_reason(reason))


def rotate_keys(actor: Actor) -> int:
    """Encrypt every stored secret anew with the newest key; returns how many there were."""
    count = 0
    with transaction.atomic():
        for cluster in Cluster.objects.exclude(credential=b""):
            Cluster.objects.filter(pk=cluster.pk).update(credential=vault.reseal(cluster.credential))
            count += 1
        for model, column in ((Revision, "secrets"), (Release, "sealed")):
            for row in model.objects.exclude(**{column: b""}):
                model.objects.filter(pk=row.pk).update(**{column: vault.reseal(getattr(row, column))})
                count += 1
        audit.record(actor, "keys.rotate", after={"secrets": count})
    return count


def _check(actor: Actor, cluster: Cluster) -> Operation:
    return transitions.create(
        kind=OperationKind.CHECK_CONNECTION,
        title=f"Check the connection to {cluster.name}",
        actor=actor,
        steps=STEPS[OperationKind.CHECK_CONNECTION],
        cluster=cluster,
    )
