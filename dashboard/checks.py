"""Checks of the configuration at start: one line for each thing that would go wrong later."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core import checks
from django.core.checks import CheckMessage, Error, Tags, register

BROKERS = {"redis", "rediss", "unix"}


@register(Tags.security)
def chat_host(**_: Any) -> list[CheckMessage]:
    """Chat pages run foreign code: they must never share a host with the pages."""
    public = str(urlsplit(settings.PUBLIC_URL).hostname)
    if public == settings.CHAT_DOMAIN or public.endswith(f".{settings.CHAT_DOMAIN}"):
        return [
            Error(
                f"The pages' host {public} lies in CHAT_DOMAIN {settings.CHAT_DOMAIN}.",
                hint=f"Leave CHAT_DOMAIN empty (chat.{public}) or give another domain.",
                id="dashboard.E001",
            )
        ]
    return []


@register(Tags.compatibility)
def broker_address(**_: Any) -> list[CheckMessage]:
    scheme = urlsplit(settings.REDIS_URL).scheme
    if scheme in BROKERS:
        return []
    return [
        Error(
            f"REDIS_URL begins with {scheme or 'nothing'}://.",
            hint=f"It must begin with one of: {', '.join(sorted(BROKERS))}.",
            id="dashboard.E002",
        )
    ]


@register(Tags.files)
def state_directory(**_: Any) -> list[CheckMessage]:
    """``VAR_DIR`` holds discovery caches, and with SQLite everything."""
    path = settings.VAR_DIR
    existing = next(each for each in (path, *path.parents) if each.exists())
    if os.access(existing, os.W_OK):
        return []
    return [
        Error(
            f"VAR_DIR {path} cannot be written to.",
            hint="Give the process's user the right to write there, or set VAR_DIR.",
            id="dashboard.E003",
        )
    ]


@register(Tags.security, deploy=True)
def behind_a_proxy(**_: Any) -> list[CheckMessage]:
    if not settings.HTTPS or settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        checks.Warning(
            "PUBLIC_URL is https and TRUSTED_PROXY is off.",
            hint="A proxy that ends TLS in front would be redirected to itself for ever: set "
            "TRUSTED_PROXY=1 where it sets X-Forwarded-Proto itself and drops what clients send.",
            id="dashboard.W001",
        )
    ]


@register(Tags.security, deploy=True)
def any_host(**_: Any) -> list[CheckMessage]:
    if "*" not in settings.ALLOWED_HOSTS:
        return []
    return [Error("ALLOWED_HOSTS takes any host.", hint="List the hosts.", id="dashboard.E004")]
