"""What the first page shows: what needs somebody, what runs, what changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, CHANGING, EPHEMERAL, Health, OperationKind, OperationState
from deployments.models import AuditEntry, Cluster, Deployment, Operation
from deployments.selectors import scope
from deployments.selectors.counts import TROUBLE
from deployments.selectors.operations import with_progress

FAILED_SHOWN_FOR = timedelta(days=1)
ATTENTION_SHOWN = 20
RUNNING_SHOWN = 8
CHANGES_SHOWN = 8


@dataclass(frozen=True)
class Attention:
    """What needs somebody, worst first, each list cut; ``total`` counts all of it."""

    deployments: list[Deployment]
    operations: list[Operation]
    clusters: list[Cluster]
    total: int


@dataclass(frozen=True)
class Start:
    """What exists at all: with nothing deployed the page shows the way there."""

    clusters: int
    simulated: int
    profiles: int
    deployments: int


def health_counts(actor: Actor, team_id: int | None) -> dict[Health, int]:
    """How many installed deployments are in each health, zeros included; one query."""
    rows = _present(actor, team_id).order_by().values_list("health").annotate(n=Count("pk"))
    found = dict(rows)
    return {health: found.get(health.value, 0) for health in Health}


def start(actor: Actor, team_id: int | None) -> Start:
    """Three queries."""
    clusters = scope.clusters(actor).aggregate(
        all=Count("pk", distinct=True), simulated=Count("pk", filter=Q(simulated=True), distinct=True)
    )
    profiles = scope.profiles(actor).filter(archived_at=None)
    return Start(
        clusters=clusters["all"],
        simulated=clusters["simulated"],
        profiles=(profiles.filter(team_id=team_id) if team_id else profiles).count(),
        deployments=_present(actor, team_id).count(),
    )


def attention(actor: Actor, team_id: int | None) -> Attention:
    """Ill deployments, changes that failed within a day and were not done better since, clusters that
    do not answer. A deployment that is ill already is not listed a second time for its failed change."""
    ill = _present(actor, team_id).filter(health__in=TROUBLE).select_related("team", "cluster")
    # What the page does not show is long, and would be decoded for each row.
    ill = ill.defer("demand", "health_evidence", "probes", "cluster__credential")
    failed = _failed(actor, team_id)
    silent = scope.clusters(actor).exclude(last_error="")
    return Attention(
        deployments=sorted(
            ill.order_by("health_since")[:ATTENTION_SHOWN], key=lambda row: Health(row.health).badness
        ),
        operations=list(failed.select_related("team", "cluster", "deployment")[:ATTENTION_SHOWN]),
        clusters=list(silent[:ATTENTION_SHOWN]),
        total=ill.count() + failed.count() + silent.count(),
    )


def running(actor: Actor, team_id: int | None) -> tuple[list[Operation], int]:
    """Work under way, newest first, and how much of it there is. A pull that other running work waits
    for is shown with that work."""
    rows = scope.operations(actor).filter(state__in=ACTIVE).exclude(kind__in=EPHEMERAL)
    rows = rows.filter(team_id=team_id) if team_id else rows
    awaited = Operation.objects.filter(kind=OperationKind.PULL, waiters__operation__state__in=ACTIVE).values(
        "pk"
    )
    rows = rows.exclude(pk__in=awaited)
    return list(with_progress(rows)[:RUNNING_SHOWN]), rows.count()


def changes(actor: Actor, team_id: int | None) -> list[AuditEntry]:
    """The last audited acts of the caller's teams."""
    rows = AuditEntry.objects.all()
    if team_id:
        rows = rows.filter(team_id=team_id)
    elif not actor.sees_everything:
        rows = rows.filter(team_id__in=actor.roles)
    # Who signed in, and what an operation notes by itself, changed nothing that a reader looks for here.
    rows = rows.exclude(action="release.make").exclude(action__startswith="session.")
    return list(rows[:CHANGES_SHOWN])


def _present(actor: Actor, team_id: int | None) -> QuerySet[Deployment]:
    rows = scope.deployments(actor).filter(removed_at=None)
    return rows.filter(team_id=team_id) if team_id else rows


def _failed(actor: Actor, team_id: int | None) -> QuerySet[Operation]:
    newest = (
        Operation.objects.filter(deployment_id=OuterRef("deployment_id"), kind__in=CHANGING)
        .order_by("-pk")
        .values("pk")[:1]
    )
    rows = scope.operations(actor).filter(
        state=OperationState.FAILED,
        kind__in=CHANGING,
        finished_at__gte=timezone.now() - FAILED_SHOWN_FOR,
        deployment__removed_at=None,
        deployment__isnull=False,
    )
    rows = rows.annotate(newest=Subquery(newest)).filter(pk=F("newest"))
    rows = rows.exclude(deployment__health__in=TROUBLE)
    return rows.filter(team_id=team_id) if team_id else rows
