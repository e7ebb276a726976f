"""From a code to verified claims.

The ID token's signature, issuer, audience, times and nonce are checked whichever way it came (OpenID
Connect Core 1.0, section 3.1.3.7), and the user info only counts for the subject that the token names
(section 5.3.2). Keys and documents are read with a time limit and a bound.
"""

from __future__ import annotations

import hmac
from typing import Any

import jwt
import orjson
import requests
from allauth.socialaccount.adapter import get_adapter
from allauth.socialaccount.models import SocialApp, SocialLogin, SocialToken
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect.views import OpenIDConnectOAuth2Adapter
from django.http import HttpRequest
from django.urls import reverse

SUFFIX = "/.well-known/openid-configuration"
# Asymmetric ones only: with a shared secret whoever knows the client could sign, and "none" is no signature.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
LEEWAY = 60  # seconds by which the provider's clock may differ
MAX_BYTES = 512 * 1024
TIMEOUT = 10  # seconds


class Adapter(OpenIDConnectOAuth2Adapter):
    """``nonce`` is what this browser was sent to the provider with; the callback sets it."""

    nonce: str = ""

    def __init__(self, request: HttpRequest, provider_id: str = "site") -> None:
        super().__init__(request, provider_id)

    @property
    def openid_config(self) -> dict[str, Any]:
        """The provider's metadata. Raises :class:`OAuth2Error` where it speaks for another issuer."""
        if not hasattr(self, "_openid_config"):
            url = self.get_provider().server_url
            config = _read(url)
            if f"{str(config.get('issuer', '')).rstrip('/')}{SUFFIX}" != url:
                raise OAuth2Error("the provider's metadata names another issuer than its address")
            self._openid_config = config
        return self._openid_config

    def get_callback_url(self, request: HttpRequest, app: SocialApp) -> str:
        return request.build_absolute_uri(reverse("oidc_callback"))

    def complete_login(
        self, request: HttpRequest, app: SocialApp, token: SocialToken, **kwargs: Any
    ) -> SocialLogin:
        """Verify the ID token and join what the user info adds to it. Raises :class:`OAuth2Error`."""
        id_token = kwargs["response"].get("id_token")
        if not isinstance(id_token, str):
            raise OAuth2Error("the provider sent no ID token")
        claims = self._verified(app, id_token)
        if self.openid_config.get("userinfo_endpoint"):
            more = _read(self.profile_url, token.token)
            if more.get("sub") != claims["sub"]:
                raise OAuth2Error("the user info is about somebody else than the ID token")
            claims = {**more, **claims}
        return self.get_provider().sociallogin_from_response(request, {"id_token": claims})

    def _verified(self, app: SocialApp, id_token: str) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(id_token)
            key = self._key(header)
            claims: dict[str, Any] = jwt.decode(
                id_token,
                key=key.key,
                algorithms=[header["alg"]],
                issuer=self.openid_config["issuer"],
                audience=app.client_id,
                leeway=LEEWAY,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except (jwt.PyJWTError, KeyError) as error:
            raise OAuth2Error(f"the ID token does not hold: {error}") from error
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != app.client_id:
            raise OAuth2Error("the ID token was made for another client")
        given = claims.get("nonce")
        if not self.nonce or not isinstance(given, str) or not hmac.compare_digest(given, self.nonce):
            raise OAuth2Error("the ID token carries another nonce than this sign-in began with")
        return claims

    def _key(self, header: dict[str, Any]) -> jwt.PyJWK:
        if header.get("alg") not in ALGORITHMS:
            raise OAuth2Error("the ID token is signed in a way that is not accepted")
        keys = jwt.PyJWKSet.from_dict(_read(self.openid_config["jwks_uri"])).keys
        fitting = [key for key in keys if key.key_id == header.get("kid") and key.public_key_use != "enc"]
        if "kid" not in header and len(keys) == 1:
            fitting = keys
        if not fitting:
            raise OAuth2Error("the provider has no key of the ID token's name")
        return fitting[0]


def _read(url: str, bearer: str = "") -> dict[str, Any]:
    """A JSON object from the provider. Raises :class:`OAuth2Error`."""
    headers = {"Accept": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
    try:
        with (
            get_adapter().get_requests_session() as session,
            session.get(url, headers=headers, timeout=TIMEOUT, stream=True, allow_redirects=False) as answer,
        ):
            answer.raise_for_status()
            body = answer.raw.read(MAX_BYTES + 1, decode_content=True)
    except requests.RequestException as error:
        raise OAuth2Error(f"the provider does not answer: {error}") from error
    if len(body) > MAX_BYTES:
        raise OAuth2Error("the provider's answer is too long")
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise OAuth2Error("the provider did not answer with JSON") from error
    if not isinstance(found, dict):
        raise OAuth2Error("the provider did not answer with an object")
    return found
