"""Request bodies: JSON as Go reads it and YAML 1.1 as the API server's parser (go-yaml v2) reads it.

Texts of refusals: recorded transcripts 08 (bad requests), 15 (server-side apply) and 16 (escapes).
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml

from sandbox.codec import JsonObject, go_kind, json_object
from sandbox.kinds import Kind
from sandbox.status import ApiError, bad_request

_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|.)", re.DOTALL)
# What go-yaml's reader refuses; the rest of the non-printable characters may stand in a stream.
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NO_KIND = (
    'struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }'
)
_YAML_ERROR = "error decoding YAML: error converting YAML to JSON: "
_BAD_ESCAPE = _YAML_ERROR + "yaml: found invalid Unicode character escape code"
_SURROGATE = re.compile("[\ud800-\udfff]")
# go-yaml aborts a document whose aliases multiply; this bounds the nodes that one body may expand to.
MAX_NODES = 400_000


# --- JSON ---------------------------------------------------------------------------------------------------------


class JsonSyntax(ValueError):
    """JSON that does not parse; the message is encoding/json's."""


def loads(raw: bytes) -> Any:
    """Parsed JSON whose objects are JsonObject. Bytes that are no UTF-8 become U+FFFD, as in Go."""
    text = raw.decode("utf-8", "replace")
    try:
        return json.loads(text, object_pairs_hook=json_object, parse_constant=_no_constant)
    except json.JSONDecodeError as broken:
        raise JsonSyntax(_go_syntax(text, broken)) from broken
    except RecursionError as deep:
        raise JsonSyntax("exceeded max depth") from deep


def _no_constant(name: str) -> Any:
    raise JsonSyntax(f"invalid character {name[0]!r} looking for beginning of value")


def _go_syntax(text: str, broken: json.JSONDecodeError) -> str:
    at = broken.pos
    if not text[at:].strip() or broken.msg.startswith("Unterminated string"):
        return "unexpected end of JSON input"
    character = text[at:].lstrip()[0]
    shown = "'\\''" if character == "'" else f"'{character}'"
    place = {
        "Extra data": "after top-level value",
        "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
        "Illegal trailing comma before end of object": "looking for beginning of object key string",
        "Expecting ':' delimiter": "after object key",
        "Invalid control character at": "in string literal",
        "Invalid \\escape": "in string escape code",
    }.get(broken.msg.split(":")[0] if not broken.msg.startswith("Expecting ':'") else broken.msg)
    if place is None and broken.msg == "Expecting ',' delimiter":
        opened = text[:at].count("{") - text[:at].count("}") > 0 and text[:at].rfind("[") < text[:at].rfind(
            "{"
        )
        place = "after object key:value pair" if opened else "after array element"
    return f"invalid character {shown} {place or 'looking for beginning of value'}"


def _snippet(raw: bytes) -> str:
    if not raw:
        return "<empty>"
    if raw.lstrip()[:1] == b"{":
        text = raw.decode("utf-8", "replace")
        return text if len(text) <= 30 else text[:30] + " ..."
    text = raw.hex()
    return text if len(text) <= 60 else text[:60] + " ..."


def read_object(kind: Kind, raw: bytes, yaml_body: bool = False) -> dict[str, Any]:
    """The body of a create or update. 400 for what is no JSON object, in the words of the server."""
    value = _read_yaml_as_json(raw) if yaml_body else None
    prefix = f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; json parse error"
    if value is None and not yaml_body:
        try:
            value = loads(raw)
        except JsonSyntax as broken:
            raise bad_request(f"{prefix}: {broken} ({_snippet(raw)})") from broken
    if value is None:
        return JsonObject()
    if not isinstance(value, dict):
        why = f"json: cannot unmarshal {go_kind(value)} into Go value of type {_NO_KIND}"
        raise bad_request(f"{prefix}: {why} ({_snippet(raw)})")
    return value


def read_patch(raw: bytes, json_patch: bool) -> Any:
    """The body of a merge, strategic merge (an object) or JSON patch (a list)."""
    try:
        value = loads(raw)
    except JsonSyntax as broken:
        raise bad_request(f"error decoding patch: {broken}") from broken
    if json_patch and not isinstance(value, list):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {go_kind(value)} into Go value of type []handlers.jsonPatchOp"
        )
    if not json_patch and not isinstance(value, dict):
        raise bad_request(
            f"error decoding patch: json: cannot unmarshal {go_kind(value)} into Go value of type map[string]interface {{}}"
        )
    return value


# --- YAML ---------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with go-yaml's scalars: dates and sexagesimal numbers stay text, y and n are booleans."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    (
        "tag:yaml.org,2002:bool",
        r"(?:y|Y|yes|Yes|YES|true|True|TRUE|on|On|ON|n|N|no|No|NO|false|False|FALSE|off|Off|OFF)",
        "yYnNtTfFoO",
    ),
    ("tag:yaml.org,2002:null", r"(?:~|null|Null|NULL|)", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern + r"\Z"), list(_first))


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "")
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-")
    if digits.startswith(("0x", "0b")):
        return sign * int(digits, 0)
    if digits.startswith("0") and digits != "0":
        return sign * int(digits.removeprefix("0o"), 8)
    return sign * int(digits)


_BOOLEANS = dict.fromkeys(("y", "yes", "true", "on"), True) | dict.fromkeys(
    ("n", "no", "false", "off"), False
)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:bool", lambda loader, node: _BOOLEANS[node.value.lower()])
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: str(node.value))


def _as_json(value: Any) -> Any:
    """Keys become text, whole floats numbers, as in the trip through JSON that the server makes."""
    if isinstance(value, dict):
        return {_key(key): _as_json(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_as_json(inner) for inner in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(value)
    return value.decode() if isinstance(value, bytes) else value


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _count(node: yaml.Node, left: list[int]) -> None:
    left[0] -= 1
    if left[0] < 0:
        raise bad_request(_YAML_ERROR + "yaml: document contains excessive aliasing")
    if isinstance(node, yaml.ScalarNode) and _SURROGATE.search(node.value):
        raise bad_request(_BAD_ESCAPE)
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _count(item, left)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            _count(key, left)
            _count(item, left)


def _yaml_text(raw: bytes) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as broken:
        raise bad_request(_YAML_ERROR + "yaml: invalid leading UTF-8 octet") from broken
    if _CONTROL.search(text):
        raise bad_request(_YAML_ERROR + "yaml: control characters are not allowed")
    return text


def _check_escapes(text: str) -> None:
    for found in _ESCAPE.finditer(text):
        digits = found[1] or found[2]
        if digits and (0xD800 <= int(digits, 16) <= 0xDFFF or int(digits, 16) > 0x10FFFF):
            raise bad_request(_BAD_ESCAPE)


def _compose(text: str) -> yaml.Node | None:
    try:
        node: yaml.Node | None = _Loader(text).get_single_node()
    except ValueError as broken:
        raise bad_request(_BAD_ESCAPE) from broken
    except yaml.YAMLError as broken:
        mark = getattr(broken, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        problem = getattr(broken, "problem", None) or "did not find expected node content"
        raise bad_request(f"{_YAML_ERROR}yaml: {line}{problem}") from broken
    except RecursionError as deep:
        raise bad_request(_YAML_ERROR + "yaml: exceeded max depth of 10000") from deep
    return node


def _read_yaml_as_json(raw: bytes) -> Any:
    node = _compose(_yaml_text(raw))
    if node is None:
        return None
    _count(node, [MAX_NODES])
    loader = _Loader("")
    try:
        value = loader.construct_document(node)
    except (yaml.YAMLError, ValueError, TypeError) as broken:
        raise bad_request(f"{_YAML_ERROR}yaml: {getattr(broken, 'problem', None) or broken}") from broken
    return _as_json(value)


def _read_apply_json(raw: bytes) -> Any:
    """JSON is YAML too, and much faster to read; None when the body has to be read as YAML."""
    if raw.lstrip()[:1] != b"{":
        return None
    text = _yaml_text(raw)
    if "\\u" in text:
        _check_escapes(text)
    try:
        return json.loads(text, object_pairs_hook=json_object, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def parse_apply_body(raw: bytes) -> dict[str, Any]:
    """The body of an apply. 400 for what does not parse or is no mapping; a key written twice counts as its last value.

    Surrogate escapes, as ASCII-only JSON writes characters beyond the Basic Multilingual Plane, are refused like the
    server does. An empty body is an empty mapping, and so is a text that is no mapping (both are refused later for
    lacking a kind).
    """
    value = _read_apply_json(raw)
    if value is None:
        value = _read_yaml_as_json(raw)
    if isinstance(value, list):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            "json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    if isinstance(value, (str, bool, int, float)):
        raise bad_request(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: "
            f"json: cannot unmarshal {go_kind(value)} into Go value of type map[string]interface {{}}"
        )
    plain: dict[str, Any] = _as_json(value) if value is not None else {}
    return plain


def repeated_keys(raw: bytes) -> list[str]:
    """`line 4: key "a" already set in map` for each key of an apply body that is written twice: warnings for the client."""
    value = _read_apply_json(raw)
    if value is not None and not _any_repeated(value):
        return []
    node = _compose(_yaml_text(raw))
    found: list[str] = []

    def walk(node: yaml.Node | None) -> None:
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, item in node.value:
                if key.value in seen:
                    found.append(f'line {key.start_mark.line + 1}: key "{key.value}" already set in map')
                if isinstance(key.value, str):
                    seen.add(key.value)
                walk(item)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                walk(item)

    walk(node)
    return found


def _any_repeated(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(getattr(value, "duplicates", ())) or any(_any_repeated(inner) for inner in value.values())
    return isinstance(value, list) and any(_any_repeated(inner) for inner in value)


def refuse_repeated(raw: bytes) -> ApiError | None:
    """What fieldValidation=Strict makes of repeated keys in an apply body."""
    found = repeated_keys(raw)
    if not found:
        return None
    lines = "\n".join("  " + line for line in found)
    return bad_request(
        f"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"
    )
