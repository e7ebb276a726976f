"""What the first page shows: what needs somebody, what runs, what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, EPHEMERAL, Health, OperationKind
from deployments.models import Approval, AuditEntry, Cluster, Deployment, Operation
from deployments.selectors import scope
from deployments.selectors.approvals import waiting
from deployments.selectors.attention import Tally, ill, silent
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


def start(actor: Actor, team_id: int | None, known: Tally) -> Start:
    """At most one query beside what the tally knows."""
    return Start(
        clusters=known.clusters,
        simulated=known.simulated,
        profiles=0 if known.deployments else _profiles(actor, team_id),
        deployments=known.deployments,
    )


def _profiles(actor: Actor, team_id: int | None) -> int:
    rows = scope.profiles(actor).filter(archived_at=None)
    return (rows.filter(team_id=team_id) if team_id else rows).count()


def attention(actor: Actor, team_id: int | None, known: Tally) -> Attention:
    """The worst of what was counted; a query for each kind of which there is any."""
    return Attention(
        requests=_requests(actor, team_id) if known.asked else [],
        deployments=_ill(actor, team_id) if known.ill else [],
        operations=_failed(known.failed) if known.failed else [],
        clusters=_silent(actor) if known.silent else [],
        total=known.needs,
    )


def _requests(actor: Actor, team_id: int | None) -> list[Approval]:
    rows = waiting(actor, team_id).select_related(
        "operation__team", "operation__cluster", "operation__deployment"
    )
    return list(rows.order_by("asked_at")[:ATTENTION_SHOWN])


def _ill(actor: Actor, team_id: int | None) -> list[Deployment]:
    # What the page does not show is long, and would be decoded for each row.
    rows = (
        ill(actor, team_id)
        .select_related("team", "cluster")
        .only(
            *("name", "namespace", "health", "health_sentence", "health_since"), "team__name", "cluster__name"
        )
    )
    return sorted(rows.order_by("health_since")[:ATTENTION_SHOWN], key=lambda row: Health(row.health).badness)


def _failed(pks: Sequence[int]) -> list[Operation]:
    rows = Operation.objects.filter(pk__in=pks[:ATTENTION_SHOWN])
    rows = rows.select_related("team", "cluster", "deployment").order_by("-pk")
    return list(rows.defer("memory", "result", "cluster__credential", "deployment__probes"))


def _silent(actor: Actor) -> list[Cluster]:
    return list(silent(actor).defer("credential")[:ATTENTION_SHOWN])


def running(actor: Actor, team_id: int | None) -> tuple[list[Operation], int]:
    """Work under way, newest first, and how much of it there is. A pull that other running work waits
    for is shown with that work."""
    rows = scope.operations(actor).filter(state__in=ACTIVE).exclude(kind__in=EPHEMERAL)
    rows = rows.filter(team_id=team_id) if team_id else rows
    awaited = Operation.objects.filter(kind=OperationKind.PULL, waiters__operation__state__in=ACTIVE).values(
        "pk"
    )
    rows = rows.exclude(pk__in=awaited)
    shown = list(with_progress(rows)[:RUNNING_SHOWN])
    return shown, len(shown) if len(shown) < RUNNING_SHOWN else rows.count()


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
