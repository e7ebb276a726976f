"""Whose request it is. Views find objects through the selectors with this actor; a stranger's look-up
raises NotFound and a missing role Denied, which ``dashboard.errors`` turns into 404 and 403."""

from __future__ import annotations

from django.http import HttpRequest

from deployments.domain.actors import Actor
from deployments.models import Team, User
from deployments.selectors import scope
from deployments.selectors.actors import actor_for

TEAM_KEY = "team"


def actor(request: HttpRequest) -> Actor:
    """The actor of a signed-in request; asked of the database once a request."""
    known = getattr(request, "_pilothouse_actor", None)
    if known is None:
        user = request.user
        if not isinstance(user, User):
            raise TypeError("this view is for signed-in people: it must not be exempt from login")
        known = actor_for(user, address(request))
        request._pilothouse_actor = known  # type: ignore[attr-defined]
    return known


def address(request: HttpRequest) -> str:
    """Where the request came from, for the audit."""
    return str(request.META.get("REMOTE_ADDR") or "unknown")


def teams(request: HttpRequest) -> list[Team]:
    """All that the caller may see; asked of the database once a request."""
    known: list[Team] | None = getattr(request, "_pilothouse_teams", None)
    if known is None:
        known = list(scope.teams(actor(request)))
        request._pilothouse_teams = known  # type: ignore[attr-defined]
    return known


def chosen_team(request: HttpRequest) -> Team | None:
    """The team that the page is narrowed to, or None for all of the caller's; asked of the database once
    a request."""
    pk = request.session.get(TEAM_KEY)
    if not pk:
        return None
    if not hasattr(request, "_pilothouse_team"):
        request._pilothouse_team = scope.teams(actor(request)).filter(pk=pk).first()  # type: ignore[attr-defined]
    found: Team | None = request._pilothouse_team  # type: ignore[attr-defined]
    return found
