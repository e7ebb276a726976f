"""Reading and checking what a client wants stored: 400 for what does not decode, causes of a 422 for what is not allowed.

Recorded transcripts 06 to 08. Status counters and admission (quota, addresses, existence of other objects) are not here.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from sandbox import rules
from sandbox import validation_kinds as kinds_
from sandbox import validation_network as network
from sandbox import validation_pods as pods
from sandbox import validation_workloads as workloads
from sandbox.codec import DecodeError
from sandbox.codec import decode as read
from sandbox.kinds import KINDS
from sandbox.rules import Causes, Object
from sandbox.schema import KindLike, split_group_version, type_of
from sandbox.status import ApiError, Cause, bad_request, invalid_as

_SCHEME = 'in scheme "k8s.io/kubernetes/pkg/api/legacyscheme/scheme.go:30"'
# Versions that a real server still knows by name, though it no longer serves them.
_REGISTERED = {
    ("extensions/v1beta1", "Deployment"),
    ("extensions/v1beta1", "DaemonSet"),
    ("extensions/v1beta1", "ReplicaSet"),
    ("extensions/v1beta1", "Ingress"),
    ("extensions/v1beta1", "NetworkPolicy"),
    ("apps/v1beta1", "Deployment"),
    ("apps/v1beta1", "StatefulSet"),
    ("apps/v1beta2", "Deployment"),
    ("apps/v1beta2", "StatefulSet"),
    ("apps/v1beta2", "DaemonSet"),
    ("apps/v1beta2", "ReplicaSet"),
    ("autoscaling/v1", "HorizontalPodAutoscaler"),
    ("networking.k8s.io/v1beta1", "Ingress"),
}
MODES = ("Strict", "Warn", "Ignore")


def _api_version(kind: KindLike) -> str:
    return f"{kind.group}/{kind.version}" if kind.group else kind.version


def _internal_name(kind: KindLike) -> str:
    group = kind.group.split(".")[0] or "core"
    return f"{group}.{kind.kind}"


def _check_head(kind: KindLike, obj: Object) -> None:
    """Kind and apiVersion may be left out; others than the path's are refused."""
    name, version = obj.get("kind") or kind.kind, obj.get("apiVersion") or _api_version(kind)
    for key, value in (("kind", name), ("apiVersion", version)):
        if not isinstance(value, str):
            wanted = rules.shown(value)
            raise bad_request(
                f"the object provided is unrecognized (must be of type {kind.kind}): couldn't get version/kind; "
                f"json parse error: json: cannot unmarshal {wanted} into Go struct field .{key} of type string"
            )
    if (name, version) == (kind.kind, _api_version(kind)):
        return
    number = split_group_version(version)[1]
    if name == kind.kind and (version, name) in _REGISTERED:
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version ({_api_version(kind)})"
        )
    served = {(_api_version(other), other.kind) for other in KINDS}
    if name != kind.kind and (version, name) in served:
        raise bad_request(
            f'{name} in version "{number}" cannot be handled as a {kind.kind}: '
            f"converting ({number}.{name}) to ({_internal_name(kind)}): unknown conversion"
        )
    raise bad_request(
        f'{name} in version "{number}" cannot be handled as a {kind.kind}: '
        f'no kind "{name}" is registered for version "{version}" {_SCHEME}'
    )


def _not_handled(kind: KindLike, why: str) -> ApiError:
    return bad_request(f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}')


def decode(kind: KindLike, obj: Object, mode: str, patched: bool = False) -> tuple[Object, list[str]]:
    """(the object as the server reads it, warnings). mode: Strict, Warn or Ignore of the parameter fieldValidation.

    Unknown and repeated members are dropped with one warning each, or refused in mode Strict. Repetitions are known only
    of objects read by `bodies.loads`. patched: obj is the outcome of a merge or JSON patch, whose refusals are worded as
    422 of the patch. Raises ApiError 400 (422).
    """
    _check_head(kind, obj)
    try:
        made, dropped = read(type_of(kind), obj)
        if mode == "Strict" and dropped:
            raise DecodeError("strict decoding error: " + ", ".join(dropped))
    except DecodeError as wrong:
        if patched:
            text = json.dumps(obj, separators=(",", ":"), ensure_ascii=False)
            cause = Cause("FieldValueInvalid", f"Invalid value: {rules.shown(text)}: {wrong}", "patch")
            raise invalid_as("", "", "", [cause]) from wrong
        raise _not_handled(kind, str(wrong)) from wrong
    made = {
        "kind": kind.kind,
        "apiVersion": _api_version(kind),
        **{k: v for k, v in made.items() if k not in ("kind", "apiVersion")},
    }
    return made, dropped if mode == "Warn" else []


_Validator = Callable[[Causes, Object, Object | None], None]
_RBAC = "rbac.authorization.k8s.io"
_BY_KIND: dict[tuple[str, str], _Validator] = {
    ("", "Pod"): pods.pod,
    ("", "Service"): network.service,
    ("", "ConfigMap"): kinds_.config_map,
    ("", "Secret"): kinds_.secret,
    ("", "PersistentVolumeClaim"): kinds_.claim,
    ("", "PersistentVolume"): kinds_.volume,
    ("", "ResourceQuota"): kinds_.quota,
    ("", "Node"): kinds_.node,
    ("", "Event"): kinds_.event,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("autoscaling", "HorizontalPodAutoscaler"): workloads.autoscaler,
    ("autoscaling", "Scale"): kinds_.scale,
    ("authentication.k8s.io", "TokenRequest"): kinds_.token_request,
    ("policy", "PodDisruptionBudget"): workloads.disruption_budget,
    ("networking.k8s.io", "Ingress"): network.ingress,
    ("networking.k8s.io", "IngressClass"): network.ingress_class,
    ("networking.k8s.io", "NetworkPolicy"): network.network_policy,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice,
    ("storage.k8s.io", "StorageClass"): kinds_.storage_class,
    ("coordination.k8s.io", "Lease"): kinds_.lease,
    ("scheduling.k8s.io", "PriorityClass"): kinds_.priority_class,
    ("node.k8s.io", "RuntimeClass"): kinds_.runtime_class,
    (_RBAC, "Role"): kinds_.role,
    (_RBAC, "ClusterRole"): kinds_.role,
    (_RBAC, "RoleBinding"): kinds_.binding,
    (_RBAC, "ClusterRoleBinding"): kinds_.binding,
}
# Names that are no DNS subdomains. Since 1.36 a Service may begin with a digit.
_NAMES: dict[tuple[str, str], rules.Check] = {
    ("", "Namespace"): rules.dns_label,
    ("", "Service"): rules.dns_label,
    (_RBAC, "Role"): rules.path_segment,
    (_RBAC, "ClusterRole"): rules.path_segment,
    (_RBAC, "RoleBinding"): rules.path_segment,
    (_RBAC, "ClusterRoleBinding"): rules.path_segment,
}
_UNNAMED = {
    "Scale",
    "TokenRequest",
    "SelfSubjectAccessReview",
    "SelfSubjectRulesReview",
    "SelfSubjectReview",
    "Eviction",
    "Binding",
}


def validate(kind: KindLike, obj: Object, old: Object | None) -> list[Cause]:
    """Why an object may not be stored; empty when it may. obj is decoded and defaulted, old is None for a create.

    Raises nothing. A cause's field is `spec.containers[0].image`, its reason FieldValueRequired and the like.
    """
    causes = Causes()
    key = (kind.group, kind.kind)
    if kind.kind not in _UNNAMED:
        rules.metadata(
            causes,
            obj.get("metadata") or {},
            _NAMES.get(key, rules.dns_subdomain),
            (old or {}).get("metadata"),
        )
    if validator := _BY_KIND.get(key):
        validator(causes, obj, old)
    return list(causes)


__all__ = ["MODES", "Cause", "decode", "validate"]
