"""What needs somebody: the first page lists it, the figure beside the menu counts the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import CHANGING, Health, OperationState
from deployments.models import Cluster, Deployment, Operation
from deployments.selectors import scope
from deployments.selectors.approvals import waiting

TROUBLE = (Health.FAILED, Health.MISSING, Health.DEGRADED)
FAILED_SHOWN_FOR = timedelta(days=1)

_ILL = Q(health__in=TROUBLE)
_SILENT = ~Q(last_error="")


@dataclass(frozen=True)
class Tally:
    """How much there is, and how much of it needs somebody."""

    deployments: int
    ill: int
    clusters: int
    simulated: int
    silent: int
    failed: int
    asked: int

    @property
    def needs(self) -> int:
        """What the first page lists as needing attention."""
        return self.asked + self.ill + self.failed + self.silent


def tally(actor: Actor, team_id: int | None) -> Tally:
    """Four queries, whatever the fleet's size; ``team_id`` narrows as :func:`ill` and the others do."""
    fleet = present(actor, team_id).aggregate(all=Count("pk"), ill=Count("pk", filter=_ILL))
    clusters = scope.clusters(actor).aggregate(
        all=Count("pk", distinct=True),
        simulated=Count("pk", filter=Q(simulated=True), distinct=True),
        silent=Count("pk", filter=_SILENT, distinct=True),
    )
    return Tally(
        deployments=fleet["all"],
        ill=fleet["ill"],
        clusters=clusters["all"],
        simulated=clusters["simulated"],
        silent=clusters["silent"],
        failed=failed(actor, team_id).count(),
        asked=waiting(actor, team_id).count(),
    )


def present(actor: Actor, team_id: int | None) -> QuerySet[Deployment]:
    """Deployments that are installed, of one team where it is given."""
    rows = scope.deployments(actor).filter(removed_at=None)
    return rows.filter(team_id=team_id) if team_id else rows


def ill(actor: Actor, team_id: int | None) -> QuerySet[Deployment]:
    return present(actor, team_id).filter(_ILL)


def silent(actor: Actor) -> QuerySet[Cluster]:
    """Clusters that do not answer."""
    return scope.clusters(actor).filter(_SILENT)


def failed(actor: Actor, team_id: int | None) -> QuerySet[Operation]:
    """Changes that failed within a day and were not done better since. A deployment that is ill already is
    not counted a second time for its failed change."""
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
