"""Ollama's generating routes: /api/generate, /api/chat, /api/embed, the OpenAI form. Ollama docs/api.md, openai.go."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.backend import BackendRequest, BackendResponse, closing
from sandbox.world import inference, modelname
from sandbox.world.answers import compact, error_answer, json_answer, stream_answer
from sandbox.world.inference import LoadError, Piece

if TYPE_CHECKING:
    from sandbox.world.modelstore import Stored
    from sandbox.world.ollama import Ollama

Object = dict[str, Any]

NANO = 1_000_000_000
THINKING_BY_DEFAULT = (0, 12, 4)
THINKING = (0, 9, 0)


@dataclass(slots=True)
class Run:
    """One prepared answer. load: simulated seconds that loading took."""

    name: str
    stored: Stored
    keep_alive: float
    load: float
    prompt: str
    pieces: list[Piece]
    reason: str


class Refused(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Completions:
    """The generating half of a server."""

    def __init__(self, server: Ollama) -> None:
        self.server = server
        self._serial = itertools.count(1)

    # ---- common

    def _find(self, text: str, chat: bool) -> tuple[str, Stored]:
        if not text:
            raise Refused("model is required", 400)
        if modelname.parse(text) is None:
            old = self.server.number < (0, 6, 0)
            if old:
                raise Refused(
                    "model is required" if chat else f"model '{text}' not found", 400 if chat else 404
                )
            raise Refused("invalid model name", 400)
        found = self.server.find(text)
        if found is None:
            if chat and self.server.number < (0, 6, 0):
                raise Refused(f'model "{text}" not found, try pulling it first', 404)
            raise Refused(f"model '{text}' not found", 404)
        return found

    @staticmethod
    def _keep_alive(body: Object) -> float:
        try:
            return inference.keep_alive_seconds(body.get("keep_alive"))
        except ValueError as error:
            raise Refused(str(error), 400) from None

    async def _prepare(self, body: Object, prompt: str, limit: int | None, openai: bool) -> Run:
        name, stored = self._find(str(body.get("model") or ""), chat=True)
        manifest = stored.manifest
        if manifest.embedding:
            raise Refused(f'"{body["model"]}" does not support chat', 400)
        keep_alive = self._keep_alive(body)
        number = self.server.number
        think = body.get("think") if number >= THINKING and not openai else None
        if think and not manifest.thinking:
            raise Refused(f'"{body["model"]}" does not support thinking', 400)
        if think is None and number >= THINKING_BY_DEFAULT:
            think = manifest.thinking or None
        load = await self._load(name, stored, keep_alive)
        wanted = inference.pieces(
            name, prompt, manifest.thinking and think is not False, separate=bool(think)
        )
        reason = "stop"
        if limit is not None and 0 <= limit < len(wanted):
            wanted, reason = wanted[:limit], "length"
        return Run(name, stored, keep_alive, load, prompt, wanted, reason)

    async def _load(self, name: str, stored: Stored, keep_alive: float) -> float:
        try:
            return await self.server.memory.load(name, stored.manifest, keep_alive or 1.0)
        except LoadError as error:
            raise Refused(str(error), 500) from None

    async def _tokens(self, run: Run) -> AsyncIterator[Piece]:
        memory = self.server.memory
        loaded = memory.loaded.get(run.name)
        if loaded is None:
            await self._load(run.name, run.stored, run.keep_alive)
            loaded = memory.loaded[run.name]
        async with closing(inference.generate(self.server.process, memory, loaded, run.pieces)) as pieces:
            async for piece in pieces:
                if self.server.process.exited.done():
                    raise ConnectionResetError("the server exited")
                yield piece
        memory.touch(run.name, run.keep_alive)

    def _now(self) -> str:
        return self.server.world.now_text()

    def _figures(self, run: Run, began: float) -> Object:
        """Timing fields, integer nanoseconds of simulated time; absent where 0."""
        total = self.server.world.clock.elapsed() - began + run.load
        prompt_tokens = max(1, len(run.prompt.split()) + 3)
        figures = {
            "total_duration": int(total * NANO),
            "load_duration": int(max(run.load, 0.012) * NANO),
            "prompt_eval_count": prompt_tokens,
            "prompt_eval_duration": int(prompt_tokens * 0.0015 * NANO),
            "eval_count": len(run.pieces),
            "eval_duration": int(max(0.001, total - run.load) * NANO),
        }
        return {name: value for name, value in figures.items() if value}

    async def _unload_or_load(self, body: Object, message: Object) -> BackendResponse:
        """A request without anything to answer: load the model, or with keep_alive 0 unload it."""
        name, stored = self._find(str(body.get("model") or ""), chat="message" in message)
        keep_alive = self._keep_alive(body)
        reason = "unload" if keep_alive == 0 else "load"
        if reason == "unload":
            self.server.memory.unload(name)
        else:
            await self._load(name, stored, keep_alive)
        return json_answer(
            {
                "model": body["model"],
                "created_at": self._now(),
                **message,
                "done_reason": reason,
                "done": True,
            }
        )

    # ---- /api/generate and /api/chat

    async def generate(self, request: BackendRequest) -> BackendResponse:
        body = await self.server.body(request)
        prompt = str(body.get("prompt") or "")
        try:
            if not prompt:
                return await self._unload_or_load(body, {"response": ""})
            run = await self._prepare(body, prompt, _limit(body), openai=False)
        except Refused as refused:
            return error_answer(str(refused), refused.code)
        return await self._native(body, run, chat=False)

    async def chat(self, request: BackendRequest) -> BackendResponse:
        body = await self.server.body(request)
        messages = body.get("messages") or []
        try:
            if not messages:
                return await self._unload_or_load(body, {"message": {"role": "assistant", "content": ""}})
            run = await self._prepare(body, _last(messages), _limit(body), openai=False)
        except Refused as refused:
            return error_answer(str(refused), refused.code)
        return await self._native(body, run, chat=True)

    async def _native(self, body: Object, run: Run, chat: bool) -> BackendResponse:
        began = self.server.world.clock.elapsed()

        def shaped(text: str, thinking: str) -> Object:
            if chat:
                message = {
                    "role": "assistant",
                    "content": text,
                    **({"thinking": thinking} if thinking else {}),
                }
                return {"model": body["model"], "created_at": self._now(), "message": message}
            return {
                "model": body["model"],
                "created_at": self._now(),
                "response": text,
                **({"thinking": thinking} if thinking else {}),
            }

        def last(text: str, thinking: str) -> Object:
            end = {**shaped(text, thinking), "done_reason": run.reason, "done": True}
            return {**end, **({} if chat else {"context": [151644, 872, 198]}), **self._figures(run, began)}

        if body.get("stream", True) is False:
            text, thinking = "", ""
            async with closing(self._tokens(run)) as pieces:
                async for piece in pieces:
                    text, thinking = (
                        (text, thinking + piece.text) if piece.thinking else (text + piece.text, thinking)
                    )
            return json_answer(last(text, thinking))

        async def lines() -> AsyncIterator[bytes]:
            async with closing(self._tokens(run)) as pieces:
                async for piece in pieces:
                    content = ("", piece.text) if piece.thinking else (piece.text, "")
                    yield compact({**shaped(*content), "done": False}) + b"\n"
            yield compact(last("", "")) + b"\n"

        return stream_answer(lines(), "application/x-ndjson")

    async def embed(self, request: BackendRequest) -> BackendResponse:
        body = await self.server.body(request)
        try:
            name, stored = self._find(str(body.get("model") or ""), chat=False)
            load = await self._load(name, stored, self._keep_alive(body))
        except Refused as refused:
            return error_answer(str(refused), refused.code)
        given = body.get("input") or ""
        texts = given if isinstance(given, list) else [given]
        vectors = [
            [byte / 255 - 0.5 for byte in hashlib.sha256(str(text).encode()).digest()] for text in texts
        ]
        return json_answer(
            {
                "model": body["model"],
                "embeddings": vectors,
                "total_duration": int((load + 0.01) * NANO),
                "load_duration": int(max(load, 0.001) * NANO),
                "prompt_eval_count": len(texts),
            }
        )

    # ---- /v1/chat/completions

    async def openai(self, request: BackendRequest) -> BackendResponse:
        body = await self.server.body(request)
        messages = body.get("messages") or []
        if not messages:
            return _openai_error("[] is too short - 'messages'", 400)
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        try:
            run = await self._prepare(
                body, _last(messages), int(limit) if limit is not None else None, openai=True
            )
        except Refused as refused:
            return _openai_error(str(refused), refused.code)
        head = {
            "id": f"chatcmpl-{next(self._serial)}",
            "created": int(self.server.world.store.clock()),
            "model": body["model"],
            "system_fingerprint": "fp_ollama",
        }
        prompt_tokens = max(1, len(run.prompt.split()) + 3)
        usage = {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": len(run.pieces),
            "total_tokens": prompt_tokens + len(run.pieces),
        }
        if not body.get("stream"):
            text, thinking = "", ""
            async with closing(self._tokens(run)) as pieces:
                async for piece in pieces:
                    text, thinking = (
                        (text, thinking + piece.text) if piece.thinking else (text + piece.text, thinking)
                    )
            message = {"role": "assistant", "content": text, **({"reasoning": thinking} if thinking else {})}
            choice = {"index": 0, "message": message, "finish_reason": run.reason}
            return json_answer({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
        wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))

        async def events() -> AsyncIterator[bytes]:
            chunk = {**head, "object": "chat.completion.chunk"}
            async with closing(self._tokens(run)) as pieces:
                async for piece in pieces:
                    delta = {"role": "assistant", "content": "" if piece.thinking else piece.text}
                    if piece.thinking:
                        delta["reasoning"] = piece.text
                    yield _event({**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            end = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": run.reason}
            yield _event({**chunk, "choices": [end]})
            if wants_usage:
                yield _event({**chunk, "choices": [], "usage": usage})
            yield b"data: [DONE]\n\n"

        return stream_answer(events(), "text/event-stream")


def _event(value: Object) -> bytes:
    return b"data: " + compact(value) + b"\n\n"


def _limit(body: Object) -> int | None:
    value = (body.get("options") or {}).get("num_predict")
    return int(value) if isinstance(value, int | float) else None


def _last(messages: list[Any]) -> str:
    for message in reversed(messages):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):
                return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
            return str(content or "")
    return ""


def _openai_error(text: str, code: int) -> BackendResponse:
    kinds = {400: "invalid_request_error", 404: "not_found_error"}
    error = {"message": text, "type": kinds.get(code, "api_error"), "param": None, "code": None}
    return json_answer({"error": error}, code)
