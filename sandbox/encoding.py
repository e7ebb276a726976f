"""JSON as the API server writes it: raw UTF-8, `<`, `>`, `&`, U+2028 and U+2029 escaped, one line.

Recorded transcripts 06 and 14 (Go's encoding/json).
"""

from __future__ import annotations

from typing import Any

import orjson

_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)


def encode(value: Any, pretty: bool = False) -> bytes:
    """JSON without a line end. pretty: indented by two blanks, as browsers and curl get it."""
    data = orjson.dumps(value, option=orjson.OPT_INDENT_2 if pretty else None)
    # These characters occur inside strings only, so a plain replacement of bytes is safe.
    for raw, escaped in _ESCAPES:
        if raw in data:
            data = data.replace(raw, escaped)
    return data


def clone(value: Any) -> Any:
    """A deep copy of a JSON value."""
    return orjson.loads(orjson.dumps(value))
