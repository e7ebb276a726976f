"""The small figures beside the menu."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.domain.actors import Actor
from deployments.domain.states import ACTIVE, EPHEMERAL
from deployments.selectors import scope
from deployments.selectors.approvals import waiting_for
from deployments.selectors.attention import Tally


@dataclass(frozen=True)
class ShellCounts:
    """``shown`` maps a menu entry to its figure; entries with nothing to say are absent."""

    shown: dict[str, int]
    all_simulated: bool


def shell_counts(actor: Actor, team_id: int | None, known: Tally) -> ShellCounts:
    """One query beside those of the tally, which is narrowed to ``team_id`` as the pages are; another one for
    the queue of approvals, which is not, where a team is chosen."""
    running = scope.operations(actor).filter(state__in=ACTIVE).exclude(kind__in=EPHEMERAL)
    shown = {
        "overview": known.needs,
        "deployments": known.deployments,
        "operations": (running.filter(team_id=team_id) if team_id else running).count(),
        "approvals": waiting_for(actor) if team_id else known.asked,
    }
    return ShellCounts(
        shown={name: value for name, value in shown.items() if value},
        all_simulated=bool(known.clusters) and known.clusters == known.simulated,
    )
