"""Parts of a pod that server and chat have in common."""

from __future__ import annotations

from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.names import parse_image
from deployments.domain.spec import ResourceSpec, Toleration
from deployments.manifests.types import RenderInput


def resources(given: ResourceSpec, field: str, *, extended: dict[str, int] | None = None) -> dict[str, Any]:
    """Requests and limits of a container. Extended resources (GPUs) stand in both: the API server
    refuses a request that differs from its limit.

    Raises :class:`InvalidInput` where a value is missing: a container without limits could take the
    whole node, so there is no default here.
    """
    for name in ("cpu_request", "cpu_limit", "memory_request", "memory_limit"):
        if not getattr(given, name):
            raise InvalidInput(
                "The size of this model is not known, so nothing could be filled in here.",
                field=f"{field}.{name}",
                remedy="Give processors and memory by hand.",
            )
    more = {name: str(count) for name, count in (extended or {}).items() if count}
    return {
        "requests": {"cpu": given.cpu_request, "memory": given.memory_request, **more},
        "limits": {"cpu": given.cpu_limit, "memory": given.memory_limit, **more},
    }


def image(stack: RenderInput, reference: str, field: str) -> str:
    """The image, from the stack's own registry where one is set."""
    parsed = parse_image(reference, field=field)
    registry = stack.spec.images.registry.rstrip("/")
    return str(parsed.with_registry(registry)) if registry else reference


def pull_secrets(stack: RenderInput) -> list[dict[str, str]]:
    """References to Secrets with registry credentials: those given and the one Pilothouse makes."""
    names = list(stack.spec.images.pull_secrets)
    if stack.spec.images.registry_username:
        names.append(stack.names.registry)
    return [{"name": name} for name in dict.fromkeys(names)]


def tolerations(given: tuple[Toleration, ...]) -> list[dict[str, str]]:
    """As Kubernetes writes them: empty members left out."""
    found = []
    for item in given:
        written = {"key": item.key, "operator": item.operator, "value": item.value, "effect": item.effect}
        found.append({name: value for name, value in written.items() if value})
    return found


def placement(
    stack: RenderInput, node_selector: dict[str, str], tolerated: list[dict[str, str]]
) -> dict[str, Any]:
    """Node selector (the stack's with the component's on top) and tolerations, if there are any."""
    merged = {**stack.spec.node_selector, **node_selector}
    found: dict[str, Any] = {}
    if merged:
        found["nodeSelector"] = dict(sorted(merged.items()))
    if tolerated:
        found["tolerations"] = tolerated
    return found


def locked_down(*, read_only_root: bool) -> dict[str, Any]:
    """A container that is not privileged and can gain nothing."""
    return {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": read_only_root,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def scratch(name: str, size_limit: str) -> dict[str, Any]:
    """A small writable directory that lives as long as its pod."""
    return {"name": name, "emptyDir": {"sizeLimit": size_limit}}
