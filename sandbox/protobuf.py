"""Just enough protobuf for what kubectl posts in it although it reads JSON.

`kubectl auth can-i|whoami`, `create token|namespace|configmap|secret|serviceaccount`; anything else in protobuf is refused
with 415. The envelope is `k8s\\0` and a runtime.Unknown (k8s.io/apimachinery/pkg/runtime/generated.proto); field numbers
are those of generated.proto of k8s.io/api core, authorization and authentication v1 and of apimachinery meta/v1.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from sandbox import status

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"

_RESOURCE = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH = {1: "path", 2: "verb"}
_CORE = ("Namespace", "ConfigMap", "Secret", "ServiceAccount")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _message(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(field number, bytes or integer) one after another; other wire types do not occur here."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        if form == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError("truncated field")
            yield number, data[at : at + length]
            at += length
        elif form == 0:
            value, at = _varint(data, at)
            yield number, value
        else:
            raise IndexError("unknown wire type")


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message, the last of each number."""
    return {number: value for number, value in _message(data) if isinstance(value, bytes)}


def _map(data: bytes, number: int, binary: bool = False) -> Object:
    """A map field: repeated entries of key 1 and value 2."""
    found: Object = {}
    for field, value in _message(data):
        if field == number and isinstance(value, bytes):
            entry = _fields(value)
            raw = entry.get(2, b"")
            found[entry.get(1, b"").decode()] = base64.b64encode(raw).decode() if binary else raw.decode()
    return found


def _flag(data: bytes, number: int) -> bool:
    return any(field == number and value == 1 for field, value in _message(data))


def _metadata(data: bytes) -> Object:
    metadata = _texts(data, {1: "name", 2: "generateName", 3: "namespace"})
    for number, name in ((11, "labels"), (12, "annotations")):
        values = _map(data, number)
        if values:
            metadata[name] = values
    return metadata


def _texts(data: bytes, names: dict[int, str]) -> Object:
    return {
        names[number]: value.decode() for number, value in _fields(data).items() if number in names and value
    }


def _envelope(raw: bytes) -> tuple[str, bytes]:
    """(kind, the object's own message)."""
    if not raw.startswith(_MAGIC):
        raise IndexError("no envelope")
    unknown = _fields(raw[len(_MAGIC) :])
    return _fields(unknown.get(1, b"")).get(2, b"").decode(), unknown.get(2, b"")


def decode_review(raw: bytes) -> Object:
    """The spec of a self-subject review or token request. Raises 400 for what does not decode."""
    try:
        kind, body = _envelope(raw)
        review = _fields(body)
        spec: Object = {}
        if kind == "SelfSubjectAccessReview":
            parts = _fields(review.get(2, b""))
            if 1 in parts:
                spec["resourceAttributes"] = _texts(parts[1], _RESOURCE)
            if 2 in parts:
                spec["nonResourceAttributes"] = _texts(parts[2], _PATH)
        elif kind == "SelfSubjectRulesReview":
            spec = _texts(review.get(2, b""), {1: "namespace"})
        elif kind == "TokenRequest":
            for number, value in _message(review.get(2, b"")):
                if number == 4 and isinstance(value, int):
                    spec["expirationSeconds"] = value
        return {"kind": kind, "spec": spec}
    except (IndexError, UnicodeDecodeError) as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from None


def decode_object(raw: bytes) -> Object | None:
    """An object of the few core kinds, as its JSON; None for any other kind. Raises 400 for what does not decode."""
    try:
        kind, body = _envelope(raw)
        if kind not in _CORE:
            return None
        parts = _fields(body)
        obj: Object = {"kind": kind, "apiVersion": "v1", "metadata": _metadata(parts.get(1, b""))}
        if kind == "ConfigMap":
            obj |= {"data": _map(body, 2), "binaryData": _map(body, 3, binary=True)}
            if _flag(body, 4):
                obj["immutable"] = True
        elif kind == "Secret":
            obj |= {"data": _map(body, 2, binary=True), "stringData": _map(body, 4)}
            if parts.get(3):
                obj["type"] = parts[3].decode()
            if _flag(body, 5):
                obj["immutable"] = True
        return {name: value for name, value in obj.items() if value != {} or name == "metadata"}
    except (IndexError, UnicodeDecodeError) as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from None
