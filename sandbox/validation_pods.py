"""Validation of pods and pod templates (pkg/apis/core/validation of Kubernetes 1.36; recorded transcript 07)."""

from __future__ import annotations

import copy
import re
from typing import Any

from sandbox import rules
from sandbox.quantity import parse
from sandbox.rules import Causes, Object

_NATIVE = ("cpu", "memory", "ephemeral-storage")
_STANDARD = (
    *_NATIVE,
    "storage",
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
)
_VOLUME_NEEDS = (
    ("persistentVolumeClaim", "claimName"),
    ("secret", "secretName"),
    ("configMap", "name"),
    ("hostPath", "path"),
    ("nfs", "server"),
    ("nfs", "path"),
)
_ENV_NAME = re.compile(r"[ -<>-~]+")
_POD_MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def resource_amount(causes: Causes, field: str, name: str, amount: Any) -> None:
    """Amounts are not negative, and whole numbers for anything but the native resources."""
    value = parse(amount)
    if value < 0:
        causes.invalid(field, amount, rules.NOT_NEGATIVE)
    if "/" in name and "kubernetes.io/" not in name and value != value.to_integral_value():
        causes.invalid(field, amount, "must be an integer")


def _resource_name(causes: Causes, field: str, name: str) -> None:
    causes.check(field, name, rules.qualified_name)
    if "/" in name:
        return
    huge = name.startswith("hugepages-")
    if name not in _STANDARD and not huge:
        causes.invalid(field, name, "must be a standard resource type or fully qualified")
    if name not in _NATIVE and not huge:
        causes.invalid(field, name, "must be a standard resource for containers")


def resources(causes: Causes, field: str, value: Object) -> None:
    limits, requests = value.get("limits") or {}, value.get("requests") or {}
    for group, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in sorted(amounts.items()):
            here = f"{field}.{group}[{name}]"
            _resource_name(causes, here, name)
            resource_amount(causes, here, name, amount)
    for name, amount in sorted(requests.items()):
        shareable = "/" not in name or "kubernetes.io/" in name
        if name not in limits:
            if not shareable:
                causes.required(f"{field}.limits", "Limit must be set for non overcommitable resources")
        elif not shareable and parse(amount) != parse(limits[name]):
            causes.invalid(f"{field}.requests", amount, f"must be equal to {name} limit of {limits[name]}")
        elif shareable and parse(amount) > parse(limits[name]):
            causes.invalid(
                f"{field}.requests", amount, f"must be less than or equal to {name} limit of {limits[name]}"
            )


def _env(causes: Causes, field: str, variables: list[Object]) -> None:
    for index, variable in enumerate(variables):
        here = f"{field}[{index}]"
        name = variable.get("name") or ""
        if not name:
            causes.required(f"{here}.name")
        elif not _ENV_NAME.fullmatch(name):
            text = "a valid environment variable name must consist only of printable ASCII characters other than '='"
            causes.invalid(f"{here}.name", name, text)
        source = variable.get("valueFrom")
        if source is None:
            continue
        kinds = [key for key, value in source.items() if value is not None]
        if variable.get("value"):
            causes.invalid(f"{here}.valueFrom", "", "may not be specified when `value` is not empty")
        elif not kinds:
            choices = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
            causes.invalid(f"{here}.valueFrom", "", f"must specify one of: {choices}")
        elif len(kinds) > 1:
            causes.invalid(f"{here}.valueFrom", "", "may not have more than one field specified at a time")
        for kind in ("secretKeyRef", "configMapKeyRef"):
            if isinstance(source.get(kind), dict):
                for key in ("name", "key"):
                    if not source[kind].get(key):
                        causes.required(f"{here}.valueFrom.{kind}.{key}")


def _ports(causes: Causes, field: str, ports: list[Object]) -> None:
    names: set[str] = set()
    for index, port in enumerate(ports):
        here = f"{field}[{index}]"
        if name := port.get("name"):
            causes.check(f"{here}.name", name, rules.port_name)
            if name in names:
                causes.duplicate(f"{here}.name", name)
            names.add(name)
        if not port.get("containerPort"):
            causes.required(f"{here}.containerPort")
        else:
            rules.port(causes, f"{here}.containerPort", port["containerPort"])
        if port.get("hostPort"):
            rules.port(causes, f"{here}.hostPort", port["hostPort"])
        causes.one_of(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"), needed=True)


def _handler(causes: Causes, field: str, handler: Object) -> None:
    found = [
        name for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if handler.get(name) is not None
    ]
    for name in found[1:]:
        causes.forbidden(f"{field}.{name}", "may not specify more than 1 handler type")
    if not found:
        causes.required(field, "must specify a handler type")
        return
    value = handler[found[0]]
    here = f"{field}.{found[0]}"
    if found[0] == "exec" and not value.get("command"):
        causes.required(f"{here}.command")
    if found[0] == "httpGet" and not value.get("path"):
        causes.required(f"{here}.path")
    if found[0] in ("httpGet", "tcpSocket", "grpc"):
        rules.port(causes, f"{here}.port", value.get("port"))
    if found[0] == "httpGet":
        causes.one_of(f"{here}.scheme", value.get("scheme"), ("HTTP", "HTTPS"))


def _probe(causes: Causes, field: str, probe: Object, readiness: bool) -> None:
    _handler(causes, field, probe)
    for name in (
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ):
        causes.not_negative(f"{field}.{name}", probe.get(name))
    if not readiness and probe.get("successThreshold") != 1:
        causes.invalid(f"{field}.successThreshold", probe.get("successThreshold"), "must be 1")


def _security(causes: Causes, field: str, context: Object) -> None:
    for name in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(name)
        if value is not None and not 0 <= value <= 2**31 - 1:
            causes.invalid(f"{field}.{name}", value, "must be between 0 and 2147483647, inclusive")
    if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
        causes.invalid(
            field, context, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
        )


def _container(causes: Causes, field: str, container: Object, volumes: set[str], names: set[str]) -> None:
    name = container.get("name") or ""
    if not name:
        causes.required(f"{field}.name")
    else:
        causes.check(f"{field}.name", name, rules.dns_label)
    if name and name in names:
        causes.duplicate(f"{field}.name", name)
    names.add(name)
    image = container.get("image") or ""
    if not image:
        causes.required(f"{field}.image")
    elif image != image.strip():
        causes.invalid(f"{field}.image", image, "must not have leading or trailing whitespace")
    _ports(causes, f"{field}.ports", container.get("ports") or [])
    _env(causes, f"{field}.env", container.get("env") or [])
    mounted: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        here = f"{field}.volumeMounts[{index}]"
        if not mount.get("name"):
            causes.required(f"{here}.name")
        elif mount["name"] not in volumes:
            causes.absent(f"{here}.name", mount["name"])
        path = mount.get("mountPath") or ""
        if not path:
            causes.required(f"{here}.mountPath")
        if path in mounted:
            causes.invalid(f"{here}.mountPath", path, "must be unique")
        mounted.add(path)
        sub = mount.get("subPath") or ""
        if sub.startswith("/"):
            causes.invalid(f"{here}.subPath", sub, "must be a relative path")
        elif ".." in sub.split("/"):
            causes.invalid(f"{here}.subPath", sub, "must not contain '..'")
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if isinstance(container.get(probe), dict):
            _probe(causes, f"{field}.{probe}", container[probe], probe == "readinessProbe")
    for hook in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(hook)
        if isinstance(handler, dict):
            _handler(causes, f"{field}.lifecycle.{hook}", handler)
    causes.one_of(
        f"{field}.imagePullPolicy", container.get("imagePullPolicy"), ("Always", "IfNotPresent", "Never")
    )
    resources(causes, f"{field}.resources", container.get("resources") or {})
    _security(causes, f"{field}.securityContext", container.get("securityContext") or {})


def _volumes(causes: Causes, field: str, volumes: list[Object]) -> set[str]:
    names: set[str] = set()
    for index, volume in enumerate(volumes):
        here = f"{field}[{index}]"
        name = volume.get("name") or ""
        if not name:
            causes.required(f"{here}.name")
        else:
            causes.check(f"{here}.name", name, rules.dns_label)
        if name and name in names:
            causes.duplicate(f"{here}.name", name)
        names.add(name)
        sources = [key for key, value in volume.items() if key != "name" and value is not None]
        if not sources:
            causes.required(here, "must specify a volume type")
        for extra in sources[1:]:
            causes.forbidden(f"{here}.{extra}", "may not specify more than 1 volume type")
        for source, key in _VOLUME_NEEDS:
            if isinstance(volume.get(source), dict) and not volume[source].get(key):
                causes.required(f"{here}.{source}.{key}")
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        if limit is not None and parse(limit) < 0:
            causes.forbidden(
                f"{here}.emptyDir.sizeLimit", "SizeLimit field must be a valid resource quantity"
            )
    return names


def _tolerations(causes: Causes, field: str, tolerations: list[Object]) -> None:
    for index, toleration in enumerate(tolerations):
        here = f"{field}[{index}]"
        key, operator, value = (toleration.get(name) or "" for name in ("key", "operator", "value"))
        if key:
            causes.check(f"{here}.key", key, rules.qualified_name)
        elif operator != "Exists":
            text = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            causes.invalid(f"{here}.operator", operator, text)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            causes.invalid(
                f"{here}.effect",
                toleration.get("effect", ""),
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            )
        if operator in ("Equal", ""):
            causes.check(f"{here}.value", value, rules.label_value)
        elif operator == "Exists":
            if value:
                causes.invalid(
                    f"{here}.operator", toleration, "value must be empty when `operator` is 'Exists'"
                )
        else:
            causes.unsupported(f"{here}.operator", operator, ("Equal", "Exists"))
        causes.one_of(
            f"{here}.effect", toleration.get("effect"), ("NoSchedule", "PreferNoSchedule", "NoExecute")
        )


def _node_terms(causes: Causes, field: str, terms: list[Object]) -> None:
    for index, term in enumerate(terms):
        for number, expression in enumerate(term.get("matchExpressions") or ()):
            here = f"{field}[{index}].matchExpressions[{number}]"
            operator, values = expression.get("operator", ""), expression.get("values") or []
            if operator in ("In", "NotIn"):
                if not values:
                    causes.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            elif operator in ("Exists", "DoesNotExist"):
                if values:
                    causes.forbidden(
                        f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                    )
            elif operator in ("Gt", "Lt"):
                if len(values) != 1:
                    causes.required(
                        f"{here}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
                    )
            else:
                causes.invalid(f"{here}.operator", operator, "not a valid selector operator")
            causes.check(f"{here}.key", expression.get("key", ""), rules.qualified_name)


def _affinity(causes: Causes, field: str, affinity: Object) -> None:
    node = affinity.get("nodeAffinity") or {}
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    if isinstance(required, dict):
        here = f"{field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        terms = required.get("nodeSelectorTerms") or []
        if not terms:
            causes.required(here, "must have at least one node selector term")
        _node_terms(causes, here, terms)
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    for index, item in enumerate(node.get(preferred) or ()):
        here = f"{field}.nodeAffinity.{preferred}[{index}]"
        _weight(causes, here, item)
        _node_terms(causes, f"{here}.preference", [item.get("preference") or {}])
    for kind in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(kind) or {}
        for index, term in enumerate(pods.get("requiredDuringSchedulingIgnoredDuringExecution") or ()):
            _pod_term(causes, f"{field}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}]", term)
        for index, item in enumerate(pods.get(preferred) or ()):
            here = f"{field}.{kind}.{preferred}[{index}]"
            _weight(causes, here, item)
            _pod_term(causes, f"{here}.podAffinityTerm", item.get("podAffinityTerm") or {})


def _weight(causes: Causes, field: str, item: Object) -> None:
    if not 1 <= item.get("weight", 0) <= 100:
        causes.invalid(f"{field}.weight", item.get("weight", 0), "must be in the range 1-100")


def _pod_term(causes: Causes, field: str, term: Object) -> None:
    if isinstance(term.get("labelSelector"), dict):
        rules.label_selector(causes, f"{field}.labelSelector", term["labelSelector"])
    key = term.get("topologyKey") or ""
    if not key:
        causes.required(f"{field}.topologyKey", "can not be empty")
    else:
        causes.check(f"{field}.topologyKey", key, rules.qualified_name)


def pod_spec(causes: Causes, field: str, spec: Object) -> None:
    volumes = _volumes(causes, f"{field}.volumes", spec.get("volumes") or [])
    names: set[str] = set()
    containers = spec.get("containers") or []
    if not containers:
        causes.required(f"{field}.containers")
    for group in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(group) or ()):
            _container(causes, f"{field}.{group}[{index}]", container, volumes, names)
    causes.one_of(
        f"{field}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"), needed=True
    )
    policies = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
    causes.one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), policies, needed=True)
    rules.labels(causes, f"{field}.nodeSelector", spec.get("nodeSelector"))
    _security(causes, f"{field}.securityContext", spec.get("securityContext") or {})
    _affinity(causes, f"{field}.affinity", spec.get("affinity") or {})
    if spec.get("serviceAccountName"):
        causes.check(f"{field}.serviceAccountName", spec["serviceAccountName"], rules.dns_subdomain)
    _tolerations(causes, f"{field}.tolerations", spec.get("tolerations") or [])
    if spec.get("priorityClassName"):
        causes.check(f"{field}.priorityClassName", spec["priorityClassName"], rules.dns_subdomain)
    for name in ("hostname", "subdomain"):
        if spec.get(name):
            causes.check(f"{field}.{name}", spec[name], rules.dns_label)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        causes.invalid(
            f"{field}.activeDeadlineSeconds", deadline, "must be between 1 and 2147483647, inclusive"
        )
    causes.not_negative(f"{field}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))


def pod(causes: Causes, new: Object, old: Object | None) -> None:
    spec = new.get("spec") or {}
    pod_spec(causes, "spec", spec)
    if old is not None and not causes:
        _unchanged(causes, spec, old.get("spec") or {})


def _unchanged(causes: Causes, new: Object, old: Object) -> None:
    allowed = copy.deepcopy(new)
    for group in ("containers", "initContainers"):
        if len(allowed.get(group) or ()) == len(old.get(group) or ()):
            for ours, theirs in zip(allowed.get(group) or (), old.get(group) or (), strict=True):
                ours["image"] = theirs.get("image")
                if "resources" in theirs:
                    ours["resources"] = theirs["resources"]
    before, after = old.get("tolerations") or [], allowed.get("tolerations") or []
    if all(toleration in after for toleration in before):
        allowed["tolerations"] = before
        if not before:
            allowed.pop("tolerations")
    if "activeDeadlineSeconds" in allowed:
        was = old.get("activeDeadlineSeconds")
        if was is None or allowed["activeDeadlineSeconds"] <= was:
            allowed.pop("activeDeadlineSeconds")
    kept = {key: value for key, value in old.items() if key != "activeDeadlineSeconds" or key in allowed}
    # Binding goes through the pod's own path in this server; a real one refuses it outside pods/binding.
    if not old.get("nodeName"):
        allowed.pop("nodeName", None)
    for gates in (allowed, kept):
        gates.pop("schedulingGates", None)
    if allowed != kept:
        causes.forbidden("spec", _POD_MAY_CHANGE)


def template(causes: Causes, spec: Object) -> None:
    """spec.template of a workload: its labels must match spec.selector."""
    inner = spec.get("template") or {}
    labels = (inner.get("metadata") or {}).get("labels")
    if not rules.selects(spec["selector"], labels or {}) if spec.get("selector") else True:
        causes.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    rules.labels(causes, "spec.template.labels", labels)
    before = len(causes)
    pod_spec(causes, "spec.template.spec", inner.get("spec") or {})
    policy = (inner.get("spec") or {}).get("restartPolicy", "Always")
    if len(causes) == before and policy != "Always":
        causes.unsupported("spec.template.spec.restartPolicy", policy, ("Always",))


__all__ = ["pod", "pod_spec", "resource_amount", "resources", "template"]
