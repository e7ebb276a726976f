"""Who may come in by the identity provider, and what he is given on the way."""

from __future__ import annotations

from typing import Any

from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.models import SocialLogin
from django.conf import settings
from django.http import HttpRequest
from django.shortcuts import render

from dashboard.access import address
from dashboard.oidc.claims import Rights, rights
from deployments.commands.addresses import free
from deployments.commands.teams import apply_claims
from deployments.domain.actors import Actor
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import User
from deployments.selectors.addresses import holders
from deployments.sentences import said


class SocialAccountAdapter(DefaultSocialAccountAdapter):
    """allauth's hooks around a sign-in whose token was verified already."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return True  # pre_social_login has turned away whoever may not

    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """Give a known account what its claims say now; let a new one in where they give it anything."""
        claims = _claims(sociallogin)
        given = rights(claims, settings.OIDC_GROUPS_CLAIM, settings.OIDC_ROLES)
        if sociallogin.is_existing:
            if sociallogin.user.is_active and sociallogin.state.get("process") != "connect":
                _apply(request, sociallogin.user, given)
            return
        if sociallogin.state.get("process") == "connect":
            return
        email, name = str(claims.get("email") or ""), settings.OIDC_NAME
        if not email or claims.get("email_verified") is not True:
            self._refuse(
                request,
                claims,
                f"{name} does not vouch for your e-mail address.",
                "Have the address verified there, then sign in again.",
            )
        if holders(email).exists():
            self._refuse(
                request,
                claims,
                "There is an account with your e-mail address already.",
                f"Sign in to it with its password and connect {name} on your account's page.",
            )
        if not given:
            self._refuse(
                request,
                claims,
                f"{name} knows you, but none of your groups gives access here.",
                "Ask an admin of this Pilothouse which group you need.",
            )
        # The provider vouches for it; who only typed it into his account has to let go of it.
        free(Actor(None, name_of(claims), address(request)), email)

    def save_user(self, request: HttpRequest, sociallogin: SocialLogin, form: Any = None) -> User:
        user: User = super().save_user(request, sociallogin, form)
        who = Actor(user.pk, user.get_username(), address(request))
        audit.record(
            who,
            "user.create",
            Subject("user", str(user.pk), who.name),
            after={"email": user.email, "by": settings.OIDC_NAME},
        )
        claims = _claims(sociallogin)
        _apply(request, user, rights(claims, settings.OIDC_GROUPS_CLAIM, settings.OIDC_ROLES))
        return user

    def on_authentication_error(
        self,
        request: HttpRequest,
        provider: Any,
        error: Any = None,
        exception: Exception | None = None,
        extra_context: Any = None,
    ) -> None:
        """Note the refusal; the page says what went wrong in a sentence of its own."""
        reason = str(exception or error or "")[:300]
        who = Actor(None, "nobody", address(request))
        audit.record(
            who,
            "session.begin",
            Subject("user", name="OpenID Connect"),
            outcome=Outcome.DENIED,
            reason=reason,
        )

    def _refuse(self, request: HttpRequest, claims: dict[str, Any], sentence: str, remedy: str) -> None:
        who = Actor(None, "nobody", address(request))
        audit.record(
            who,
            "session.begin",
            Subject("user", name=name_of(claims)),
            outcome=Outcome.DENIED,
            reason=sentence,
        )
        values = {"sentence": said(sentence), "remedy": said(remedy)}
        raise ImmediateHttpResponse(render(request, "socialaccount/refused.html", values, status=403))


def name_of(claims: dict[str, Any]) -> str:
    """Whom an entry of the audit names before there is an account."""
    return str(claims.get("email") or claims.get("sub") or "")[:150]


def _claims(sociallogin: SocialLogin) -> dict[str, Any]:
    data = sociallogin.account.extra_data
    claims = data.get("id_token", data) if isinstance(data, dict) else {}
    return claims if isinstance(claims, dict) else {}


def _apply(request: HttpRequest, user: User, given: Rights) -> None:
    who = Actor(user.pk, user.get_username(), address(request))
    apply_claims(who, user=user, roles=given.roles, site_role=given.site_role)
