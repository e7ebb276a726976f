"""Parts of the extension's configuration that server and chat have in common."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from deployments.domain.config_notes import Notes
from deployments.domain.spec import AutoscalingSpec, GpuVendor, ResourceSpec, Toleration

_GPUS = {"nvidia.com/gpu": GpuVendor.NVIDIA, "amd.com/gpu": GpuVendor.AMD}


def mapping(value: Any, path: str, notes: Notes) -> dict[str, Any]:
    """The object, or {} with a line where there is something else."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        notes.ignore(path, "This has to be an object.")
        return {}
    return value


def number(value: Any, path: str, default: int, notes: Notes) -> int:
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        notes.understand(path, f"{value}.")
        return value
    if value is not None:
        notes.ignore(path, "This has to be a whole number.")
    return default


def boolean(value: Any, path: str, notes: Notes) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None:
        notes.ignore(path, "This has to be true or false.")
    return None


def text_map(value: Any, path: str, notes: Notes) -> dict[str, str]:
    """Labels and the like. Kubernetes wants text, so numbers and booleans become text."""
    found = {}
    for key, item in mapping(value, path, notes).items():
        if isinstance(item, bool):
            found[key] = str(item).lower()
        elif isinstance(item, str | int | float):
            found[key] = str(item)
        else:
            notes.ignore(f"{path}.{key}", "This has to be text.")
    if found:
        notes.understand(path, ", ".join(f"{key}={item}" for key, item in found.items()) + ".")
    return found


def image(value: Any, path: str, notes: Notes) -> str:
    """A whole reference, or an object of registry, repository, tag and digest."""
    if value in (None, ""):
        return ""
    if isinstance(value, str):
        notes.understand(path, f"The image is {value}.")
        return value
    given = mapping(value, path, notes)
    for key in given:
        if key not in ("registry", "repository", "tag", "digest"):
            notes.ignore(
                f"{path}.{key}", "This is not understood; policy and secrets are set for both images."
            )
    repository = str(given.get("repository") or "")
    if not repository:
        if given:
            notes.ignore(path, "An image needs a repository; the pinned one stays.")
        return ""
    registry, tag, digest = (str(given.get(key) or "") for key in ("registry", "tag", "digest"))
    found = f"{registry}/{repository}" if registry else repository
    found += (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    notes.understand(path, f"The image is {found}.")
    return found


def resources(value: Any, path: str, base: ResourceSpec, notes: Notes) -> tuple[ResourceSpec, GpuVendor, int]:
    """Requests and limits, and the GPUs that stand among them (vendor NONE where none do)."""
    found, vendor, counts = base, GpuVendor.NONE, dict[str, int]()
    for side, suffix in (("requests", "request"), ("limits", "limit")):
        given = mapping(mapping(value, path, notes).get(side), f"{path}.{side}", notes)
        for key, raw in given.items():
            place = f"{path}.{side}.{key}"
            if isinstance(raw, bool) or not isinstance(raw, str | int | float):
                notes.ignore(place, "This has to be a quantity.")
            elif key in ("cpu", "memory"):
                found = replace(found, **{f"{key}_{suffix}": str(raw)})
                notes.understand(place, f"{raw}.")
            elif key in _GPUS:
                counts[side] = number(raw, place, 0, notes)
                vendor = _GPUS[key]
            else:
                notes.ignore(place, "Only cpu, memory, nvidia.com/gpu and amd.com/gpu are understood.")
    if len(set(counts.values())) > 1:
        notes.warn(
            path, f"GPUs must be the same in requests and limits; the limit of {counts['limits']} is taken."
        )
    for key in mapping(value, path, notes):
        if key not in ("requests", "limits"):
            notes.ignore(f"{path}.{key}", "This is not understood.")
    return found, vendor, counts.get("limits", counts.get("requests", 0))


_AUTOSCALING = {
    "minReplicas": "min_replicas",
    "maxReplicas": "max_replicas",
    "targetCPU": "cpu_percent",
    "targetMemory": "memory_percent",
    "targetCPUUtilizationPercentage": "cpu_percent",
    "targetMemoryUtilizationPercentage": "memory_percent",
}


def autoscaling(value: Any, path: str, notes: Notes) -> AutoscalingSpec:
    found = AutoscalingSpec()
    for key, given in mapping(value, path, notes).items():
        place = f"{path}.{key}"
        if key == "enabled":
            enabled = boolean(given, place, notes)
            found = replace(found, enabled=bool(enabled))
            notes.understand(place, "Autoscaling is on." if enabled else "Autoscaling is off.")
        elif key in _AUTOSCALING:
            name = _AUTOSCALING[key]
            if given not in (None, ""):
                changes: dict[str, Any] = {name: number(given, place, getattr(found, name), notes)}
                found = replace(found, **changes)
        else:
            notes.ignore(place, "This is not understood.")
    return found


def tolerations(value: Any, path: str, notes: Notes) -> tuple[Toleration, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        notes.ignore(path, "This has to be a list.")
        return ()
    found = []
    for place, item in enumerate(value):
        given = mapping(item, f"{path}.{place}", notes)
        unknown = [key for key in given if key not in ("key", "operator", "value", "effect")]
        for key in unknown:
            notes.ignore(f"{path}.{place}.{key}", "This is not understood.")
        if given:
            words = {key: str(word) for key, word in given.items() if key not in unknown and word is not None}
            found.append(Toleration(**words))
    if found:
        notes.understand(path, f"{len(found)} toleration(s).")
    return tuple(found)
