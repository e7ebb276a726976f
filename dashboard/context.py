"""What the shell around every page shows: team, counts, whether all of it is simulated."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest

from dashboard.access import actor, chosen_team
from deployments.policies import Action, may
from deployments.selectors import scope
from deployments.selectors.counts import shell_counts


def shell(request: HttpRequest) -> dict[str, Any]:
    """``shell`` for templates; the way in alone for people who are not signed in."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {"provider": settings.OIDC_NAME}
    if request.headers.get("X-Fragment"):
        return {}
    who = actor(request)
    counts = shell_counts(who)
    return {
        "shell": {
            "teams": list(scope.teams(who)),
            "team": chosen_team(request),
            "counts": counts.shown,
            "simulated": counts.all_simulated,
            "may_manage_users": may(who, Action.MANAGE_USERS),
            "stream_url": "/live/stream",
        }
    }
