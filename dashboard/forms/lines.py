"""Labels, taints and lists as people type them: one to a line."""

from __future__ import annotations

import re
from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.safe_yaml import load_documents
from deployments.domain.spec import Toleration

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
TOLERATION_KEYS = ("key", "operator", "value", "effect")


def read_pairs(text: str, field: str) -> dict[str, str]:
    """ "key=value" or "key: value" on each line -> dict. Raises :class:`InvalidInput`."""
    found: dict[str, str] = {}
    for line in _lines(text):
        key, sign, value = _split(line)
        if not sign or not key:
            raise InvalidInput(
                f"“{line[:60]}” is not key=value.", field=field, remedy="Give one key=value on each line."
            )
        if key in found:
            raise InvalidInput(f"“{key[:60]}” is there twice.", field=field)
        found[key] = value
    return found


def write_pairs(pairs: dict[str, str]) -> str:
    return "\n".join(f"{key}={value}" for key, value in pairs.items())


def read_tolerations(text: str, field: str) -> list[dict[str, str]]:
    """As kubectl writes taints ("key=value:NoSchedule", "key:NoSchedule", "key"), or YAML as in a pod.

    "*" tolerates every taint. Raises :class:`InvalidInput`.
    """
    if text.lstrip().startswith(("- ", "[")):
        given = read_yaml(text, field)
        if not isinstance(given, list):
            raise InvalidInput("Tolerations are a list.", field=field)
        return [_toleration(item, field) for item in given]
    found = []
    for line in _lines(text):
        body, _sign, effect = line.rpartition(":")
        if not body:
            body, effect = effect, ""
        key, sign, value = body.partition("=")
        if effect and effect not in EFFECTS:
            raise InvalidInput(
                f"“{effect[:40]}” is no effect of a taint.",
                field=field,
                remedy=f"One of {', '.join(EFFECTS)}.",
            )
        found.append(
            {
                "key": "" if key.strip() == "*" else key.strip(),
                "operator": "Equal" if sign else "Exists",
                "value": value.strip(),
                "effect": effect,
            }
        )
    return found


def write_tolerations(tolerations: tuple[Toleration, ...]) -> str:
    lines = []
    for item in tolerations:
        body = item.key or "*"
        if item.operator == "Equal":
            body += f"={item.value}"
        lines.append(f"{body}:{item.effect}" if item.effect else body)
    return "\n".join(lines)


def read_yaml(text: str, field: str) -> Any:
    """One YAML value, read as carefully as any other file. None for blank text."""
    documents = load_documents(text, field=field) if text.strip() else []
    if len(documents) > 1:
        raise InvalidInput("Give one YAML document only.", field=field)
    return documents[0] if documents else None


def read_object(text: str, field: str) -> dict[str, Any]:
    """A YAML object; {} for blank text. Raises :class:`InvalidInput`."""
    value = read_yaml(text, field)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInput("This is to be an object, as under “affinity:” of a pod.", field=field)
    inner = value.get("affinity")
    return inner if set(value) == {"affinity"} and isinstance(inner, dict) else value


def read_names(text: str) -> list[str]:
    """Names parted by commas, blanks or lines."""
    return [name for name in re.split(r"[\s,]+", text) if name]


def _toleration(item: Any, field: str) -> dict[str, str]:
    if not isinstance(item, dict) or not set(item) <= set(TOLERATION_KEYS):
        raise InvalidInput(f"A toleration has {', '.join(TOLERATION_KEYS)} and nothing else.", field=field)
    operator = str(item.get("operator") or "Equal")
    return {key: str(item.get(key) or "") for key in TOLERATION_KEYS} | {"operator": operator}


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _split(line: str) -> tuple[str, str, str]:
    """At the first "=" or ": ", whichever stands first."""
    places = [(line.find(sign), sign) for sign in ("=", ": ") if sign in line]
    if not places:
        return line, "", ""
    at, sign = min(places)
    value = line[at + len(sign) :].strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return line[:at].strip().strip("\"'"), sign, value
