"""The claims for models: their class, their access, their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployments.domain.errors import ClusterForbids, InvalidInput, ObjectMissing
from deployments.domain.findings import Finding
from deployments.domain.quantities import gib, parse
from deployments.domain.sizing import claim_size_for
from deployments.domain.spec import StorageMode
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from deployments.manifests.labels import DEPLOYMENT_LABEL
from deployments.workflows.capacity import POD, UNFINISHED
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.checks.names import ours
from deployments.workflows.checks.volumes import BY_HAND, DEFAULT_CLASS, STORAGE_CLASS
from deployments.workflows.stack import Stack

# What is known of provisioners: the access modes column of the CSI driver list
# (kubernetes-csi.github.io, "Drivers") and of the documentation's table of volume plugins.
_ONE_NODE = frozenset(
    {
        "ebs.csi.aws.com",
        "kubernetes.io/aws-ebs",
        "disk.csi.azure.com",
        "kubernetes.io/azure-disk",
        "pd.csi.storage.gke.io",
        "kubernetes.io/gce-pd",
        "rancher.io/local-path",
        "k8s.io/minikube-hostpath",
        "openebs.io/local",
        "topolvm.io",
        "local.csi.openebs.io",
        "rbd.csi.ceph.com",
        "rook-ceph.rbd.csi.ceph.com",
        "sandbox.pilothouse.io/block",
    }
)
_MANY_NODES = frozenset(
    {
        "nfs.csi.k8s.io",
        "cluster.local/nfs-subdir-external-provisioner",
        "k8s-sigs.io/nfs-subdir-external-provisioner",
        "efs.csi.aws.com",
        "file.csi.azure.com",
        "filestore.csi.storage.gke.io",
        "cephfs.csi.ceph.com",
        "rook-ceph.cephfs.csi.ceph.com",
        "driver.longhorn.io",
        "csi.juicefs.com",
        "sandbox.pilothouse.io/files",
    }
)

KEEP_STORAGE = (
    "Keep the storage as it was installed; to change it, uninstall keeping the data and install anew."
)


def storage(
    client: ClusterClient, stack: Stack, namespace_exists: bool, model_bytes: int
) -> Iterator[Finding]:
    """The class or the claim that the profile names. ``model_bytes`` 0 where that is not known."""
    yield from claim_size(stack, model_bytes)
    storage = stack.spec.storage
    if storage.mode is StorageMode.EXISTING:
        yield from _existing_claim(client, stack, namespace_exists, model_bytes)
        return
    try:
        classes = [item for page in client.list_pages(STORAGE_CLASS) for item in page.items]
    except ClusterForbids as error:
        yield Finding(
            "storage",
            CANNOT_TELL,
            "Storage classes cannot be listed",
            error.answered,
            "No harm in going on; the claim will tell.",
            field="storage_class",
        )
        return
    by_name = {item["metadata"]["name"]: item for item in classes}
    defaults = [
        name
        for name, item in by_name.items()
        if (item["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    ]
    known = ", ".join(sorted(by_name)) or "none"
    if storage.storage_class and storage.storage_class not in by_name:
        yield Finding(
            "storage",
            FAIL,
            f"There is no storage class {storage.storage_class}, so the claim can never bind",
            f"storage classes: {known}",
            "Choose one of these in the profile.",
            field="storage_class",
        )
        return
    if not storage.storage_class and not defaults:
        yield Finding(
            "storage",
            FAIL,
            "The cluster has no default storage class, so the claim can never bind",
            f"storage classes: {known}",
            "Name a storage class in the profile, or mark one as the default.",
            field="storage_class",
        )
        return
    yield _class(stack, by_name[storage.storage_class or sorted(defaults)[0]])
    if len(defaults) > 1 and not storage.storage_class:
        yield Finding(
            "storage_default",
            WARN,
            "Several storage classes are the default",
            ", ".join(sorted(defaults)),
            "The newest one is taken (Kubernetes 1.26 and later); name the one you mean in the profile.",
            field="storage_class",
        )


def kept_storage(stack: Stack, there: Mapping[ObjectRef, dict[str, Any]]) -> Iterator[Finding]:
    """Whether a server that runs already has its models where the profile wants them: a StatefulSet's claim
    templates are immutable (Kubernetes, "StatefulSets", limitations), so an apply would be refused when half of
    its objects were written."""
    live = there.get(ObjectRef("apps/v1", "StatefulSet", stack.names.server, stack.namespace))
    if live is None or not ours(stack, live):
        return  # nothing is there yet, or the check of the names says it
    has = bool((live.get("spec") or {}).get("volumeClaimTemplates"))
    wants = stack.spec.storage.mode is StorageMode.TEMPLATE
    if has != wants:
        server = stack.names.server
        yield Finding(
            "storage_kept",
            FAIL,
            "Where a running server keeps its models cannot be changed",
            f"{server} has a claim for each replica, the profile wants one for all of them"
            if has
            else f"{server} has one claim for all replicas, the profile wants one for each",
            KEEP_STORAGE,
            field="storage_mode",
        )


def _class(stack: Stack, found: Mapping[str, Any]) -> Finding:
    """Whether the class's provisioner can make what is wanted, as far as it is known."""
    name, provisioner = found["metadata"]["name"], str(found.get("provisioner", "?"))
    when = (
        "when a pod first uses it" if found.get("volumeBindingMode") == "WaitForFirstConsumer" else "at once"
    )
    evidence = f"provisioner {provisioner}, binds {when}"
    if provisioner == BY_HAND:
        return Finding(
            "storage",
            WARN,
            f"Class {name} makes no volumes: somebody has to",
            evidence,
            "See that there is a free volume of this class on a node with room, or choose another class.",
            field="storage_class",
        )
    if stack.spec.storage.mode is not StorageMode.SHARED:
        size = stack.spec.storage.size or "the given size"
        return Finding("storage", PASS, f"Storage class {name} is there for claims of {size}", evidence)
    if provisioner in _ONE_NODE:
        return Finding(
            "storage",
            FAIL,
            f"Class {name} makes disks for one node at a time, and the claim is to be shared",
            evidence,
            "Choose a class made for ReadWriteMany, such as NFS or CephFS, or a claim for each replica.",
            field="storage_class",
        )
    if provisioner in _MANY_NODES:
        return Finding("storage", PASS, f"Storage class {name} can be shared by nodes", evidence)
    return Finding(
        "storage",
        CANNOT_TELL,
        f"Whether class {name} can be mounted by several nodes is not written anywhere",
        evidence,
        "If its claim stays pending, use a class made for ReadWriteMany, such as NFS or CephFS.",
        field="storage_class",
    )


def claim_size(stack: Stack, model_bytes: int) -> Iterator[Finding]:
    """The claims to be made against the model's download. ``model_bytes`` 0 where it is not known."""
    size = stack.spec.storage.size
    if stack.spec.storage.mode is StorageMode.EXISTING or not size:
        return
    if not model_bytes:
        yield Finding(
            "claim_size",
            CANNOT_TELL,
            f"Whether {size} is enough for {stack.spec.model.reference} cannot be told",
            "the size of the model is not known",
            "Look the size up where the model comes from.",
            source="profile",
            field="storage_size",
        )
    elif parse(size) < model_bytes:
        yield Finding(
            "claim_size",
            FAIL,
            f"The claim of {gib(size)} is smaller than the model",
            f"{stack.spec.model.reference} has {gib(model_bytes)}",
            f"Ask for {claim_size_for(model_bytes)} in the profile: a quarter more than the model.",
            source="profile",
            field="storage_size",
        )
    else:
        yield Finding(
            "claim_size",
            PASS,
            f"A claim of {gib(size)} holds the model",
            f"{stack.spec.model.reference} has {gib(model_bytes)}",
            source="profile",
        )


def _existing_claim(
    client: ClusterClient, stack: Stack, namespace_exists: bool, model_bytes: int
) -> Iterator[Finding]:
    name, replicas = stack.spec.storage.claim_name, stack.spec.server.replicas
    live = None
    if namespace_exists:
        try:
            live = client.get(ObjectRef("v1", "PersistentVolumeClaim", name, stack.namespace))
        except ObjectMissing:
            live = None
    if live is None:
        yield Finding(
            "storage",
            FAIL,
            f"Claim {name} is not in namespace {stack.namespace}",
            remedy="Make and fill it there first, or choose claims made by Pilothouse.",
            field="claim_name",
        )
        return
    phase = (live.get("status") or {}).get("phase", "")
    modes = (live.get("status") or {}).get("accessModes") or (live.get("spec") or {}).get("accessModes") or []
    once = "ReadWriteMany" not in modes
    if live["metadata"].get("deletionTimestamp") or phase == "Lost":
        yield Finding(
            "storage",
            FAIL,
            f"Claim {name} is {'being deleted' if phase != 'Lost' else 'lost: its volume is gone'}",
            f"phase {phase}",
            "Use another claim.",
            field="claim_name",
        )
    elif replicas > 1 and once:
        yield Finding(
            "storage",
            FAIL,
            f"Claim {name} can be mounted by one node only, and {replicas} replicas want it",
            f"access modes: {', '.join(modes) or 'none'}",
            "Use one replica, or a ReadWriteMany claim.",
            field="claim_name",
        )
    elif phase != "Bound":
        yield Finding(
            "storage",
            WARN,
            f"Claim {name} is not bound yet",
            f"phase {phase or 'unknown'}",
            "Fine where its class waits for the first pod; else look at the claim's events.",
            field="claim_name",
        )
    else:
        yield Finding("storage", PASS, f"Claim {name} is bound and can be used")
    yield from _holds(live, model_bytes)
    if once:
        yield from _held(client, stack, name, modes)


def _held(client: ClusterClient, stack: Stack, name: str, modes: list[str]) -> Iterator[Finding]:
    """Whether somebody else's pod has the claim mounted, on one node alone. The scheduler does not look
    at this for ReadWriteOnce: the pod would hang in Multi-Attach errors."""
    try:
        holders = [
            pod
            for page in client.list_pages(POD, stack.namespace, field_selector=UNFINISHED)
            for pod in page.items
            if _mounts(pod, name)
            and (pod["metadata"].get("labels") or {}).get(DEPLOYMENT_LABEL) != stack.apply_set.deployment
        ]
    except ClusterForbids:
        return  # the rights check says so
    if not holders:
        return
    pod = holders[0]
    node = (pod.get("spec") or {}).get("nodeName") or "no node yet"
    alone = "ReadWriteOncePod" in modes
    yield Finding(
        "claim_held",
        FAIL if alone else WARN,
        f"Claim {name} is in use by another pod",
        f"{pod['metadata']['name']} on {node}, access modes {', '.join(modes)}",
        "Stop that pod first."
        if alone
        else f"The server can mount it on {node} only: stop that pod, or use a ReadWriteMany claim.",
        field="claim_name",
    )


def _mounts(pod: Mapping[str, Any], claim: str) -> bool:
    volumes = (pod.get("spec") or {}).get("volumes") or []
    return any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for volume in volumes)


def _holds(live: Mapping[str, Any], model_bytes: int) -> Iterator[Finding]:
    """An existing claim's capacity against the model; a warning only, for shared file systems often
    promise less than they have."""
    text = ((live.get("status") or {}).get("capacity") or {}).get("storage")
    try:
        capacity = parse(str(text)) if text else None
    except InvalidInput:
        capacity = None
    if capacity is not None and model_bytes and capacity < model_bytes:
        yield Finding(
            "claim_size",
            WARN,
            f"The claim of {gib(capacity)} is smaller than the model",
            f"the model has {gib(model_bytes)}",
            "Fine if it holds the model already or the file system is larger than it says.",
            field="claim_name",
        )
