"""Server-side apply of a stack in rank order, with what was applied on record, and the prune after it."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from deployments.domain.errors import ManifestRefused, ObjectMissing
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind
from deployments.gateways.kubernetes.applyset import parent_object, prune_candidates
from deployments.manifests.types import Manifest
from deployments.models import Deployment, OwnedObject
from deployments.workflows.checks.storage import KEEP_STORAGE
from deployments.workflows.engine import Run
from deployments.workflows.stack import Stack


def apply_all(run: Run, client: ClusterClient, stack: Stack) -> dict[str, ObjectRef]:
    """Apply everything in rank order; uid -> object. What was applied is recorded as it goes, so that
    an uninstall after a failure half-way finds it."""
    deployment = run.deployment
    applied: dict[str, ObjectRef] = {}
    force = bool(run.operation.request.get("force"))
    kinds = {ObjectRef.of(manifest).resource_kind for manifest in stack.manifests}
    rest = list(stack.manifests)
    if rest and rest[0]["kind"] == "Namespace":
        manifest = rest.pop(0)
        _own(deployment, applied, _make_namespace(client, deployment, manifest))
    before = _kinds_of(deployment)
    _own(deployment, applied, client.apply(parent_object(stack.apply_set, kinds | before), force=True))
    for manifest in rest:
        run.hold.check()
        try:
            live = client.apply(manifest, force=force)
        except ManifestRefused as error:
            raise _explained(error, manifest) from error
        _own(deployment, applied, live)
    return applied


def prune(
    client: ClusterClient, stack: Stack, deployment: Deployment, applied: dict[str, ObjectRef]
) -> list[ObjectRef]:
    """Delete what earlier releases applied and this one does not have, then shrink the set's kinds."""
    recorded = frozenset(deployment.owned.filter(gone_at=None).values_list("uid", flat=True))
    kinds = _kinds_of(deployment)
    pruned: list[ObjectRef] = []
    if recorded - set(applied):
        for ref, uid in prune_candidates(client, stack.apply_set, kinds, frozenset(applied), recorded):
            if ref == stack.apply_set.parent:
                continue
            client.delete(ref, uid=uid)
            deployment.owned.filter(uid=uid).update(gone_at=timezone.now())
            pruned.append(ref)
    left = {ObjectRef.of(manifest).resource_kind for manifest in stack.manifests}
    if pruned or kinds != left:
        client.apply(parent_object(stack.apply_set, left), force=True)
    return pruned


def _make_namespace(client: ClusterClient, deployment: Deployment, manifest: Manifest) -> Manifest | None:
    """Make the namespace where it is missing. One that a person made is used and never becomes ours."""
    ref = ObjectRef.of(manifest)
    try:
        live = client.get(ref)
    except ObjectMissing:
        live = client.apply(manifest)
        Deployment.objects.filter(pk=deployment.pk).update(
            made_namespace=True, namespace_uid=live["metadata"]["uid"], version=F("version") + 1
        )
        deployment.made_namespace = True
        return live
    return None if made_by_others(manifest, live, deployment) else client.apply(manifest)


def made_by_others(manifest: Manifest, live: Manifest, deployment: Deployment | None) -> bool:
    """Whether an object that is there is a namespace that we did not make: it is used as it is."""
    if manifest["kind"] != "Namespace":
        return False
    if deployment is None or not deployment.made_namespace:
        return True
    return bool(live["metadata"]["uid"] != deployment.namespace_uid)


def _own(deployment: Deployment, applied: dict[str, ObjectRef], live: Manifest | None) -> None:
    if live is None:
        return
    ref, uid = ObjectRef.of(live), live["metadata"]["uid"]
    applied[uid] = ref
    OwnedObject.objects.update_or_create(
        deployment=deployment,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=uid,
        defaults={"api_version": ref.api_version, "gone_at": None},
    )


def _kinds_of(deployment: Deployment) -> set[ResourceKind]:
    return {
        ObjectRef(row.api_version, row.kind, row.name, row.namespace).resource_kind
        for row in deployment.owned.filter(gone_at=None, by_controller=False).exclude(kind="Namespace")
    }


def _explained(error: ManifestRefused, manifest: Manifest) -> ManifestRefused:
    """A refusal that names what cannot change, where that is what it is about."""
    if manifest["kind"] == "StatefulSet" and "updates to statefulset spec" in error.answered:
        return ManifestRefused(
            "The cluster does not let this part of the server change.",
            causes=error.causes,
            tried=error.tried,
            answered=error.answered,
            remedy=KEEP_STORAGE,
            retryable=False,
        )
    return error
