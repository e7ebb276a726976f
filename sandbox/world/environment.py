"""The environment of a container, or why it cannot be made. Texts: kubelet (pkg/kubelet/kubelet_pods.go)."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sandbox.store import Store
from sandbox.world.objects import name_of, namespace_of, spec_of, status_of, uid_of

Object = dict[str, Any]
_VARIABLE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class ConfigError(Exception):
    """CreateContainerConfigError with the kubelet's sentence."""


def _data(store: Store, kind: str, namespace: str, name: str) -> dict[str, str] | None:
    found = store.get(kind, namespace, name)
    if found is None:
        return None
    data: dict[str, str] = dict(found.get("data") or {})
    if kind == "Secret":
        return {key: _decoded(value) for key, value in data.items()}
    return data


def _decoded(text: str) -> str:
    try:
        return base64.b64decode(text).decode("utf-8", "replace")
    except binascii.Error:
        return ""


def _field(pod: Object, path: str) -> str:
    metadata = pod["metadata"]
    simple = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": str(spec_of(pod).get("nodeName", "")),
        "spec.serviceAccountName": str(spec_of(pod).get("serviceAccountName", "")),
        "status.hostIP": str(status_of(pod).get("hostIP", "")),
        "status.podIP": str(status_of(pod).get("podIP", "")),
    }
    if path in simple:
        return simple[path]
    found = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    return str((metadata.get(found[1]) or {}).get(found[2], "")) if found else ""


def _value(store: Store, pod: Object, source: Object) -> str | None:
    """The value of a valueFrom, None if it is optional and absent. Raises ConfigError."""
    namespace = namespace_of(pod)
    for member, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = source.get(member)
        if reference is None:
            continue
        data = _data(store, kind, namespace, reference["name"])
        if data is None:
            if reference.get("optional"):
                return None
            raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
        if reference["key"] not in data:
            if reference.get("optional"):
                return None
            raise ConfigError(
                f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}"
            )
        return data[reference["key"]]
    if source.get("fieldRef"):
        return _field(pod, source["fieldRef"]["fieldPath"])
    if source.get("resourceFieldRef"):
        resource = str(source["resourceFieldRef"].get("resource", ""))
        section, _, name = resource.partition(".")
        for container in spec_of(pod).get("containers") or []:
            value = ((container.get("resources") or {}).get(section) or {}).get(name)
            if value is not None:
                return str(value)
        return "0"
    return ""


def resolve(store: Store, pod: Object, container: Object) -> dict[str, str]:
    """Variable -> value. Raises ConfigError."""
    result: dict[str, str] = {}
    namespace = namespace_of(pod)
    for source in container.get("envFrom") or []:
        for member, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            reference = source.get(member)
            if reference is None:
                continue
            data = _data(store, kind, namespace, reference["name"])
            if data is None and not reference.get("optional"):
                raise ConfigError(f'{kind.lower()} "{reference["name"]}" not found')
            result.update({source.get("prefix", "") + key: value for key, value in (data or {}).items()})
    for entry in container.get("env") or []:
        if entry.get("valueFrom"):
            value = _value(store, pod, entry["valueFrom"])
            if value is None:
                continue
        else:
            value = expand(str(entry.get("value", "")), result)
        result[entry["name"]] = value
    return result


def expand(text: str, known: dict[str, str]) -> str:
    """$(NAME) replaced where known, $$ for a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        return known.get(match[1], match[0])

    return _VARIABLE.sub(replace, text)


def check_user(pod: Object, container: Object) -> None:
    """runAsNonRoot against the user; all simulated images run as root by default. Raises ConfigError."""
    own, shared = container.get("securityContext") or {}, spec_of(pod).get("securityContext") or {}
    user = own.get("runAsUser", shared.get("runAsUser"))
    if not own.get("runAsNonRoot", shared.get("runAsNonRoot")):
        return
    where = f'(pod: "{name_of(pod)}_{namespace_of(pod)}({uid_of(pod)})", container: {container["name"]})'
    if user is None:
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if user == 0:
        raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
