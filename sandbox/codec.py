"""Reading objects as the server's Go structs do: types checked, unknown members dropped, empty members left out.

Everything works on parsed JSON. What Go would refuse is a DecodeError with Go's own sentence (recorded transcripts 07
and 08); what it would drop is listed.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import json
import re
from typing import Any

from sandbox import quantity
from sandbox.schema import Struct, Type, zero


class DecodeError(ValueError):
    """A value that does not fit its field; the message is what the server says after `cannot be handled as a X:`."""


class JsonObject(dict[str, Any]):
    """A parsed JSON object that remembers which of its members were written twice."""

    duplicates: tuple[str, ...] = ()


def json_object(pairs: list[tuple[str, Any]]) -> JsonObject:
    """Hook for json.loads. As in Go the later of two members wins, and two objects under one name are merged."""
    made = JsonObject()
    twice: list[str] = []
    for key, value in pairs:
        if key in made:
            twice.append(key)
            if isinstance(made[key], dict) and isinstance(value, dict):
                made[key].update(value)
                continue
        made[key] = value
    made.duplicates = tuple(twice)
    return made


def go_kind(value: Any) -> str:
    """How encoding/json names a value in its errors."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def go_type(kind: Type) -> str:
    if kind.form == "scalar":
        plain = {"bytes": "[]uint8", "double": "float64", "any": "map[string]interface {}"}.get(
            kind.name, kind.name
        )
        return f"v1.{kind.go_name}" if kind.go_name else plain
    if kind.form == "struct":
        return f"{kind.name.split('.')[1]}.{kind.struct.go_name}"
    if kind.form == "map":
        return f"map[string]{go_type(kind.of)}"
    return f"[]{go_type(kind.of)}"


_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _time(text: str, micro: bool) -> str:
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    found = _TIME.fullmatch(text)
    if found is None:
        raise DecodeError(f'parsing time "{text}" as "{layout}": cannot parse "{text}" as "2006"')
    fraction = found[3] or ""
    if micro and len(fraction) != 7:
        raise DecodeError(
            f'parsing time "{text}" as "{layout}": cannot parse "{fraction}{found[4]}" as ".000000"'
        )
    try:
        moment = dt.datetime.fromisoformat(f"{found[1]}T{found[2]}{found[4].upper().replace('Z', '+00:00')}")
    except ValueError as broken:
        raise DecodeError(f'parsing time "{text}": day out of range') from broken
    plain = moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return plain + (fraction if micro else "") + "Z"


def _bytes(text: str) -> str:
    stripped = text.replace("\r", "").replace("\n", "")
    bad = re.search(r"[^A-Za-z0-9+/=]", stripped)
    if bad is None:
        try:
            return base64.b64encode(base64.b64decode(stripped, validate=True)).decode()
        except binascii.Error:
            pass
    position = bad.start() if bad else len(stripped.rstrip("=")) // 4 * 4
    raise DecodeError(f"illegal base64 data at input byte {position}")


class _Reader:
    def __init__(self) -> None:
        self.dropped: list[str] = []

    def wrong(self, value: Any, kind: Type, owner: Struct, trail: str, exact: bool = False) -> DecodeError:
        shown = go_kind(value) + (f" {json.dumps(value)}" if exact else "")
        return DecodeError(
            f"json: cannot unmarshal {shown} into Go struct field {owner.go_name}.{trail} of type {go_type(kind)}"
        )

    def scalar(self, kind: Type, value: Any, owner: Struct, trail: str) -> Any:
        name = kind.name
        if name == "any":
            return value
        if name == "quantity":
            if isinstance(value, bool) or not isinstance(value, (str, int, float)):
                raise DecodeError(quantity.WRONG_FORMAT)
            try:
                return quantity.canonical(value)
            except quantity.QuantityError as wrong:
                raise DecodeError(str(wrong)) from wrong
        if name == "bool":
            if not isinstance(value, bool):
                raise self.wrong(value, kind, owner, trail)
            return value
        if name in ("int32", "int64"):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self.wrong(value, kind, owner, trail)
            limit = 2 ** (31 if name == "int32" else 63)
            if value != int(value) or not -limit <= value < limit:
                raise self.wrong(value, kind, owner, trail, exact=True)
            return int(value)
        if name == "double":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self.wrong(value, kind, owner, trail)
            return value
        if name == "intorstring":
            if isinstance(value, bool) or not isinstance(value, (str, int)):
                raise self.wrong(value, Type("scalar", "intstr.IntOrString"), owner, trail)
            return value
        if not isinstance(value, str):
            raise self.wrong(value, kind, owner, trail)
        if name in ("time", "microtime"):
            return _time(value, name == "microtime")
        return _bytes(value) if name == "bytes" else value

    def value(self, kind: Type, value: Any, owner: Struct, trail: str, path: str) -> Any:
        """trail: dotted names for type errors (no indexes); path: the same with indexes, for unknown members."""
        if value is None:
            return zero(kind)
        if kind.form == "scalar":
            return self.scalar(kind, value, owner, trail)
        if kind.form == "struct":
            if not isinstance(value, dict):
                raise self.wrong(value, kind, owner, trail)
            return self.struct(kind.struct, value, trail, path)
        if kind.form == "map":
            if not isinstance(value, dict):
                raise self.wrong(value, kind, owner, trail)
            return {
                key: self.value(kind.of, inner, owner, trail, f"{path}.{key}") for key, inner in value.items()
            }
        if not isinstance(value, list):
            raise self.wrong(value, kind, owner, trail)
        items = [self.value(kind.of, inner, owner, trail, f"{path}[{i}]") for i, inner in enumerate(value)]
        return [{} if item is None and kind.of.form in ("struct", "map") else item for item in items]

    def struct(self, struct: Struct, value: dict[str, Any], trail: str, path: str) -> dict[str, Any]:
        made: dict[str, Any] = {}
        repeated = value.duplicates if isinstance(value, JsonObject) else ()
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            if key in repeated:
                self.dropped.append(f'duplicate field "{here}"')
            field = struct.fields.get(key)
            if field is None:
                self.dropped.append(f'unknown field "{here}"')
                continue
            if inner is None:
                continue
            read = self.value(field.type, inner, struct, f"{trail}.{key}" if trail else key, here)
            empty = (
                read is None
                or (not isinstance(read, dict) and not read)
                or (field.type.form == "map" and not read)
            )
            if field.type.form == "scalar" and field.type.name == "intorstring":
                empty = False
            if empty and not (field.pointer and field.type.form == "scalar") and not field.always:
                continue
            if empty and field.type.form not in ("scalar", "struct"):
                read = None
            made[key] = read
        return complete(struct, made)


def complete(struct: Struct, value: dict[str, Any]) -> dict[str, Any]:
    """Add, in place, the members that Go writes even when they are empty: plain structs and those without omitempty."""
    for field in struct.fields.values():
        if field.name in value:
            continue
        if field.type.form == "struct" and not field.pointer:
            # metadata of nested objects included; an ObjectMeta has no member of its own that is always written.
            value[field.name] = complete(field.type.struct, {})
        elif field.always and not field.pointer:
            value[field.name] = zero(field.type)
    return value


def decode(kind: Type, value: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """(the object as the server would hold it, what was dropped: `unknown field "spec.x"`, `duplicate field "data"`)."""
    reader = _Reader()
    made = reader.struct(kind.struct, value, "", "")
    return made, reader.dropped


def normalised(kind: Type, value: dict[str, Any]) -> dict[str, Any]:
    """The object after a trip through the server's structs."""
    return decode(kind, value)[0]


def recompleted(kind: Type, value: Any) -> Any:
    """`complete` through all levels, in place: what defaulting added gets its own empty members too."""
    if kind.form == "struct" and isinstance(value, dict):
        complete(kind.struct, value)
        for key, inner in value.items():
            field = kind.struct.fields.get(key)
            if field is not None and inner is not None:
                recompleted(field.type, inner)
    elif kind.form in ("list", "listmap") and isinstance(value, list):
        for inner in value:
            recompleted(kind.of, inner)
    elif kind.form == "map" and kind.of.form != "scalar" and isinstance(value, dict):
        for inner in value.values():
            recompleted(kind.of, inner)
    return value


def blank(kind: Type) -> dict[str, Any]:
    """An object of this type with nothing in it, as Go writes it: what creation is compared with."""
    return complete(kind.struct, {})
