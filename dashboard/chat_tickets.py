"""The way from a page of Pilothouse to the chat's own host, where its session cookie does not go.

A deployment's page links to the chat with a ticket: sealed, good for one minute and one use, for one
person, one session and one deployment. The chat's host turns it into a cookie of its own.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from deployments.domain.errors import Denied, Unreadable
from deployments.ledger import vault

ENTER = "/_pilothouse/enter"
TICKET_SECONDS = 60
COOKIE_SECONDS = 8 * 3600
_TICKET, _COOKIE = "pilothouse.chat.ticket", "pilothouse.chat.cookie"


@dataclass(frozen=True)
class Visitor:
    """Who talks to which deployment's chat, by which session of the dashboard: it ends with that.
    ``session_hash`` is Django's, which changes with the password."""

    public_id: str
    user_id: int
    session_key: str
    session_hash: str


def chat_origin(public_id: str) -> str:
    """scheme://host[:port] of a deployment's chat, beside the dashboard's own."""
    public = urlsplit(settings.PUBLIC_URL)
    port = f":{public.port}" if public.port else ""
    return f"{public.scheme}://{public_id}.{settings.CHAT_DOMAIN}{port}"


def enter_url(visitor: Visitor) -> str:
    """The address to link to or to show in a frame; make a new one for each page that is drawn."""
    return f"{chat_origin(visitor.public_id)}{ENTER}?{urlencode({'ticket': make_ticket(visitor)})}"


def make_ticket(visitor: Visitor) -> str:
    return _pack(visitor, _TICKET, secrets.token_urlsafe(16))


def redeem(ticket: str, public_id: str) -> Visitor:
    """Whom a ticket lets in. It counts as used from then on, in every process: the cache is the
    database. Raises :class:`Denied` with the reason."""
    visitor, nonce = _unpack(ticket, _TICKET, TICKET_SECONDS, public_id)
    if not cache.add(f"chat-ticket:{nonce}", 1, timeout=TICKET_SECONDS * 2):
        raise Denied(_("This link to the chat was used already."), remedy=_(OPEN_AGAIN))
    return visitor


def make_cookie(visitor: Visitor) -> str:
    return _pack(visitor, _COOKIE, "")


def read_cookie(value: str, public_id: str) -> Visitor:
    """Raises :class:`Denied` for a cookie that is too old, another chat's, or nobody's."""
    return _unpack(value, _COOKIE, COOKIE_SECONDS, public_id)[0]


def cookie_name() -> str:
    return "__Host-pilothouse-chat" if settings.HTTPS else "pilothouse-chat"


def cookie_header(visitor: Visitor) -> str:
    """Set-Cookie: for this host alone. Lax suffices, as the frame is on the same site."""
    secure = "; Secure" if settings.HTTPS else ""
    return f"{cookie_name()}={make_cookie(visitor)}; Path=/; HttpOnly; SameSite=Lax{secure}"


OPEN_AGAIN = gettext_noop("Open the chat again from its deployment's page.")


def _pack(visitor: Visitor, salt: str, nonce: str) -> str:
    # Sealed as well as signed: the session's key is a credential of its own.
    sealed = vault.seal({**asdict(visitor), "nonce": nonce}).decode("ascii")
    return signing.TimestampSigner(salt=salt).sign(sealed)


def _unpack(text: str, salt: str, seconds: int, public_id: str) -> tuple[Visitor, str]:
    try:
        sealed = signing.TimestampSigner(salt=salt).unsign(text, max_age=seconds)
        held = vault.unseal(sealed.encode("ascii"))
        nonce = str(held.pop("nonce"))
        visitor = Visitor(**held)
    except signing.SignatureExpired:
        raise Denied(_("This link to the chat is too old."), remedy=_(OPEN_AGAIN)) from None
    except (signing.BadSignature, Unreadable, TypeError, KeyError, UnicodeError):
        raise Denied(_("This is no valid link to a chat."), remedy=_(OPEN_AGAIN)) from None
    if visitor.public_id != public_id:
        raise Denied(_("This link is for another chat."), remedy=_(OPEN_AGAIN))
    return visitor, nonce
