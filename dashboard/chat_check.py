"""One token by the whole way that a person's browser takes: ticket, cookie, page, settings, question.

The chat's host names exist in browsers only (``*.localhost`` is not resolved by Python), so the
application is called in process.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from deployments.domain.errors import ServerFault
from deployments.gateways.chat import ChatProof, Reading, events, question

Application = Callable[..., Awaitable[None]]


async def ask_one_token(application: Application, entrance: str, *, timeout: float = 300.0) -> ChatProof:
    """``entrance`` is a fresh :func:`dashboard.chat_tickets.enter_url`. Raises
    :class:`PilothouseError` with what did not work, ``TimeoutError`` after ``timeout`` seconds."""
    parts = urlsplit(entrance)
    browser = _Browser(application, parts.netloc, parts.scheme)
    async with asyncio.timeout(timeout):
        status, headers, body = await browser.ask("GET", f"{parts.path}?{parts.query}")
        await _expect(303, status, body, "enter the chat")
        browser.cookie = headers.get("set-cookie", "").partition(";")[0]
        status, _, body = await browser.ask("GET", headers["location"])
        page = await _expect(200, status, body, "open the chat page")
        if b"<html" not in page[:2000].lower():
            raise ServerFault("What answers is not a chat page.", tried="open the chat page")
        status, _, body = await browser.ask("POST", "/api/config")
        model = json.loads(await _expect(200, status, body, "read the chat's settings"))["defaultModel"]
        reading = Reading(time.monotonic())
        status, _, body = await browser.ask("POST", "/api/openai/v1/chat/completions", question(model))
        if status != 200:
            await _expect(200, status, body, f"ask {model}")
        async for event in events(body):
            reading.take(event, time.monotonic())
        return reading.proof(model)


class _Browser:
    def __init__(self, application: Application, host: str, scheme: str) -> None:
        self._application = application
        self._host = host
        self._scheme = scheme
        self.cookie = ""

    async def ask(
        self, method: str, url: str, body: bytes = b""
    ) -> tuple[int, dict[str, str], AsyncIterator[bytes]]:
        path, _, query = url.partition("?")
        head = {"host": self._host, "origin": f"{self._scheme}://{self._host}", "cookie": self.cookie}
        if method == "POST":
            head["content-type"] = "application/json"
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "scheme": self._scheme,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in head.items() if value],
        }
        sent: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]
        answers: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        hung_up = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            await hung_up.wait()
            return {"type": "http.disconnect"}

        async def run() -> None:
            try:
                await self._application(scope, receive, answers.put)
            finally:
                await answers.put(None)

        task = asyncio.create_task(run())
        start = await answers.get()
        if start is None:
            await task
            raise ServerFault("The chat did not answer.", tried=f"{method} {path}")

        async def parts() -> AsyncIterator[bytes]:
            try:
                while (message := await answers.get()) is not None:
                    yield message["body"]
            finally:
                hung_up.set()
                await task

        return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, parts()


async def _expect(status: int, got: int, body: AsyncIterator[bytes], tried: str) -> bytes:
    whole = b"".join([part async for part in body])
    if got != status:
        raise ServerFault(
            "The chat does not answer as it should.",
            tried=tried,
            answered=f"HTTP {got}: {whole[:500].decode(errors='replace')}",
            status=got,
            retryable=got >= 500,
        )
    return whole
