"""How large a model is, from its manifest in the registry (Ollama's registry protocol: the manifest
of an OCI-like image, asked for without signing in)."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from deployments.domain.modelname import parse
from deployments.gateways.registry.fetch import CannotTell, fetch

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MAX_LAYERS = 4096
MAX_BYTES = 2**60
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class RegistryManifest:
    """``layers`` are (digest, bytes), the config blob last as Ollama pulls it; ``total`` their sum, a
    blob that is named twice counted once."""

    total: int
    layers: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class NoSuchModel:
    """The registry answered that it has no such model or tag."""

    why: str


def model_size(
    reference: str,
    *,
    allowed_hosts: Collection[str] = (),
    timeout: float = 5.0,
    only_hosts: Collection[str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> RegistryManifest | NoSuchModel | CannotTell:
    """Ask the registry that the name carries. Never raises for what a registry does or fails to do.

    ``allowed_hosts`` may have private addresses; ``only_hosts``, where given, are the only ones asked
    at all; ``timeout`` is in seconds for the whole. Raises :class:`InvalidInput` for a name that is
    none.
    """
    name = parse(reference)
    host = name.host.lower()
    if only_hosts is not None and host not in {one.lower() for one in only_hosts}:
        return CannotTell(f"{host} is not among the allowed registries")
    if name.insecure:
        return CannotTell(f"{host} is not asked without https")
    got = fetch(
        f"https://{host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}",
        accept=MANIFEST,
        allowed_hosts=allowed_hosts,
        timeout=timeout,
        trust=trust,
    )
    if isinstance(got, CannotTell):
        return got
    if got.status == 404:
        return NoSuchModel(f"{host} has no {name.shortest}")
    if got.status in (401, 403):
        return CannotTell(f"{host} wants a sign-in")
    if got.status != 200:
        return CannotTell(f"{host} answers {got.status}")
    manifest = _manifest(got.body)
    return manifest or CannotTell(f"{host} answers with something that is not a manifest")


def _manifest(body: bytes) -> RegistryManifest | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("layers"), list):
        return None
    entries = [*value["layers"], value.get("config")]
    if len(entries) > MAX_LAYERS:
        return None
    layers: dict[str, int] = {}
    for entry in entries:
        layer = _layer(entry)
        if layer is None:
            return None
        layers[layer[0]] = layer[1]
    return RegistryManifest(sum(layers.values()), tuple(layers.items()))


def _layer(entry: Any) -> tuple[str, int] | None:
    if not isinstance(entry, dict):
        return None
    digest, size = entry.get("digest"), entry.get("size")
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        return None
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= MAX_BYTES:
        return None
    return digest, size
