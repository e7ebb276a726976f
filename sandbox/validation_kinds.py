"""Validation of configuration, storage, access and the remaining kinds (recorded transcripts 05, 07 and 23)."""

from __future__ import annotations

import base64
import copy
import difflib
import json

from sandbox import rules
from sandbox.quantity import parse
from sandbox.rules import MEBIBYTE, Causes, Object
from sandbox.validation_pods import resource_amount

_CLAIM_MAY_CHANGE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"


# --- configuration --------------------------------------------------------------------------------------------------


def config_map(causes: Causes, new: Object, old: Object | None) -> None:
    data, binary = new.get("data") or {}, new.get("binaryData") or {}
    size = 0
    for key, value in sorted(data.items()):
        causes.check(f"data[{key}]", key, rules.data_key)
        if key in binary:
            causes.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(value.encode())
    for key, value in sorted(binary.items()):
        causes.check(f"binaryData[{key}]", key, rules.data_key)
        size += len(base64.b64decode(value))
    if size > MEBIBYTE:
        causes.too_long("[]", MEBIBYTE)
    _immutable_data(causes, new, old, "data", "binaryData")


def _immutable_data(causes: Causes, new: Object, old: Object | None, *names: str) -> None:
    if old is None or not old.get("immutable"):
        return
    text = "field is immutable when `immutable` is set"
    if not new.get("immutable"):
        causes.forbidden("immutable", text)
    for name in names:
        if (new.get(name) or {}) != (old.get(name) or {}):
            causes.forbidden(name, text)


_SECRET_KEYS = {
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
}


def secret(causes: Causes, new: Object, old: Object | None) -> None:
    data, kind = new.get("data") or {}, new.get("type")
    size = 0
    for key, value in sorted(data.items()):
        causes.check(f"data[{key}]", key, rules.data_key)
        size += len(base64.b64decode(value))
    if size > MEBIBYTE:
        causes.too_long("data", MEBIBYTE)
    for key in _SECRET_KEYS.get(kind or "", ()):
        if key not in data:
            causes.required(f"data[{key}]")
        elif key.startswith(".docker"):
            try:
                json.loads(base64.b64decode(data[key]))
            except ValueError:
                causes.invalid(
                    f"data[{key}]",
                    "<secret contents redacted>",
                    "invalid character looking for beginning of value",
                )
    if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        causes.required("data[username]")
        causes.required("data[password]")
    if kind == "kubernetes.io/service-account-token":
        field = "metadata.annotations[kubernetes.io/service-account.name]"
        if not ((new.get("metadata") or {}).get("annotations") or {}).get(
            "kubernetes.io/service-account.name"
        ):
            causes.required(field)
    if old is not None:
        causes.immutable("type", kind, old.get("type"))
        _immutable_data(causes, new, old, "data")


# --- storage --------------------------------------------------------------------------------------------------------

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def claim_spec(causes: Causes, field: str, spec: Object) -> None:
    modes = spec.get("accessModes") or []
    if not modes:
        causes.required(f"{field}.accessModes", "at least 1 access mode is required")
    if spec.get("selector"):
        rules.label_selector(causes, f"{field}.selector", spec["selector"])
    for mode in modes:
        if mode not in _MODES:
            causes.unsupported(f"{field}.accessModes", mode, _MODES)
    if "ReadWriteOncePod" in modes and len(modes) > 1:
        causes.forbidden(f"{field}.accessModes", "may not use ReadWriteOncePod with other access modes")
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    here = f"{field}.resources[storage]"
    if size is None:
        causes.required(here)
    elif parse(size) <= 0:
        causes.invalid(here, size, "must be greater than zero")
    if spec.get("storageClassName"):
        causes.check(f"{field}.storageClassName", spec["storageClassName"], rules.dns_subdomain)
    causes.one_of(f"{field}.volumeMode", spec.get("volumeMode"), ("Block", "Filesystem"))


def claim(causes: Causes, new: Object, old: Object | None) -> None:
    spec, before = rules.spec_of(new), rules.spec_of(old)
    claim_spec(causes, "spec", spec)
    if old is None:
        return
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    had = ((before.get("resources") or {}).get("requests") or {}).get("storage", "0")
    status = old.get("status") or {}
    changed = copy.deepcopy(spec)
    if status.get("phase") == "Bound" and "resources" in before:
        changed["resources"] = copy.deepcopy(before["resources"])
        changed.pop("volumeAttributesClassName", None)
        before = {key: value for key, value in before.items() if key != "volumeAttributesClassName"}
    # The binder fills in the volume, and a class that was not known yet.
    for name in ("volumeName", "storageClassName"):
        if not before.get(name) and name not in before:
            changed.pop(name, None)
    if changed != before:
        causes.forbidden("spec", f"{_CLAIM_MAY_CHANGE}\n{_claim_diff(before, changed)}")
        return
    capacity = (status.get("capacity") or {}).get("storage")
    if parse(asked) < parse(had) and capacity is not None and parse(asked) < parse(capacity):
        causes.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity")


def _claim_diff(old: Object, new: Object) -> str:
    """The difference as the server prints it: the Go struct as JSON, three lines around each change."""

    def lines(spec: Object) -> list[str]:
        resources = spec.get("resources") or {}
        value = {
            "AccessModes": spec.get("accessModes"),
            "Selector": spec.get("selector"),
            "Resources": {"Limits": resources.get("limits"), "Requests": resources.get("requests")},
            "VolumeName": spec.get("volumeName", ""),
            "StorageClassName": spec.get("storageClassName"),
            "VolumeMode": spec.get("volumeMode"),
            "DataSource": spec.get("dataSource"),
            "DataSourceRef": spec.get("dataSourceRef"),
            "VolumeAttributesClassName": spec.get("volumeAttributesClassName"),
        }
        return json.dumps(value, indent=1).splitlines()

    found = list(difflib.unified_diff(lines(old), lines(new), lineterm="", n=3))
    return "".join(line + "\n" for line in found[2:])


def volume(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    if not spec.get("accessModes"):
        causes.required("spec.accessModes")
    for mode in spec.get("accessModes") or ():
        if mode not in _MODES:
            causes.unsupported("spec.accessModes", mode, _MODES)
    capacity = spec.get("capacity") or {}
    if not capacity:
        causes.required("spec.capacity")
    elif list(capacity) != ["storage"]:
        causes.unsupported("spec.capacity", capacity, ("storage",))
    for name, amount in capacity.items():
        if parse(amount) <= 0:
            causes.invalid(f"spec.capacity[{name}]", amount, "must be greater than zero")
    causes.one_of(
        "spec.persistentVolumeReclaimPolicy",
        spec.get("persistentVolumeReclaimPolicy"),
        ("Delete", "Recycle", "Retain"),
    )


def storage_class(causes: Causes, new: Object, old: Object | None) -> None:
    if not new.get("provisioner"):
        causes.required("provisioner")
    causes.one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    causes.one_of(
        "volumeBindingMode", new.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), needed=True
    )
    if old is not None:
        for name, text in (
            ("parameters", "updates to parameters are forbidden."),
            ("provisioner", "updates to provisioner are forbidden."),
        ):
            if new.get(name) != old.get(name):
                causes.forbidden(name, text)
        causes.immutable("reclaimPolicy", new.get("reclaimPolicy"), old.get("reclaimPolicy"))
        causes.immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))


# --- access and the rest --------------------------------------------------------------------------------------------


def role(causes: Causes, new: Object, old: Object | None) -> None:
    namespaced = new.get("kind") == "Role" or bool((new.get("metadata") or {}).get("namespace"))
    for index, rule in enumerate(new.get("rules") or ()):
        here = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.required(f"{here}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                urls = rule["nonResourceURLs"]
                causes.invalid(
                    f"{here}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs"
                )
            continue
        if not rule.get("apiGroups"):
            causes.required(f"{here}.apiGroups", "resource rules must supply at least one api group")
        if not rule.get("resources"):
            causes.required(f"{here}.resources", "resource rules must supply at least one resource")


def binding(causes: Causes, new: Object, old: Object | None) -> None:
    reference = new.get("roleRef") or {}
    group = "rbac.authorization.k8s.io"
    if reference.get("apiGroup") != group:
        causes.unsupported("roleRef.apiGroup", reference.get("apiGroup", ""), (group,))
    causes.one_of("roleRef.kind", reference.get("kind"), ("ClusterRole", "Role"), needed=True)
    if not reference.get("name"):
        causes.required("roleRef.name")
    for index, subject in enumerate(new.get("subjects") or ()):
        here = f"subjects[{index}]"
        if not subject.get("name"):
            causes.required(f"{here}.name")
        causes.one_of(f"{here}.kind", subject.get("kind"), ("ServiceAccount", "User", "Group"), needed=True)
        if (
            subject.get("kind") == "ServiceAccount"
            and new.get("kind") == "ClusterRoleBinding"
            and not subject.get("namespace")
        ):
            causes.required(f"{here}.namespace")
    if old is not None and reference != (old.get("roleRef") or {}):
        value = {
            "APIGroup": reference.get("apiGroup"),
            "Kind": reference.get("kind"),
            "Name": reference.get("name"),
        }
        causes.invalid("roleRef", value, "cannot change roleRef")


def lease(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    if spec.get("leaseDurationSeconds") is not None and spec["leaseDurationSeconds"] <= 0:
        causes.invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    causes.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


def quota(causes: Causes, new: Object, old: Object | None) -> None:
    for name, amount in sorted((rules.spec_of(new).get("hard") or {}).items()):
        here = f"spec.hard[{name}]"
        causes.check(here, name, rules.qualified_name)
        resource_amount(causes, here, name, amount)


def priority_class(causes: Causes, new: Object, old: Object | None) -> None:
    if old is not None:
        if new.get("value", 0) != old.get("value", 0):
            causes.forbidden("value", "may not be changed in an update.")
        causes.immutable("preemptionPolicy", new.get("preemptionPolicy"), old.get("preemptionPolicy"))


def runtime_class(causes: Causes, new: Object, old: Object | None) -> None:
    if not new.get("handler"):
        causes.required("handler")
    else:
        causes.check("handler", new["handler"], rules.dns_label)


def scale(causes: Causes, new: Object, old: Object | None) -> None:
    causes.not_negative("spec.replicas", rules.spec_of(new).get("replicas", 0))


def token_request(causes: Causes, new: Object, old: Object | None) -> None:
    seconds = rules.spec_of(new).get("expirationSeconds", 3600)
    if seconds < 600:
        causes.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")


def node(causes: Causes, new: Object, old: Object | None) -> None:
    for index, taint in enumerate(rules.spec_of(new).get("taints") or ()):
        here = f"spec.taints[{index}]"
        causes.check(f"{here}.key", taint.get("key", ""), rules.qualified_name)
        causes.check(f"{here}.value", taint.get("value", ""), rules.label_value)
        causes.one_of(
            f"{here}.effect",
            taint.get("effect"),
            ("NoSchedule", "PreferNoSchedule", "NoExecute"),
            needed=True,
        )


def event(causes: Causes, new: Object, old: Object | None) -> None:
    involved = (new.get("involvedObject") or new.get("regarding") or {}).get("namespace", "")
    here = (new.get("metadata") or {}).get("namespace") or ""
    if (involved or "default") != here and "involvedObject" in new:
        causes.invalid("involvedObject.namespace", involved, "does not match event.namespace")
