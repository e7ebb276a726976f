"""The objects that make up a deployment: rendered from a revision, or as a release kept them."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

from django.conf import settings

from deployments.domain.names import ObjectNames
from deployments.domain.sizing import Sizing, size_stack, sized
from deployments.domain.spec import Secrets, StackSpec, spec_from_json
from deployments.gateways.kubernetes import ApplySet
from deployments.ledger import vault
from deployments.manifests.masking import restore_secrets
from deployments.manifests.render import render
from deployments.manifests.types import Manifest, RenderInput
from deployments.models import Deployment, Installation, Release, Revision


@dataclass(frozen=True)
class Stack:
    """One stack ready to be applied. ``manifests`` hold secrets in clear: never store them so."""

    names: ObjectNames
    namespace: str
    spec: StackSpec
    sizing: Sizing
    apply_set: ApplySet
    manifests: list[Manifest]


def digest_key() -> bytes:
    """Keys the digests that stand in for secret values."""
    return hashlib.sha256(b"manifests:" + settings.SECRET_KEY.encode()).digest()


def build(
    revision: Revision,
    *,
    namespace: str,
    name: str,
    create_namespace: bool,
    deployment: Deployment | None,
    template: tuple[str, str] | None = None,
) -> Stack:
    """Render a revision for a place. Without a deployment (a draft) an id of no deployment stands in.

    ``template`` is (size, storage class) of the claim template that the StatefulSet on the cluster
    has, which can never change. Raises :class:`InvalidInput` where the spec lacks something.
    """
    secrets = Secrets(**vault.unseal(revision.secrets)) if revision.secrets else Secrets()
    return of_spec(
        spec_from_json(revision.spec),
        secrets,
        namespace=namespace,
        name=name,
        create_namespace=create_namespace,
        deployment=deployment,
        template=template,
    )


def of_spec(
    given: StackSpec,
    secrets: Secrets,
    *,
    namespace: str,
    name: str,
    create_namespace: bool,
    deployment: Deployment | None,
    template: tuple[str, str] | None = None,
) -> Stack:
    """The same of a spec that no revision holds (yet)."""
    deployment_id = str(deployment.uid if deployment else uuid.UUID(int=0))
    names = ObjectNames(name)
    apply_set = _apply_set(names, namespace, deployment_id)
    sizing = size_stack(given, None)
    spec = sized(given, sizing)
    manifests = render(
        RenderInput(
            name=name,
            namespace=namespace,
            create_namespace=create_namespace,
            spec=spec,
            secrets=secrets,
            deployment_id=deployment_id,
            installation_id=apply_set.installation,
            apply_set_id=apply_set.id,
            digest_key=digest_key(),
            template_size=template[0] if template else None,
            template_storage_class=template[1] if template else None,
        )
    )
    return Stack(names, namespace, spec, sizing, apply_set, manifests)


def stored(release: Release, deployment: Deployment) -> Stack:
    """What a release applied, to be applied again. Nothing is rendered: the same objects, whatever the
    renderer makes of the revision today. Raises :class:`Unreadable` where its secrets cannot be read."""
    names = ObjectNames(deployment.name)
    spec = spec_from_json(release.spec)
    originals = vault.unseal(release.sealed) if release.sealed else []
    return Stack(
        names=names,
        namespace=deployment.namespace,
        spec=spec,
        sizing=size_stack(spec, None),
        apply_set=_apply_set(names, deployment.namespace, str(deployment.uid)),
        manifests=restore_secrets(release.manifests, originals),
    )


def _apply_set(names: ObjectNames, namespace: str, deployment_id: str) -> ApplySet:
    installation = str(Installation.objects.get().uid)
    return ApplySet(names.apply_set, namespace, installation, deployment_id)
