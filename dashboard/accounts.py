"""How accounts come to be: an admin makes them; nobody signs up by himself."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from deployments.domain.actors import Actor
from deployments.domain.subjects import Subject
from deployments.ledger import audit, denials


class AccountAdapter(DefaultAccountAdapter):
    """allauth's hooks: closed sign-up, and an audit entry for each sign-in, sign-out and refusal."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        who = Actor(user.pk, user.get_username(), str(request.META.get("REMOTE_ADDR", "")))
        audit.record(who, "session.begin", Subject("user", str(user.pk), who.name))
        return super().post_login(request, user, **kwargs)

    def logout(self, request: HttpRequest) -> None:
        if request.user.is_authenticated:
            name = request.user.get_username()
            who = Actor(request.user.pk, name, str(request.META.get("REMOTE_ADDR", "")))
            audit.record(who, "session.end", Subject("user", str(request.user.pk), name))
        super().logout(request)

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        given = str(credentials.get("username") or credentials.get("email") or "")[:150]
        denials.refuse(str(request.META.get("REMOTE_ADDR", "")), "session.begin", Subject("user", name=given))
