"""Just enough protobuf for the reviews that kubectl posts in it (`kubectl auth can-i`, `kubectl auth whoami`).

The envelope is `k8s\\0` and a runtime.Unknown (k8s.io/apimachinery/pkg/runtime/generated.proto); field numbers are those
of k8s.io/api authorization/v1 and authentication/v1 generated.proto. Everything else in protobuf is refused with 415.
"""

from __future__ import annotations

from typing import Any

from sandbox import status

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\0"

_RESOURCE = {1: "namespace", 2: "verb", 3: "group", 4: "version", 5: "resource", 6: "subresource", 7: "name"}
_PATH = {1: "path", 2: "verb"}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> dict[int, bytes]:
    """The length-delimited fields of a message; numbers are skipped."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, form = key >> 3, key & 7
        if form == 2:
            length, at = _varint(data, at)
            if at + length > len(data):
                raise IndexError("truncated field")
            found[number] = data[at : at + length]
            at += length
        elif form == 0:
            _, at = _varint(data, at)
        elif form in (1, 5):
            at += 8 if form == 1 else 4
        else:
            raise IndexError("unknown wire type")
    return found


def _texts(data: bytes, names: dict[int, str]) -> Object:
    return {names[number]: value.decode() for number, value in _fields(data).items() if number in names and value}


def decode_review(raw: bytes) -> Object:
    """The spec of a self-subject review. Raises 400 for what does not decode."""
    try:
        if not raw.startswith(_MAGIC):
            raise IndexError("no envelope")
        unknown = _fields(raw[len(_MAGIC) :])
        kind = _fields(unknown.get(1, b"")).get(2, b"").decode()
        review = _fields(unknown.get(2, b""))
        spec: Object = {}
        if kind == "SelfSubjectAccessReview":
            parts = _fields(review.get(2, b""))
            if 1 in parts:
                spec["resourceAttributes"] = _texts(parts[1], _RESOURCE)
            if 2 in parts:
                spec["nonResourceAttributes"] = _texts(parts[2], _PATH)
        elif kind == "SelfSubjectRulesReview":
            spec = _texts(review.get(2, b""), {1: "namespace"})
        return {"kind": kind, "spec": spec}
    except (IndexError, UnicodeDecodeError) as error:
        raise status.bad_request(f"the object provided is unrecognized: {error}") from None
