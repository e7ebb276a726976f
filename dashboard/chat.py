"""The chat gateway's web application: one host for each deployment, beside Django's.

It adds to :mod:`deployments.gateways.chat` what belongs to the browser: the host, the ticket, the
cookie, the role of whoever asks (on every request, and again every two seconds while a model
speaks), and pages that say why there is no chat.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connections
from django.utils import translation
from django.utils.translation import gettext as _
from django.utils.translation.trans_real import parse_accept_lang_header

from dashboard import chat_pages
from dashboard.chat_directory import ChatDirectory, DatabaseDirectory
from dashboard.chat_tickets import ENTER, OPEN_AGAIN, Visitor, cookie_header, cookie_name, read_cookie, redeem
from deployments.domain.errors import Denied, InvalidInput, NotFound, PilothouseError
from deployments.gateways.chat import MAX_QUESTION, ChatAnswer, ChatGateway, ChatRequest, ChatTarget
from deployments.sentences import said

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

CHECK_EVERY = 2.0  # seconds between two looks at the role while an answer is streamed
CHECK_LIMIT = 2.0  # seconds that such a look may take
BODY_SECONDS = 60.0
# Browsers ask for a page's manifest without cookies (W3C Web Application Manifest, "manifest" link type), so
# nobody is known there and the cluster is not asked.
MANIFEST = ("/site.webmanifest", b'{"name":"Chat","start_url":"/","display":"browser"}')
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

log = logging.getLogger(__name__)


class ChatApplication:
    """ASGI. One for a process."""

    def __init__(self, directory: ChatDirectory, gateway: ChatGateway | None = None) -> None:
        self._directory = directory
        self._gateway = gateway or ChatGateway()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']} is not spoken here")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        reply = _Reply(scope, headers, send)
        with translation.override(_language(headers.get("accept-language", ""))):
            try:
                await self._serve(scope, headers, receive, reply)
            except PilothouseError as error:
                await reply.trouble(chat_pages.trouble_of(error))
            except Exception:  # whatever it is, the reader gets a page and the server its traceback
                log.exception("a request of a chat page failed")
                if not reply.started:
                    await reply.trouble(
                        chat_pages.Trouble(500, _("Pilothouse made a mistake."), _("Its log says more."))
                    )
                raise

    async def _serve(self, scope: Scope, headers: dict[str, str], receive: Receive, reply: _Reply) -> None:
        host = headers.get("host", "").lower()
        public_id = _public_id(host)
        if scope["path"] == ENTER:
            await self._enter(scope, headers, public_id, reply)
            return
        _refuse_foreign(scope["method"], headers, host)
        if scope["path"] == MANIFEST[0] and scope["method"] in ("GET", "HEAD"):
            await reply.whole(200, [("Content-Type", "application/manifest+json")], MANIFEST[1])
            return
        visitor = _visitor(headers, public_id)
        target = await self._target(visitor)
        reply.way_back = target.deployment_url or target.dashboard_origin
        inbox = _Inbox(receive)
        path = scope.get("raw_path") or scope["path"].encode()
        request = ChatRequest(
            method=scope["method"],
            path=path.partition(b"?")[0].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
            body=inbox.body,
        )
        work = asyncio.create_task(self._answer(target, request, reply))
        gone = asyncio.create_task(inbox.gone())
        lost = asyncio.create_task(self._lost(visitor)) if request.method == "POST" else None
        tasks = [work, gone, *([lost] if lost else [])]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # Cancelling the work closes its connection to the cluster, and Ollama stops there.
            await asyncio.wait(tasks)
        if not work.cancelled():
            work.result()
        elif lost is not None and not lost.cancelled():
            await reply.farewell(lost.result())

    async def _enter(self, scope: Scope, headers: dict[str, str], public_id: str, reply: _Reply) -> None:
        if scope["method"] != "GET":
            await reply.whole(405, [("Allow", "GET")], b"")
            return
        query = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=10)
        try:
            visitor = await sync_to_async(_redeem, thread_sensitive=False)(
                query.get("ticket", [""])[0], public_id
            )
        except Denied as refusal:
            # Going back in the browser's history asks for a used ticket once more.
            try:
                visitor = _visitor(headers, public_id)
            except Denied:
                raise refusal from None
        await self._target(visitor)
        await reply.whole(303, [("Location", "/"), ("Set-Cookie", cookie_header(visitor))], b"")

    async def _target(self, visitor: Visitor) -> ChatTarget:
        target = await self._directory.resolve(visitor)
        if target is None:
            raise NotFound(
                _("This chat is not open to you."),
                remedy=_("You have signed out, you are no longer in its team, or it was removed."),
            )
        return target

    async def _answer(self, target: ChatTarget, request: ChatRequest, reply: _Reply) -> None:
        answer = await self._gateway.handle(target, request)
        try:
            await reply.pass_on(answer)
        except PilothouseError as error:
            # Too late for a status: the connection is dropped, or the conversation is told.
            log.warning("an answer of a chat broke off: %s (%s)", error.sentence, error.answered)
            await reply.farewell(said(error.sentence))
        finally:
            await answer.aclose()

    async def _lost(self, visitor: Visitor) -> str:
        """Returns once the visitor may no longer listen, with the words for it."""
        while True:
            await asyncio.sleep(CHECK_EVERY)
            try:
                async with asyncio.timeout(CHECK_LIMIT):
                    if await self._directory.resolve(visitor) is None:
                        return _("This chat is not open to you any more.")
            except PilothouseError as error:
                return said(error.sentence)
            except (TimeoutError, DatabaseError) as error:
                log.warning("a role cannot be checked, so an answer ends: %r", error)
                return _("Your role cannot be checked at the moment.")


class _Inbox:
    """The one reader of what the browser sends: a body, and that it has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._body = bytearray()
        self._complete = asyncio.Event()
        self._broken = False

    async def gone(self) -> None:
        """Read on until the browser hangs up; without this running no body arrives."""
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._broken = not self._complete.is_set()
                self._complete.set()
                return
            if len(self._body) <= MAX_QUESTION:
                self._body += message.get("body", b"")
            if not message.get("more_body", False) or len(self._body) > MAX_QUESTION:
                self._complete.set()

    async def body(self, limit: int) -> bytes:
        """Raises :class:`InvalidInput` (field ``body``) beyond ``limit`` bytes or after a minute."""
        try:
            async with asyncio.timeout(BODY_SECONDS):
                await self._complete.wait()
        except TimeoutError:
            raise InvalidInput(_("The message took too long to arrive."), field="body") from None
        if self._broken:
            raise InvalidInput(_("The message did not arrive whole."), field="body")
        if len(self._body) > limit:
            raise InvalidInput(_("The message is too long."), field="body")
        return bytes(self._body)


class _Reply:
    """What is sent back, once. Pages for people, JSON where the chat page's script asked."""

    def __init__(self, scope: Scope, headers: dict[str, str], send: Send) -> None:
        self._send = send
        self._head = scope["method"] == "HEAD"
        self._script = scope["path"].startswith("/api/")
        self.started = False
        self._speaking = False
        self._ended = False
        self.way_back = settings.PUBLIC_URL

    async def whole(self, status: int, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        policy = chat_pages.headers(settings.PUBLIC_URL)
        own = {name.lower() for name, _value in headers}
        head = [*headers, *(pair for pair in policy if pair[0].lower() not in own)]
        await self._start(status, [*head, ("Content-Length", str(len(body)))])
        await self._part(b"" if self._head else body, more=False)

    async def trouble(self, trouble: chat_pages.Trouble) -> None:
        if self.started:
            return
        if not self._script:
            await self.whole(trouble.status, (), chat_pages.page(trouble, self.way_back))
            return
        words = " ".join(part for part in (trouble.sentence, trouble.remedy) if part)
        body = json.dumps({"error": {"message": words, "type": "pilothouse"}}).encode()
        await self.whole(trouble.status, [("Content-Type", "application/json")], body)

    async def pass_on(self, answer: ChatAnswer) -> None:
        await self._start(answer.status, answer.headers)
        self._speaking = answer.stream
        if not self._head:
            async for piece in answer.body:
                await self._part(piece, more=True)
        await self._part(b"", more=False)

    async def farewell(self, sentence: str) -> None:
        """End before the end, with the reason where it can still be said: as an error, or as the last
        words of a conversation that is being streamed."""
        if not self.started:
            await self.trouble(chat_pages.Trouble(403, sentence, _(OPEN_AGAIN)))
        elif self._speaking and not self._ended:
            words = {
                "choices": [{"index": 0, "delta": {"content": f"\n\n[{sentence}]"}, "finish_reason": "stop"}]
            }
            last = f"data: {json.dumps(words)}\n\ndata: [DONE]\n\n"
            await self._part(last.encode(), more=False)

    async def _start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self.started = True
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})

    async def _part(self, body: bytes, *, more: bool) -> None:
        self._ended = not more
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _public_id(host: str) -> str:
    name = host.partition(":")[0].rstrip(".")
    label = name.removesuffix(f".{settings.CHAT_DOMAIN}")
    if label == name or not _LABEL.fullmatch(label):
        raise NotFound(_("There is no such chat."), remedy=_(OPEN_AGAIN))
    return label


def _refuse_foreign(method: str, headers: dict[str, str], host: str) -> None:
    """Another chat's page is on the same site, so the cookie comes along: its origin tells."""
    origin = headers.get("origin")
    foreign = origin is not None and urlsplit(origin).netloc.lower() != host
    site = headers.get("sec-fetch-site", "same-origin")
    if method not in ("GET", "HEAD") and (foreign or site not in ("same-origin", "none")):
        raise Denied(_("This request comes from another site's page."), remedy=_(OPEN_AGAIN))


def _visitor(headers: dict[str, str], public_id: str) -> Visitor:
    cookies: SimpleCookie = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        cookies.clear()
    found = cookies.get(cookie_name())
    if found is None:
        raise Denied(_("This chat opens from Pilothouse only."), remedy=_(OPEN_AGAIN))
    return read_cookie(found.value, public_id)


def _redeem(ticket: str, public_id: str) -> Visitor:
    try:
        return redeem(ticket, public_id)
    finally:
        connections.close_all()


def _language(accepted: str) -> str:
    for code, _weight in parse_accept_lang_header(accepted):
        with suppress(LookupError):
            return translation.get_supported_language_variant(code)
    return str(settings.LANGUAGE_CODE)


chat_application = ChatApplication(DatabaseDirectory())
