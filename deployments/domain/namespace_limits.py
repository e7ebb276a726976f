"""What a namespace allows: its quota, its limit ranges, its level of pod security.

Kubernetes documentation: "Resource Quotas", "Limit Ranges", "Pod Security Standards". Objects are the
API server's JSON; amounts are compared exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.quantities import format_bytes, parse

PodSpec = Mapping[str, Any]
Use = dict[str, Decimal]

_APPLIES = frozenset({"NotBestEffort", "NotTerminating"})
_OTHERS = frozenset({"BestEffort", "Terminating"})
_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)


def use_of_pod(spec: PodSpec) -> Use:
    """What one pod takes of a quota: requests.*, limits.*, bare names and pods. Pods without init
    containers only, which is what Pilothouse makes."""
    use: Use = {"pods": Decimal(1), "count/pods": Decimal(1)}
    for container in spec.get("containers") or []:
        resources = container.get("resources") or {}
        for section in ("requests", "limits"):
            for name, value in (resources.get(section) or {}).items():
                amount = parse(str(value))
                _add(use, f"{section}.{name}", amount)
                if section == "requests" and name in ("cpu", "memory"):
                    _add(use, name, amount)
    return use


def use_of_claim(spec: Mapping[str, Any]) -> Use:
    """What one claim takes of a quota."""
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    size = parse(str(asked)) if asked else Decimal(0)
    use: Use = {"persistentvolumeclaims": Decimal(1), "requests.storage": size}
    name = spec.get("storageClassName")
    if name:
        suffix = f"{name}.storageclass.storage.k8s.io"
        use[f"{suffix}/requests.storage"], use[f"{suffix}/persistentvolumeclaims"] = size, Decimal(1)
    return use


def times(use: Use, count: int) -> Use:
    """The same use several times."""
    return {name: value * count for name, value in use.items()}


def together(uses: Iterable[Use]) -> Use:
    """The sum of several uses."""
    total: Use = {}
    for use in uses:
        for name, value in use.items():
            _add(total, name, value)
    return total


def quota_applies(quota: Mapping[str, Any]) -> bool | None:
    """Whether a quota counts ordinary running pods with requests; None where its scopes go beyond what
    can be told here."""
    spec = quota.get("spec") or {}
    scopes = set(spec.get("scopes") or [])
    if spec.get("scopeSelector"):
        return None
    if scopes & _OTHERS:
        return False
    return True if scopes <= _APPLIES else None


def exceeded(quota: Mapping[str, Any], more: Use) -> list[str]:
    """Clauses for what this quota does not let be added: "requests.cpu: 4 more, 6 of 8 used"."""
    status = quota.get("status") or {}
    hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
    used = status.get("used") or {}
    found = []
    for name, limit in sorted(hard.items()):
        wanted = more.get(name, Decimal(0))
        try:
            most, now = parse(str(limit)), parse(str(used.get(name, "0")))
        except InvalidInput:
            continue  # no API server stores this; what cannot be read limits nobody
        if wanted > 0 and now + wanted > most:
            shown = format_bytes(wanted) if "memory" in name or "storage" in name else f"{wanted:f}"
            found.append(f"{name}: {shown} more wanted, {used.get(name, '0')} of {limit} used")
    return found


def outside_range(limits: Mapping[str, Any], spec: PodSpec, claims: Sequence[Mapping[str, Any]]) -> list[str]:
    """Clauses for what a LimitRange refuses of a pod and its claims."""
    found = []
    for item in (limits.get("spec") or {}).get("limits") or []:
        if item.get("type") == "Container":
            for container in spec.get("containers") or []:
                resources = container.get("resources") or {}
                found += _outside(item, resources, f"container {container.get('name', '')}")
        elif item.get("type") == "Pod":
            found += _outside(item, _whole_pod(spec), "the pod")
        elif item.get("type") == "PersistentVolumeClaim":
            for claim in claims:
                asked = (claim.get("resources") or {}).get("requests") or {}
                found += _outside(item, {"requests": asked, "limits": asked}, "the claim")
    return found


def restricted_faults(spec: PodSpec) -> list[str]:
    """What keeps a pod out of a namespace that enforces the restricted standard, as clauses. What
    Pilothouse never asks for (host namespaces, privileges) is not looked for."""
    pod = spec.get("securityContext") or {}
    found = []
    for container in spec.get("containers") or []:
        own, name = container.get("securityContext") or {}, container.get("name", "")
        if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
            found.append(f"{name} may run as root (runAsNonRoot is not set)")
        if own.get("runAsUser", pod.get("runAsUser")) == 0:
            found.append(f"{name} runs as uid 0")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append(f"{name} may gain privileges")
        if "ALL" not in ((own.get("capabilities") or {}).get("drop") or []):
            found.append(f"{name} keeps capabilities")
        profile = own.get("seccompProfile") or pod.get("seccompProfile") or {}
        if profile.get("type") not in ("RuntimeDefault", "Localhost"):
            found.append(f"{name} has no seccomp profile")
    for volume in spec.get("volumes") or []:
        if not _VOLUMES & set(volume):
            found.append(f"volume {volume.get('name', '')} is of a kind that is not allowed")
    return found


# -- inside -------------------------------------------------------------------------------------------


def _add(use: Use, name: str, value: Decimal) -> None:
    use[name] = use.get(name, Decimal(0)) + value


def _whole_pod(spec: PodSpec) -> Mapping[str, Any]:
    use = use_of_pod(spec)
    return {
        section: {
            name.removeprefix(f"{section}."): str(value)
            for name, value in use.items()
            if name.startswith(f"{section}.")
        }
        for section in ("requests", "limits")
    }


def _outside(item: Mapping[str, Any], resources: Mapping[str, Any], what: str) -> list[str]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    found = []
    for name, most in (item.get("max") or {}).items():
        if name in limits and parse(str(limits[name])) > parse(str(most)):
            found.append(f"{what} may have {most} {name}, {limits[name]} is wanted")
    for name, least in (item.get("min") or {}).items():
        if name in requests and parse(str(requests[name])) < parse(str(least)):
            found.append(f"{what} must ask for {least} {name}, {requests[name]} is asked")
    for name, ratio in (item.get("maxLimitRequestRatio") or {}).items():
        if name not in limits or name not in requests or not parse(str(requests[name])):
            continue
        if parse(str(limits[name])) / parse(str(requests[name])) > parse(str(ratio)):
            found.append(
                f"{what} may have a limit of {ratio} times its request of {name}, "
                f"{limits[name]} for {requests[name]} is more"
            )
    return found
