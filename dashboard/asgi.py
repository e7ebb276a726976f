"""The web process: pages on their own host, every deployment's chat on a host of its own.

A chat page runs foreign code. On another host it shares neither cookies nor storage with the pages.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
pages = get_asgi_application()  # loads the settings and applications that the imports below need

from django.conf import settings

from dashboard import collector
from dashboard.chat import chat_application
from dashboard.hosts import is_chat_host

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Hand a request to the chat gateway or to Django, by its host."""
    host = next((value for name, value in scope.get("headers", ()) if name == b"host"), b"")
    if is_chat_host(host.decode("latin-1"), settings.CHAT_DOMAIN):
        await chat_application(scope, receive, send)
    else:
        await pages(scope, receive, send)


collector.settle()
