"""What the chat's own hosts ask of the database: whether a visitor still may, and where his chat is."""

from __future__ import annotations

import hmac
from typing import Protocol

from asgiref.sync import sync_to_async
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections

from dashboard.chat_tickets import Visitor
from deployments.gateways.chat import ChatTarget
from deployments.models import User
from deployments.selectors.actors import actor_for
from deployments.selectors.chat import chat_target

SOURCE = "chat"


class ChatDirectory(Protocol):
    """From a visitor to the chat that he asks for."""

    async def resolve(self, visitor: Visitor) -> ChatTarget | None:
        """The target; None for somebody who is signed out, switched off or no member any more, and
        for a deployment that is gone. Raises :class:`Denied` without the role."""
        ...


class DatabaseDirectory:
    """Asks the database, on every request anew: nothing about a person's rights is remembered."""

    async def resolve(self, visitor: Visitor) -> ChatTarget | None:
        # Not thread-sensitive: one slow look must not stand before everybody else's.
        return await sync_to_async(_resolve, thread_sensitive=False)(visitor)


def _resolve(visitor: Visitor) -> ChatTarget | None:
    try:
        user = User.objects.filter(pk=visitor.user_id, is_active=True).first()
        if user is None or not _signed_in(user, visitor):
            return None
        return chat_target(actor_for(user, SOURCE), visitor.public_id)
    finally:
        # The thread goes back to a pool, and an answer may stream for minutes: no connection waits.
        connections.close_all()


def _signed_in(user: User, visitor: Visitor) -> bool:
    """Whether the session of the pages that the ticket came from is still his, password unchanged."""
    if not hmac.compare_digest(user.get_session_auth_hash(), visitor.session_hash):
        return False
    session = SessionStore(session_key=visitor.session_key)
    return session.get(SESSION_KEY) == str(user.pk) and hmac.compare_digest(
        str(session.get(HASH_SESSION_KEY, "")), visitor.session_hash
    )
