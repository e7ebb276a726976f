"""A profile as a file of its own: YAML, ``apiVersion: pilothouse/v1``, every field, no secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml

from deployments.domain.errors import InvalidInput
from deployments.domain.safe_yaml import load_documents
from deployments.domain.spec import StackSpec, spec_from_json, spec_to_json

API_VERSION = "pilothouse/v1"
KIND = "Profile"


@dataclass(frozen=True)
class ProfileFile:
    """What such a file holds."""

    name: str
    description: str
    spec: StackSpec


def dump_profile(profile: ProfileFile) -> str:
    """The file's text. An access code or a registry password is never in it: the spec only says
    that there is one, and whoever imports the file is asked for it."""
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": profile.name, "description": profile.description},
        "spec": _plain(spec_to_json(profile.spec)),
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def load_profile(data: str | bytes) -> ProfileFile:
    """Read such a file, or raise :class:`InvalidInput`. The spec's values are not validated here."""
    documents = load_documents(data)
    if len(documents) != 1 or not is_profile(documents[0]):
        raise InvalidInput(
            f"This is not a profile: it has no “apiVersion: {API_VERSION}” and “kind: {KIND}”."
        )
    document = documents[0]
    for key in document:
        if key not in ("apiVersion", "kind", "metadata", "spec"):
            raise InvalidInput(f"“{key}” does not belong in a profile's file.", field=str(key))
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidInput("metadata must be an object.", field="metadata")
    return ProfileFile(
        name=str(metadata.get("name") or ""),
        description=str(metadata.get("description") or ""),
        spec=spec_from_json(document.get("spec") or {}),
    )


def is_profile(document: object) -> bool:
    """Whether a YAML document says of itself that it is one."""
    return (
        isinstance(document, dict)
        and document.get("apiVersion") == API_VERSION
        and document.get("kind") == KIND
    )


def _plain(value: Any) -> Any:
    """Enumerations and tuples as YAML's own kinds."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, str) else value
