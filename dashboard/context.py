"""What the shell around every page shows: team, counts, whether all of it is simulated."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from dashboard.access import actor, chosen_team, once, teams
from dashboard.regions import wants_region
from deployments.policies import Action, may
from deployments.selectors import attention
from deployments.selectors.counts import shell_counts


def tally(request: HttpRequest) -> attention.Tally:
    """What there is and what needs somebody, for the team that the pages are narrowed to; asked of the
    database once a request."""
    team = chosen_team(request)
    return once(request, "tally", lambda: attention.tally(actor(request), team.pk if team else None))


def shell(request: HttpRequest) -> dict[str, Any]:
    """``shell`` for templates; the way in alone for people who are not signed in."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"provider": settings.OIDC_NAME}
    if wants_region(request):
        return {}
    return {"shell": shell_values(request)}


def shell_values(request: HttpRequest) -> dict[str, Any]:
    """What the templates of the shell take."""
    who = actor(request)
    team = chosen_team(request)
    counts = shell_counts(who, team.pk if team else None, tally(request))
    return {
        "teams": teams(request),
        "team": team,
        "counts": counts.shown,
        "simulated": counts.all_simulated,
        "may_manage_users": may(who, Action.MANAGE_USERS),
        "stream_url": "/live/stream",
    }
