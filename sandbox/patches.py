"""JSON patch (RFC 6902), merge patch (RFC 7396) and Kubernetes' strategic merge patch, on parsed objects.

The strategic rules are those of k8s.io/apimachinery/pkg/util/strategicpatch; examples and refusals are in the recorded
transcripts 08 (bad patches) and 14 (writes). No function changes what it is given.
"""

from __future__ import annotations

import copy
from typing import Any

from sandbox.kinds import Kind
from sandbox.schema import Field, Struct, Type, structs, type_of
from sandbox.status import ApiError, bad_request, internal

Object = dict[str, Any]

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"


def _rejected() -> ApiError:
    return ApiError(422, "Invalid", "the server rejected our request due to an error in our request", {})


# --- JSON patch ---------------------------------------------------------------------------------------------------


def json_patch(obj: Object, body: Any) -> Object:
    """The object after the operations of a JSON patch. 422 for one that cannot be carried out, as the server words it."""
    if not isinstance(body, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    document: Any = copy.deepcopy(obj)
    for operation in body:
        if not isinstance(operation, dict) or not isinstance(operation.get("path"), str):
            raise _rejected()
        document = _operate(document, operation)
    if not isinstance(document, dict):
        raise _rejected()
    return document


def _operate(document: Any, operation: Object) -> Any:
    name, path = operation.get("op"), _pointer(operation["path"])
    if name in ("move", "copy"):
        source = operation.get("from")
        if not isinstance(source, str):
            raise _rejected()
        value = copy.deepcopy(_get(document, _pointer(source)))
        if name == "move":
            document = _change(document, _pointer(source), "remove", None)
        return _change(document, path, "add", value)
    if name == "test":
        if _get(document, path) != operation.get("value"):
            raise _rejected()
        return document
    if name not in ("add", "replace", "remove") or (name != "remove" and "value" not in operation):
        raise _rejected()
    return _change(document, path, name, copy.deepcopy(operation.get("value")))


def _pointer(text: str) -> list[str]:
    if not text:
        return []
    if text[0] != "/":
        raise _rejected()
    return [part.replace("~1", "/").replace("~0", "~") for part in text[1:].split("/")]


def _index(text: str, length: int) -> int:
    if not text.isdigit() or (text[0] == "0" and text != "0") or int(text) >= length:
        raise _rejected()
    return int(text)


def _get(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, dict) and part in document:
            document = document[part]
        elif isinstance(document, list):
            document = document[_index(part, len(document))]
        else:
            raise _rejected()
    return document


def _change(document: Any, path: list[str], name: str, value: Any) -> Any:
    if not path:
        if name == "remove":
            raise _rejected()
        return value
    parent, last = _get(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        if name != "add" and last not in parent:
            raise _rejected()
        if name == "remove":
            del parent[last]
        else:
            parent[last] = value
    elif isinstance(parent, list):
        if name == "add":
            parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1), value)
        elif name == "remove":
            del parent[_index(last, len(parent))]
        else:
            parent[_index(last, len(parent))] = value
    else:
        raise _rejected()
    return document


# --- merge patch --------------------------------------------------------------------------------------------------


def merge_patch(obj: Object, body: Any) -> Object:
    """The object after a merge patch: null removes, objects merge, everything else is replaced."""
    if not isinstance(body, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    merged: Object = _merge(obj, body)
    return merged


def _merge(target: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    made = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            made.pop(key, None)
        else:
            made[key] = _merge(made.get(key), value)
    return {key: copy.deepcopy(value) if key not in patch else value for key, value in made.items()}


# --- strategic merge patch ----------------------------------------------------------------------------------------


def strategic_patch(kind: Kind, obj: Object, body: Any) -> Object:
    """The object after a strategic merge patch: lists merge by their merge keys, `$` directives are carried out."""
    if not isinstance(body, dict):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    return _merge_map(copy.deepcopy(obj), copy.deepcopy(body), type_of(kind))


def _struct(kind: Type | None) -> Struct | None:
    return structs()[kind.name] if kind is not None and kind.form == "struct" else None


def _field(kind: Type | None, name: str) -> Field | None:
    struct = _struct(kind)
    return struct.fields.get(name) if struct else None


def _merge_map(original: Object, patch: Object, kind: Type | None) -> Object:
    if DIRECTIVE in patch:
        directive = patch.pop(DIRECTIVE)
        if directive == "replace":
            return patch
        if directive == "delete":
            return {}
        if directive != "merge":
            raise internal(f"unknown patch type found: {directive}")
    _retain(original, patch)
    _ordered_lists(original, patch, kind)
    for key, value in patch.items():
        deletes = key.startswith(DELETE_FROM)
        name = key.removeprefix(DELETE_FROM)
        if deletes:
            if isinstance(original.get(name), list) and isinstance(value, list):
                original[name] = [item for item in original[name] if item not in value]
            continue
        if value is None:
            original.pop(name, None)
            continue
        field = _field(kind, name)
        before = original.get(name)
        below = field.type if field else (kind.element if kind is not None and kind.form == "map" else None)
        replaces = field is not None and "replace" in field.strategy
        if isinstance(before, dict) and isinstance(value, dict):
            original[name] = value if replaces else _merge_map(before, value, below)
        elif isinstance(before, list) and isinstance(value, list):
            original[name] = _merge_slice(before, value, field)
        else:
            original[name] = _without_directives(value)
    return original


def _retain(original: Object, patch: Object) -> None:
    kept = patch.pop(RETAIN, None)
    if kept is None:
        return
    unlisted = [key for key in patch if key not in kept and not key.startswith("$")]
    if unlisted:
        raise bad_request(f"retainKeys directive does not list the keys of the patch: {', '.join(unlisted)}")
    for key in [key for key in original if key not in kept]:
        del original[key]


def _ordered_lists(original: Object, patch: Object, kind: Type | None) -> None:
    """Carry out `$setElementOrder/x` together with the patch of x."""
    for key in [key for key in patch if key.startswith(ORDER)]:
        order = patch.pop(key)
        name = key.removeprefix(ORDER)
        field = _field(kind, name)
        before, change = original.get(name), patch.pop(name, None)
        if before is None and change is None:
            continue
        if isinstance(before, list) and isinstance(change, list):
            merged = _merge_slice(before, change, field)
        else:
            merged = before if isinstance(before, list) else _without_directives(change)
        if not isinstance(order, list) or not isinstance(merged, list):
            raise bad_request(f"the order of {name} is no list")
        merge_key = field.merge_key if field else ""
        original[name] = _in_order(merged, order, before if isinstance(before, list) else [], merge_key)


def _merge_slice(original: list[Any], patch: list[Any], field: Field | None) -> list[Any]:
    if field is None or "merge" not in field.strategy:
        return [_without_directives(item) for item in patch]
    if not any(isinstance(item, dict) for item in [*original, *patch]):
        both = [*original, *patch]
        merged = [item for i, item in enumerate(both) if item not in both[:i]]
        return _in_order(merged, patch, original, "")
    key = field.merge_key
    for item in [*patch, *original]:
        if isinstance(item, dict) and key not in item and set(item) != {DIRECTIVE}:
            raise internal(f"map: {_go_map(item)} does not contain declared merge key: {key}")
    original, patch = _special_elements(original, patch, key)
    merged = list(original)
    for item in patch:
        found = next((i for i, old in enumerate(merged) if old.get(key) == item.get(key)), None)
        if found is None:
            merged.append(_without_directives(item))
        else:
            merged[found] = _merge_map(merged[found], item, field.type.element)
    return _in_order(merged, patch, original, key)


def _special_elements(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out `$patch` directives in list items: delete takes one item out, replace the whole list."""
    rest: list[Any] = []
    replaces = False
    for item in patch:
        directive = item.get(DIRECTIVE)
        if directive is None or directive == "merge":
            rest.append({name: value for name, value in item.items() if name != DIRECTIVE})
        elif directive == "delete":
            original = [old for old in original if old.get(key) != item.get(key)]
        elif directive == "replace":
            replaces = True
        else:
            raise internal(f"unknown patch type found: {directive}")
    return ([] if replaces else original), rest


def _in_order(merged: list[Any], patch: list[Any], server: list[Any], key: str) -> list[Any]:
    """Items named in the patch in its order, the server's own among them where its old order allows."""

    def name(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [name(item) for item in patch]
    known = [name(item) for item in server]
    right = sorted(
        (item for item in merged if name(item) in wanted), key=lambda item: wanted.index(name(item))
    )
    left = sorted(
        (item for item in merged if name(item) not in wanted),
        key=lambda item: known.index(name(item)) if name(item) in known else len(known),
    )
    made: list[Any] = []
    while left and right:
        a, b = name(left[0]), name(right[0])
        before = a in known and b in known and known.index(a) < known.index(b)
        made.append(left.pop(0) if before else right.pop(0))
    return made + left + right


def _without_directives(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _without_directives(inner)
            for key, inner in value.items()
            if inner is not None
            and key not in (DIRECTIVE, RETAIN)
            and not key.startswith((ORDER, DELETE_FROM))
        }
    if isinstance(value, list):
        return [
            _without_directives(item)
            for item in value
            if not (isinstance(item, dict) and item.get(DIRECTIVE) in ("delete", "replace"))
        ]
    return value


def _go_map(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_go_map(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_map(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)
