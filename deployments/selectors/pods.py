"""The pods of a deployment as they were last seen, what the cluster said about them, and whose log
may be read. Everything comes from the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from django.conf import settings
from django.db.models import Q

from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, NotFound
from deployments.gateways.kubernetes import ClusterCredential
from deployments.ledger import vault
from deployments.models import Deployment, ObservedObject
from deployments.selectors import lookup

MOST_PODS = 500
MOST_EVENTS = 500  # the observer keeps fewer of one deployment


def pods(deployment: Deployment) -> list[ObservedObject]:
    """By name; the first 500."""
    return list(deployment.observed.filter(kind="Pod").order_by("name")[:MOST_PODS])


def pod(deployment: Deployment, name: str) -> ObservedObject | None:
    """The pod as it was last seen; None for one that is not there (any more), or is not of the deployment."""
    return deployment.observed.filter(kind="Pod", name=name).first()


def claims_of(deployment: Deployment, names: list[str]) -> dict[str, ObservedObject]:
    """The claims under a pod's volumes, by name."""
    found = deployment.observed.filter(kind="PersistentVolumeClaim", name__in=names)
    return {row.name: row for row in found}


def events(
    deployment: Deployment, *, warnings: bool = False, about: ObservedObject | None = None
) -> list[ObservedObject]:
    """What the cluster reported, newest first: by the time that the cluster gives, since many events
    are seen at once after a connection was lost.

    ``warnings`` leaves out the others; ``about`` keeps those of one object, and not of an earlier one of
    its name: a StatefulSet's pods have each other's. Events that do not tell a uid may be of either.
    """
    rows = deployment.observed.filter(kind="Event")
    if warnings:
        rows = rows.filter(data__type="Warning")
    if about:
        rows = rows.filter(data__involved__kind=about.kind, data__involved__name=about.name)
        rows = rows.filter(Q(data__involved__uid__in=[about.uid, ""]) | Q(data__involved__uid__isnull=True))
    found = list(rows.order_by("-changed_at", "-pk")[:MOST_EVENTS])
    return sorted(found, key=event_time, reverse=True)


def event_time(row: ObservedObject) -> datetime:
    """When an event was last seen; older servers leave some of its times out."""
    for key in ("lastSeen", "createdAt"):
        try:
            moment = datetime.fromisoformat(str(row.data.get(key, "")))
        except ValueError:
            continue
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return row.changed_at


@dataclass(frozen=True)
class LogSource:
    """Where a container's log is. ``container`` "" is a pod's only one."""

    deployment_id: int
    deployment: str
    team_id: int
    cluster_id: int
    credential: ClusterCredential
    allow_loopback: bool
    namespace: str
    pod: str
    container: str


def log_source(actor: Actor, deployment_id: int, pod_name: str, container: str) -> LogSource:
    """For whoever may see the deployment. Raises :class:`NotFound`, also for a pod that was not seen
    among the deployment's own: others in the namespace belong to somebody else. Raises
    :class:`Conflict` once the deployment or its cluster was removed, :class:`Unreadable` where the
    credential cannot be decrypted."""
    deployment = lookup.deployment(actor, deployment_id)
    if deployment.removed_at is not None or deployment.cluster.removed_at is not None:
        raise Conflict(
            "This deployment is not connected any more, so there is no log to read.",
            remedy="Logs go with their pods; what was audited stays.",
        )
    row = pod(deployment, pod_name)
    if row is None:
        raise NotFound(
            f"{deployment.name} has no pod {pod_name[:253]} (any more).",
            remedy="A pod's log goes with the pod. Look at the pods that are there now.",
        )
    return LogSource(
        deployment_id=deployment.pk,
        deployment=deployment.name,
        team_id=deployment.team_id,
        cluster_id=deployment.cluster_id,
        credential=ClusterCredential.from_json(vault.unseal(deployment.cluster.credential)),
        allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
        namespace=row.namespace,
        pod=row.name,
        container=container,
    )
