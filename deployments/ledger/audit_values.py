"""What an audit entry may hold, and the bytes that its digest covers.

Everything that comes from people and clusters is made harmless before it is written, not where it is
shown: a stored entry is printable, bounded, and reads back from every database exactly as it was
digested.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# The fields that the digest covers.
FIELDS = (
    "at",
    "actor_id",
    "actor_name",
    "source",
    "action",
    "object_type",
    "object_id",
    "object_name",
    "team_id",
    "cluster_id",
    "operation_id",
    "outcome",
    "reason",
    "before",
    "after",
    "manifest_digest",
)
GENESIS = "0" * 64  # what the first entry follows

MAX_DETAIL = 64 * 1024  # characters of ``before`` and of ``after``
MAX_LOOKED_AT = 8 * 1024 * 1024  # of one text: beyond it not even its digest is taken of all of it
MAX_DEPTH = 30
# Beyond this, readers that have doubles only would see another number.
EXACT = 2**53

MASKED = "••••••••"
SECRET_NAMES = frozenset(
    {
        "access_code",
        "authorization",
        "client_key",
        "client_secret",
        "kubeconfig",
        "password",
        "private_key",
        "registry_password",
        "secret",
        "token",
    }
)

# Control characters become their pictures (U+2400 ff.), so that a reader sees that they were there. What
# turns the direction of a text, parts lines or is half a character becomes U+FFFD.
_PICTURES = {code: 0x2400 + code for code in range(0x20)} | {0x7F: 0x2421}
_HIDDEN = (
    *range(0x80, 0xA0),
    *(0x061C, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),
    *range(0x202A, 0x202F),
    *range(0x2066, 0x206A),
    *range(0xD800, 0xE000),
)
_LINE = _PICTURES | dict.fromkeys(_HIDDEN, 0xFFFD)
_TEXT = {code: to for code, to in _LINE.items() if code not in (0x09, 0x0A)}


def line(text: object, most: int) -> str:
    """A text of one line: no control characters at all, at most ``most`` characters."""
    return str(text)[:most].translate(_LINE)


def text(value: object, most: int) -> str:
    """A text that may have several lines: newline and tab stay."""
    return str(value)[:most].replace("\r\n", "\n").translate(_TEXT)


def detail(value: Any) -> Any:
    """``before`` or ``after`` as it is kept: masked, printable, and JSON that every database and every
    language reads alike. Where it is too large, its size and digest are kept in its place."""
    if value is None:
        return None
    kept = _plain(value, 0)
    encoded = encode(kept)
    if len(encoded) > MAX_DETAIL:
        digest_of_it = hashlib.sha256(encoded).hexdigest()
        return {"omitted": "too large", "bytes": len(encoded), "sha256": digest_of_it}
    return kept


def _plain(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -EXACT < value < EXACT else str(value)
    if isinstance(value, float):
        # A database may give 1e16 back as another text of the same number; a string stays what it is.
        return repr(value)
    if depth < MAX_DEPTH and isinstance(value, Mapping):
        return {
            text(key, 300): MASKED
            if str(key).lower() in SECRET_NAMES and isinstance(item, str) and item
            else _plain(item, depth + 1)
            for key, item in value.items()
        }
    if depth < MAX_DEPTH and isinstance(value, list | tuple | set | frozenset):
        return [_plain(item, depth + 1) for item in value]
    return text(value, MAX_LOOKED_AT)


def encode(value: Any) -> bytes:
    """JSON as the digest wants it: keys sorted by code point, no blanks, UTF-8, and nothing escaped but
    the quotation mark, the backslash and what is below U+0020."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def moment(at: datetime) -> str:
    """``YYYY-MM-DDTHH:MM:SS.ffffffZ`` in UTC."""
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}Z"


def canonical(values: Mapping[str, Any]) -> bytes:
    """The bytes that an entry's digest covers; ``values`` has the names of :data:`FIELDS`, ``at`` as
    :func:`moment` writes it."""
    return encode({name: values[name] for name in FIELDS})


def digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(values)).hexdigest()


def chain(previous: str, sequence: int, entry_digest: str) -> str:
    """The hash of the entry at ``sequence``."""
    return hashlib.sha256(f"{previous}:{sequence}:{entry_digest}".encode()).hexdigest()
