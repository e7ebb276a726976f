"""ResourceQuota and LimitRange: what a namespace uses, what a write would add, what a container gets by default.

Texts and counting: recorded transcript 25. Kubernetes documentation: "Resource Quotas", "Limit Ranges".
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox import quantity, status
from sandbox.kinds import KINDS, Kind

if TYPE_CHECKING:
    from sandbox.store import Store

Object = dict[str, Any]
Amounts = dict[str, Decimal]

_ONE = Decimal(1)
_PER_CONTAINER = ("limits.cpu", "limits.memory", "requests.cpu", "requests.memory", "cpu", "memory")


def check(store: Store, kind: Kind, new: Object, old: Object | None) -> None:
    """Raise 403 if new (instead of old) would exceed a quota of its namespace."""
    namespace = new["metadata"].get("namespace")
    for quota in store.each("ResourceQuota", namespace):
        hard = (quota.get("spec") or {}).get("hard") or {}
        delta = usage_of(kind, new)
        name = quota["metadata"]["name"]
        if kind.kind == "Pod":
            _require(kind, new, hard, name)
        if old is not None:
            before = usage_of(kind, old)
            delta = {key: value - before.get(key, Decimal(0)) for key, value in delta.items()}
        delta = {key: value for key, value in delta.items() if key in hard and value > 0}
        if not delta:
            continue
        used = usage(store, namespace or "", hard)
        over = sorted(key for key, value in delta.items() if used[key] + value > quantity.parse(hard[key]))
        if over:
            asked = ",".join(f"{key}={text(delta[key], hard[key])}" for key in over)
            standing = ",".join(f"{key}={text(used[key], hard[key])}" for key in over)
            limited = ",".join(f"{key}={hard[key]}" for key in over)
            raise status.forbidden(
                kind.group,
                kind.plural,
                new["metadata"].get("name", ""),
                f"exceeded quota: {name}, requested: {asked}, used: {standing}, limited: {limited}",
            )


def _require(kind: Kind, pod: Object, hard: Object, quota: str) -> None:
    missing: dict[str, list[str]] = {}
    for resource in _PER_CONTAINER:
        if resource not in hard:
            continue
        section, _, name = resource.rpartition(".")
        for container in (pod.get("spec") or {}).get("containers") or []:
            if name not in ((container.get("resources") or {}).get(section or "requests") or {}):
                missing.setdefault(resource, []).append(container.get("name", ""))
    if missing:
        texts = "; ".join(f"{resource} for: {','.join(names)}" for resource, names in sorted(missing.items()))
        raise status.forbidden(
            kind.group,
            kind.plural,
            pod["metadata"].get("name", ""),
            f"failed quota: {quota}: must specify {texts}",
        )


def text(amount: Decimal, like: str) -> str:
    """An amount in the form (binary or decimal) of another quantity."""
    if str(like)[-1:] == "i" and amount % 1024 == 0 and amount:
        return quantity.canonical(f"{int(amount) // 1024}Ki")
    return quantity.canonical(format(amount, "f"))


def usage(store: Store, namespace: str, hard: Object) -> Amounts:
    """What the objects of a namespace add up to, for the resources that hard names."""
    used: Amounts = dict.fromkeys(hard, Decimal(0))
    for kind in KINDS:
        if not kind.namespaced or not kind.persistent or kind.storage or not _counted(kind, hard):
            continue
        for obj in store.each(kind, namespace):
            for key, value in usage_of(kind, obj).items():
                if key in used:
                    used[key] += value
    return used


def _counted(kind: Kind, hard: Object) -> bool:
    if kind.kind in ("Pod", "PersistentVolumeClaim", "Service"):
        return True
    return kind.plural in hard or f"count/{kind.group_resource}" in hard


def usage_of(kind: Kind, obj: Object) -> Amounts:
    """What one object counts for, by resource name."""
    used: Amounts = {f"count/{kind.group_resource}": _ONE}
    if kind.group == "" and kind.plural in (
        "services",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "resourcequotas",
    ):
        used[kind.plural] = _ONE
    spec = obj.get("spec") or {}
    if kind.kind == "Pod":
        if (obj.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return {f"count/{kind.group_resource}": _ONE}
        used["pods"] = _ONE
        used.update(_pod(spec))
    elif kind.kind == "PersistentVolumeClaim":
        storage = quantity.parse(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))
        used["requests.storage"] = storage
        name = spec.get("storageClassName")
        if name:
            used[f"{name}.storageclass.storage.k8s.io/requests.storage"] = storage
            used[f"{name}.storageclass.storage.k8s.io/persistentvolumeclaims"] = _ONE
    elif kind.kind == "Service":
        if spec.get("type") == "LoadBalancer":
            used["services.loadbalancers"] = _ONE
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            used["services.nodeports"] = Decimal(len(spec.get("ports") or []))
    return used


def _pod(spec: Object) -> Amounts:
    """Sum over the containers, or the largest init container where that is more."""
    total: Amounts = {}
    largest: Amounts = {}
    for member, start in (("containers", False), ("initContainers", True)):
        for container in spec.get(member) or []:
            resources = container.get("resources") or {}
            for section in ("requests", "limits"):
                for name, value in (resources.get(section) or {}).items():
                    key, amount = f"{section}.{name}", quantity.parse(value)
                    if start and container.get("restartPolicy") != "Always":
                        largest[key] = max(largest.get(key, Decimal(0)), amount)
                    else:
                        total[key] = total.get(key, Decimal(0)) + amount
    for key, amount in largest.items():
        total[key] = max(total.get(key, Decimal(0)), amount)
    for name in ("cpu", "memory", "ephemeral-storage"):
        if f"requests.{name}" in total:
            total[name] = total[f"requests.{name}"]
    return total


def limit_ranges(store: Store, pod: Object) -> None:
    """Fill in default requests and limits, in place, and refuse what exceeds the maximum (403)."""
    metadata = pod["metadata"]
    notes: list[str] = []
    for found in store.each("LimitRange", metadata.get("namespace")):
        for limit in (found.get("spec") or {}).get("limits") or []:
            if limit.get("type") != "Container":
                continue
            for container in pod["spec"].get("containers") or []:
                notes += _fill(container, limit)
                _bound(pod, container, limit)
    if notes:
        annotations = metadata.setdefault("annotations", {})
        annotations["kubernetes.io/limit-ranger"] = "LimitRanger plugin set: " + "; ".join(notes)


def _fill(container: Object, limit: Object) -> list[str]:
    resources = container.setdefault("resources", {})
    notes: list[str] = []
    for section, source, word in (("requests", "defaultRequest", "request"), ("limits", "default", "limit")):
        given = resources.get(section) or {}
        added = {name: value for name, value in (limit.get(source) or {}).items() if name not in given}
        if added:
            resources[section] = dict(sorted({**given, **added}.items()))
            notes.append(f"{', '.join(sorted(added))} {word} for container {container.get('name', '')}")
    arranged = {name: resources[name] for name in ("limits", "requests", "claims") if name in resources}
    container["resources"] = arranged
    return notes


def _bound(pod: Object, container: Object, limit: Object) -> None:
    resources = container.get("resources") or {}
    for name, most in sorted((limit.get("max") or {}).items()):
        given = (resources.get("limits") or {}).get(name)
        if given is None:
            why = f"maximum {name} usage per Container is {most}.  No limit is specified"
        elif quantity.parse(given) > quantity.parse(most):
            why = f"maximum {name} usage per Container is {most}, but limit is {given}"
        else:
            continue
        raise status.forbidden("", "pods", pod["metadata"].get("name", ""), why)
    for name, least in sorted((limit.get("min") or {}).items()):
        given = (resources.get("requests") or {}).get(name)
        if given is None:
            why = f"minimum {name} usage per Container is {least}.  No request is specified"
        elif quantity.parse(given) < quantity.parse(least):
            why = f"minimum {name} usage per Container is {least}, but request is {given}"
        else:
            continue
        raise status.forbidden("", "pods", pod["metadata"].get("name", ""), why)
