"""What goes into the renderer and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deployments.domain.names import ObjectNames
from deployments.domain.spec import Secrets, StackSpec

Manifest = dict[str, Any]
"""One Kubernetes object as plain JSON values."""


@dataclass(frozen=True)
class RenderInput:
    """Everything that the objects of one deployment depend on; equal inputs give equal objects.

    ``spec``            already sized (``domain.sizing.sized``).
    ``deployment_id``   the deployment's uuid, in the label that selects its objects.
    ``installation_id`` which Pilothouse made them.
    ``apply_set_id``    the gateway's ``ApplySet.id``, for the label of every member.
    ``digest_key``      a secret of this installation: keys the digests that stand in for secret values.
    ``template_size`` and ``template_storage_class`` are those that the StatefulSet was created with,
                        where it exists: a claim template can never change. None: not created yet.
    """

    name: str
    namespace: str
    create_namespace: bool
    spec: StackSpec
    secrets: Secrets
    deployment_id: str
    installation_id: str
    apply_set_id: str
    digest_key: bytes
    template_size: str | None = None
    template_storage_class: str | None = None

    @property
    def names(self) -> ObjectNames:
        return ObjectNames(self.name)

    def __repr__(self) -> str:
        return f"RenderInput({self.namespace}/{self.name})"
