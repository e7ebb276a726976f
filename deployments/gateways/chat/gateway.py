"""One request of a chat page, answered. Who asks has been checked before.

Pages and files come from NextChat's Service, conversations go to Ollama's, settings are answered
here. Nothing of the browser's request but its path and a checked body goes on: no Origin (Ollama
answers a foreign one with an empty 403), no cookie, no Authorization.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from deployments.domain.errors import Denied, InvalidInput, NotFound, ServerFault
from deployments.domain.modelname import same_model
from deployments.gateways.chat import headers as words
from deployments.gateways.chat.paths import Kind, Route, route
from deployments.gateways.chat.target import ChatAnswer, ChatRequest, ChatTarget
from deployments.gateways.chat.upstream import Clients, Upstream, call
from deployments.gateways.ollama.errors import cut

MAX_QUESTION = 4 * 1024 * 1024  # bytes: a conversation with a few images
MAX_PAGE = 4 * 1024 * 1024
PAGE_TIMEOUT = 30.0
# Ollama answers with the first token, after loading the model.
FIRST_TOKEN_TIMEOUT = 600.0

# What Ollama's /v1/chat/completions reads (openai/openai.go ChatCompletionRequest). Go matches the
# names of members without regard to case, so a body is written anew with these alone: a second
# "Model" would otherwise get past the check of the first.
_MEMBERS = (
    "messages",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "presence_penalty",
    "frequency_penalty",
    "max_tokens",
    "max_completion_tokens",
    "stop",
    "seed",
    "response_format",
    "tools",
    "reasoning_effort",
)


class ChatGateway:
    """Shared by all requests of a process."""

    def __init__(self, clients: Clients | None = None) -> None:
        self._clients = clients or Clients()

    async def close(self) -> None:
        """Close the connections of the running event loop."""
        await self._clients.close()

    async def handle(self, target: ChatTarget, request: ChatRequest) -> ChatAnswer:
        """Raises :class:`InvalidInput` for a hostile path or a broken body, :class:`Denied` for a
        model that is not this deployment's, :class:`NotFound` where no chat is installed, and a
        :class:`ClusterError` where the cluster or the pods do not answer."""
        found = route(request.method, request.path, request.query)
        if found.kind is Kind.REFUSED:
            return self._answer(target, found.status, "application/json", _error_body(found.why))
        if found.kind is Kind.FONTS:
            return self._answer(target, 200, "text/css; charset=utf-8", b"")
        if found.kind is Kind.CONFIG:
            return self._answer(target, 200, "application/json", json.dumps(settings_for(target)).encode())
        if found.kind is Kind.MODELS:
            return await self._models(target, found)
        if found.kind is Kind.COMPLETIONS:
            return await self._completions(target, found, request)
        return await self._file(target, found, request)

    async def _file(self, target: ChatTarget, found: Route, request: ChatRequest) -> ChatAnswer:
        if not target.chat_service:
            raise NotFound("No chat is installed with this deployment.")
        zipped = found.kind is Kind.ASSET and "gzip" in request.headers.get("accept-encoding", "")
        upstream = await call(
            self._clients,
            target,
            target.chat_service,
            target.chat_port,
            request.method,
            found.path,
            query=found.query,
            headers={"Accept": "*/*", "Accept-Encoding": "gzip" if zipped else "identity"},
            read_timeout=PAGE_TIMEOUT,
        )
        kind = upstream.headers.get("content-type", "")
        if 300 <= upstream.status < 400:
            return await self._redirect(target, upstream)
        if kind.partition(";")[0].strip().lower() == "text/html":
            return await self._html(target, upstream, kind)
        drop = frozenset({"content-length"}) if upstream.start is not None else frozenset[str]()
        head = [
            *words.passed_on(upstream.headers, without=drop),
            words.caching(found.immutable and upstream.status == 200),
            *words.common(target.dashboard_origin),
        ]
        return ChatAnswer(upstream.status, head, _closing(upstream, decoded=False), upstream.aclose)

    async def _html(self, target: ChatTarget, upstream: Upstream, kind: str) -> ChatAnswer:
        try:
            page = words.without_prefix(await upstream.read(MAX_PAGE), upstream.prefixes)
        finally:
            await upstream.aclose()
        return self._answer(target, upstream.status, kind, page)

    async def _redirect(self, target: ChatTarget, upstream: Upstream) -> ChatAnswer:
        await upstream.aclose()
        place = words.location(upstream.headers.get("location", ""), upstream.prefixes, upstream.api_host)
        if place is None:
            raise ServerFault(
                "The chat page sends its reader to another host, which is not followed.",
                tried="open the chat page",
                remedy="Look at the chat pod's image; NextChat does not do that.",
                retryable=False,
            )
        return self._answer(target, upstream.status, "text/plain", b"", [("Location", place)])

    async def _models(self, target: ChatTarget, found: Route) -> ChatAnswer:
        upstream = await self._ollama(target, "GET", found.path, None, PAGE_TIMEOUT)
        try:
            body = await upstream.read(MAX_PAGE)
        finally:
            await upstream.aclose()
        value = _object(body)
        if upstream.status != 200 or value is None:
            return self._failed(target, upstream.status, value)
        entries = value.get("data")
        rows = [
            entry
            for entry in (entries if isinstance(entries, list) else [])
            if isinstance(entry, dict) and _offered(target.models, entry.get("id"))
        ]
        return self._answer(
            target, 200, "application/json", json.dumps({"object": "list", "data": rows}).encode()
        )

    async def _completions(self, target: ChatTarget, found: Route, request: ChatRequest) -> ChatAnswer:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise InvalidInput("A message must be sent as JSON.", field="content-type")
        body = _object(await request.body(MAX_QUESTION))
        if body is None or not isinstance(body.get("messages"), list):
            raise InvalidInput("The message is not one that a chat page sends.", field="messages")
        model = body.get("model")
        if not _offered(target.models, model):
            raise Denied(
                f"This chat talks to {' and '.join(target.models)} only.", remedy="Choose the model above."
            )
        question = {"model": model} | {name: body[name] for name in _MEMBERS if name in body}
        upstream = await self._ollama(
            target, "POST", found.path, json.dumps(question).encode(), FIRST_TOKEN_TIMEOUT
        )
        if upstream.status != 200:
            await upstream.aclose()
            return self._failed(target, upstream.status, _object(upstream.start or b""))
        head = [
            ("content-type", upstream.headers.get("content-type", "application/json")),
            ("Cache-Control", "no-store"),
            ("X-Accel-Buffering", "no"),
            *words.common(target.dashboard_origin),
        ]
        return ChatAnswer(200, head, _closing(upstream, decoded=True), upstream.aclose, stream=True)

    async def _ollama(
        self, target: ChatTarget, method: str, path: str, content: bytes | None, read_timeout: float
    ) -> Upstream:
        head = {"Accept": "application/json, text/event-stream", "Accept-Encoding": "identity"}
        if content is not None:
            head["Content-Type"] = "application/json"
        return await call(
            self._clients,
            target,
            target.server_service,
            target.server_port,
            method,
            path,
            headers=head,
            content=content,
            read_timeout=read_timeout,
        )

    def _failed(self, target: ChatTarget, status: int, value: dict[str, Any] | None) -> ChatAnswer:
        """What Ollama itself says is wrong, bounded; NextChat shows it in the conversation."""
        error = (value or {}).get("error")
        message = error.get("message") if isinstance(error, dict) else error
        said = cut(message) if isinstance(message, str) and message else "The model server reports an error."
        return self._answer(target, status if status >= 400 else 502, "application/json", _error_body(said))

    def _answer(
        self,
        target: ChatTarget,
        status: int,
        kind: str,
        body: bytes,
        more: Iterable[tuple[str, str]] = (),
    ) -> ChatAnswer:
        head = [
            ("content-type", kind),
            ("content-length", str(len(body))),
            ("Cache-Control", "no-store"),
            *more,
            *words.common(target.dashboard_origin),
        ]
        return ChatAnswer(status, head, _once(body), _nothing)


def settings_for(target: ChatTarget) -> dict[str, Any]:
    """NextChat's settings (app/api/config/route.ts): this deployment's models and no other, of the
    provider whose path is served here. No access code: the role is checked at the door."""
    chosen = ",".join(f"+{model}@OpenAI" for model in target.models)
    return {
        "needCode": False,
        "hideUserApiKey": True,
        "disableGPT4": True,
        "hideBalanceQuery": True,
        "disableFastLink": True,
        "customModels": f"-all,{chosen}" if chosen else "-all",
        "defaultModel": target.models[0] if target.models else "",
        "visionModels": "",
    }


def _offered(models: Iterable[str], name: object) -> bool:
    return isinstance(name, str) and any(same_model(name, model) for model in models)


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _error_body(message: str) -> bytes:
    """As an OpenAI-like API says it, which is what the page knows how to show."""
    return json.dumps({"error": {"message": message, "type": "pilothouse"}}).encode()


async def _once(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


async def _nothing() -> None:
    return None


async def _closing(upstream: Upstream, *, decoded: bool) -> AsyncIterator[bytes]:
    try:
        async for piece in upstream.chunks(decoded=decoded):
            yield piece
    finally:
        await upstream.aclose()
