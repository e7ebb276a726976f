"""What Pilothouse may do there, and whether the server is of a version that it knows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deployments.domain.findings import Finding
from deployments.domain.rights import NAMESPACE_RIGHTS, RIGHTS, Right
from deployments.gateways.kubernetes import ClusterClient, Decision
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.connection import OLDEST_SUPPORTED
from deployments.workflows.stack import Stack


def version(client: ClusterClient) -> Iterator[Finding]:
    """Whether this release of Kubernetes is one that Pilothouse is made for."""
    said = client.version()
    if said.major == 1 and said.minor < OLDEST_SUPPORTED:
        yield Finding(
            "version",
            WARN,
            f"Kubernetes {said.git_version} is older than the oldest supported 1.{OLDEST_SUPPORTED}",
            "version of the API server",
            "Upgrade the cluster; what is installed here is not tried on it.",
        )
    else:
        yield Finding("version", PASS, f"Kubernetes {said.git_version} is supported")


def rights(
    client: ClusterClient, stack: Stack, *, make_namespace: bool, pulse: Callable[[], None]
) -> Iterator[Finding]:
    """Each right that the manifests and the watching need, asked of the API server."""
    missing: list[Right] = []
    unknown: list[Right] = []
    wanted = (*RIGHTS, *(NAMESPACE_RIGHTS if make_namespace else ()))
    for right in wanted:
        pulse()
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
