"""Uninstall: delete what was applied, under the uid it was recorded with, and nothing else."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from deployments.domain.errors import ClusterForbids, ObjectMissing, Outdated
from deployments.domain.states import ACTIVE, OperationKind
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind
from deployments.ledger import transitions
from deployments.ledger.announce import announce_lists
from deployments.manifests.labels import DEPLOYMENT_LABEL
from deployments.manifests.order import RANK
from deployments.models import Deployment, OwnedObject
from deployments.workflows.access import client_for
from deployments.workflows.engine import Done, Run, Wait

CLAIM, NAMESPACE = "PersistentVolumeClaim", "Namespace"
# What every namespace has without anybody's doing.
BUILT_IN = {("ConfigMap", "kube-root-ca.crt"), ("ConfigMap", "openshift-service-ca.crt")}


def stop(run: Run) -> Done | Wait:
    """Let running pulls of the deployment end first: they write to volumes that may go."""
    pulls = run.deployment.operations.filter(kind=OperationKind.PULL, state__in=ACTIVE)
    left = list(pulls.values_list("pk", flat=True))
    for pull in left:
        transitions.request_cancel(pull, run.operation.actor_name)
        transitions.cancel_queued(pull, "the deployment is being uninstalled")
    if pulls.exists():
        return Wait(1, "running pulls to stop")
    return Done("no pull is running" if not left else f"{len(left)} pulls stopped")


def delete(run: Run) -> Done | Wait:
    """Delete objects in reverse order of their apply, then wait until they and their pods are gone."""
    deployment = run.deployment
    client = client_for(deployment.cluster)
    _record_claims(client, deployment)
    left: list[ObjectRef] = []
    for row in _own(deployment):
        run.hold.check()
        if _delete(client, row) and _still_there(client, row):
            left.append(_ref(row))
    if left:
        return Wait(1, f"{', '.join(map(str, left[:3]))} to go")
    pods = _pods_left(client, deployment)
    if pods:
        return Wait(1, f"{pods} pod{'s' if pods > 1 else ''} to end")
    total = deployment.owned.exclude(kind__in=[CLAIM, NAMESPACE]).count()
    return Done(f"{total} objects deleted")


def data(run: Run) -> Done | Wait:
    """Delete the claims that came with the deployment, where that was asked for."""
    deployment = run.deployment
    claims = _own(deployment, CLAIM)
    if not run.operation.request["delete_data"]:
        names = ", ".join(row.name for row in claims[:5])
        return Done(f"model data kept: {names}" if names else "there was no model data of its own")
    client = client_for(deployment.cluster)
    left = []
    for row in claims:
        run.hold.check()
        if _delete(client, row) and _still_there(client, row):
            left.append(row.name)
    if left:
        return Wait(1, f"{', '.join(left[:3])} to go")
    total = deployment.owned.filter(kind=CLAIM).count()
    if total == 1:
        return Done("1 claim with its models deleted")
    return Done(f"{total} claims with their models deleted")


def namespace(run: Run) -> Done | Wait:
    """Delete the namespace only if we made it and nothing else lives in it; then close the books."""
    deployment = run.deployment
    words = _namespace(run, deployment)
    if isinstance(words, Wait):
        return words
    Deployment.objects.filter(pk=deployment.pk).update(removed_at=timezone.now(), version=F("version") + 1)
    deployment.observed.all().delete()
    announce_lists(deployment.team_id)
    return Done(words)


def _namespace(run: Run, deployment: Deployment) -> str | Wait:
    if not deployment.made_namespace:
        return f"namespace {deployment.namespace} was there before and stays"
    others = Deployment.objects.filter(
        cluster=deployment.cluster, namespace=deployment.namespace, removed_at=None
    ).exclude(pk=deployment.pk)
    if others.exists():
        # The next one that is uninstalled there inherits the right to delete it.
        others.update(made_namespace=True, namespace_uid=deployment.namespace_uid)
        return f"namespace {deployment.namespace} stays: other deployments live in it"
    client = client_for(deployment.cluster)
    row = deployment.owned.filter(kind=NAMESPACE, uid=deployment.namespace_uid, gone_at=None).first()
    if row is None:
        return f"namespace {deployment.namespace} is gone"
    if not _still_there(client, row):
        return f"namespace {deployment.namespace} is deleted"
    if not run.operation.memory.get("namespace_deleted"):
        stranger = _first_stranger(client, deployment)
        if stranger:
            return f"namespace {deployment.namespace} stays: {stranger} lives in it"
        _delete(client, row)
    return Wait(1, f"namespace {deployment.namespace} to end", memory={"namespace_deleted": True})


def _own(deployment: Deployment, *kinds: str) -> list[OwnedObject]:
    """What is still there of it, last applied first; of ``kinds`` or of all that hold no data."""
    rows = deployment.owned.filter(gone_at=None)
    rows = rows.filter(kind__in=kinds) if kinds else rows.exclude(kind__in=[CLAIM, NAMESPACE])
    return sorted(rows, key=lambda row: (-RANK.get(row.kind, 0), row.name))


def _ref(row: OwnedObject) -> ObjectRef:
    return ObjectRef(row.api_version, row.kind, row.name, row.namespace)


def _delete(client: ClusterClient, row: OwnedObject) -> bool:
    """Ask for the deletion of exactly this object; False where it is gone, or where its name now
    belongs to another one."""
    try:
        if client.delete(_ref(row), uid=row.uid, propagation="Background"):
            return True
    except Outdated:
        pass  # another object stands under the name: not ours to delete
    _gone(row)
    return False


def _still_there(client: ClusterClient, row: OwnedObject) -> bool:
    try:
        live = client.get(_ref(row))
    except ObjectMissing:
        _gone(row)
        return False
    if live["metadata"]["uid"] != row.uid:
        _gone(row)
        return False
    return True


def _gone(row: OwnedObject) -> None:
    OwnedObject.objects.filter(pk=row.pk).update(gone_at=timezone.now())


def _record_claims(client: ClusterClient, deployment: Deployment) -> None:
    """Note the claims that the StatefulSet's controller made, before the StatefulSet goes.

    They carry our label from the claim template, and no manifest names them."""
    claims = ResourceKind("v1", CLAIM)
    selector = f"{DEPLOYMENT_LABEL}={deployment.uid}"
    for page in client.list_pages(claims, deployment.namespace, selector):
        for item in page.items:
            meta = item["metadata"]
            OwnedObject.objects.get_or_create(
                deployment=deployment,
                kind=CLAIM,
                namespace=deployment.namespace,
                name=meta["name"],
                uid=meta["uid"],
                defaults={"api_version": "v1", "by_controller": True},
            )


def _pods_left(client: ClusterClient, deployment: Deployment) -> int:
    selector = f"{DEPLOYMENT_LABEL}={deployment.uid}"
    pods = ResourceKind("v1", "Pod")
    return sum(len(page.items) for page in client.list_pages(pods, deployment.namespace, selector))


def _first_stranger(client: ClusterClient, deployment: Deployment) -> str:
    """Something in the namespace that is not ours: kept claims count too. "" where it is empty."""
    kinds = [ResourceKind("v1", kind) for kind in ("Pod", CLAIM, "Service", "ConfigMap", "Secret")] + [
        ResourceKind("apps/v1", kind) for kind in ("Deployment", "StatefulSet", "DaemonSet")
    ]
    kinds += [ResourceKind("networking.k8s.io/v1", kind) for kind in ("Ingress", "NetworkPolicy")]
    for kind in kinds:
        try:
            for page in client.list_pages(kind, deployment.namespace):
                for item in page.items:
                    name = item["metadata"]["name"]
                    if (kind.kind, name) not in BUILT_IN:
                        return f"{kind.kind} {name}"
        except ClusterForbids:
            # What may not be seen may be there: then the namespace is not ours to delete.
            return f"maybe a {kind.kind} (Pilothouse may not list them)"
    return ""
