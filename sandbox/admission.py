"""Admission: what the server adds to or refuses of a write because of other objects.

Namespace existence and termination, service account, priority, tolerations, default storage class, LimitRange,
ResourceQuota, addresses of services. Texts: recorded transcripts 06, 13, 18, 19 and 25.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sandbox import defaults, quantity, quotas, status
from sandbox.kinds import Kind
from sandbox.status import Cause

if TYPE_CHECKING:
    from sandbox.store import Store

Object = dict[str, Any]

_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_NOT_READY = "node.kubernetes.io/not-ready"


def check_namespace(store: Store, kind: Kind, namespace: str, name: str) -> None:
    """404 for an absent namespace, 403 for one that is going away."""
    found = store.get("Namespace", None, namespace)
    if found is None:
        raise status.ApiError(
            404,
            "NotFound",
            f"namespaces {status.quote(namespace)} not found",
            status.details(namespace, "", "namespaces"),
        )
    if found["metadata"].get("deletionTimestamp"):
        raise status.forbidden(
            kind.group,
            kind.plural,
            name,
            f"unable to create new content in namespace {namespace} because it is being terminated",
            [
                Cause(
                    "NamespaceTerminating", f"namespace {namespace} is being terminated", "metadata.namespace"
                )
            ],
        )


def mutate_create(store: Store, kind: Kind, obj: Object) -> None:
    """Fill in what depends on other objects, in place."""
    if kind.kind == "Pod":
        _service_account(store, obj)
        _priority(store, obj)
        quotas.limit_ranges(store, obj)
        obj["status"]["qosClass"] = defaults.qos_class(obj["spec"])
    elif kind.kind == "PersistentVolumeClaim":
        _storage_class(store, obj)
    elif kind.kind == "PersistentVolume":
        obj["status"]["lastPhaseTransitionTime"] = store.now()
    elif kind.kind == "Service":
        _addresses(store, obj)
    elif kind.kind == "Node" and not any(
        condition.get("type") == "Ready" and condition.get("status") == "True"
        for condition in (obj.get("status") or {}).get("conditions") or []
    ):
        taints = obj.setdefault("spec", {}).setdefault("taints", [])
        if not any(taint.get("key") == _NOT_READY for taint in taints):
            taints.append({"key": _NOT_READY, "effect": "NoSchedule"})


def mutate_update(store: Store, kind: Kind, new: Object, old: Object) -> None:
    """A service that had no address gets one; a changed address is refused by validation."""
    if kind.kind == "Service" and (old.get("spec") or {}).get("type") == "ExternalName":
        _addresses(store, new)
    elif kind.kind == "Service":
        _node_ports(store, new)


def check_create(store: Store, kind: Kind, obj: Object) -> None:
    """403 when a quota would be exceeded."""
    if kind.namespaced:
        quotas.check(store, kind, obj, None)


def check_update(store: Store, kind: Kind, new: Object, old: Object) -> None:
    """403 when a quota would be exceeded, or a claim grown whose class does not allow it."""
    if kind.kind == "PersistentVolumeClaim":
        _check_resize(store, new, old)
    if kind.kind in ("PersistentVolumeClaim", "Service"):
        quotas.check(store, kind, new, old)


def _check_resize(store: Store, new: Object, old: Object) -> None:
    def size(claim: Object) -> Decimal:
        requests = (claim["spec"].get("resources") or {}).get("requests") or {}
        return quantity.parse(requests.get("storage", "0"))

    if size(new) <= size(old):
        return
    found = store.get("StorageClass", None, new["spec"].get("storageClassName") or "")
    if found is None or not found.get("allowVolumeExpansion"):
        raise status.forbidden(
            "",
            "persistentvolumeclaims",
            new["metadata"]["name"],
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize",
        )


def check_deleting(new: Object, old: Object) -> list[Cause]:
    """An object that is being deleted gets no new finalizers."""
    if not old["metadata"].get("deletionTimestamp"):
        return []
    before = old["metadata"].get("finalizers") or []
    added = [name for name in new["metadata"].get("finalizers") or [] if name not in before]
    if not added:
        return []
    names = ", ".join(status.quote(name) for name in added)
    cause = Cause(
        "FieldValueForbidden",
        "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
        f"[]string{{{names}}}",
        "metadata.finalizers",
    )
    # Said twice by the server, which checks the metadata of an update in two places.
    return [cause, cause]


def _service_account(store: Store, pod: Object) -> None:
    spec, metadata = pod.setdefault("spec", {}), pod["metadata"]
    account = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    found = store.get("ServiceAccount", metadata.get("namespace"), account)
    if found is None:
        raise status.forbidden(
            "",
            "pods",
            metadata.get("name", ""),
            f"error looking up service account {metadata.get('namespace')}/{account}: "
            f"serviceaccount {status.quote(account)} not found",
        )
    spec["serviceAccountName"] = spec["serviceAccount"] = account
    if not spec.get("imagePullSecrets") and found.get("imagePullSecrets"):
        spec["imagePullSecrets"] = found["imagePullSecrets"]
    mount = spec.get("automountServiceAccountToken")
    if mount is None:
        mount = found.get("automountServiceAccountToken")
    if mount is False:
        return
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    without = [
        container
        for container in containers
        if not any(entry.get("mountPath") == _TOKEN_PATH for entry in container.get("volumeMounts") or [])
    ]
    if not without:
        return
    volume, mount = defaults.service_account_volume(store.random_name(""))
    spec.setdefault("volumes", []).append(volume)
    for container in without:
        container.setdefault("volumeMounts", []).append(mount)


def _priority(store: Store, pod: Object) -> None:
    spec = pod["spec"]
    name = spec.get("priorityClassName")
    found: Object | None = None
    if name:
        found = store.get("PriorityClass", None, name)
        if found is None:
            raise status.forbidden(
                "", "pods", pod["metadata"].get("name", ""), f"no PriorityClass with name {name} was found"
            )
    else:
        found = next((entry for entry in store.each("PriorityClass") if entry.get("globalDefault")), None)
        if found:
            spec["priorityClassName"] = found["metadata"]["name"]
    spec["priority"] = int(found["value"]) if found else 0
    spec["preemptionPolicy"] = (found or {}).get("preemptionPolicy", "PreemptLowerPriority")


def _storage_class(store: Store, claim: Object) -> None:
    spec = claim.setdefault("spec", {})
    if spec.get("storageClassName") is not None:
        return
    for found in store.each("StorageClass"):
        annotations = found["metadata"].get("annotations") or {}
        if annotations.get("storageclass.kubernetes.io/is-default-class") == "true":
            spec["storageClassName"] = found["metadata"]["name"]
            return


def _addresses(store: Store, service: Object) -> None:
    spec, name = service.setdefault("spec", {}), service["metadata"].get("name", "")
    if spec.get("type") == "ExternalName":
        return
    taken = {
        entry.get("spec", {}).get("clusterIP")
        for entry in store.each("Service")
        if entry["metadata"]["uid"] != service["metadata"].get("uid")
    }
    address = spec.get("clusterIP")
    if address and address != "None":
        why = ""
        if not address.startswith("10.0."):
            why = "the provided network does not match the current range"
        elif address in taken:
            why = "provided IP is already allocated"
        if why:
            message = f"Invalid value: [{status.quote(address)}]: failed to allocate IP {address}: {why}"
            raise status.invalid_as(
                "", "Service", name, [Cause("FieldValueInvalid", message, "spec.clusterIPs")]
            )
    if not address:
        number = 100
        while f"10.0.{number // 250}.{number % 250 + 1}" in taken:
            number += 1
        spec["clusterIP"] = f"10.0.{number // 250}.{number % 250 + 1}"
    spec["clusterIPs"] = spec.get("clusterIPs") or [spec["clusterIP"]]
    _node_ports(store, service)


def _node_ports(store: Store, service: Object) -> None:
    spec = service["spec"]
    if spec.get("type") in ("NodePort", "LoadBalancer"):
        used = {
            port.get("nodePort")
            for entry in store.each("Service")
            for port in entry.get("spec", {}).get("ports") or []
        }
        for port in spec.get("ports") or []:
            if not port.get("nodePort"):
                number = 30001
                while number in used:
                    number += 1
                used.add(number)
                port["nodePort"] = number
