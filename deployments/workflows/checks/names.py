"""The namespace and the names in it: free, ours, or somebody else's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deployments.domain.errors import ClusterForbids, ObjectMissing
from deployments.domain.findings import Finding
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from deployments.manifests.labels import DEPLOYMENT_LABEL, INSTALLATION_ANNOTATION, MANAGED_BY
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS
from deployments.workflows.stack import Stack


def namespace(
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


def present(client: ClusterClient, stack: Stack) -> dict[ObjectRef, dict[str, Any]]:
    """What stands already under the names that we are about to apply, but for the namespace."""
    there = {}
    for manifest in stack.manifests:
        if manifest["kind"] == "Namespace":
            continue
        ref = ObjectRef.of(manifest)
        try:
            there[ref] = client.get(ref)
        except ObjectMissing:
            continue
        except ClusterForbids:
            continue  # the rights check says so
    return there


def ours(stack: Stack, live: dict[str, Any]) -> bool:
    """Whether an object that is there is of the deployment that is about to be applied."""
    labels = live["metadata"].get("labels") or {}
    return bool(labels.get(DEPLOYMENT_LABEL) == stack.apply_set.deployment)


def names(stack: Stack, there: dict[ObjectRef, dict[str, Any]]) -> Iterator[Finding]:
    """Whether something of another owner is among what :func:`present` found."""
    taken: list[str] = []
    for ref, live in there.items():
        if not ours(stack, live):
            labels = live["metadata"].get("labels") or {}
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
