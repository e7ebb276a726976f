"""Values with a known type: validation, merging, comparing and removing, field by field.

This follows sigs.k8s.io/structured-merge-diff v6 (typed/), which the API server uses for server-side apply: the rules
for empty values, the order of merged lists and the wording of its errors are taken from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sandbox.fieldsets import Path, Paths, element_of, shown, text_of
from sandbox.schema import Type

ABSENT: Any = object()


def _shown_value(value: Any) -> str:
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_shown_value(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_shown_value(item) for item in value) + "]"
    return str(value)


def _quoted_value(value: Any) -> str:
    if isinstance(value, str):
        return text_of(value)
    if isinstance(value, dict):
        inner = ", ".join(f"{text_of(key)}:{_quoted_value(value[key])}" for key in sorted(value))
        return "map[string]interface {}{" + inner + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(_quoted_value(item) for item in value) + "}"
    return _shown_value(value)


def _go_name(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"


def problems(kind: Type, value: Any, path: Path = ()) -> list[str]:
    """What keeps a value from being of this type: `.spec.replicas: expected numeric (int or float), got string`."""
    where = shown(path)
    if value is None:
        return []
    if kind.form == "scalar":
        wrong = _scalar_problem(kind.name, value)
        return [f"{where}: {wrong}"] if wrong else []
    if kind.form in ("struct", "map"):
        if not isinstance(value, dict):
            return [f"{where}: expected map, got &{{{_shown_value(value)}}}"]
        found: list[str] = []
        for key, inner in value.items():
            below = _below(kind, key)
            if below is None:
                found.append(f"{shown((*path, 'f:' + key))}: field not declared in schema")
            else:
                found += problems(below, inner, (*path, "f:" + key))
        return found
    if not isinstance(value, list):
        return [f"{where}: expected list, got &{{{_shown_value(value)}}}"]
    found = []
    seen: set[str] = set()
    for index, item in enumerate(value):
        if kind.form == "list":
            found += problems(kind.of, item, path)
            continue
        if kind.form == "listmap" and not isinstance(item, dict):
            found.append(
                f"{where}: element {index}: associative list with keys may not have non-map elements"
            )
            continue
        element = element_of(kind, item)
        if element in seen:
            found.append(f"{where}: duplicate entries for key {shown((element,))}")
        seen.add(element)
        found += problems(kind.of, item, (*path, element))
    return found


def _scalar_problem(name: str, value: Any) -> str:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name in ("int32", "int64", "double"):
        return "" if number else f"expected numeric (int or float), got {_go_name(value)}"
    if name in ("string", "bytes"):
        return (
            ""
            if isinstance(value, str)
            else f"expected string, got &value.valueUnstructured{{Value:{_quoted_value(value)}}}"
        )
    if name == "bool":
        return "" if isinstance(value, bool) else f"expected boolean, got &{{{_shown_value(value)}}}"
    if name == "any":
        return ""
    if number or isinstance(value, (str, bool)):
        return ""
    return f"expected any scalar, got &{{{_shown_value(value)}}}"


def _below(kind: Type, key: str) -> Type | None:
    if kind.form == "map":
        return kind.of
    field = kind.struct.fields.get(key)
    return field.type if field else None


def _empty(value: Any) -> bool:
    return value is ABSENT or value is None or value in ({}, [])


def _is_leaf(kind: Type, left: Any, right: Any = ABSENT) -> bool:
    return kind.leaf or (_empty(left) and _empty(right))


def _children(kind: Type, value: Any) -> list[tuple[str, Type | None, Any]]:
    """(path element, type, value) of what a granular value holds."""
    if kind.form in ("struct", "map"):
        return [("f:" + key, _below(kind, key), inner) for key, inner in (value or {}).items()]
    return [(element_of(kind, item), kind.of, item) for item in value or ()]


# --- the set of fields of a value ---------------------------------------------------------------------------------


def field_set(kind: Type, value: Any) -> Paths:
    """What an applier of this value owns."""
    found: set[Path] = set()

    def walk(kind: Type, value: Any, path: Path) -> None:
        if kind.leaf:
            found.add(path)
            return
        listed = kind.form in ("set", "listmap")
        for element, below, inner in _children(kind, value):
            here = (*path, element)
            if below is not None:
                walk(below, inner, here)
            if listed or kind.form == "map" or inner is None or inner == {}:
                found.add(here)

    walk(kind, value, ())
    found.discard(())
    return frozenset(found)


# --- comparing ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Comparison:
    added: Paths
    modified: Paths
    removed: Paths

    def without(self, ignored: tuple[Path, ...]) -> Comparison:
        def keep(paths: Paths) -> Paths:
            return frozenset(path for path in paths if not any(path[: len(root)] == root for root in ignored))

        return Comparison(keep(self.added), keep(self.modified), keep(self.removed))

    def only(self, roots: tuple[Path, ...]) -> Comparison:
        def keep(paths: Paths) -> Paths:
            return frozenset(path for path in paths if any(path[: len(root)] == root for root in roots))

        return Comparison(keep(self.added), keep(self.modified), keep(self.removed))


def compare(kind: Type, left: Any, right: Any) -> Comparison:
    """What changed from left to right."""
    added: set[Path] = set()
    modified: set[Path] = set()
    removed: set[Path] = set()

    def walk(kind: Type | None, left: Any, right: Any, path: Path) -> None:
        if kind is None or _is_leaf(kind, left, right):
            if left is ABSENT:
                added.add(path)
            elif right is ABSENT:
                removed.add(path)
            elif left != right:
                modified.add(path)
            return
        ours = {element: (below, inner) for element, below, inner in _children(kind, _plain(left))}
        theirs = {element: (below, inner) for element, below, inner in _children(kind, _plain(right))}
        for element in [*theirs, *(e for e in ours if e not in theirs)]:
            below = (theirs.get(element) or ours[element])[0]
            walk(
                below,
                ours.get(element, (None, ABSENT))[1],
                theirs.get(element, (None, ABSENT))[1],
                (*path, element),
            )
        if left is ABSENT:
            added.add(path)
        elif right is ABSENT:
            removed.add(path)

    walk(kind, left, right, ())
    return Comparison(frozenset(added - {()}), frozenset(modified - {()}), frozenset(removed - {()}))


def _plain(value: Any) -> Any:
    return None if value is ABSENT else value


# --- merging ------------------------------------------------------------------------------------------------------


def merge(kind: Type | None, left: Any, right: Any) -> Any:
    """left with right laid over it; ABSENT for a side that has nothing."""
    if kind is None or _is_leaf(kind, left, right):
        return left if right is ABSENT else right
    if kind.form in ("struct", "map"):
        ours, theirs = _plain(left) or {}, _plain(right) or {}
        made = {}
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            made[key] = merge(_below(kind, key), ours.get(key, ABSENT), theirs.get(key, ABSENT))
        return made
    return _merge_lists(kind, list(_plain(left) or ()), list(_plain(right) or ()))


def _merge_lists(kind: Type, left: list[Any], right: list[Any]) -> list[Any]:
    """Items of the right side in its order; items of the left alone keep their place among them as far as they can."""
    left_keys = [element_of(kind, item) for item in left]
    right_keys = [element_of(kind, item) for item in right]
    ours, theirs = dict(zip(left_keys, left, strict=True)), dict(zip(right_keys, right, strict=True))
    shared = [key for key in right_keys if key in ours]
    wanted = shared.pop(0) if shared else None
    done: set[str] = set()
    made: list[Any] = []
    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right):
            key = left_keys[i]
            if key == right_keys[j]:
                done.add(key)
                made.append(merge(kind.of, ours[key], theirs[key]))
                i, j = i + 1, j + 1
                wanted = shared.pop(0) if shared else None
                continue
            if key in theirs and wanted is not None and wanted != key:
                i += 1
                continue
        if i < len(left):
            key = left_keys[i]
            if key not in theirs:
                made.append(left[i])
                i += 1
                continue
            if key in done:
                i += 1
        if j < len(right):
            key = right_keys[j]
            done.add(key)
            made.append(merge(kind.of, ours.get(key, ABSENT), theirs[key]))
            j += 1
            if wanted == key:
                wanted = shared.pop(0) if shared else None
    return made


# --- removing -----------------------------------------------------------------------------------------------------


def remove(kind: Type, value: Any, paths: Paths) -> Any:
    """The value without these paths; a container that loses all it had becomes null."""
    tree: dict[str, Any] = {}
    for path in paths:
        node = tree
        for element in path:
            node = node.setdefault(element, {})
        node["."] = True
    return _remove(kind, value, tree)


def _remove(kind: Type | None, value: Any, tree: dict[str, Any]) -> Any:
    if kind is None or kind.leaf or not value:
        return value
    kept: list[tuple[str, Any]] = []
    for element, below, inner in _children(kind, value):
        node = tree.get(element)
        if node is None:
            kept.append((element, inner))
        elif "." not in node:
            kept.append((element, _remove(below, inner, node)))
    if not kept:
        return None
    if kind.form in ("struct", "map"):
        return {element[2:]: inner for element, inner in kept}
    return [inner for _, inner in kept]
