"""Small questions that controllers, scheduler and nodes ask about objects, and small changes that they make."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import orjson

from sandbox import quantity
from sandbox.encoding import clone

Object = dict[str, Any]
SAFE_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
ZERO = Decimal(0)


def name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Object) -> str:
    return str(obj["metadata"]["uid"])


def deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def spec_of(obj: Object) -> Object:
    found: Object = obj.get("spec") or {}
    return found


def status_of(obj: Object) -> Object:
    found: Object = obj.get("status") or {}
    return found


def phase(pod: Object) -> str:
    return str(status_of(pod).get("phase", ""))


def finished(pod: Object) -> bool:
    return phase(pod) in ("Succeeded", "Failed")


# ---- owners


def controller_of(obj: Object) -> Object | None:
    """The owner reference that manages this object."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def controlled_by(obj: Object, owner: Object) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == uid_of(owner)


def owner_reference(owner: Object, controller: bool = True) -> Object:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": controller,
        "blockOwnerDeletion": True,
    }


# ---- conditions


def condition(obj: Object, type_: str) -> Object | None:
    for found in status_of(obj).get("conditions") or []:
        if found.get("type") == type_:
            result: Object = found
            return result
    return None


def is_true(obj: Object, type_: str) -> bool:
    found = condition(obj, type_)
    return found is not None and found.get("status") == "True"


def is_ready(pod: Object) -> bool:
    return phase(pod) == "Running" and is_true(pod, "Ready")


# ---- hashes


def template_hash(value: Any) -> str:
    """Ten letters or fewer for a pod template: FNV-1a over its JSON, in the safe alphabet of generated names."""
    digest = 0x811C9DC5
    for byte in orjson.dumps(value, option=orjson.OPT_SORT_KEYS):
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return "".join(SAFE_LETTERS[ord(letter) % len(SAFE_LETTERS)] for letter in str(digest))


# ---- resources


def _add(total: dict[str, Decimal], more: Iterable[tuple[str, Any]]) -> None:
    for name, value in more:
        total[name] = total.get(name, ZERO) + quantity.parse(value)


def _greatest(total: dict[str, Decimal], other: dict[str, Decimal]) -> None:
    for name, value in other.items():
        total[name] = max(total.get(name, ZERO), value)


def pod_requests(pod: Object) -> dict[str, Decimal]:
    """What the scheduler counts for a pod (Kubernetes component-helpers resource/helpers.go, KEP-753 for sidecars)."""
    spec = spec_of(pod)
    total: dict[str, Decimal] = {}
    sidecars: dict[str, Decimal] = {}
    starting: dict[str, Decimal] = {}
    for container in spec.get("initContainers") or []:
        requests = ((container.get("resources") or {}).get("requests") or {}).items()
        if container.get("restartPolicy") == "Always":
            _add(sidecars, requests)
            _greatest(starting, sidecars)
        else:
            use = dict(sidecars)
            _add(use, requests)
            _greatest(starting, use)
    for container in spec.get("containers") or []:
        _add(total, ((container.get("resources") or {}).get("requests") or {}).items())
    for name, value in sidecars.items():
        total[name] = total.get(name, ZERO) + value
    _greatest(total, starting)
    for name, value in ((spec.get("resources") or {}).get("requests") or {}).items():
        total[name] = quantity.parse(value)
    _add(total, (spec.get("overhead") or {}).items())
    return total


def container_limit(container: Object, resource: str) -> Decimal | None:
    value = ((container.get("resources") or {}).get("limits") or {}).get(resource)
    return quantity.parse(value) if value is not None else None


def percent(value: Any, of: int, up: bool) -> int:
    """An int-or-percentage field as a number."""
    if isinstance(value, str) and value.endswith("%"):
        part = int(value[:-1]) * of
        return -(-part // 100) if up else part // 100
    return int(value or 0)


def pod_from_template(template: Object, namespace: str, owner: Object) -> Object:
    """A pod as a controller makes it; the caller sets name or generateName."""
    metadata = clone(template.get("metadata") or {})
    made: Object = {"namespace": namespace, "ownerReferences": [owner_reference(owner)]}
    for member in ("labels", "annotations", "finalizers"):
        if metadata.get(member):
            made[member] = metadata[member]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": clone(template.get("spec") or {})}


def template_keys(obj: Object) -> Object:
    """A pod template without the label that its replica set adds."""
    template: Object = clone(spec_of(obj).get("template") or {})
    labels = (template.get("metadata") or {}).get("labels")
    if labels:
        labels.pop("pod-template-hash", None)
    return template
