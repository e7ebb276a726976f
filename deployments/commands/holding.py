"""Text that a form keeps between two tries without showing it: sealed, for one person, for an hour.

A pasted file may hold a credential or an access code, so the page that asks again must not carry it in
clear; nothing is stored on the server either.
"""

from __future__ import annotations

from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput, Unreadable
from deployments.ledger import vault

HELD_FOR = 3600  # seconds


def hold(actor: Actor, text: str | bytes) -> str:
    """The text sealed for the next try of the same person."""
    file = text.decode("utf-8-sig", "replace") if isinstance(text, bytes) else text
    until = timezone.now().timestamp() + HELD_FOR
    return vault.seal({"text": file, "by": actor.user_id, "until": until}).decode("ascii")


def held(actor: Actor, token: str, *, field: str) -> str:
    """What :func:`hold` sealed. Raises :class:`InvalidInput` at ``field`` where it is another person's,
    too old or not readable."""
    try:
        found = vault.unseal(token.encode("ascii", "replace"))
    except Unreadable:
        found = None
    mine = isinstance(found, dict) and actor.user_id is not None and found.get("by") == actor.user_id
    if not mine or float(found.get("until", 0)) < timezone.now().timestamp():
        raise InvalidInput("The file is no longer held.", field=field, remedy="Give it again.")
    return str(found["text"])
