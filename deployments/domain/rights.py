"""The least that Pilothouse needs to be allowed on a cluster: what ``deploy/rbac.yaml`` grants and
what preflight asks the API server about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Right:
    """One verb on one resource; ``cluster_wide`` where it cannot be granted in a namespace alone."""

    group: str
    resource: str
    verb: str
    subresource: str = ""
    cluster_wide: bool = False
    needed_for: str = ""

    def __str__(self) -> str:
        name = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {name}{'.' + self.group if self.group else ''}"


_APPLIED = (
    ("", "configmaps"),
    ("", "secrets"),
    ("", "services"),
    ("", "persistentvolumeclaims"),
    ("apps", "statefulsets"),
    ("apps", "deployments"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("networking.k8s.io", "ingresses"),
    ("networking.k8s.io", "networkpolicies"),
)

# Server-side apply is a patch, and a create where the object is not there yet.
RIGHTS: tuple[Right, ...] = (
    *(
        Right(group, resource, verb, needed_for="install")
        for group, resource in _APPLIED
        for verb in ("get", "create", "patch", "delete")
    ),
    *(
        Right(group, resource, verb, needed_for="watch")
        for group, resource in (
            ("", "pods"),
            ("", "events"),
            ("", "persistentvolumeclaims"),
            ("apps", "statefulsets"),
            ("apps", "deployments"),
        )
        for verb in ("list", "watch")
    ),
    *(
        Right(group, resource, "list", needed_for="clear away what left the manifests")
        for group, resource in _APPLIED
        if (group, resource)
        not in {("", "persistentvolumeclaims"), ("apps", "statefulsets"), ("apps", "deployments")}
    ),
    Right("", "pods", "get", "proxy", needed_for="ask Ollama"),
    Right("", "pods", "create", "proxy", needed_for="pull models"),
    Right("", "pods", "delete", "proxy", needed_for="delete models"),
    Right("", "services", "get", "proxy", needed_for="chat"),
    Right("", "services", "create", "proxy", needed_for="chat"),
    Right("", "pods", "get", "log", needed_for="logs"),
    Right("", "namespaces", "get", cluster_wide=True, needed_for="know the cluster and its namespaces"),
)

# Needed only where the install makes the namespace.
NAMESPACE_RIGHTS: tuple[Right, ...] = tuple(
    Right("", "namespaces", verb, cluster_wide=True, needed_for="make the namespace")
    for verb in ("create", "patch", "delete")
)

# What makes checks sharper; without them preflight says that it cannot tell, and an uninstall leaves the
# namespace that it made.
HELPFUL_RIGHTS: tuple[Right, ...] = (
    *(
        Right(group, resource, verb, cluster_wide=True, needed_for=purpose)
        for group, resource, purpose in (
            ("", "nodes", "see the nodes, and what is free on them"),
            ("storage.k8s.io", "storageclasses", "check the storage class"),
            ("networking.k8s.io", "ingressclasses", "check the ingress class"),
            ("networking.k8s.io", "ingresses", "see whether a host is taken"),
        )
        for verb in ("list", "watch")
    ),
    Right(
        "apps",
        "daemonsets",
        "list",
        cluster_wide=True,
        needed_for="see that a namespace to be deleted is empty",
    ),
    *(
        Right(group, resource, verb, cluster_wide=True, needed_for=purpose)
        for group, resource, verb, purpose in (
            ("", "persistentvolumes", "get", "see which nodes reach a volume"),
            ("", "resourcequotas", "list", "see what a namespace may still ask for"),
            ("", "limitranges", "list", "see how large a container may be"),
            ("node.k8s.io", "runtimeclasses", "get", "check the runtime class"),
            ("resource.k8s.io", "deviceclasses", "list", "see whether GPUs are given out as claims"),
        )
    ),
)
