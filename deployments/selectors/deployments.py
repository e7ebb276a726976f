"""Deployments for pages: the list, one deployment with what was observed of it, its releases."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Case, Count, IntegerField, Prefetch, Q, QuerySet, Value, When

from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput, NotFound
from deployments.domain.spec import StackSpec, StorageMode, model_from_json, spec_from_json
from deployments.domain.states import ACTIVE, CHANGING, Health, OperationKind, OperationState
from deployments.models import (
    Cluster,
    Deployment,
    ObservedObject,
    Operation,
    OwnedObject,
    Release,
    Revision,
    WatchState,
)
from deployments.selectors import lookup, scope
from deployments.selectors.operations import with_progress

REVISIONS_SHOWN = 50

SORTS = {
    "health": "badness",
    "name": "name",
    "cluster": "cluster__name",
    "team": "team__name",
    "revision": "revision__profile__name",
    "since": "health_since",
}


BADNESS = Case(
    *(When(health=health.value, then=Value(health.badness)) for health in Health),
    default=Value(99),
    output_field=IntegerField(),
)
_LISTED = (
    *("name", "namespace", "health", "health_sentence", "health_since"),
    *("team__name", "cluster__name", "cluster__simulated", "cluster__last_error"),
    *("revision__number", "revision__spec", "revision__profile__name"),
)


@dataclass(frozen=True)
class DeploymentFilter:
    """What the list is narrowed to; "" and None are everything."""

    health: str = ""
    cluster: int | None = None
    team: int | None = None
    text: str = ""
    sort: str = "health"


def deployments(actor: Actor, wanted: DeploymentFilter) -> QuerySet[Deployment]:
    """Installed deployments of the caller's teams; ``under_way`` of each is a list of at most one
    changing operation."""
    rows = scope.deployments(actor).filter(removed_at=None)
    if wanted.health:
        rows = rows.filter(health=wanted.health)
    if wanted.cluster:
        rows = rows.filter(cluster_id=wanted.cluster)
    if wanted.team:
        rows = rows.filter(team_id=wanted.team)
    if wanted.text:
        rows = rows.filter(
            Q(name__icontains=wanted.text)
            | Q(namespace__icontains=wanted.text)
            | Q(revision__profile__name__icontains=wanted.text)
        )
    active = Prefetch(
        "operations",
        queryset=Operation.objects.filter(state__in=ACTIVE, kind__in=CHANGING).only("kind", "deployment"),
        to_attr="under_way",
    )
    key = SORTS[wanted.sort.removeprefix("-")]
    if key == "badness":
        rows = rows.annotate(badness=BADNESS)
    return (
        rows.select_related("team", "cluster", "revision__profile")
        # Every other column would be decoded for each row.
        .only(*_LISTED)
        .prefetch_related(active)
        .order_by(f"-{key}" if wanted.sort.startswith("-") else key, "name", "pk")
    )


def under_way(row: Deployment) -> list[Operation]:
    """The changing operation of a row of :func:`deployments`, if one is active."""
    found: list[Operation] = getattr(row, "under_way")  # noqa: B009  (an attribute of the prefetch)
    return found


def clusters_to_choose(actor: Actor) -> list[Cluster]:
    """By name; of each no more than that."""
    return list(scope.clusters(actor).only("name"))


def spec_of(revision_spec: object) -> StackSpec | None:
    """The stack that a stored spec describes; None where a version of long ago wrote it unreadably."""
    try:
        return spec_from_json(revision_spec)
    except InvalidInput:
        return None


def model_of(revision_spec: object) -> str:
    """The model that a stored spec names, as Ollama does; "" where it cannot be read."""
    try:
        return model_from_json(revision_spec).reference
    except InvalidInput:
        return ""


@dataclass(frozen=True)
class DeploymentPage:
    """One deployment, its newest applied release, what runs, and how many of each thing there are."""

    deployment: Deployment
    release: Release | None
    newer: Revision | None
    under_way: list[Operation]
    last_chat: Operation | None
    checking: Operation | None
    kinds: dict[str, int]
    gpus: int
    releases: int


def deployment_page(actor: Actor, pk: int) -> DeploymentPage:
    """What stands above the sections. Raises :class:`NotFound`."""
    deployment = lookup.deployment(actor, pk)
    chats = Operation.objects.filter(
        deployment=deployment,
        kind__in=CHANGING | {OperationKind.CHECK_CHAT},
    )
    kinds = deployment.observed.values_list("kind").annotate(n=Count("pk")).order_by()
    return DeploymentPage(
        deployment=deployment,
        release=deployment.releases.exclude(applied_at=None).first(),
        newer=scope.revisions(actor)
        .filter(
            profile_id=deployment.revision.profile_id,
            profile__archived_at=None,
            number__gt=deployment.revision.number,
        )
        .first(),
        under_way=list(
            with_progress(Operation.objects.filter(deployment=deployment, state__in=ACTIVE))
            .exclude(kind=OperationKind.CHECK_CHAT)
            .order_by("-pk")[:5]
        ),
        last_chat=chats.filter(state=OperationState.SUCCEEDED, result__has_key="chat").first(),
        checking=chats.filter(kind=OperationKind.CHECK_CHAT).first(),
        kinds=dict(kinds),
        gpus=deployment.gpus.filter(gone="").count(),
        releases=deployment.releases.count(),
    )


def observed(deployment: Deployment, kinds: Iterable[str]) -> list[ObservedObject]:
    return list(deployment.observed.filter(kind__in=list(kinds)).order_by("kind", "name"))


def last_confirmed(deployment: Deployment, kind: str) -> WatchState | None:
    """How current the observations of a kind are."""
    return WatchState.objects.filter(cluster_id=deployment.cluster_id, kind=kind).first()


def failed_pull(deployment: Deployment) -> Operation | None:
    """The newest pull of a deployment, if that failed."""
    row = deployment.operations.filter(kind=OperationKind.PULL).order_by("-pk").first()
    return row if row is not None and row.state == OperationState.FAILED else None


def pulls(deployment: Deployment) -> list[Operation]:
    """The deployment's last pulls."""
    rows = deployment.operations.filter(kind=OperationKind.PULL).select_related("pull")
    return list(rows.order_by("-pk")[:10])


def releases(deployment: Deployment) -> QuerySet[Release]:
    return deployment.releases.select_related("revision__profile", "created_by").defer("manifests", "sealed")


def release(actor: Actor, pk: int, number: int) -> tuple[Release, Release | None]:
    """A release and the one before it. Raises :class:`NotFound`."""
    deployment = lookup.deployment(actor, pk)
    rows = deployment.releases.select_related("revision__profile", "created_by").defer("sealed")
    found = rows.filter(number=number).first()
    if found is None:
        raise NotFound(f"{deployment.name} has no release {number}.")
    return found, rows.filter(number__lt=number).first()


def revisions(actor: Actor, deployment: Deployment) -> list[Revision]:
    """What could be applied: the revisions of its profile that the caller sees, newest first."""
    rows = scope.revisions(actor).filter(profile_id=deployment.revision.profile_id)
    return list(rows.select_related("created_by")[:REVISIONS_SHOWN])


def scaled(deployment: Deployment) -> int | None:
    """How many servers are applied, where a scaling since made it another number than the revision's."""
    release = deployment.releases.exclude(applied_at=None).first()
    now, asked = spec_of(release.spec if release else None), spec_of(deployment.revision.spec)
    if now is None or asked is None or now.server.autoscaling.enabled:
        return None
    return now.server.replicas if now.server.replicas != asked.server.replicas else None


@dataclass(frozen=True)
class ModelData:
    """What an uninstall would do to the model data. ``existing`` names a claim that was there before
    and is never touched; ``claims`` are those made for this deployment, with what was observed."""

    existing: str
    claims: list[tuple[str, str]]


def model_data(deployment: Deployment) -> ModelData:
    """The claims that belong to the deployment, each with its capacity, "" where it is not known."""
    spec = spec_of(deployment.revision.spec)
    existing = spec.storage.claim_name if spec and spec.storage.mode is StorageMode.EXISTING else ""
    owned = OwnedObject.objects.filter(
        deployment=deployment, kind="PersistentVolumeClaim", gone_at=None
    ).order_by("name")
    seen = {
        row.name: str(row.data.get("capacity") or row.data.get("requested") or "")
        for row in deployment.observed.filter(kind="PersistentVolumeClaim")
    }
    names = dict.fromkeys([*(row.name for row in owned), *(name for name in seen if name != existing)])
    return ModelData(existing, [(name, seen.get(name, "")) for name in names])
