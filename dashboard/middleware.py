"""What every request gets: an id in its log lines and answer, a strict Content-Security-Policy, a language."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.utils import translation

from dashboard.regions import wants_region
from dashboard.static_files import built
from deployments.logs import log_context

_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


class RequestContext:
    """Take the proxy's X-Request-Id where it is a sane one, else make one."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-Id", "")
        identity = given if _ID.fullmatch(given) else uuid.uuid4().hex[:16]
        with log_context(request=identity):
            response = self.get_response(request)
        response.headers["X-Request-Id"] = identity
        if wants_region(request):
            # A page from before an upgrade has the scripts and styles from before it, and can say so.
            response.headers["X-Built"] = built()
        return response


class ContentSecurityPolicy:
    """Nothing inline and nothing from elsewhere, but for frames of the chat's own hosts."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        public = urlsplit(settings.PUBLIC_URL)
        port = f":{public.port}" if public.port else ""
        self.policy = (
            "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
            # Browsers hold the redirect that answers a form to this, too: the one to the identity provider.
            f"form-action 'self'{_origin(settings.OIDC_DISCOVERY_URL)}; frame-ancestors 'none'; "
            f"frame-src {public.scheme}://*.{settings.CHAT_DOMAIN}{port}"
        )

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", self.policy)
        return response


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f" {parts.scheme}://{parts.netloc}" if parts.netloc else ""


class CompressPages(GZipMiddleware):
    """Compress whole pages, with the random padding that Django adds against guessing by length.

    Streams are left as they are: a compressed event would wait in the compressor for the next one.
    """

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:  # type: ignore[override]
        if response.streaming or not response.headers.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)  # type: ignore[return-value]


class ReaderLanguage:
    """The language that somebody chose goes with the account to every browser; Django's cookie and the
    browser's own wish (``LocaleMiddleware``) count for whoever is not signed in or chose none."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        # Not for a view alone: the page of an address that does not exist has a reader, too.
        if settings.SESSION_COOKIE_NAME in request.COOKIES:
            chosen = self._chosen(request)
            if chosen and translation.check_for_language(chosen):
                translation.activate(chosen)
                request.LANGUAGE_CODE = translation.get_language()
        return self.get_response(request)

    @staticmethod
    def _chosen(request: HttpRequest) -> str:
        try:
            return str(getattr(request.user, "language", ""))
        except DatabaseError:
            # Whether the program lives must be told without a database; whoever needs it meets this again.
            return ""
