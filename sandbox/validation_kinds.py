"""Validation of every kind but pods, one function a kind (recorded transcripts 07, 05, 17, 19 and 23)."""

from __future__ import annotations

import base64
import copy
import difflib
import ipaddress
import json
from typing import Any

from sandbox import rules
from sandbox.quantity import parse
from sandbox.rules import MEBIBYTE, Causes, Object
from sandbox.validation_pods import resource_amount, template

_STATEFUL_MAY_CHANGE = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_CLAIM_MAY_CHANGE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def _spec(obj: Object | None) -> Object:
    return (obj or {}).get("spec") or {}


# --- workloads ----------------------------------------------------------------------------------------------------


def _selector(causes: Causes, spec: Object, what: str) -> None:
    selector = spec.get("selector")
    if selector is None:
        causes.required("spec.selector")
        return
    rules.label_selector(causes, "spec.selector", selector)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        causes.invalid("spec.selector", selector, f"empty selector is invalid for {what}")


def _percent(value: Any) -> int | None:
    return int(value[:-1]) if isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() else None


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
    spec = _spec(new)
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
        causes.immutable("spec.selector", spec.get("selector"), _spec(old).get("selector"))


def replica_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    _numbers(causes, spec, "replicas", "minReadySeconds")
    _selector(causes, spec, "deployment")
    template(causes, spec)
    _fixed_selector(causes, spec, old)


def daemon_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    _selector(causes, spec, "daemonset")
    template(causes, spec)
    _numbers(causes, spec, "minReadySeconds", "revisionHistoryLimit")
    causes.one_of("spec.updateStrategy.type", (spec.get("updateStrategy") or {}).get("type"), ("OnDelete", "RollingUpdate"))
    _fixed_selector(causes, spec, old)


def stateful_set(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        text = "must be 'OrderedReady' or 'Parallel'"
        causes.invalid("spec.podManagementPolicy", policy, text)
    update = (spec.get("updateStrategy") or {}).get("type")
    if update not in ("OnDelete", "RollingUpdate"):
        causes.invalid("spec.updateStrategy", spec.get("updateStrategy"), "must be 'RollingUpdate' or 'OnDelete'")
    partition = ((spec.get("updateStrategy") or {}).get("rollingUpdate") or {}).get("partition")
    causes.not_negative("spec.updateStrategy.rollingUpdate.partition", partition)
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        causes.one_of(f"spec.persistentVolumeClaimRetentionPolicy.{name}", retention.get(name), ("Delete", "Retain"))
    _numbers(causes, spec, "replicas", "minReadySeconds", "revisionHistoryLimit")
    _selector(causes, spec, "statefulset")
    template(causes, spec)
    if old is None:
        if spec.get("serviceName"):
            causes.check("spec.serviceName", spec["serviceName"], rules.dns_label)
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            _claim_spec(causes, f"spec.volumeClaimTemplates[{index}].spec", claim.get("spec") or {})
        return
    may_change = ["replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy", "minReadySeconds"]

    def fixed(spec: Object) -> Object:
        kept = {key: copy.deepcopy(value) for key, value in spec.items() if key not in may_change}
        for claim in kept.get("volumeClaimTemplates") or ():
            claim.pop("status", None)
        return kept

    if fixed(spec) != fixed(_spec(old)):
        causes.forbidden("spec", _STATEFUL_MAY_CHANGE)


def autoscaler(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
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
        causes.invalid("spec.scaleTargetRef.apiVersion", target.get("apiVersion", ""), "apiVersion must specify API group")
    metrics = spec.get("metrics") or []
    for index, metric in enumerate(metrics):
        _metric(causes, f"spec.metrics[{index}]", metric)
    if least == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        causes.forbidden("spec.metrics", "must specify at least one Object or External metric to support scaling to zero replicas")
    behavior = spec.get("behavior") or {}
    for name in ("scaleUp", "scaleDown"):
        _scaling(causes, f"spec.behavior.{name}", behavior.get(name) or {})


_METRICS = {"Object": "object", "Pods": "pods", "Resource": "resource", "External": "external", "ContainerResource": "containerResource"}


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
        causes.invalid(f"{field}.type", target.get("type", ""), "must be either Utilization, Value, or AverageValue")
    for name in ("value", "averageValue"):
        if target.get(name) is not None and parse(target[name]) <= 0:
            causes.invalid(f"{field}.{name}", target[name], "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        causes.invalid(f"{field}.averageUtilization", utilization, "must be greater than 0")
    if kind in ("Resource", "ContainerResource"):
        if utilization is None and target.get("averageValue") is None:
            causes.required(f"{field}.averageUtilization", "must set either a target raw value or a target utilization")
        elif utilization is not None and target.get("averageValue") is not None:
            causes.forbidden(f"{field}.averageValue", "may not set both a target raw value and a target utilization")
    elif kind == "Pods" and target.get("averageValue") is None:
        causes.required(f"{field}.averageValue", "must specify a positive target averageValue")
    elif target.get("value") is None and target.get("averageValue") is None:
        causes.required(f"{field}.averageValue", "must set either a target value for metric or a per-pod target")


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
            text = "must be greater than zero" if policy.get("periodSeconds", 0) <= 0 else "must be less than or equal to 1800"
            causes.invalid(f"{here}.periodSeconds", policy.get("periodSeconds", 0), text)


def disruption_budget(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
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


# --- services and networking --------------------------------------------------------------------------------------


def service(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    kind = spec.get("type") or ""
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        causes.required("spec.ports")
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            causes.required(f"{here}.name")
        elif name:
            causes.check(f"{here}.name", name, rules.dns_label)
            if name in names:
                causes.duplicate(f"{here}.name", name)
            names.add(name)
        rules.port(causes, f"{here}.port", port.get("port"))
        causes.one_of(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"), needed=True)
        rules.port(causes, f"{here}.targetPort", port.get("targetPort"))
        number = port.get("nodePort")
        if number and kind not in ("NodePort", "LoadBalancer"):
            causes.forbidden(f"{here}.nodePort", f"may not be used when `type` is '{kind}'")
        elif number and not 30000 <= number <= 32767:
            text = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            causes.invalid(f"{here}.nodePort", number, text)
        key = (port.get("port"), port.get("protocol"))
        if key in seen:
            causes.duplicate(here, {"port": key[0], "protocol": key[1]})
        seen.add(key)
    rules.labels(causes, "spec.selector", spec.get("selector"))
    causes.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"), needed=True)
    causes.one_of("spec.type", kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"), needed=True)
    if kind == "ExternalName":
        if not spec.get("externalName"):
            causes.required("spec.externalName")
        else:
            causes.check("spec.externalName", spec["externalName"].rstrip("."), rules.dns_subdomain)
        if spec.get("clusterIP") and spec["clusterIP"] != "None":
            causes.forbidden("spec.clusterIPs[0]", "may not be set when `type` is 'ExternalName'")
    address = spec.get("clusterIP")
    if address and address != "None" and not _is_address(address):
        text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        causes.invalid("spec.clusterIPs[0]", address, text)
    before = _spec(old).get("clusterIP")
    if old is not None and before and kind != "ExternalName" and _spec(old).get("type") != "ExternalName" and address != before:
        addresses = [address, *(spec.get("clusterIPs") or [])[1:]] if address else spec.get("clusterIPs")
        causes.invalid("spec.clusterIPs[0]", addresses, "may not change once set")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def endpoint_slice(causes: Causes, new: Object, old: Object | None) -> None:
    causes.one_of("addressType", new.get("addressType"), ("FQDN", "IPv4", "IPv6"), needed=True)
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def ingress(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    rule_list, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rule_list and default is None:
        causes.invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if default is not None:
        _backend(causes, "spec.defaultBackend", default)
    for index, rule in enumerate(rule_list):
        here = f"spec.rules[{index}]"
        if host := rule.get("host"):
            if _is_address(host):
                causes.invalid(f"{here}.host", host, "must be a DNS name, not an IP address")
            else:
                causes.check(f"{here}.host", host, rules.host_name)
        http = rule.get("http")
        if isinstance(http, dict):
            paths = http.get("paths") or []
            if not paths:
                causes.required(f"{here}.http.paths")
            for number, path in enumerate(paths):
                _path(causes, f"{here}.http.paths[{number}]", path)
    for index, tls in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(tls.get("hosts") or ()):
            causes.check(f"spec.tls[{index}].hosts[{number}]", host, rules.host_name)
        if tls.get("secretName"):
            causes.check(f"spec.tls[{index}].secretName", tls["secretName"], rules.dns_subdomain)
    if spec.get("ingressClassName"):
        causes.check("spec.ingressClassName", spec["ingressClassName"], rules.dns_subdomain)


def _path(causes: Causes, field: str, path: Object) -> None:
    kind, text = path.get("pathType"), path.get("path") or ""
    if kind is None:
        causes.required(f"{field}.pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            causes.invalid(f"{field}.path", text, "must be an absolute path")
        for part in ("//", "/./", "/../", "%2f", "%2F"):
            if part in text:
                causes.invalid(f"{field}.path", text, f"must not contain '{part}'")
        for end in ("/..", "/."):
            if text.endswith(end):
                causes.invalid(f"{field}.path", text, f"cannot end with '{end}'")
                break
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            causes.invalid(f"{field}.path", text, "must be an absolute path")
    else:
        causes.unsupported(f"{field}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix"))
    _backend(causes, f"{field}.backend", path.get("backend") or {})


def _backend(causes: Causes, field: str, backend: Object) -> None:
    named, resource = backend.get("service"), backend.get("resource")
    if resource is not None and named is not None:
        causes.invalid(field, "", "cannot set both resource and service backends")
    elif named is None and resource is None:
        causes.required(field, "port name or number is required")
    elif named is not None:
        if not named.get("name"):
            causes.required(f"{field}.service.name")
        else:
            causes.check(f"{field}.service.name", named["name"], rules.dns_label)
        port = named.get("port") or {}
        if port.get("name") and port.get("number"):
            causes.invalid(field, "", "cannot set both port name & port number")
        elif port.get("name"):
            causes.check(f"{field}.service.port.name", port["name"], rules.port_name)
        elif port.get("number"):
            rules.port(causes, f"{field}.service.port.number", port["number"])
        else:
            causes.required(field, "port name or number is required")


def ingress_class(causes: Causes, new: Object, old: Object | None) -> None:
    controller = _spec(new).get("controller") or ""
    if not controller:
        causes.required("spec.controller")
    if old is not None:
        causes.immutable("spec.controller", controller, _spec(old).get("controller"))


def network_policy(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    rules.label_selector(causes, "spec.podSelector", spec.get("podSelector") or {})
    for way, who in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(way) or ()):
            here = f"spec.{way}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                causes.one_of(f"{here}.ports[{number}].protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
                if port.get("port") is not None:
                    rules.port(causes, f"{here}.ports[{number}].port", port["port"])
            for number, peer in enumerate(rule.get(who) or ()):
                _peer(causes, f"{here}.{who}[{number}]", peer)
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        causes.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, name in enumerate(types):
        causes.one_of(f"spec.policyTypes[{index}]", name, ("Ingress", "Egress"), needed=True)


def _peer(causes: Causes, field: str, peer: Object) -> None:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in given[:2]:
        if key != "ipBlock":
            rules.label_selector(causes, f"{field}.{key}", peer[key])
    if not given:
        causes.required(field, "must specify a peer")
    elif "ipBlock" in given:
        if len(given) > 1:
            causes.forbidden(field, "may not specify both ipBlock and another peer")
        block = peer["ipBlock"]
        if not block.get("cidr"):
            causes.required(f"{field}.ipBlock.cidr")
        else:
            _network(causes, f"{field}.ipBlock.cidr", block["cidr"])
        for index, part in enumerate(block.get("except") or ()):
            _network(causes, f"{field}.ipBlock.except[{index}]", part)


def _network(causes: Causes, field: str, text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
        valid = "/" in text
    except ValueError:
        valid = False
    if not valid:
        causes.invalid(field, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")


# --- configuration ------------------------------------------------------------------------------------------------


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
                causes.invalid(f"data[{key}]", "<secret contents redacted>", "invalid character looking for beginning of value")
    if kind == "kubernetes.io/basic-auth" and "username" not in data and "password" not in data:
        causes.required("data[username]")
        causes.required("data[password]")
    if kind == "kubernetes.io/service-account-token":
        field = "metadata.annotations[kubernetes.io/service-account.name]"
        if not ((new.get("metadata") or {}).get("annotations") or {}).get("kubernetes.io/service-account.name"):
            causes.required(field)
    if old is not None:
        causes.immutable("type", kind, old.get("type"))
        _immutable_data(causes, new, old, "data")


# --- storage ------------------------------------------------------------------------------------------------------

_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")


def _claim_spec(causes: Causes, field: str, spec: Object) -> None:
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
    spec, before = _spec(new), _spec(old)
    _claim_spec(causes, "spec", spec)
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
    spec = _spec(new)
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
        "spec.persistentVolumeReclaimPolicy", spec.get("persistentVolumeReclaimPolicy"), ("Delete", "Recycle", "Retain")
    )


def storage_class(causes: Causes, new: Object, old: Object | None) -> None:
    if not new.get("provisioner"):
        causes.required("provisioner")
    causes.one_of("reclaimPolicy", new.get("reclaimPolicy"), ("Delete", "Retain"))
    causes.one_of("volumeBindingMode", new.get("volumeBindingMode"), ("Immediate", "WaitForFirstConsumer"), needed=True)
    if old is not None:
        for name, text in (("parameters", "updates to parameters are forbidden."), ("provisioner", "updates to provisioner are forbidden.")):
            if new.get(name) != old.get(name):
                causes.forbidden(name, text)
        causes.immutable("reclaimPolicy", new.get("reclaimPolicy"), old.get("reclaimPolicy"))
        causes.immutable("volumeBindingMode", new.get("volumeBindingMode"), old.get("volumeBindingMode"))


# --- access and the rest ------------------------------------------------------------------------------------------


def role(causes: Causes, new: Object, old: Object | None) -> None:
    namespaced = new.get("kind") == "Role" or bool((new.get("metadata") or {}).get("namespace"))
    for index, rule in enumerate(new.get("rules") or ()):
        here = f"rules[{index}]"
        if not rule.get("verbs"):
            causes.required(f"{here}.verbs", "verbs must contain at least one value")
        if rule.get("nonResourceURLs"):
            if namespaced:
                urls = rule["nonResourceURLs"]
                causes.invalid(f"{here}.nonResourceURLs", urls, "namespaced rules cannot apply to non-resource URLs")
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
        if subject.get("kind") == "ServiceAccount" and new.get("kind") == "ClusterRoleBinding" and not subject.get("namespace"):
            causes.required(f"{here}.namespace")
    if old is not None and reference != (old.get("roleRef") or {}):
        value = {"APIGroup": reference.get("apiGroup"), "Kind": reference.get("kind"), "Name": reference.get("name")}
        causes.invalid("roleRef", value, "cannot change roleRef")


def lease(causes: Causes, new: Object, old: Object | None) -> None:
    spec = _spec(new)
    if spec.get("leaseDurationSeconds") is not None and spec["leaseDurationSeconds"] <= 0:
        causes.invalid("spec.leaseDurationSeconds", spec["leaseDurationSeconds"], "must be greater than 0")
    causes.not_negative("spec.leaseTransitions", spec.get("leaseTransitions"))


def quota(causes: Causes, new: Object, old: Object | None) -> None:
    for name, amount in sorted((_spec(new).get("hard") or {}).items()):
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
    causes.not_negative("spec.replicas", _spec(new).get("replicas", 0))


def token_request(causes: Causes, new: Object, old: Object | None) -> None:
    seconds = _spec(new).get("expirationSeconds", 3600)
    if seconds < 600:
        causes.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")


def node(causes: Causes, new: Object, old: Object | None) -> None:
    for index, taint in enumerate(_spec(new).get("taints") or ()):
        here = f"spec.taints[{index}]"
        causes.check(f"{here}.key", taint.get("key", ""), rules.qualified_name)
        causes.check(f"{here}.value", taint.get("value", ""), rules.label_value)
        causes.one_of(f"{here}.effect", taint.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute"), needed=True)


def event(causes: Causes, new: Object, old: Object | None) -> None:
    involved = (new.get("involvedObject") or new.get("regarding") or {}).get("namespace", "")
    here = (new.get("metadata") or {}).get("namespace") or ""
    if (involved or "default") != here and "involvedObject" in new:
        causes.invalid("involvedObject.namespace", involved, "does not match event.namespace")
