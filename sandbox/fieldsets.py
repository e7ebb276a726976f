"""Sets of field paths, as `metadata.managedFields[].fieldsV1` writes them.

A path is a tuple of elements in the serialised notation: `f:name`, `k:{"name":"main"}`, `v:"text"`
(Kubernetes API reference: FieldsV1). A set is a frozenset of paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from sandbox.schema import Type, key_default

Path = tuple[str, ...]
Paths = frozenset[Path]
NOTHING: Paths = frozenset()


def text_of(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def element_of(kind: Type, item: Any) -> str:
    """The path element of one item of a set or a list map."""
    if kind.form == "set":
        return "v:" + text_of(item)
    fields = item if isinstance(item, dict) else {}
    keys: dict[str, Any] = {}
    for key in sorted(kind.keys):
        value = fields.get(key)
        keys[key] = key_default(kind.of, key) if value is None else value
    return "k:" + text_of(keys)


def shown(path: Path) -> str:
    """`.spec.containers[name="main"].ports[containerPort=80,protocol="TCP"]`."""
    parts: list[str] = []
    for element in path:
        mark, rest = element[:2], element[2:]
        if mark == "f:":
            parts.append("." + rest)
        elif mark == "k:":
            parts.append(
                "[" + ",".join(f"{key}={text_of(value)}" for key, value in json.loads(rest).items()) + "]"
            )
        else:
            parts.append(f"[={rest}]")
    return "".join(parts)


def _rank(path: Path) -> tuple[Any, ...]:
    # Members of a level come before what lies deeper, names before keys, keys before values.
    return tuple(
        (0 if i == len(path) - 1 else 1, "fkv".index(element[0]), element) for i, element in enumerate(path)
    )


def ordered(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=_rank)


def to_fields_v1(paths: Paths) -> dict[str, Any]:
    root: dict[str, Any] = {}
    members: list[dict[str, Any]] = []
    for path in sorted(paths):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        members.append(node)
    for node in members:
        if node:
            node["."] = {}
    return _sorted(root)


def _sorted(node: dict[str, Any]) -> dict[str, Any]:
    return {key: _sorted(node[key]) for key in sorted(node)}


def from_fields_v1(fields: dict[str, Any]) -> Paths:
    found: list[Path] = []

    def walk(node: dict[str, Any], path: Path) -> None:
        inner = [key for key in node if key != "."]
        if path and ("." in node or not inner):
            found.append(path)
        for key in inner:
            walk(node[key], (*path, key))

    walk(fields, ())
    return frozenset(found)


def with_named_parents(paths: Paths, kind: Type) -> Paths:
    """The set together with every struct field that lies on the way to one of its members."""
    more: set[Path] = set(paths)
    for path in paths:
        here: Type | None = kind
        for depth, element in enumerate(path[:-1]):
            if here is None:
                break
            if element.startswith("f:") and here.form == "struct" and element[2:] in here.struct.fields:
                more.add(path[: depth + 1])
            here = step(here, element)
    return frozenset(more)


def step(kind: Type, element: str) -> Type | None:
    """The type below a path element; None where the table ends."""
    if element.startswith("f:"):
        if kind.form == "struct":
            field = kind.struct.fields.get(element[2:])
            return field.type if field else None
        return kind.element if kind.form == "map" else None
    return kind.element


def under(paths: Iterable[Path], prefixes: Iterable[Path]) -> Paths:
    """The members that are one of the prefixes or lie below one."""
    roots = tuple(prefixes)
    return frozenset(path for path in paths if any(path[: len(root)] == root for root in roots))
