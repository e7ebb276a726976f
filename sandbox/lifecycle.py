"""What the server itself does to an object on its way in, kind by kind, before validation: metadata that only the
server writes, the status that a new object begins with, the separation of spec and status, generation, deletion marks.

Recorded transcripts 14 (system fields), 17 (status isolation), 18 (deletion), 19 (defaulting).
"""

from __future__ import annotations

import base64
from typing import Any

from sandbox.defaults import has_generation
from sandbox.encoding import clone
from sandbox.kinds import Kind

Object = dict[str, Any]

# DELETE answers with the object and not with a Status for these (recorded transcript 18).
ANSWERED_WITH_OBJECT = frozenset(
    [
        "Pod",
        "Service",
        "ServiceAccount",
        "PersistentVolumeClaim",
        "PersistentVolume",
        "StorageClass",
        "ResourceQuota",
        "Namespace",
    ]
)
UNDELETABLE_NAMESPACES = frozenset(("default", "kube-system", "kube-public"))

_METADATA_ORDER = (
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
)


def ordered(kind: Kind, obj: Object) -> Object:
    """kind, apiVersion and metadata first, metadata in the server's order, empty members of metadata dropped."""
    metadata = obj.get("metadata") or {}
    arranged: Object = {"kind": kind.kind, "apiVersion": kind.api_version}
    arranged["metadata"] = {
        name: metadata[name] for name in _METADATA_ORDER if metadata.get(name) not in (None, "", [], {})
    }
    if metadata.get("deletionGracePeriodSeconds") == 0:
        arranged["metadata"]["deletionGracePeriodSeconds"] = 0
        arranged["metadata"] = {
            name: arranged["metadata"][name] for name in _METADATA_ORDER if name in arranged["metadata"]
        }
    for name, value in obj.items():
        if name not in ("kind", "apiVersion", "metadata"):
            arranged[name] = value
    return arranged


def begin(kind: Kind, obj: Object) -> None:
    """Drop from a new object, in place, what only the server writes; defaulting and first status follow."""
    metadata = obj["metadata"]
    for name in ("selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
        metadata.pop(name, None)
    if kind.kind == "Namespace":
        metadata["labels"] = {
            **(metadata.get("labels") or {}),
            "kubernetes.io/metadata.name": metadata.get("name", ""),
        }
    elif kind.kind == "Secret":
        _take_string_data(obj)


def carry_over(kind: Kind, new: Object, old: Object, subresource: str) -> None:
    """Prepare an update, in place: keep what this path may not change, count the generation."""
    metadata, before = new["metadata"], old["metadata"]
    for name in (
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generation",
    ):
        if name == "generation" and not has_generation(kind):
            continue
        if name in before:
            metadata[name] = before[name]
        else:
            metadata.pop(name, None)
    if metadata.get("managedFields") is None and "managedFields" in before:
        metadata["managedFields"] = clone(before["managedFields"])
    if subresource == "status":
        _keep_all_but_status(kind, new, old)
    elif subresource == "finalize":
        spec = new.get("spec") or {}
        _keep_all_but_status(kind, new, old)
        new["status"] = old.get("status")
        new["spec"] = {**(old.get("spec") or {}), "finalizers": spec.get("finalizers") or []}
        if not new["spec"]["finalizers"]:
            del new["spec"]["finalizers"]
    else:
        if kind.has_status:
            if "status" in old:
                new["status"] = old["status"]
            else:
                new.pop("status", None)
        if kind.kind == "Secret":
            _take_string_data(new)
        elif kind.kind == "Namespace":
            new["spec"] = old.get("spec", {})
            metadata["labels"] = {
                **(metadata.get("labels") or {}),
                "kubernetes.io/metadata.name": metadata["name"],
            }
        elif kind.kind == "Service":
            _keep_addresses(new, old)
        if has_generation(kind) and _counts(kind, new, old):
            metadata["generation"] = int(before.get("generation", 0)) + 1


def _keep_all_but_status(kind: Kind, new: Object, old: Object) -> None:
    metadata = dict(old["metadata"])
    for name in ("managedFields", "resourceVersion"):
        if name in new["metadata"]:
            metadata[name] = new["metadata"][name]
    # Labels and annotations of nodes and pods may be written together with their status.
    if kind.kind in ("Node", "Pod"):
        for name in ("labels", "annotations"):
            if new["metadata"].get(name) is not None:
                metadata[name] = new["metadata"][name]
    # The revision of a rollout is noted together with its condition (recorded transcript 20).
    if kind.kind == "Deployment" and new["metadata"].get("annotations") is not None:
        metadata["annotations"] = new["metadata"]["annotations"]
    if "finalizers" in new["metadata"] and kind.kind in ("PersistentVolumeClaim", "PersistentVolume"):
        metadata["finalizers"] = new["metadata"]["finalizers"]
    new["metadata"] = metadata
    for name in [name for name in new if name not in ("kind", "apiVersion", "metadata", "status")]:
        del new[name]
    state = new.pop("status", None)
    for name, value in old.items():
        if name not in ("kind", "apiVersion", "metadata", "status"):
            new[name] = value
    if state is not None:
        new["status"] = state


def _counts(kind: Kind, new: Object, old: Object) -> bool:
    ignored = ("metadata", "status", "kind", "apiVersion")
    if {k: v for k, v in new.items() if k not in ignored} != {
        k: v for k, v in old.items() if k not in ignored
    }:
        return True
    if kind.kind == "Deployment":
        return (new["metadata"].get("annotations") or {}) != (old["metadata"].get("annotations") or {})
    if kind.kind == "EndpointSlice":
        return (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {})
    return False


def _take_string_data(secret: Object) -> None:
    text = secret.pop("stringData", None)
    if text:
        data = dict(secret.get("data") or {})
        for name, value in text.items():
            data[name] = base64.b64encode(str(value).encode()).decode()
        secret["data"] = dict(sorted(data.items()))
        # The server writes data before type.
        if "type" in secret:
            secret["type"] = secret.pop("type")


def _keep_addresses(new: Object, old: Object) -> None:
    spec, before = new.setdefault("spec", {}), old.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return
    for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if not spec.get(name) and before.get(name):
            spec[name] = before[name]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        known = {
            (port.get("port"), port.get("protocol", "TCP")): port.get("nodePort")
            for port in before.get("ports") or []
        }
        for port in spec.get("ports") or []:
            number = known.get((port.get("port"), port.get("protocol", "TCP")))
            if not port.get("nodePort") and number:
                port["nodePort"] = number
