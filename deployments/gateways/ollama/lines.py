"""Lines of JSON out of a stream of bytes, none of them longer than a bound."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from deployments.domain.errors import ServerFault

MAX_LINE = 1024 * 1024  # bytes


def json_lines(chunks: Iterable[bytes], *, limit: int = MAX_LINE) -> Iterator[dict[str, Any]]:
    """Each line as an object. A line that is no JSON object, or longer than ``limit`` bytes, raises
    :class:`ServerFault` (retryable): what follows it cannot be trusted to be in step."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            if line.strip():
                yield _object(line, limit)
        if len(buffer) > limit:
            raise _too_long(limit)
    if buffer.strip():
        yield _object(bytes(buffer), limit)


def _object(line: bytes, limit: int) -> dict[str, Any]:
    if len(line) > limit:
        raise _too_long(limit)
    try:
        value = json.loads(line)
    except ValueError as error:
        raise ServerFault(
            "The stream holds something that is not JSON.",
            answered=f"{len(line)} bytes that do not parse",
            remedy="Check that Ollama is what answers at this address.",
        ) from error
    if not isinstance(value, dict):
        raise ServerFault("The stream holds JSON that is not an object.")
    return value


def _too_long(limit: int) -> ServerFault:
    return ServerFault(f"The stream holds a line of more than {limit} bytes.")
