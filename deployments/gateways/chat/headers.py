"""The headers of what the chat host answers: few, and never what the back end would like to set."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

# What a back end may say about its body. No cookies, no CORS, no policies of its own.
_PASSED_ON = ("content-type", "content-length", "content-encoding", "last-modified", "etag", "vary")


def policy(dashboard_origin: str) -> str:
    """The page may call its own host and nobody else: it would send the reader to Google Analytics,
    jsdelivr and ghp.ci. Next.js starts with inline scripts, and a conversation shows images and
    sounds that the page made itself."""
    return "; ".join(
        (
            "default-src 'self'",
            "script-src 'self' 'unsafe-inline'",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            f"frame-ancestors {dashboard_origin}",
        )
    )


def common(dashboard_origin: str) -> list[tuple[str, str]]:
    """On every answer of the chat host."""
    return [
        ("Content-Security-Policy", policy(dashboard_origin)),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
    ]


def passed_on(headers: Mapping[str, str], *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """The back end's words about its body, names in lower case."""
    return [(name, headers[name]) for name in _PASSED_ON if name in headers and name not in without]


def caching(immutable: bool) -> tuple[str, str]:
    """Only what Next.js names by its content may be kept: the rest is behind a role."""
    return ("Cache-Control", "private, max-age=31536000, immutable" if immutable else "no-store")


def location(value: str, prefixes: tuple[str, ...], api_host: str) -> str | None:
    """Undo what the API server did to a Location (recorded transcript 28): one of its proxy's paths
    becomes the back end's own; a relative one stays; another host's is None and must not be sent."""
    parts = urlsplit(value)
    if parts.scheme or parts.netloc:
        if parts.netloc != api_host:
            return None
        value = parts.path + (f"?{parts.query}" if parts.query else "")
    elif not value.startswith("/"):
        return value
    for prefix in prefixes:
        if value.startswith(f"{prefix}/"):
            rest = value.removeprefix(prefix)
            return None if rest.startswith("//") else rest
    return None


def without_prefix(html: bytes, prefixes: tuple[str, ...]) -> bytes:
    """Undo what the API server did to href, src and action: it put the proxy's path before each
    absolute one. The prefix names this very Service, so it stands nowhere else."""
    for prefix in prefixes:
        html = html.replace(f"{prefix}/".encode(), b"/")
    return html
