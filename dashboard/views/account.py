"""Pages: one's own account. What signs one in, where one is signed in, one's teams."""

from __future__ import annotations

from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_GET

from dashboard.access import actor
from deployments.selectors import teams as selector
from deployments.selectors.actors import account_of


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Everything about the signed-in account on one page."""
    who = actor(request)
    user = account_of(who)
    values = {
        "mine": user,
        "site_role": who.site_role,
        "two_factors": is_mfa_enabled(user),
        "sessions": UserSession.objects.filter(user=user).count(),
        "memberships": selector.memberships_of(who),
        "provider": settings.OIDC_NAME,
        "connected": SocialAccount.objects.filter(user=user).exists(),
    }
    return render(request, "account/account.html", values)


urlpatterns = [path("", account, name="account")]
