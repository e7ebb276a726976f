"""The identity provider as allauth's registry knows it: one, named by the settings.

allauth's own provider sends neither a nonce nor, by itself, a PKCE challenge. Both are always sent
here, and what a caller puts into the address changes nothing of the request.
"""

from __future__ import annotations

import secrets
from typing import Any

from allauth.socialaccount.providers.openid_connect.provider import OpenIDConnectProvider
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from dashboard.oidc.adapter import Adapter


class Provider(OpenIDConnectProvider):
    """See :class:`allauth.socialaccount.providers.openid_connect.provider.OpenIDConnectProvider`."""

    id = "oidc"
    name = "OpenID Connect"
    oauth2_adapter_class = Adapter
    pkce_enabled_default = True

    def get_login_url(self, request: HttpRequest, **kwargs: Any) -> str:
        return reverse("oidc_login", query=kwargs or None)

    def get_callback_url(self) -> str:
        return reverse("oidc_callback")

    def get_scope_from_request(self, request: HttpRequest) -> list[str]:
        return list(self.get_scope())

    def get_auth_params_from_request(self, request: HttpRequest, action: str) -> dict[str, str]:
        return {}

    def redirect(self, request: HttpRequest, process: str, *args: Any, **kwargs: Any) -> HttpResponse:
        """Send the browser to the provider; the nonce is kept with the state in the session."""
        nonce = secrets.token_urlsafe(24)
        kwargs["auth_params"] = {**(kwargs.get("auth_params") or {}), "nonce": nonce}
        answer: HttpResponse = super().redirect(request, process, *args, nonce=nonce, **kwargs)
        return answer


provider_classes = [Provider]
