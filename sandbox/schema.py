"""The shapes of the kinds the practice cluster serves: fields, types, list keys, and the OpenAPI v3 made from them.

The facts are in `fields.json` (Kubernetes 1.36, rebuilt by `fields_from_schemas.py`). Each field is one string:

    TYPE FLAGS...       TYPE   string int32 int64 double bool bytes quantity intorstring time microtime any
                               string:Name     a string whose Go type is called Name
                               core.v1.Pod     another struct
                               []T             atomic list          [set]T       set of scalars
                               [a,b]T          list map keyed by the fields a and b
                               {}T             map                  {atomic}T    atomic map
                        FLAGS  !   required    *   a Go pointer: an empty value is kept as sent
                               =   written even when empty          ^   this use of the struct is atomic
                               ~strategy/key   strategic merge patch
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol

from sandbox.kinds import KINDS


class KindLike(Protocol):
    """What this package needs of an entry of the table of kinds."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Type:
    """form: scalar, struct, map, list (atomic), set, listmap. name: the scalar's or struct's name."""

    form: str
    name: str = ""
    element: Type | None = None
    keys: tuple[str, ...] = ()
    atomic: bool = False
    go_name: str = ""

    @property
    def struct(self) -> Struct:
        return structs()[self.name]

    @property
    def of(self) -> Type:
        """The element of a list or map."""
        if self.element is None:
            raise TypeError(f"{self.form} {self.name} has no elements")
        return self.element

    @property
    def leaf(self) -> bool:
        """Owned as a whole in server-side apply."""
        return self.atomic or self.form in ("scalar", "list")


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    type: Type
    required: bool
    pointer: bool
    always: bool
    strategy: tuple[str, ...]
    merge_key: str


@dataclass(frozen=True, slots=True)
class Struct:
    name: str
    fields: dict[str, Field]
    atomic: bool
    gvk: tuple[str, str, str] | None

    @property
    def go_name(self) -> str:
        return self.name.rsplit(".", 1)[1]


# The one declared default among the keys of list maps; every other absent key counts as the type's zero value
# (Kubernetes API reference: `protocol` of container and service ports).
KEY_DEFAULTS = {("core.v1.ContainerPort", "protocol"): "TCP", ("core.v1.ServicePort", "protocol"): "TCP"}


def _parse_type(text: str, atomic_structs: frozenset[str]) -> Type:
    if text[0] == "[":
        mark, _, rest = text[1:].partition("]")
        element = _parse_type(rest, atomic_structs)
        if mark == "set":
            return Type("set", element=element)
        if mark:
            return Type("listmap", element=element, keys=tuple(mark.split(",")))
        return Type("list", element=element)
    if text[0] == "{":
        mark, _, rest = text[1:].partition("}")
        return Type("map", element=_parse_type(rest, atomic_structs), atomic=mark == "atomic")
    if "." in text:
        return Type("struct", name=text, atomic=text in atomic_structs)
    name, _, go_name = text.partition(":")
    return Type("scalar", name=name, go_name=go_name)


def _parse_field(name: str, text: str, atomic_structs: frozenset[str]) -> Field:
    head, *flags = text.split(" ")
    kind = _parse_type(head, atomic_structs)
    if "^" in flags:
        kind = Type("struct", name=kind.name, atomic=True)
    patch = next((flag[1:] for flag in flags if flag[0] == "~"), "")
    strategy, _, merge_key = patch.partition("/")
    return Field(
        name=name,
        type=kind,
        required="!" in flags,
        pointer="*" in flags,
        always="=" in flags,
        strategy=tuple(strategy.split(",")) if strategy else (),
        merge_key=merge_key,
    )


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    table: dict[str, Any] = json.loads(Path(__file__).with_name("fields.json").read_text())
    return table


def release() -> str:
    """The Kubernetes release the table was made from, such as 1.36."""
    return str(_table()["release"])


@lru_cache(maxsize=1)
def structs() -> dict[str, Struct]:
    raw = _table()["types"]
    atomic = frozenset(name for name, body in raw.items() if body.get("@atomic"))
    parsed: dict[str, Struct] = {}
    for name, body in raw.items():
        gvk = body.get("@gvk")
        fields = {key: _parse_field(key, text, atomic) for key, text in body.items() if key[0] != "@"}
        parsed[name] = Struct(name, fields, name in atomic, tuple(gvk) if gvk else None)
    return parsed


@lru_cache(maxsize=1)
def _by_gvk() -> dict[tuple[str, str, str], Struct]:
    return {struct.gvk: struct for struct in structs().values() if struct.gvk}


def struct_of(kind: KindLike) -> Struct:
    """The struct of a served kind; KeyError for a kind the table does not hold."""
    return _by_gvk()[(kind.group, kind.version, kind.kind)]


def type_of(kind: KindLike) -> Type:
    return Type("struct", name=struct_of(kind).name)


def key_default(element: Type, key: str) -> Any:
    """What an absent key of a list map's element counts as."""
    known = KEY_DEFAULTS.get((element.name, key))
    return known if known is not None else zero(element.struct.fields[key].type)


def zero(kind: Type) -> Any:
    if kind.form != "scalar":
        return None
    return {"int32": 0, "int64": 0, "double": 0, "bool": False, "intorstring": 0, "quantity": "0"}.get(
        kind.name, None if kind.name in ("time", "microtime", "any") else ""
    )


# --- OpenAPI v3 -------------------------------------------------------------------------------------------------

_SCALAR_SCHEMAS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "double": {"type": "number", "format": "double"},
    "bool": {"type": "boolean"},
    "bytes": {"type": "string", "format": "byte"},
    "any": {"type": "object"},
}
_SCALAR_NAMES = {
    "quantity": "io.k8s.apimachinery.pkg.api.resource.Quantity",
    "intorstring": "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
    "time": "io.k8s.apimachinery.pkg.apis.meta.v1.Time",
    "microtime": "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
}
_SHARED_SCHEMAS: dict[str, dict[str, Any]] = {
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "intorstring": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "time": {"type": "string", "format": "date-time"},
    "microtime": {"type": "string", "format": "date-time"},
}
_PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
# kubectl refuses strict validation unless the patch operation of a kind declares `fieldValidation`.
_PATCH_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "force")
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")


def openapi_name(name: str) -> str:
    return ("io.k8s.apimachinery.pkg.apis." if name.startswith("meta.") else "io.k8s.api.") + name


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{openapi_name(name)}"}


def _schema(kind: Type) -> dict[str, Any]:
    if kind.form == "scalar":
        if kind.name in _SCALAR_NAMES:
            return {"$ref": f"#/components/schemas/{_SCALAR_NAMES[kind.name]}"}
        return dict(_SCALAR_SCHEMAS[kind.name])
    if kind.form == "struct":
        return _reference(kind.name)
    if kind.form == "map":
        body = {"type": "object", "additionalProperties": _schema(kind.of)}
        return body | {"x-kubernetes-map-type": "atomic"} if kind.atomic else body
    body = {"type": "array", "items": _schema(kind.of)}
    body["x-kubernetes-list-type"] = {"list": "atomic", "set": "set", "listmap": "map"}[kind.form]
    if kind.keys:
        body["x-kubernetes-list-map-keys"] = list(kind.keys)
    return body


def _property(field: Field, owner: Struct) -> dict[str, Any]:
    body = _schema(field.type)
    extra: dict[str, Any] = {}
    default = KEY_DEFAULTS.get((owner.name, field.name))
    if field.type.form == "struct":
        if not field.pointer:
            extra["default"] = {}
        if field.type.atomic and not field.type.struct.atomic:
            extra["x-kubernetes-map-type"] = "atomic"
    elif default is not None:
        extra["default"] = default
    elif field.always and zero(field.type) is not None:
        extra["default"] = zero(field.type)
    if field.strategy:
        extra["x-kubernetes-patch-strategy"] = ",".join(field.strategy)
    if field.merge_key:
        extra["x-kubernetes-patch-merge-key"] = field.merge_key
    if "$ref" in body and extra:
        return {"allOf": [body], **extra}
    return body | extra


def _component(struct: Struct) -> dict[str, Any]:
    body: dict[str, Any] = {"type": "object"}
    if required := [field.name for field in struct.fields.values() if field.required]:
        body["required"] = required
    body["properties"] = {field.name: _property(field, struct) for field in struct.fields.values()}
    if struct.gvk:
        group, version, kind = struct.gvk
        body["x-kubernetes-group-version-kind"] = [{"group": group, "kind": kind, "version": version}]
    if struct.atomic:
        body["x-kubernetes-map-type"] = "atomic"
    return body


def _reachable(names: list[str]) -> list[str]:
    seen: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for field in structs()[name].fields.values():
            inner: Type | None = field.type
            while inner is not None:
                if inner.form == "struct":
                    waiting.append(inner.name)
                inner = inner.element
    return sorted(seen)


def _parameters(names: tuple[str, ...]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "query",
            "schema": {"type": "boolean" if name == "force" else "string", "uniqueItems": True},
        }
        for name in names
    ]


def _operation(action: str, kind: Any, struct: Struct) -> dict[str, Any]:
    answer = {
        "200": {"description": "OK", "content": {"application/json": {"schema": _reference(struct.name)}}}
    }
    body: dict[str, Any] = {
        "operationId": f"{action}{kind.kind}",
        "responses": answer,
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }
    if action == "patch":
        body["parameters"] = _parameters(_PATCH_PARAMETERS)
        body["requestBody"] = {
            "content": {media: {"schema": {"type": "object"}} for media in _PATCH_TYPES},
            "required": True,
        }
    elif action in ("post", "put"):
        body["parameters"] = _parameters(_WRITE_PARAMETERS)
        body["requestBody"] = {"content": {"*/*": {"schema": _reference(struct.name)}}, "required": True}
    return body


def _paths(group_version: str, kind: Any, struct: Struct) -> dict[str, Any]:
    scope = "namespaces/{namespace}/" if kind.namespaced else ""
    collection = f"/{group_version}/{scope}{kind.plural}"
    return {
        collection: {
            action: _operation(name, kind, struct) for action, name in (("get", "list"), ("post", "post"))
        },
        collection + "/{name}": {
            action: _operation(action, kind, struct) for action in ("get", "put", "patch", "delete")
        },
    }


def _group_version(kind: Any) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


@cache
def _document(group_version: str) -> tuple[bytes, str]:
    kinds = [kind for kind in KINDS if _group_version(kind) == group_version]
    if not kinds:
        raise KeyError(group_version)
    paths: dict[str, Any] = {}
    for kind in kinds:
        paths |= _paths(group_version, kind, struct_of(kind))
    names = _reachable([struct_of(kind).name for kind in kinds] + ["meta.v1.DeleteOptions", "meta.v1.Status"])
    components = {openapi_name(name): _component(structs()[name]) for name in names}
    text = json.dumps(components)
    for name, full in _SCALAR_NAMES.items():
        if f'/{full}"' in text:
            components[full] = _SHARED_SCHEMAS[name]
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": f"v{release()}"},
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": dict(sorted(components.items()))},
    }
    raw = json.dumps(document, separators=(",", ":")).encode()
    return raw, hashlib.sha512(raw).hexdigest().upper()


def openapi_v3_hash(group_version: str) -> str:
    """The hash that the index carries in the document's URL; KeyError for a group version that is not served."""
    return _document(group_version)[1]


def openapi_v3(group_version: str) -> dict[str, Any]:
    """The OpenAPI v3 document of `api/v1`, `apis/apps/v1` …; KeyError for a group version that is not served."""
    document: dict[str, Any] = json.loads(_document(group_version)[0])
    return document


def openapi_v3_index() -> dict[str, Any]:
    """{"paths": {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1?hash=…"}, …}} (recorded transcript 03)."""
    served = sorted({_group_version(kind) for kind in KINDS})
    return {
        "paths": {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={openapi_v3_hash(name)}"} for name in served
        }
    }


def split_group_version(api_version: str) -> tuple[str, str]:
    """apps/v1 -> (apps, v1); v1 -> ('', v1)."""
    found = re.fullmatch(r"(?:([^/]*)/)?([^/]*)", api_version)
    return (found[1] or "", found[2]) if found else ("", api_version)
