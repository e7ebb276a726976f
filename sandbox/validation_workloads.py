"""Validation of workloads, autoscalers and disruption budgets (recorded transcripts 07, 17 and 19)."""

from __future__ import annotations

import copy
from typing import Any

from sandbox import rules
from sandbox.quantity import parse
from sandbox.rules import Causes, Object
from sandbox.validation_kinds import claim_spec
from sandbox.validation_pods import template

_STATEFUL_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _selector(causes: Causes, spec: Object, what: str) -> None:
    selector = spec.get("selector")
    if selector is None:
        causes.required("spec.selector")
        return
    rules.label_selector(causes, "spec.selector", selector)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.invalid("spec.selector", selector, f"empty selector is invalid for {what}")


def _percent(value: Any) -> int | None:
    return (
        int(value[:-1]) if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() else None
    )


def _int_or_percent(causes: Causes, field: str, value: Any) -> None:
    if isinstance(value, str) and _percent(value) is None:
        causes.invalid(
            field,
            value,
            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used "
            "for validation is '[0-9]+%')",
        )
    elif isinstance(value, int):
        causes.not_negative(field, value)


def deployment(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    causes.not_negative("spec.replicas", spec.get("replicas"))
    _selector(causes, spec, "deployment")
    template(causes, spec)
    strategy = spec.get("strategy") or {}
    here = "spec.strategy"
    causes.one_of(f"{here}.type", strategy.get("type"), ("Recreate", "RollingUpdate"), needed=True)
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        causes.forbidden(f"{here}.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'")
    elif strategy.get("type") == "RollingUpdate" and rolling is not None:
        here += ".rollingUpdate"
        most, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
        _int_or_percent(causes, f"{here}.maxUnavailable", most)
        _int_or_percent(causes, f"{here}.maxSurge", surge)
        if most in (0, "0%") and surge in (0, "0%"):
            causes.invalid(f"{here}.maxUnavailable", most, "may not be 0 when `maxSurge` is 0")
        if (_percent(most) or 0) > 100:
            causes.invalid(f"{here}.maxUnavailable", most, "must not be greater than 100%")
    _numbers(causes, spec, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        causes.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
    _fixed_selector(causes, spec, old)


def _numbers(causes: Causes, spec: Object, *names: str) -> None:
    for name in names:
        causes.not_negative(f"spec.{name}", spec.get(name))


def _fixed_selector(causes: Causes, spec: Object, old: Object | None) -> None:
    if old is not None:
        causes.immutable("spec.selector", spec.get("selector"), rules.spec_of(old).get("selector"))


def replica_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    _numbers(causes, spec, "replicas", "minReadySeconds")
    _selector(causes, spec, "deployment")
    template(causes, spec)
    _fixed_selector(causes, spec, old)


def daemon_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    _selector(causes, spec, "daemonset")
    template(causes, spec)
    _numbers(causes, spec, "minReadySeconds", "revisionHistoryLimit")
    causes.one_of(
        "spec.updateStrategy.type",
        (spec.get("updateStrategy") or {}).get("type"),
        ("OnDelete", "RollingUpdate"),
    )
    _fixed_selector(causes, spec, old)


def _with_claim_volumes(spec: Object) -> Object:
    """The spec as its pods will have it: each claim template is a volume that containers may mount."""
    made = spec.get("template") or {}
    inner = made.get("spec") or {}
    volumes = list(inner.get("volumes") or ())
    there = {volume.get("name") for volume in volumes}
    names = [(claim.get("metadata") or {}).get("name") for claim in spec.get("volumeClaimTemplates") or ()]
    volumes += [{"name": name, "emptyDir": {}} for name in names if name and name not in there]
    return {**spec, "template": {**made, "spec": {**inner, "volumes": volumes}}}


def stateful_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        causes.invalid("spec.podManagementPolicy", policy, text)
    update = (spec.get("updateStrategy") or {}).get("type")
    if update not in ("OnDelete", "RollingUpdate"):
        causes.invalid(
            "spec.updateStrategy", spec.get("updateStrategy"), "must be 'RollingUpdate' or 'OnDelete'"
        )
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition")
    causes.not_negative("spec.updateStrategy.rollingUpdate.partition", partition)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        causes.one_of(
            f"spec.persistentVolumeClaimRetentionPolicy.{name}", retention.get(name), ("Delete", "Retain")
        )
    _numbers(causes, spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    _selector(causes, spec, "statefulset")
    template(causes, _with_claim_volumes(spec))
    if old is None:
        if spec.get("serviceName"):
            causes.check("spec.serviceName", spec["serviceName"], rules.dns_label)
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            claim_spec(causes, f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
        return
    may_change = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ]

    def fixed(spec: Object) -> Object:
        kept = {key: copy.deepcopy(value) for key, value in spec.items() if key not in may_change}
        for claim in kept.get("volumeClaimTemplates") or ():
            claim.pop("status", None)
        return kept

    if fixed(spec) != fixed(rules.spec_of(old)):
        causes.forbidden("spec", _STATEFUL_MAY_CHANGE)


def autoscaler(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < 1:
        causes.invalid("spec.minReplicas", least, "must be greater than or equal to 1")
    if most < 1:
        causes.required("spec.maxReplicas", "must be set and greater than 0")
    if least is not None and most < least:
        causes.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    target = spec.get("scaleTargetRef") or {}
    for key in ("kind", "name"):
        if not target.get(key):
            causes.required(f"spec.scaleTargetRef.{key}")
        else:
            causes.check(f"spec.scaleTargetRef.{key}", target[key], rules.path_segment)
    if "/" not in (target.get("apiVersion") or "") and target.get("kind") != "ReplicationController":
        causes.invalid(
            "spec.scaleTargetRef.apiVersion",
            target.get("apiVersion", ""),
            "apiVersion must specify API group",
        )
    metrics = spec.get("metrics") or []
    for index, metric in enumerate(metrics):
        _metric(causes, f"spec.metrics[{index}]", metric)
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        causes.forbidden(
            "spec.metrics",
            "must specify at least one Object or External metric to support scaling to zero replicas",
        )
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        _scaling(causes, f"spec.behavior.{name}", behavior.get(name) or {})


_METRICS = {
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
    "External": "external",
    "ContainerResource": "containerResource",
}


def _metric(causes: Causes, field: str, metric: Object) -> None:
    kind = metric.get("type") or ""
    if not kind:
        causes.required(f"{field}.type", "must specify a metric source type")
        return
    if kind not in _METRICS:
        causes.unsupported(f"{field}.type", kind, sorted(_METRICS))
        return
    source = metric.get(_METRICS[kind])
    here = f"{field}.{_METRICS[kind]}"
    if source is None:
        causes.required(here, "must populate information for the given metric source")
        return
    if kind in ("Resource", "ContainerResource") and not source.get("name"):
        causes.required(f"{here}.name", "must specify a resource name")
    if kind == "ContainerResource" and not source.get("container"):
        causes.required(f"{here}.container", "must specify a container")
    if kind in ("Object", "Pods", "External") and not (source.get("metric") or {}).get("name"):
        causes.required(f"{here}.metric.name", "must specify a metric name")
    _target(causes, f"{here}.target", source.get("target") or {}, kind)


def _target(causes: Causes, field: str, target: Object, kind: str) -> None:
    if not target.get("type"):
        causes.required(f"{field}.type", "must specify a metric target type")
    if target.get("type") not in ("Utilization", "Value", "AverageValue"):
        causes.invalid(
            f"{field}.type", target.get("type", ""), "must be either Utilization, Value, or AverageValue"
        )
    for name in ("value", "averageValue"):
        if target.get(name) is not None and parse(target[name]) <= 0:
            causes.invalid(f"{field}.{name}", target[name], "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        causes.invalid(f"{field}.averageUtilization", utilization, "must be greater than 0")
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and target.get("averageValue") is None:
            causes.required(
                f"{field}.averageUtilization", "must set either a target raw value or a target utilization"
            )
        elif utilization is not None and target.get("averageValue") is not None:
            causes.forbidden(
                f"{field}.averageValue", "may not set both a target raw value and a target utilization"
            )
    elif kind == "Pods" and target.get("averageValue") is None:
        causes.required(f"{field}.averageValue", "must specify a positive target averageValue")
    elif target.get("value") is None and target.get("averageValue") is None:
        causes.required(
            f"{field}.averageValue", "must set either a target value for metric or a per-pod target"
        )


def _scaling(causes: Causes, field: str, rule: Object) -> None:
    window = rule.get("stabilizationWindowSeconds")
    if window is not None and not 0 <= window <= 3600:
        text = rules.NOT_NEGATIVE.replace("0", "zero") if window < 0 else "must be less than or equal to 3600"
        causes.invalid(f"{field}.stabilizationWindowSeconds", window, text)
    causes.one_of(f"{field}.selectPolicy", rule.get("selectPolicy"), ("Disabled", "Max", "Min"))
    for index, policy in enumerate(rule.get("policies") or ()):
        here = f"{field}.policies[{index}]"
        causes.one_of(f"{here}.type", policy.get("type"), ("Percent", "Pods"), needed=True)
        if policy.get("value", 0) <= 0:
            causes.invalid(f"{here}.value", policy.get("value", 0), "must be greater than zero")
        if not 0 < policy.get("periodSeconds", 0) <= 1800:
            text = (
                "must be greater than zero"
                if policy.get("periodSeconds", 0) <= 0
                else "must be less than or equal to 1800"
            )
            causes.invalid(f"{here}.periodSeconds", policy.get("periodSeconds", 0), text)


def disruption_budget(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    if least is not None and most is not None:
        value = {
            "MinAvailable": least,
            "Selector": spec.get("selector"),
            "MaxUnavailable": most,
            "UnhealthyPodEvictionPolicy": spec.get("unhealthyPodEvictionPolicy"),
        }
        causes.invalid("spec", value, "minAvailable and maxUnavailable cannot be both set")
    for name in ("minAvailable", "maxUnavailable"):
        if spec.get(name) is not None:
            _int_or_percent(causes, f"spec.{name}", spec[name])
    if spec.get("selector"):
        rules.label_selector(causes, "spec.selector", spec["selector"])
