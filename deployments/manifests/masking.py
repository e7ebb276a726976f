"""Manifests without their secrets: for storage, for a diff, for a digest.

A value is replaced by a keyed digest of it: one sees that it changed, never what it is. The key
belongs to the installation, so that a short access code cannot be found by trying.
"""

from __future__ import annotations

import copy
import hashlib
import hmac
import json
from typing import Any

from deployments.domain.errors import Unreadable
from deployments.manifests.types import Manifest

_MARK = "masked:"


def keyed_digest(value: str, key: bytes) -> str:
    """24 hexadecimal digits of HMAC-SHA256."""
    return hmac.new(key, value.encode(), hashlib.sha256).hexdigest()[:24]


def mask_secrets(manifest: Manifest, key: bytes) -> Manifest:
    """A copy in which every value of a Secret is "masked:<digest>". Other kinds, and values that are
    masked already, come back equal."""
    if manifest.get("kind") != "Secret":
        return copy.deepcopy(manifest)
    masked = copy.deepcopy(manifest)
    for field in ("data", "stringData"):
        values = masked.get(field)
        if isinstance(values, dict):
            masked[field] = {name: _mask(str(value), key) for name, value in values.items()}
    annotations = masked.get("metadata", {}).get("annotations", {})
    # kubectl's client-side apply keeps the whole object there, data included
    if "kubectl.kubernetes.io/last-applied-configuration" in annotations:
        annotations["kubectl.kubernetes.io/last-applied-configuration"] = _MARK + "…"
    return masked


def is_masked(manifest: Manifest) -> bool:
    """Whether a Secret holds marks instead of values; True for every other kind."""
    if manifest.get("kind") != "Secret":
        return True
    values = [*manifest.get("data", {}).values(), *manifest.get("stringData", {}).values()]
    return all(str(value).startswith(_MARK) for value in values)


def restore_secrets(stored: list[Manifest], originals: list[Manifest]) -> list[Manifest]:
    """Masked manifests with their Secrets as they were in clear, to apply a release again.

    Raises :class:`Unreadable` where the original of a Secret is not among ``originals``.
    """
    clear = {_identity(manifest): manifest for manifest in originals}
    restored = []
    for manifest in stored:
        if manifest.get("kind") != "Secret":
            restored.append(copy.deepcopy(manifest))
            continue
        original = clear.get(_identity(manifest))
        if original is None:
            raise Unreadable(
                f"The values that Secret {manifest['metadata']['name']} had in this release are not kept.",
                remedy="Apply a revision instead; it takes the secrets of today.",
            )
        restored.append(copy.deepcopy(original))
    return restored


def digest(manifests: list[Manifest]) -> str:
    """SHA-256 over the canonical JSON of masked manifests, in the order given.

    Raises ValueError for a Secret in clear: a plain digest of a short code could be searched for.
    """
    if not all(is_masked(manifest) for manifest in manifests):
        raise ValueError("mask secrets before taking a digest")
    return hashlib.sha256(canonical(manifests).encode()).hexdigest()


def canonical(value: Any) -> str:
    """JSON with sorted keys and without blanks, not escaped: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _mask(value: str, key: bytes) -> str:
    return value if value.startswith(_MARK) else _MARK + keyed_digest(value, key)


def _identity(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]
