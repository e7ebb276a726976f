"""The Ingress of the chat: its class and its host."""

from __future__ import annotations

from collections.abc import Iterator

from deployments.domain.errors import ClusterForbids
from deployments.domain.findings import Finding
from deployments.gateways.kubernetes import ClusterClient, ResourceKind
from deployments.manifests.labels import DEPLOYMENT_LABEL
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.stack import Stack

INGRESS_CLASS = ResourceKind("networking.k8s.io/v1", "IngressClass")
INGRESS = ResourceKind("networking.k8s.io/v1", "Ingress")
DEFAULT_INGRESS_CLASS = "ingressclass.kubernetes.io/is-default-class"


def ingress(client: ClusterClient, stack: Stack) -> Iterator[Finding]:
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
