"""Taking values out of what others wrote: every text cut, every list bounded, a wrong type missing."""

from __future__ import annotations

from typing import Any

Raw = dict[str, Any]
MAX_TEXT = 1000
MAX_ITEMS = 32


def conditions(status: Raw) -> list[Raw]:
    """The conditions of a status. Heartbeat times are left out: they change without anything changing."""
    return [
        {
            "type": text_of(item.get("type"), 120),
            "status": text_of(item.get("status"), 20),
            "reason": text_of(item.get("reason"), 200),
            "message": text_of(item.get("message")),
            "lastTransitionTime": text_of(item.get("lastTransitionTime"), 40),
        }
        for item in mappings(status.get("conditions"))
    ]


def quantities(value: object) -> dict[str, str]:
    return {
        text_of(key, 120): text_of(amount, 40) for key, amount in list(mapping(value).items())[:MAX_ITEMS]
    }


def mapping(value: object) -> Raw:
    return value if isinstance(value, dict) else {}


def mappings(value: object, most: int = MAX_ITEMS) -> list[Raw]:
    if not isinstance(value, list):
        return []
    return [item for item in value[:most] if isinstance(item, dict)]


def text_of(value: object, size: int = MAX_TEXT) -> str:
    """A text of at most ``size`` characters. NUL is replaced: PostgreSQL cannot store it."""
    if value is None:
        return ""
    if type(value) is str and len(value) <= size and value.isascii() and "\x00" not in value:
        return value  # nearly every text, and there are many thousands a second
    if isinstance(value, bool | dict | list):
        return ""
    text = str(value).replace("\x00", "�")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= size else text[: size - 1] + "…"


def number(value: object) -> int | None:
    """A whole number that a database's integer can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**31 else None
