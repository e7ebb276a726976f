"""What the first page shows: what needs somebody, what runs, what changed."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, EPHEMERAL, Health, OperationKind
from deployments.models import Approval, AuditEntry, Cluster, Deployment, Operation
from deployments.selectors import scope
from deployments.selectors.approvals import waiting
from deployments.selectors.attention import Tally, failed, ill, present, silent
from deployments.selectors.operations import with_progress

ATTENTION_SHOWN = 20
RUNNING_SHOWN = 8
CHANGES_SHOWN = 8


@dataclass(frozen=True)
class Attention:
    """What needs somebody, worst first, each list cut; ``total`` counts all of it."""

    requests: list[Approval]
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
    rows = present(actor, team_id).order_by().values_list("health").annotate(n=Count("pk"))
    found = dict(rows)
    return {health: found.get(health.value, 0) for health in Health}


def start(actor: Actor, team_id: int | None, known: Tally) -> Start:
    """One query beside what the tally knows."""
    profiles = scope.profiles(actor).filter(archived_at=None)
    return Start(
        clusters=known.clusters,
        simulated=known.simulated,
        profiles=(profiles.filter(team_id=team_id) if team_id else profiles).count(),
        deployments=known.deployments,
    )


def attention(actor: Actor, team_id: int | None, total: int) -> Attention:
    """The worst of what :func:`deployments.selectors.attention.tally` counted, which is the ``total``."""
    sick = ill(actor, team_id).select_related("team", "cluster")
    # What the page does not show is long, and would be decoded for each row.
    sick = sick.defer("demand", "health_evidence", "probes", "cluster__credential")
    changes_failed = failed(actor, team_id).select_related("team", "cluster", "deployment")
    asked = waiting(actor, team_id).select_related(
        "operation__team", "operation__cluster", "operation__deployment"
    )
    return Attention(
        requests=list(asked.order_by("asked_at")[:ATTENTION_SHOWN]),
        deployments=sorted(
            sick.order_by("health_since")[:ATTENTION_SHOWN], key=lambda row: Health(row.health).badness
        ),
        operations=list(changes_failed[:ATTENTION_SHOWN]),
        clusters=list(silent(actor)[:ATTENTION_SHOWN]),
        total=total,
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
