"""From an object as the API server sends it to the dict that is stored and shown.

Kept is what the pages and the health function read, under the names that the Kubernetes API uses, so
that its reference explains every field. What comes in was written by others: every text is cut,
every list bounded, and a value of the wrong type reads as missing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from deployments.gateways.kubernetes import ResourceKind

DEPLOYMENT_LABEL = "pilothouse.io/deployment"
POD = ResourceKind("v1", "Pod")
CLAIM = ResourceKind("v1", "PersistentVolumeClaim")
STATEFUL_SET = ResourceKind("apps/v1", "StatefulSet")
DEPLOYMENT = ResourceKind("apps/v1", "Deployment")
EVENT = ResourceKind("v1", "Event")
LABELLED = (POD, STATEFUL_SET, DEPLOYMENT, CLAIM)
"""The kinds whose objects carry the deployment's label."""

Raw = dict[str, Any]
MAX_TEXT = 1000
MAX_ITEMS = 32


@dataclass(frozen=True)
class Seen:
    """One object, trimmed. ``deployment`` is the uuid in its label, None for events and for labels
    that are none."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    deployment: uuid.UUID | None
    data: Raw = field(repr=False)


def read(kind: ResourceKind, obj: Raw) -> Seen | None:
    """Trim an object. None where it lacks a name or a uid, which no API server leaves out."""
    meta = _map(obj.get("metadata"))
    name, uid = _text(meta.get("name"), 253), _text(meta.get("uid"), 64)
    if not name or not uid:
        return None
    labels = _map(meta.get("labels"))
    data = {
        "labels": {
            key: _text(labels[key], 63)
            for key in ("app.kubernetes.io/component", "app.kubernetes.io/instance")
            if isinstance(labels.get(key), str)
        },
        "createdAt": _text(meta.get("creationTimestamp"), 40),
        "deletedAt": _text(meta.get("deletionTimestamp"), 40),
        **_TRIM[kind](obj),
    }
    if not data["labels"]:
        del data["labels"]
    return Seen(
        kind=kind.kind,
        namespace=_text(meta.get("namespace"), 63),
        name=name,
        uid=uid,
        resource_version=_text(meta.get("resourceVersion"), 64),
        deployment=_uuid(labels.get(DEPLOYMENT_LABEL)) if kind is not EVENT else None,
        data=data,
    )


def event_time(data: Raw) -> str:
    """When an event was last seen: newer clients fill eventTime and series, older ones lastTimestamp."""
    return str(data.get("lastSeen") or data.get("createdAt") or "")


def _pod(obj: Raw) -> Raw:
    spec, status = _map(obj.get("spec")), _map(obj.get("status"))
    return {
        "phase": _text(status.get("phase"), 20),
        "reason": _text(status.get("reason"), 120),
        "message": _text(status.get("message")),
        "node": _text(spec.get("nodeName"), 253),
        "podIP": _text(status.get("podIP"), 64),
        "startTime": _text(status.get("startTime"), 40),
        "conditions": _conditions(status),
        "containers": [_spec_of(item) for item in _maps(spec.get("containers"))],
        "initContainerStatuses": [_container(c) for c in _maps(status.get("initContainerStatuses"))],
        "containerStatuses": [_container(c) for c in _maps(status.get("containerStatuses"))],
        "claims": [
            _text(_map(volume.get("persistentVolumeClaim")).get("claimName"), 253)
            for volume in _maps(spec.get("volumes"))
            if _map(volume.get("persistentVolumeClaim"))
        ],
        "owner": _owner(obj),
        "revision": _text(
            _map(_map(obj.get("metadata")).get("labels")).get("controller-revision-hash")
            or _map(_map(obj.get("metadata")).get("labels")).get("pod-template-hash"),
            80,
        ),
    }


def _spec_of(container: Raw) -> Raw:
    resources = _map(container.get("resources"))
    return {
        "name": _text(container.get("name"), 63),
        "image": _text(container.get("image"), 300),
        "requests": _quantities(resources.get("requests")),
        "limits": _quantities(resources.get("limits")),
    }


def _container(status: Raw) -> Raw:
    return {
        "name": _text(status.get("name"), 63),
        "image": _text(status.get("image"), 300),
        "ready": status.get("ready") is True,
        "started": status.get("started") is True,
        "restartCount": _number(status.get("restartCount")) or 0,
        "state": _state(status.get("state")),
        "lastState": _state(status.get("lastState")),
    }


def _state(value: object) -> Raw:
    """One of waiting, running, terminated with what it says; {} where nothing is known."""
    for name, said in _map(value).items():
        if name in ("waiting", "running", "terminated") and isinstance(said, dict):
            kept: Raw = {
                key: _text(said.get(key), size)
                for key, size in (
                    ("reason", 120),
                    ("message", MAX_TEXT),
                    ("startedAt", 40),
                    ("finishedAt", 40),
                )
                if said.get(key)
            }
            for key in ("exitCode", "signal"):
                if _number(said.get(key)) is not None:
                    kept[key] = _number(said.get(key))
            return {name: kept}
    return {}


def _stateful_set(obj: Raw) -> Raw:
    return _workload(
        obj,
        (
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
        ),
        ("currentRevision", "updateRevision"),
    )


def _deployment(obj: Raw) -> Raw:
    return _workload(
        obj,
        (
            "replicas",
            "readyReplicas",
            "updatedReplicas",
            "availableReplicas",
            "unavailableReplicas",
        ),
        (),
    )


def _workload(obj: Raw, numbers: Iterable[str], words: Iterable[str]) -> Raw:
    meta, spec, status = _map(obj.get("metadata")), _map(obj.get("spec")), _map(obj.get("status"))
    wanted = _number(spec.get("replicas"))
    return {
        "generation": _number(meta.get("generation")) or 0,
        "observedGeneration": _number(status.get("observedGeneration")) or 0,
        # Kubernetes API reference: one replica where the field is left out.
        "specReplicas": 1 if wanted is None else wanted,
        "paused": spec.get("paused") is True,
        **{key: _number(status.get(key)) or 0 for key in numbers},
        **{key: _text(status.get(key), 120) for key in words},
        "conditions": _conditions(status),
        "images": [
            _text(container.get("image"), 300)
            for container in _maps(_map(_map(spec.get("template")).get("spec")).get("containers"))
        ],
    }


def _claim(obj: Raw) -> Raw:
    spec, status = _map(obj.get("spec")), _map(obj.get("status"))
    modes = spec.get("accessModes")
    return {
        "phase": _text(status.get("phase"), 20),
        "requested": _text(_map(_map(spec.get("resources")).get("requests")).get("storage"), 40),
        "capacity": _text(_map(status.get("capacity")).get("storage"), 40),
        "accessModes": [_text(mode, 40) for mode in (modes if isinstance(modes, list) else [])[:MAX_ITEMS]],
        "storageClassName": _text(spec.get("storageClassName"), 253),
        "volumeName": _text(spec.get("volumeName"), 253),
        "conditions": _conditions(status),
    }


def _event(obj: Raw) -> Raw:
    about, series = _map(obj.get("involvedObject")), _map(obj.get("series"))
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    return {
        "type": _text(obj.get("type"), 20),
        "reason": _text(obj.get("reason"), 128),
        "message": _text(obj.get("message")),
        "count": _number(series.get("count")) or _number(obj.get("count")) or 1,
        "firstSeen": _text(obj.get("firstTimestamp") or obj.get("eventTime"), 40),
        "lastSeen": _text(last, 40),
        "source": _text(obj.get("reportingComponent") or _map(obj.get("source")).get("component"), 120),
        "involved": {
            "kind": _text(about.get("kind"), 80),
            "namespace": _text(about.get("namespace"), 63),
            "name": _text(about.get("name"), 253),
            "uid": _text(about.get("uid"), 64),
        },
    }


_TRIM: dict[ResourceKind, Callable[[Raw], Raw]] = {
    POD: _pod,
    STATEFUL_SET: _stateful_set,
    DEPLOYMENT: _deployment,
    CLAIM: _claim,
    EVENT: _event,
}


def _conditions(status: Raw) -> list[Raw]:
    return [
        {
            "type": _text(item.get("type"), 120),
            "status": _text(item.get("status"), 20),
            "reason": _text(item.get("reason"), 200),
            "message": _text(item.get("message")),
            "lastTransitionTime": _text(item.get("lastTransitionTime"), 40),
        }
        for item in _maps(status.get("conditions"))
    ]


def _owner(obj: Raw) -> Raw:
    for owner in _maps(_map(obj.get("metadata")).get("ownerReferences")):
        if owner.get("controller") is True:
            return {"kind": _text(owner.get("kind"), 80), "name": _text(owner.get("name"), 253)}
    return {}


def _quantities(value: object) -> dict[str, str]:
    return {_text(key, 120): _text(amount, 40) for key, amount in list(_map(value).items())[:MAX_ITEMS]}


def _map(value: object) -> Raw:
    return value if isinstance(value, dict) else {}


def _maps(value: object) -> list[Raw]:
    items = value if isinstance(value, list) else []
    return [item for item in items[:MAX_ITEMS] if isinstance(item, dict)]


def _text(value: object, size: int = MAX_TEXT) -> str:
    """A text of at most ``size`` characters. NUL is replaced: PostgreSQL cannot store it."""
    if isinstance(value, bool | dict | list) or value is None:
        return ""
    text = str(value).replace("\x00", "�")
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= size else text[: size - 1] + "…"


def _number(value: object) -> int | None:
    """A whole number that a database's integer can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < 2**31 else None


def _uuid(value: object) -> uuid.UUID | None:
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        return uuid.UUID(value)
    except ValueError:
        return None


def parse_time(text: str) -> datetime | None:
    """A time as Kubernetes writes it (RFC 3339), or None."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
