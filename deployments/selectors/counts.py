"""The small figures beside the menu."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, Q

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, EPHEMERAL, Health
from deployments.selectors import scope
from deployments.selectors.approvals import waiting_for


@dataclass(frozen=True)
class ShellCounts:
    """``shown`` maps a menu entry to its figure; entries with nothing to say are absent."""

    shown: dict[str, int]
    all_simulated: bool


TROUBLE = (Health.FAILED, Health.MISSING, Health.DEGRADED)


def shell_counts(actor: Actor) -> ShellCounts:
    """Four queries, whatever the fleet's size."""
    fleet = (
        scope.deployments(actor)
        .filter(removed_at=None)
        .aggregate(all=Count("pk"), ill=Count("pk", filter=Q(health__in=TROUBLE)))
    )
    clusters = scope.clusters(actor).aggregate(
        all=Count("pk", distinct=True), simulated=Count("pk", filter=Q(simulated=True), distinct=True)
    )
    running = scope.operations(actor).filter(state__in=ACTIVE).exclude(kind__in=EPHEMERAL).count()
    shown = {
        "overview": fleet["ill"],
        "deployments": fleet["all"],
        "operations": running,
        "approvals": waiting_for(actor),
    }
    return ShellCounts(
        shown={name: value for name, value in shown.items() if value},
        all_simulated=bool(clusters["all"]) and clusters["all"] == clusters["simulated"],
    )
