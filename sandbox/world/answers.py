"""Answers of simulated HTTP servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from sandbox.backend import BackendResponse

Object = dict[str, Any]


def compact(value: Any) -> bytes:
    """JSON as Go and JavaScript write it: no blanks, raw UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def json_answer(
    value: Any, code: int = 200, content_type: str = "application/json; charset=utf-8"
) -> BackendResponse:
    return BackendResponse(code, [("Content-Type", content_type)], compact(value))


def text_answer(
    text: str, code: int = 200, content_type: str = "text/plain; charset=utf-8"
) -> BackendResponse:
    return BackendResponse(code, [("Content-Type", content_type)], text.encode())


def stream_answer(body: AsyncIterator[bytes], content_type: str, code: int = 200) -> BackendResponse:
    return BackendResponse(code, [("Content-Type", content_type)], body)


def error_answer(text: str, code: int) -> BackendResponse:
    """Ollama's form of an error."""
    return json_answer({"error": text}, code)
