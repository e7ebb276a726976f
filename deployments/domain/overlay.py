"""What an apply would make of an object, as far as that can be told without asking the server.

Server-side apply (Kubernetes, "Server-Side Apply", merge strategy): what is in the manifest is set, what the
manager owned and the manifest no longer has is taken away, everything else stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

# How managedFields names a field, an item of a list by its keys, and the thing itself (FieldsV1).
_FIELD, _KEYED, _ITSELF = "f:", "k:", "."
_NONE: Mapping[str, Any] = {}


def laid_over(live: Mapping[str, Any], manifest: Mapping[str, Any], manager: str) -> dict[str, Any]:
    """``manifest`` laid over ``live``, in the order of what is there. ``manager`` is the field manager that
    applies it: what its entry of ``managedFields`` owns goes where the manifest does not have it."""
    owned = _NONE
    for entry in (live.get("metadata") or _NONE).get("managedFields") or ():
        if entry.get("manager") == manager and entry.get("operation") == "Apply":
            owned = entry.get("fieldsV1") or _NONE
    return _object(live, manifest, owned)


def _object(live: Mapping[str, Any], wanted: Mapping[str, Any], owned: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in live.items():
        below = owned.get(_FIELD + key)
        if key in wanted:
            made[key] = _value(value, wanted[key], below or _NONE)
        elif below is None:
            made[key] = value
        elif isinstance(value, Mapping) and below and _ITSELF not in below:
            made[key] = _object(value, _NONE, below)
    return made | {key: value for key, value in wanted.items() if key not in made}


def _value(live: Any, wanted: Any, owned: Mapping[str, Any]) -> Any:
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        return _object(live, wanted, owned)
    if isinstance(live, list) and isinstance(wanted, list):
        keyed = [(json.loads(name[2:]), below) for name, below in owned.items() if name.startswith(_KEYED)]
        return _keyed(live, wanted, keyed) if keyed else _placed(live, wanted)
    return wanted


def _keyed(live: list[Any], wanted: list[Any], owned: list[tuple[dict[str, Any], Any]]) -> list[Any]:
    """A list whose items are told apart by some of their fields: those of others stay."""
    fields = tuple(owned[0][0])
    ours = {_key(keys, fields): below for keys, below in owned}
    asked = {_key(item, fields): item for item in wanted}
    made = []
    for item in live:
        key = _key(item, fields)
        if key in asked:
            made.append(_object(item, asked.pop(key), ours.get(key, _NONE)))
        elif key not in ours:
            made.append(item)
    return [*made, *asked.values()]


def _key(item: Mapping[str, Any], fields: tuple[str, ...]) -> str:
    return json.dumps([item.get(field) for field in fields])


def _placed(live: list[Any], wanted: list[Any]) -> list[Any]:
    """A list that is replaced as a whole: each item over the one in its place, for what the server fills in."""
    made = []
    for place, item in enumerate(wanted):
        there = live[place] if place < len(live) else None
        if isinstance(there, Mapping) and isinstance(item, Mapping):
            made.append(_object(there, item, _NONE))
        else:
            made.append(item)
    return made
