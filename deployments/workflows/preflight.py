"""The checks before an apply that need no arithmetic over nodes: rights, names, namespace, claims,
ingress, and what is on the cluster under the same names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployments.domain.errors import ClusterError, ClusterForbids, ObjectMissing
from deployments.domain.findings import Finding, worst_first
from deployments.domain.rights import NAMESPACE_RIGHTS, RIGHTS, Right
from deployments.domain.spec import StorageMode
from deployments.domain.states import FindingLevel
from deployments.gateways.kubernetes import ClusterClient, Decision, ObjectRef, ResourceKind
from deployments.manifests.labels import DEPLOYMENT_LABEL, INSTALLATION_ANNOTATION, MANAGED_BY
from deployments.workflows.stack import Stack

PASS, WARN, FAIL, CANNOT_TELL = (
    FindingLevel.PASS,
    FindingLevel.WARN,
    FindingLevel.FAIL,
    FindingLevel.CANNOT_TELL,
)
STORAGE_CLASS = ResourceKind("storage.k8s.io/v1", "StorageClass")
INGRESS_CLASS = ResourceKind("networking.k8s.io/v1", "IngressClass")
INGRESS = ResourceKind("networking.k8s.io/v1", "Ingress")
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"


def findings(client: ClusterClient, stack: Stack, *, create_namespace: bool) -> list[Finding]:
    """Every check against the live API server, worst first. Raises a :class:`ClusterError` only where
    the cluster does not answer at all; a right that is missing for a check makes it "cannot tell"."""
    found: list[Finding] = []
    namespace = _namespace(client, stack, create_namespace, found)
    found += _rights(client, stack, create_namespace and namespace is None)
    if namespace is not None:
        found += _names(client, stack)
    found += _storage(client, stack, namespace is not None)
    found += _ingress(client, stack)
    found += [
        Finding("sizing", WARN, note, source="profile", remedy="Change it in the profile if it is not meant.")
        for note in stack.sizing.notes
    ]
    return worst_first(found)


def _namespace(
    client: ClusterClient, stack: Stack, create: bool, found: list[Finding]
) -> dict[str, Any] | None:
    """The namespace if it is there; says what is wrong with it."""
    name = stack.namespace
    try:
        live = client.get(ObjectRef("v1", "Namespace", name))
    except ObjectMissing:
        if create:
            found.append(Finding("namespace", PASS, f"Namespace {name} is free and will be made"))
        else:
            found.append(
                Finding(
                    "namespace",
                    FAIL,
                    f"Namespace {name} does not exist",
                    remedy="Make it, or let the install make it.",
                    field="namespace",
                )
            )
        return None
    except ClusterForbids as error:
        found.append(
            Finding(
                "namespace",
                CANNOT_TELL,
                f"Whether namespace {name} exists cannot be seen",
                error.answered,
                "Grant get on namespaces (deploy/rbac.yaml).",
                field="namespace",
            )
        )
        return None
    meta = live["metadata"]
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    owner = labels.get("app.kubernetes.io/managed-by", "")
    installation = annotations.get(INSTALLATION_ANNOTATION, "")
    if meta.get("deletionTimestamp"):
        found.append(
            Finding(
                "namespace",
                FAIL,
                f"Namespace {name} is being deleted",
                "phase Terminating",
                "Wait until it is gone, or choose another.",
                field="namespace",
            )
        )
    elif owner and owner != MANAGED_BY:
        found.append(
            Finding(
                "namespace",
                FAIL,
                f"Namespace {name} belongs to another tool",
                f"label app.kubernetes.io/managed-by is {owner[:63]}",
                "Choose another namespace; two tools in one undo each other's work.",
                field="namespace",
            )
        )
    elif installation and installation != stack.apply_set.installation:
        found.append(
            Finding(
                "namespace",
                FAIL,
                f"Namespace {name} belongs to another installation of Pilothouse",
                f"annotation {INSTALLATION_ANNOTATION}",
                "Choose another namespace.",
                field="namespace",
            )
        )
    else:
        found.append(Finding("namespace", PASS, f"Namespace {name} is there and can be used"))
    return live


def _rights(client: ClusterClient, stack: Stack, make_namespace: bool) -> Iterator[Finding]:
    missing: list[Right] = []
    unknown: list[Right] = []
    wanted = (*RIGHTS, *(NAMESPACE_RIGHTS if make_namespace else ()))
    for right in wanted:
        verdict = client.allowed(
            right.verb,
            right.group,
            right.resource,
            right.subresource,
            "" if right.cluster_wide else stack.namespace,
            stack.namespace if right.cluster_wide and right.verb == "get" else "",
        )
        if verdict.decision is Decision.DENIED:
            missing.append(right)
        elif verdict.decision is Decision.UNKNOWN:
            unknown.append(right)
    if missing:
        yield Finding(
            "rights",
            FAIL,
            f"Pilothouse lacks {len(missing)} of {len(wanted)} rights in {stack.namespace}",
            ", ".join(str(right) for right in missing[:8]) + (" …" if len(missing) > 8 else ""),
            "Have the cluster's admin apply deploy/rbac.yaml.",
            source="SelfSubjectAccessReview",
        )
    elif unknown:
        yield Finding(
            "rights",
            CANNOT_TELL,
            f"The API server could not say about {len(unknown)} rights",
            ", ".join(str(right) for right in unknown[:8]),
            source="SelfSubjectAccessReview",
        )
    else:
        yield Finding(
            "rights", PASS, f"All {len(wanted)} rights are granted", source="SelfSubjectAccessReview"
        )


def _names(client: ClusterClient, stack: Stack) -> Iterator[Finding]:
    """Whether something of another owner stands under a name that we are about to apply."""
    taken: list[str] = []
    for manifest in stack.manifests:
        if manifest["kind"] == "Namespace":
            continue
        ref = ObjectRef.of(manifest)
        try:
            live = client.get(ref)
        except ObjectMissing:
            continue
        except ClusterForbids:
            continue  # the rights check says so
        labels = live["metadata"].get("labels") or {}
        if labels.get(DEPLOYMENT_LABEL) != stack.apply_set.deployment:
            owner = labels.get("app.kubernetes.io/managed-by") or "somebody"
            taken.append(f"{ref} of {owner}")
    if taken:
        yield Finding(
            "names",
            FAIL,
            "Objects with these names are there already",
            "; ".join(taken[:6]),
            "Choose another name for the deployment.",
            field="name",
        )
    else:
        yield Finding("names", PASS, "Every object's name is free, or ours")


def _storage(client: ClusterClient, stack: Stack, namespace_exists: bool) -> Iterator[Finding]:
    storage = stack.spec.storage
    if storage.mode is StorageMode.EXISTING:
        yield from _existing_claim(client, stack, namespace_exists)
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
    chosen = storage.storage_class or defaults[0]
    if storage.mode is StorageMode.SHARED:
        yield Finding(
            "storage",
            CANNOT_TELL,
            f"Whether class {chosen} can be mounted by several nodes is not written anywhere",
            f"provisioner {by_name[chosen].get('provisioner', '?')}",
            "If its claim stays pending, use a class made for ReadWriteMany, such as NFS or CephFS.",
            field="storage_class",
        )
    else:
        size = stack.spec.storage.size or "the given size"
        yield Finding("storage", PASS, f"Storage class {chosen} is there for claims of {size}")


def _existing_claim(client: ClusterClient, stack: Stack, namespace_exists: bool) -> Iterator[Finding]:
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
    if live["metadata"].get("deletionTimestamp") or phase == "Lost":
        yield Finding(
            "storage",
            FAIL,
            f"Claim {name} is {'being deleted' if phase != 'Lost' else 'lost: its volume is gone'}",
            f"phase {phase}",
            "Use another claim.",
            field="claim_name",
        )
    elif replicas > 1 and "ReadWriteMany" not in modes:
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


def _ingress(client: ClusterClient, stack: Stack) -> Iterator[Finding]:
    wanted = stack.spec.ingress
    if not (wanted.enabled and wanted.host and stack.spec.chat.enabled):
        yield Finding("ingress", PASS, "Chat goes through Pilothouse; no Ingress is needed", source="profile")
        return
    try:
        classes = {
            item["metadata"]["name"]: item for page in client.list_pages(INGRESS_CLASS) for item in page.items
        }
        known = ", ".join(sorted(classes)) or "none"
        if wanted.class_name and wanted.class_name not in classes:
            yield Finding(
                "ingress_class",
                FAIL,
                f"There is no ingress class {wanted.class_name}",
                f"ingress classes: {known}",
                "Choose one of these in the profile.",
                field="ingress_class",
            )
        elif not wanted.class_name and not any(
            (item["metadata"].get("annotations") or {}).get(DEFAULT_INGRESS_CLASS) == "true"
            for item in classes.values()
        ):
            yield Finding(
                "ingress_class",
                WARN,
                "No ingress class is given and none is the default",
                f"ingress classes: {known}",
                "Without a controller that takes it, the host will not answer; chat through Pilothouse will.",
                field="ingress_class",
            )
        else:
            name = wanted.class_name or "by default"
            yield Finding("ingress_class", PASS, f"Ingress class {name} is there")
    except ClusterForbids as error:
        yield Finding("ingress_class", CANNOT_TELL, "Ingress classes cannot be listed", error.answered)
    try:
        holder = _host_holder(client, stack)
    except ClusterForbids as error:
        yield Finding(
            "ingress_host",
            CANNOT_TELL,
            f"Whether {wanted.host} is taken cannot be seen",
            error.answered,
            field="host",
        )
        return
    if holder:
        yield Finding(
            "ingress_host",
            FAIL,
            "The chat's host is already taken",
            f"{wanted.host} is served by Ingress {holder}",
            "Give another host in the profile.",
            source="Ingresses",
            field="host",
        )
    else:
        yield Finding("ingress_host", PASS, f"{wanted.host} is free")


def _host_holder(client: ClusterClient, stack: Stack) -> str:
    """namespace/name of a foreign Ingress that serves our host, or ""."""
    host = stack.spec.ingress.host
    for page in client.list_pages(INGRESS):
        for item in page.items:
            meta = item["metadata"]
            ours = (meta.get("labels") or {}).get(DEPLOYMENT_LABEL) == stack.apply_set.deployment
            rules = (item.get("spec") or {}).get("rules") or []
            if not ours and any(rule.get("host") == host for rule in rules):
                return f"{meta.get('namespace')}/{meta['name']}"
    return ""


def answered_nothing(error: ClusterError) -> Finding:
    """The one finding there is when the cluster cannot be asked."""
    return Finding("reach", FAIL, error.sentence, error.answered, error.remedy)
