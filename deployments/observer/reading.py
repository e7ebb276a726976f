"""From an object as the API server sends it to the dict that is stored and shown.

Kept is what the pages and the health function read, under the names that the Kubernetes API uses, so
that its reference explains every field. What comes in was written by others: ``trimming`` bounds it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple

import orjson

from deployments.gateways.kubernetes import ResourceKind
from deployments.observer import reading_inventory as inventory
from deployments.observer.reading_pods import setup
from deployments.observer.trimming import (
    MAX_ITEMS,
    MAX_TEXT,
    Raw,
    conditions,
    mapping,
    mappings,
    number,
    quantities,
    text_of,
)

DEPLOYMENT_LABEL = "pilothouse.io/deployment"
POD = ResourceKind("v1", "Pod")
CLAIM = ResourceKind("v1", "PersistentVolumeClaim")
STATEFUL_SET = ResourceKind("apps/v1", "StatefulSet")
DEPLOYMENT = ResourceKind("apps/v1", "Deployment")
EVENT = ResourceKind("v1", "Event")
NODE = ResourceKind("v1", "Node")
STORAGE_CLASS = ResourceKind("storage.k8s.io/v1", "StorageClass")
INGRESS_CLASS = ResourceKind("networking.k8s.io/v1", "IngressClass")
INGRESS = ResourceKind("networking.k8s.io/v1", "Ingress")
LABELLED = (POD, STATEFUL_SET, DEPLOYMENT, CLAIM)
"""The kinds whose objects carry the deployment's label."""
INVENTORY = (NODE, STORAGE_CLASS, INGRESS_CLASS, INGRESS)
"""The kinds that tell what a cluster has; seen only where they may be listed cluster-wide."""


@dataclass(frozen=True)
class Seen:
    """One object, trimmed. ``deployment`` is the uuid in its label, None for events, for what tells
    about the cluster, and for labels that are none."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    deployment: uuid.UUID | None
    data: Raw = field(repr=False)


class Kept(NamedTuple):
    """A :class:`Seen` as it waits to be written: ``text`` is its data in JSON, a sixth of the memory.
    ``about`` is what an event is about; ``exporter`` is True for a pod that exports metrics."""

    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str
    deployment: uuid.UUID | None
    text: bytes = b"{}"
    about: Raw | None = None
    exporter: bool = False


def keep(seen: Seen) -> Kept:
    """What waits of a trimmed object."""
    return Kept(
        seen.kind,
        seen.namespace,
        seen.name,
        seen.uid,
        seen.resource_version,
        seen.deployment,
        # A copy: what orjson returns holds on to the buffer that it grew while writing, twice as long or more.
        bytes(memoryview(orjson.dumps(seen.data))),
        seen.data.get("involved"),
        "exporter" in seen.data,
    )


def read(kind: ResourceKind, obj: Raw) -> Seen | None:
    """Trim an object. None where it lacks a name or a uid, which no API server leaves out."""
    meta = mapping(obj.get("metadata"))
    namespace, name, uid = identity(obj)
    if not name or not uid:
        return None
    labels = mapping(meta.get("labels"))
    data = {
        "labels": {
            key: text_of(labels[key], 63)
            for key in ("app.kubernetes.io/component", "app.kubernetes.io/instance")
            if isinstance(labels.get(key), str)
        },
        "createdAt": text_of(meta.get("creationTimestamp"), 40),
        "deletedAt": text_of(meta.get("deletionTimestamp"), 40),
        **_TRIM[kind](obj),
    }
    if not data["labels"]:
        del data["labels"]
    return Seen(
        kind=kind.kind,
        namespace=namespace,
        name=name,
        uid=uid,
        resource_version=text_of(meta.get("resourceVersion"), 64),
        deployment=deployment_of(labels) if kind in LABELLED else None,
        data=data,
    )


def identity(obj: Raw) -> tuple[str, str, str]:
    """Namespace, name and uid, as they are kept."""
    meta = mapping(obj.get("metadata"))
    return text_of(meta.get("namespace"), 63), text_of(meta.get("name"), 253), text_of(meta.get("uid"), 64)


def deployment_of(labels: Raw) -> uuid.UUID | None:
    """The deployment that an object says it belongs to."""
    value = labels.get(DEPLOYMENT_LABEL)
    return _uuid(value) if isinstance(value, str) and len(value) <= 40 else None


def event_time(data: Raw) -> str:
    """When an event was last seen: newer clients fill eventTime and series, older ones lastTimestamp."""
    return str(data.get("lastSeen") or data.get("createdAt") or "")


def _pod(obj: Raw) -> Raw:
    spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
    labels = mapping(mapping(obj.get("metadata")).get("labels"))
    exporter = inventory.exporter_of(labels)
    return {
        "phase": text_of(status.get("phase"), 20),
        "reason": text_of(status.get("reason"), 120),
        "message": text_of(status.get("message")),
        "node": text_of(spec.get("nodeName"), 253),
        "podIP": text_of(status.get("podIP"), 64),
        "startTime": text_of(status.get("startTime"), 40),
        "conditions": conditions(status),
        "containers": [_spec_of(item) for item in mappings(spec.get("containers"))],
        "initContainerStatuses": [_container(c) for c in mappings(status.get("initContainerStatuses"))],
        "containerStatuses": [_container(c) for c in mappings(status.get("containerStatuses"))],
        "claims": [
            text_of(mapping(volume.get("persistentVolumeClaim")).get("claimName"), 253)
            for volume in mappings(spec.get("volumes"))
            if mapping(volume.get("persistentVolumeClaim"))
        ],
        "owner": _owner(obj),
        "revision": text_of(
            labels.get("controller-revision-hash") or labels.get("pod-template-hash"),
            80,
        ),
        **({"exporter": exporter, "ports": inventory.ports(obj)} if exporter else {}),
        **(setup(obj) if DEPLOYMENT_LABEL in labels else {}),
    }


def _spec_of(container: Raw) -> Raw:
    resources = mapping(container.get("resources"))
    return {
        "name": text_of(container.get("name"), 63),
        "image": text_of(container.get("image"), 300),
        "requests": quantities(resources.get("requests")),
        "limits": quantities(resources.get("limits")),
    }


def _container(status: Raw) -> Raw:
    return {
        "name": text_of(status.get("name"), 63),
        "image": text_of(status.get("image"), 300),
        "ready": status.get("ready") is True,
        "started": status.get("started") is True,
        "restartCount": number(status.get("restartCount")) or 0,
        "state": _state(status.get("state")),
        "lastState": _state(status.get("lastState")),
    }


def _state(value: object) -> Raw:
    """One of waiting, running, terminated with what it says; {} where nothing is known."""
    for name, said in mapping(value).items():
        if name in ("waiting", "running", "terminated") and isinstance(said, dict):
            kept: Raw = {
                key: text_of(said.get(key), size)
                for key, size in (
                    ("reason", 120),
                    ("message", MAX_TEXT),
                    ("startedAt", 40),
                    ("finishedAt", 40),
                )
                if said.get(key)
            }
            for key in ("exitCode", "signal"):
                if number(said.get(key)) is not None:
                    kept[key] = number(said.get(key))
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
    meta, spec, status = mapping(obj.get("metadata")), mapping(obj.get("spec")), mapping(obj.get("status"))
    wanted = number(spec.get("replicas"))
    return {
        "generation": number(meta.get("generation")) or 0,
        "observedGeneration": number(status.get("observedGeneration")) or 0,
        # Kubernetes API reference: one replica where the field is left out.
        "specReplicas": 1 if wanted is None else wanted,
        "paused": spec.get("paused") is True,
        **{key: number(status.get(key)) or 0 for key in numbers},
        **{key: text_of(status.get(key), 120) for key in words},
        "conditions": conditions(status),
        "images": [
            text_of(container.get("image"), 300)
            for container in mappings(mapping(mapping(spec.get("template")).get("spec")).get("containers"))
        ],
    }


def _claim(obj: Raw) -> Raw:
    spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
    modes = spec.get("accessModes")
    return {
        "phase": text_of(status.get("phase"), 20),
        "requested": text_of(mapping(mapping(spec.get("resources")).get("requests")).get("storage"), 40),
        "capacity": text_of(mapping(status.get("capacity")).get("storage"), 40),
        "accessModes": [text_of(mode, 40) for mode in (modes if isinstance(modes, list) else [])[:MAX_ITEMS]],
        "storageClassName": text_of(spec.get("storageClassName"), 253),
        "volumeName": text_of(spec.get("volumeName"), 253),
        "conditions": conditions(status),
    }


def _event(obj: Raw) -> Raw:
    about, series = mapping(obj.get("involvedObject")), mapping(obj.get("series"))
    last = series.get("lastObservedTime") or obj.get("lastTimestamp") or obj.get("eventTime")
    return {
        "type": text_of(obj.get("type"), 20),
        "reason": text_of(obj.get("reason"), 128),
        "message": text_of(obj.get("message")),
        "count": number(series.get("count")) or number(obj.get("count")) or 1,
        "firstSeen": text_of(obj.get("firstTimestamp") or obj.get("eventTime"), 40),
        "lastSeen": text_of(last, 40),
        "source": text_of(obj.get("reportingComponent") or mapping(obj.get("source")).get("component"), 120),
        "involved": {
            "kind": text_of(about.get("kind"), 80),
            "namespace": text_of(about.get("namespace"), 63),
            "name": text_of(about.get("name"), 253),
            "uid": text_of(about.get("uid"), 64),
        },
    }


_TRIM: dict[ResourceKind, Callable[[Raw], Raw]] = {
    POD: _pod,
    STATEFUL_SET: _stateful_set,
    DEPLOYMENT: _deployment,
    CLAIM: _claim,
    EVENT: _event,
    NODE: inventory.node,
    STORAGE_CLASS: inventory.storage_class,
    INGRESS_CLASS: inventory.ingress_class,
    INGRESS: inventory.ingress,
}


def _owner(obj: Raw) -> Raw:
    for owner in mappings(mapping(obj.get("metadata")).get("ownerReferences")):
        if owner.get("controller") is True:
            return {"kind": text_of(owner.get("kind"), 80), "name": text_of(owner.get("name"), 253)}
    return {}


@lru_cache(maxsize=4096)
def _uuid(value: str) -> uuid.UUID | None:
    """Asked twice of each object, and the objects of a stack come together."""
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
