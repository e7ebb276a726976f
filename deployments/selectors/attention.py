"""What needs somebody: the first page lists it, the figure beside the menu counts the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, Max, Q, QuerySet
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
    """How much there is, and how much of it needs somebody. ``healths`` are the installed deployments by
    their health, zeros included, ``failed`` operations by their ids."""

    healths: Mapping[Health, int]
    clusters: int
    simulated: int
    silent: int
    failed: Sequence[int]
    asked: int

    @property
    def deployments(self) -> int:
        return sum(self.healths.values())

    @property
    def ill(self) -> int:
        return sum(self.healths[health] for health in TROUBLE)

    @property
    def needs(self) -> int:
        """What the first page lists as needing attention."""
        return self.asked + self.ill + len(self.failed) + self.silent


def tally(actor: Actor, team_id: int | None) -> Tally:
    """Five queries at most, whatever the fleet's size; ``team_id`` narrows as :func:`ill` and the others do."""
    found = dict(present(actor, team_id).order_by().values_list("health").annotate(n=Count("pk")))
    # A few dozen, which are counted here sooner than the database is asked for three sums.
    clusters = list(scope.clusters(actor).order_by().values_list("pk", "simulated", "last_error"))
    return Tally(
        healths={health: found.get(health.value, 0) for health in Health},
        clusters=len(clusters),
        simulated=sum(simulated for _pk, simulated, _error in clusters),
        silent=sum(bool(error) for _pk, _simulated, error in clusters),
        failed=failed(actor, team_id),
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


def failed(actor: Actor, team_id: int | None) -> list[int]:
    """Changes that failed within a day and were not done better since, the newest first. A deployment that is
    ill already is not counted a second time for its failed change. Two more queries where any failed."""
    rows = scope.operations(actor).filter(
        state=OperationState.FAILED,
        kind__in=CHANGING,
        finished_at__gte=timezone.now() - FAILED_SHOWN_FOR,
    )
    rows = rows.filter(team_id=team_id) if team_id else rows
    found = dict(rows.order_by("-pk").values_list("pk", "deployment_id"))
    if not found:
        return []
    well = Deployment.objects.filter(pk__in=set(found.values()), removed_at=None).exclude(_ILL)
    changes = Operation.objects.filter(deployment__in=well, kind__in=CHANGING)
    newest = dict(changes.order_by().values_list("deployment_id").annotate(Max("pk")))
    return [pk for pk, deployment in found.items() if newest.get(deployment) == pk]
