"""The forms in which an object or list can be asked for: plain, Table, PartialObjectMetadata; and the two event groups.

Recorded transcripts 02 and 06 (content negotiation), 10 (events of two groups), 11 (tables and metadata).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sandbox import status
from sandbox.kinds import Kind

Object = dict[str, Any]

_REPRESENTATIONS = (
    "application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, "
    "application/vnd.kubernetes.protobuf;stream=watch"
)
ACCEPTED = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


@dataclass(frozen=True, slots=True)
class Media:
    """What to answer with. shape: "", Table, PartialObjectMetadata or PartialObjectMetadataList; version: v1, v1beta1."""

    yaml: bool = False
    shape: str = ""
    version: str = "v1"


_SHAPES = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


def parse_accept(header: str) -> list[tuple[str, dict[str, str]]]:
    """(media type, parameters) in the order given."""
    entries: list[tuple[str, dict[str, str]]] = []
    for part in header.split(","):
        media, *parameters = (piece.strip() for piece in part.split(";"))
        pairs = (piece.partition("=") for piece in parameters)
        entries.append((media.lower(), {name.strip(): value.strip() for name, _, value in pairs}))
    return entries


def negotiate(header: str) -> Media:
    """The first entry that can be served. Raises 406. Protobuf is never chosen: this server speaks JSON and YAML."""
    known = False
    for media, parameters in parse_accept(header or "*/*"):
        if media not in ("application/json", "application/yaml", "*/*", "application/*"):
            known = known or media == "application/vnd.kubernetes.protobuf"
            continue
        known = True
        shape = parameters.get("as", "")
        if shape:
            if shape not in _SHAPES or parameters.get("g") != "meta.k8s.io":
                continue
            if parameters.get("v") not in ("v1", "v1beta1"):
                continue
        return Media(media == "application/yaml", shape, parameters.get("v", "v1"))
    if known:
        raise not_acceptable(ACCEPTED)
    raise status.ApiError(
        406, "NotAcceptable", f"406: Not Acceptable\n\nAvailable representations: {_REPRESENTATIONS}", {}
    )


def not_acceptable(accepted: str) -> status.ApiError:
    return status.ApiError(406, "NotAcceptable", f"only the following media types are accepted: {accepted}")


def partial(obj: Mapping[str, Any], version: str = "v1") -> Object:
    """PartialObjectMetadata of an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": obj.get("metadata") or {},
    }


# ---- events: stored as core/v1, also shown as events.k8s.io/v1

_RENAMED = (
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
)
_TO_NEW = dict(_RENAMED)
_TO_CORE = {new: old for old, new in _RENAMED}
_NEW_ORDER = (
    "eventTime",
    "series",
    "reportingController",
    "reportingInstance",
    "action",
    "reason",
    "regarding",
    "related",
    "note",
    "type",
    "deprecatedSource",
    "deprecatedFirstTimestamp",
    "deprecatedLastTimestamp",
    "deprecatedCount",
)
_CORE_ORDER = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "series",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
)


def shown(kind: Kind, obj: Object) -> Object:
    """A stored object as this kind's group shows it."""
    if kind.group != "events.k8s.io":
        return obj
    named = {_TO_NEW.get(name, name): value for name, value in obj.items()}
    body = {name: named[name] for name in _NEW_ORDER if name in named}
    body.setdefault("regarding", {})
    return {"kind": "Event", "apiVersion": kind.api_version, "metadata": obj["metadata"], **body}


def stored(kind: Kind, obj: Object) -> Object:
    """An object of this kind's group as it is stored."""
    if kind.group != "events.k8s.io":
        return obj
    named = {_TO_CORE.get(name, name): value for name, value in obj.items()}
    body = {name: named[name] for name in _CORE_ORDER if name in named}
    body.setdefault("involvedObject", {})
    body.setdefault("source", {})
    for name in ("firstTimestamp", "lastTimestamp"):
        body.setdefault(name, None)
    return {"kind": "Event", "apiVersion": "v1", "metadata": obj.get("metadata") or {}, **body}
