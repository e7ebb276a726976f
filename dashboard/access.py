"""Whose request it is. Views find objects through the selectors with this actor; a stranger's look-up
raises NotFound and a missing role Denied, which ``dashboard.errors`` turns into 404 and 403."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.http import HttpRequest

from deployments.domain.actors import Actor
from deployments.models import Team, User
from deployments.selectors import scope
from deployments.selectors.actors import actor_for

TEAM_KEY = "team"
T = TypeVar("T")


def once(request: HttpRequest, name: str, ask: Callable[[], T]) -> T:
    """What ``ask`` answers, asked for once a request and kept with it by that name."""
    answers: dict[str, Any] = request.__dict__.setdefault("_pilothouse", {})
    if name not in answers:
        answers[name] = ask()
    answer: T = answers[name]
    return answer


def actor(request: HttpRequest) -> Actor:
    """The actor of a signed-in request; asked of the database once a request."""

    def asked() -> Actor:
        user = request.user
        if not isinstance(user, User):
            raise TypeError("this view is for signed-in people: it must not be exempt from login")
        return actor_for(user, address(request))

    return once(request, "actor", asked)


def address(request: HttpRequest) -> str:
    """Where the request came from, for the audit."""
    return str(request.META.get("REMOTE_ADDR") or "unknown")


def teams(request: HttpRequest) -> list[Team]:
    """All that the caller may see; asked of the database once a request."""
    return once(request, "teams", lambda: list(scope.teams(actor(request))))


def chosen_team(request: HttpRequest) -> Team | None:
    """The team that the page is narrowed to, or None for all of the caller's; asked of the database once
    a request."""
    pk = request.session.get(TEAM_KEY)
    if not pk:
        return None
    return once(request, "team", lambda: scope.teams(actor(request)).filter(pk=pk).first())
