"""Addresses of the sign-in by OpenID Connect: to the provider, and back from it."""

from __future__ import annotations

from typing import Any

from allauth.account.internal.decorators import login_not_required
from allauth.socialaccount.helpers import render_authentication_error
from allauth.socialaccount.providers.base import Provider
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.oauth2.views import OAuth2CallbackView, OAuth2LoginView
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path

from dashboard.oidc.adapter import Adapter


class CallbackView(OAuth2CallbackView):
    """Hands the nonce of the stashed state to the adapter, which compares it with the token's."""

    def _get_state(self, request: HttpRequest, provider: Provider) -> tuple[Any, Any]:
        state, response = super()._get_state(request, provider)
        if state is not None and isinstance(self.adapter, Adapter):
            self.adapter.nonce = state.get("nonce", "")
        return state, response


@login_not_required
def login(request: HttpRequest) -> HttpResponse:
    """To the provider; a GET asks first, so that no foreign page can begin a sign-in."""
    return _with(OAuth2LoginView, request)


@login_not_required
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the provider."""
    return _with(CallbackView, request)


def _with(view: Any, request: HttpRequest) -> HttpResponse:
    if not settings.OIDC_NAME:
        raise Http404
    adapter = Adapter(request)
    try:
        answer: HttpResponse = view.adapter_view(adapter)(request)
    except OAuth2Error as error:  # allauth catches it on the way back, but not on the way there
        answer = render_authentication_error(request, adapter.get_provider(), exception=error)
    return answer


urlpatterns = [
    path("login/", login, name="oidc_login"),
    path("callback/", callback, name="oidc_callback"),
]
