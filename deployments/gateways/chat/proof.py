"""Proof that a chat works: the page, its settings and one answer, asked for as its page asks."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from deployments.domain.errors import ModelError, ServerFault
from deployments.gateways.chat.gateway import ChatGateway
from deployments.gateways.chat.target import ChatAnswer, ChatRequest, ChatTarget

MAX_TOKENS = 16  # one would prove it, a few more tell a speed
MAX_LINE = 1024 * 1024
MAX_WHOLE = 4 * 1024 * 1024


@dataclass(frozen=True)
class ChatProof:
    """``latency`` seconds from the question to the first token; ``tokens`` pieces that came;
    ``tokens_per_second`` between the first and the last of them, None with less than two;
    ``visible`` False where all of them were reasoning in a field that NextChat does not show."""

    model: str
    latency: float
    tokens: int
    tokens_per_second: float | None
    text: str
    visible: bool


@dataclass
class Reading:
    """Adds up the events of a streamed completion."""

    started: float
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0
    text: str = ""
    reasoning: str = ""

    def take(self, event: dict[str, Any], now: float) -> None:
        if "error" in event:
            error = event["error"]
            said = error.get("message") if isinstance(error, dict) else error
            raise ModelError("The model broke off.", answered=str(said)[:300], retryable=True)
        for choice in event.get("choices") or []:
            delta = choice.get("delta") or {}
            text, reasoning = delta.get("content") or "", delta.get("reasoning") or ""
            if text or reasoning:
                self.tokens += 1
                self.first = self.first or now
                self.last = now
                self.text += text
                self.reasoning += reasoning

    def proof(self, model: str) -> ChatProof:
        if not self.tokens:
            raise ModelError(
                "The chat answered without a token.",
                tried=f"ask {model} through the chat",
                remedy="Look at the log of the Ollama pod.",
                retryable=True,
            )
        span = self.last - self.first
        return ChatProof(
            model=model,
            latency=self.first - self.started,
            tokens=self.tokens,
            tokens_per_second=(self.tokens - 1) / span if self.tokens > 1 and span > 0 else None,
            text=(self.text or self.reasoning)[:500],
            visible=bool(self.text),
        )


def question(model: str) -> bytes:
    """What the page of NextChat v2.16.1 sends, cut short."""
    return json.dumps(
        {
            "messages": [{"role": "user", "content": "Say hello."}],
            "stream": True,
            "model": model,
            "temperature": 0.5,
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_p": 1,
            "max_tokens": MAX_TOKENS,
        }
    ).encode()


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The objects of an event stream up to [DONE]."""
    pending = bytearray()
    async for chunk in chunks:
        pending += chunk
        while (end := pending.find(b"\n")) >= 0:
            line = bytes(pending[:end]).strip()
            del pending[: end + 1]
            if not line.startswith(b"data:"):
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            try:
                value = json.loads(data)
            except ValueError as error:
                raise ServerFault("The answer is not one of a chat.", tried="read an answer") from error
            if isinstance(value, dict):
                yield value
        if len(pending) > MAX_LINE:
            raise ServerFault("A line of the answer is too long.", tried="read an answer")


async def ask_one_token(
    gateway: ChatGateway, target: ChatTarget, model: str = "", *, timeout: float = 300.0
) -> ChatProof:
    """Open the chat's page, read its settings and ask one question, by the rules that a browser is
    under. ``model`` "" takes the first. Raises a :class:`PilothouseError` that says what failed."""
    model = model or target.models[0]
    try:
        async with asyncio.timeout(timeout):
            page = await _whole(await gateway.handle(target, _request("GET", "/")), "open the chat page")
            if b"<html" not in page[:2000].lower():
                raise ServerFault("What answers is not a chat page.", tried="open the chat page")
            raw = await _whole(
                await gateway.handle(target, _request("POST", "/api/config")), "read the chat's settings"
            )
            if f"+{model}@" not in json.loads(raw)["customModels"]:
                raise ModelError(f"The chat does not offer {model}.", tried="read the chat's settings")
            reading = Reading(time.monotonic())
            answer = await gateway.handle(
                target, _request("POST", "/api/openai/v1/chat/completions", question(model))
            )
            if answer.status != 200:
                await _whole(answer, f"ask {model} through the chat")
            try:
                async for event in events(answer.body):
                    reading.take(event, time.monotonic())
            finally:
                await answer.aclose()
    except TimeoutError as error:
        raise ModelError(
            f"The chat did not answer within {timeout:.0f} s.",
            tried=f"ask {model} through the chat",
            remedy="A large model takes minutes to load; try again, then look at the log of the Ollama pod.",
            retryable=True,
        ) from error
    return reading.proof(model)


def prove_chat(target: ChatTarget, model: str = "", *, timeout: float = 300.0) -> ChatProof:
    """:func:`ask_one_token` for a worker: own event loop, own connections, closed at the end."""

    async def ask() -> ChatProof:
        gateway = ChatGateway()
        try:
            return await ask_one_token(gateway, target, model, timeout=timeout)
        finally:
            await gateway.close()

    return asyncio.run(ask())


def _request(method: str, path: str, body: bytes = b"") -> ChatRequest:
    async def read(_: int) -> bytes:
        return body

    return ChatRequest(method, path, "", {"content-type": "application/json"}, read)


async def _whole(answer: ChatAnswer, tried: str) -> bytes:
    body = bytearray()
    try:
        async for piece in answer.body:
            body += piece
            if len(body) > MAX_WHOLE:
                break
    finally:
        await answer.aclose()
    if answer.status != 200:
        raise ServerFault(
            "The chat reports an error.",
            tried=tried,
            answered=f"HTTP {answer.status}: {bytes(body[:200]).decode(errors='replace')}",
            status=answer.status,
            retryable=answer.status >= 500,
        )
    return bytes(body)
