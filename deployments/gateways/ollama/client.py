"""A client for Ollama's HTTP API (Ollama docs/api.md, server/routes.go), versions 0.5.7 and later.

All failures are :class:`~deployments.domain.errors.PilothouseError`: a :class:`ModelError` where
Ollama answered, a :class:`ClusterError` where something before it did (the API server's proxy answers
with a Status object when no pod is ready) or nothing did.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from deployments.domain.errors import ClusterError, ModelError, ModelNotFound, ServerFault
from deployments.domain.modelname import same_model
from deployments.gateways.kubernetes import api_error
from deployments.gateways.ollama.answers import (
    InstalledModel,
    LoadedModel,
    PullEvent,
    Timing,
    installed,
    loaded,
    timing,
)
from deployments.gateways.ollama.errors import run_error
from deployments.gateways.ollama.stream import pull_events
from deployments.gateways.ollama.transport import Transport

QUICK = 15.0  # seconds for a question that needs no model in memory
LOAD = 600.0  # seconds for a load: Ollama itself gives up after five minutes without progress


class OllamaClient:
    """One Ollama server. Holds no connection of its own and may be shared between threads as far as
    its transport may."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def version(self, *, timeout: float = QUICK) -> str:
        """For example "0.9.6"."""
        answer = self._json("GET", "/api/version", timeout=timeout, tried="ask for its version")
        return str(answer.get("version") or "")

    def tags(self, *, timeout: float = QUICK) -> list[InstalledModel]:
        """The models that are completely there, newest first; a partial pull never shows."""
        return [installed(entry) for entry in self._models("/api/tags", timeout, "list the models")]

    def has(self, model: str, *, timeout: float = QUICK) -> bool:
        """Whether ``model`` is installed, by Ollama's own comparison of names."""
        return any(same_model(entry.name, model) for entry in self.tags(timeout=timeout))

    def ps(self, *, timeout: float = QUICK) -> list[LoadedModel]:
        """The models in memory. Behind a Service with several pods, one of them answers: ask a pod."""
        return [loaded(entry) for entry in self._models("/api/ps", timeout, "list the loaded models")]

    def show(self, model: str, *, timeout: float = QUICK) -> dict[str, Any]:
        """Ollama's description: details, model_info, template, license, (later versions) capabilities."""
        return self._json(
            "POST", "/api/show", {"model": model}, model=model, timeout=timeout, tried=f"describe {model}"
        )

    def delete(self, model: str, *, timeout: float = 60.0) -> bool:
        """Unload and remove a model. False where it was not there; the end is the same."""
        try:
            self.unload(model, timeout=timeout)
            self._answer("DELETE", "/api/delete", {"model": model}, model, timeout, f"delete {model}")
        except ModelNotFound:
            return False
        return True

    def load(self, model: str, *, keep_alive: float | str | None = None, timeout: float = LOAD) -> None:
        """Bring a model into memory; returns when it is there. ``keep_alive``: seconds, a Go duration
        such as "30m", negative for ever, None for the server's own setting."""
        body: dict[str, Any] = {"model": model, "stream": False}
        if keep_alive is not None:
            body["keep_alive"] = keep_alive
        self._json("POST", "/api/generate", body, model=model, timeout=timeout, tried=f"load {model}")

    def unload(self, model: str, *, timeout: float = QUICK) -> None:
        """Take a model out of memory. Fine when it is not in memory."""
        body = {"model": model, "keep_alive": 0, "stream": False}
        self._json("POST", "/api/generate", body, model=model, timeout=timeout, tried=f"unload {model}")

    def generate_one_token(self, model: str, timeout: float = LOAD) -> Timing:
        """Let the model say one token, loading it first where needed."""
        body = {"model": model, "prompt": "Hello", "stream": False, "options": {"num_predict": 1}}
        tried = f"generate one token with {model}"
        start = time.monotonic()
        answer = self._json("POST", "/api/generate", body, model=model, timeout=timeout, tried=tried)
        result = timing(time.monotonic() - start, answer)
        if not answer.get("done") or (result.tokens == 0 and not result.text):
            raise ModelError(
                "The model answered without a token.",
                tried=tried,
                answered=f"done_reason {str(answer.get('done_reason') or 'absent')[:40]}",
                remedy="Look at the log of the Ollama pod.",
                retryable=True,
            )
        return result

    def pull(
        self, model: str, insecure: bool = False, *, tick: float = 1.0, silence: float = 3600.0
    ) -> Iterator[PullEvent]:
        """Download a model, an event at a time; returns after Ollama's "success".

        Where no line came for ``tick`` seconds an event with ``idle`` is given, so that the caller can
        look at its clock and its cancel request while Ollama is silent (it hashes a large layer
        without a word). ``silence`` is how long the connection itself may be silent. Closing the
        iterator ends the connection: Ollama stops when the last one that waits for a layer is gone,
        and resumes at the next pull. ``insecure`` means plain HTTP to the registry, as Ollama does.

        Raises :class:`ModelNotFound`, :class:`ModelError` (``retryable`` says which) or
        :class:`ClusterError`. A stream that ends without "success" is retryable.
        """
        body: dict[str, Any] = {"model": model, "stream": True}
        if insecure:
            body["insecure"] = True
        return pull_events(self._transport, model, body, self._refuse, tick=tick, silence=silence)

    def _models(self, path: str, timeout: float, tried: str) -> list[dict[str, Any]]:
        models = self._json("GET", path, timeout=timeout, tried=tried).get("models")
        return [entry for entry in models if isinstance(entry, dict)] if isinstance(models, list) else []

    def _json(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        model: str = "",
        timeout: float,
        tried: str,
    ) -> dict[str, Any]:
        raw = self._answer(method, path, body, model, timeout, tried)
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise _not_ollama(tried) from error
        if not isinstance(value, dict):
            raise _not_ollama(tried)
        if isinstance(value.get("error"), str):  # an error after the headers were out
            raise run_error(value["error"], model, 500, tried=tried)
        return value

    def _answer(
        self, method: str, path: str, body: dict[str, Any] | None, model: str, timeout: float, tried: str
    ) -> bytes:
        status, raw = self._transport.request(method, path, body, timeout)
        if status != 200:
            raise self._refuse(status, raw, model, tried)
        return raw

    @staticmethod
    def _refuse(status: int, raw: bytes, model: str, tried: str) -> ModelError | ClusterError:
        """The error for an answer that is not 200."""
        failure = api_error(status, {}, raw, tried)
        if failure is not None:
            return failure
        try:
            value = json.loads(raw)
        except ValueError:
            value = None
        if isinstance(value, dict) and isinstance(value.get("error"), str):
            return run_error(value["error"], model, status, tried=tried)
        return ServerFault(
            "What answered is not Ollama.",
            tried=tried,
            answered=f"HTTP {status}",
            remedy="Check the Service and its port.",
            status=status,
        )


def _not_ollama(tried: str) -> ServerFault:
    return ServerFault(
        "What answered is not Ollama.",
        tried=tried,
        answered="no JSON object",
        remedy="Check the Service and its port.",
    )
