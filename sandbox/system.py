"""What every cluster holds before anybody uses it, and what a namespace gets by itself.

Recorded transcripts 19 (a new namespace, a fresh cluster), 25 (quota status), 27 (default rights).
"""

from __future__ import annotations

from typing import Any

from sandbox import quotas, status
from sandbox.store import Event, Store, timestamp

Object = dict[str, Any]

EVENT_SECONDS = 3600.0
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
_CA_NOTE = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal "
    "service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)
_RBAC = "rbac.authorization.k8s.io"
_READ = ["get", "list", "watch"]
_WRITE = ["create", "delete", "deletecollection", "patch", "update"]

_PUBLIC_PATHS = ["/healthz", "/livez", "/readyz", "/version", "/version/"]
_DISCOVERY_PATHS = [
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
]


def _core(*resources: str, verbs: list[str]) -> Object:
    return {"verbs": verbs, "apiGroups": [""], "resources": list(resources)}


def _group(group: str, *resources: str, verbs: list[str]) -> Object:
    return {"verbs": verbs, "apiGroups": [group], "resources": list(resources)}


def _view() -> list[Object]:
    return [
        _core(
            "configmaps",
            "endpoints",
            "events",
            "limitranges",
            "namespaces",
            "persistentvolumeclaims",
            "persistentvolumeclaims/status",
            "pods",
            "pods/log",
            "pods/status",
            "resourcequotas",
            "resourcequotas/status",
            "serviceaccounts",
            "services",
            "services/status",
            verbs=_READ,
        ),
        _group(
            "apps",
            *(
                f"{name}{sub}"
                for name in ("daemonsets", "deployments", "replicasets", "statefulsets")
                for sub in ("", "/status")
            ),
            *(f"{name}/scale" for name in ("deployments", "replicasets", "statefulsets")),
            verbs=_READ,
        ),
        _group("autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status", verbs=_READ),
        _group("networking.k8s.io", "ingresses", "ingresses/status", "networkpolicies", verbs=_READ),
        _group("policy", "poddisruptionbudgets", "poddisruptionbudgets/status", verbs=_READ),
        _group("discovery.k8s.io", "endpointslices", verbs=_READ),
    ]


def _edit() -> list[Object]:
    return [
        _core("pods/exec", "pods/proxy", "services/proxy", "secrets", verbs=_READ),
        _core("pods", "pods/exec", "pods/proxy", "services/proxy", "configmaps", "events", verbs=_WRITE),
        _core("persistentvolumeclaims", "secrets", "serviceaccounts", "services", verbs=_WRITE),
        _core("pods/eviction", "serviceaccounts/token", verbs=["create"]),
        _group(
            "apps",
            "daemonsets",
            "deployments",
            "deployments/scale",
            "replicasets",
            "replicasets/scale",
            "statefulsets",
            "statefulsets/scale",
            verbs=_WRITE,
        ),
        _group("autoscaling", "horizontalpodautoscalers", verbs=_WRITE),
        _group("networking.k8s.io", "ingresses", "networkpolicies", verbs=_WRITE),
        _group("policy", "poddisruptionbudgets", verbs=_WRITE),
        _group("coordination.k8s.io", "leases", verbs=_READ + _WRITE),
        *_view(),
    ]


def _roles() -> dict[str, list[Object]]:
    return {
        "cluster-admin": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ],
        "admin": [*_edit(), _group(_RBAC, "roles", "rolebindings", verbs=_READ + _WRITE)],
        "edit": _edit(),
        "view": _view(),
        "system:basic-user": [
            _group(
                "authorization.k8s.io",
                "selfsubjectaccessreviews",
                "selfsubjectrulesreviews",
                verbs=["create"],
            ),
            _group("authentication.k8s.io", "selfsubjectreviews", verbs=["create"]),
        ],
        "system:discovery": [{"verbs": ["get"], "nonResourceURLs": _DISCOVERY_PATHS}],
        "system:public-info-viewer": [{"verbs": ["get"], "nonResourceURLs": _PUBLIC_PATHS}],
        "system:service-account-issuer-discovery": [
            {"verbs": ["get"], "nonResourceURLs": ["/.well-known", "/.well-known/*"]}
        ],
    }


_BINDINGS = {
    "cluster-admin": ("cluster-admin", "system:masters"),
    "system:basic-user": ("system:basic-user", "system:authenticated"),
    "system:discovery": ("system:discovery", "system:authenticated"),
    "system:public-info-viewer": (
        "system:public-info-viewer",
        "system:authenticated",
        "system:unauthenticated",
    ),
}


class System:
    """Keeps the furniture of the cluster: default objects, namespace contents, quota status."""

    def __init__(self, store: Store, ca_pem: str) -> None:
        self.store = store
        self.ca_pem = ca_pem
        store.subscribe(self._on_event)

    def furnish(self) -> None:
        """Create what is missing; safe to repeat on a loaded store."""
        for name in NAMESPACES:
            self._ensure("Namespace", {"metadata": {"name": name}})
        for name, rules in _roles().items():
            labels = {"kubernetes.io/bootstrapping": "rbac-defaults"}
            self._ensure("ClusterRole", {"metadata": {"name": name, "labels": labels}, "rules": rules})
        for name, (role, *groups) in _BINDINGS.items():
            self._ensure(
                "ClusterRoleBinding",
                {
                    "metadata": {"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}},
                    "roleRef": {"apiGroup": _RBAC, "kind": "ClusterRole", "name": role},
                    "subjects": [{"apiGroup": _RBAC, "kind": "Group", "name": group} for group in groups],
                },
            )
        for name, value in (("system-cluster-critical", 2000000000), ("system-node-critical", 2000001000)):
            self._ensure("PriorityClass", {"metadata": {"name": name}, "value": value})
        self._ensure(
            "Service",
            {
                "metadata": {
                    "name": "kubernetes",
                    "namespace": "default",
                    "labels": {"component": "apiserver", "provider": "kubernetes"},
                },
                "spec": {
                    "clusterIP": "10.0.0.1",
                    "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}],
                },
            },
        )

    def _ensure(self, kind: str, obj: Object) -> None:
        metadata = obj["metadata"]
        if self.store.get(kind, metadata.get("namespace"), metadata["name"]) is None:
            self.store.create(kind, obj, manager="kube-apiserver")

    def forget_events(self) -> int:
        """Delete Event objects that are over an hour old, as a real cluster does. Returns how many."""
        limit = timestamp(self.store.clock() - EVENT_SECONDS)
        old = [
            event["metadata"]
            for event in self.store.each("Event")
            if event["metadata"]["creationTimestamp"] < limit
        ]
        for metadata in old:
            self.store.delete("Event", metadata["namespace"], metadata["name"])
        return len(old)

    def _on_event(self, event: Event) -> None:
        metadata = event.object["metadata"]
        if event.kind.kind == "Namespace":
            if event.type == "ADDED":
                self._furnish_namespace(metadata["name"])
        elif event.type == "DELETED" and (event.kind.kind, metadata["name"]) in (
            ("ServiceAccount", "default"),
            ("ConfigMap", "kube-root-ca.crt"),
        ):
            self._furnish_namespace(metadata["namespace"])
        if event.kind.namespaced and event.kind.kind not in ("Event", "Lease", "EndpointSlice", "Endpoints"):
            self._count(metadata["namespace"])

    def _furnish_namespace(self, namespace: str) -> None:
        found = self.store.get("Namespace", None, namespace)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return
        certificate: Object = {
            "metadata": {
                "name": "kube-root-ca.crt",
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": _CA_NOTE},
            },
            "data": {"ca.crt": self.ca_pem},
        }
        account: Object = {"metadata": {"name": "default", "namespace": namespace}}
        for kind, obj in (("ConfigMap", certificate), ("ServiceAccount", account)):
            if self.store.get(kind, namespace, obj["metadata"]["name"]) is None:
                try:
                    self.store.create(kind, obj, manager="kube-controller-manager")
                except status.ApiError as refused:
                    # A quota on config maps may refuse it, as it may on a real cluster.
                    if refused.code not in (403, 404, 409):
                        raise

    def _count(self, namespace: str) -> None:
        """Bring the status of the namespace's quotas up to date."""
        for quota in self.store.list("ResourceQuota", namespace):
            hard = (quota.get("spec") or {}).get("hard") or {}
            used = quotas.usage(self.store, namespace, hard)
            wanted = {
                "hard": dict(sorted(hard.items())),
                "used": {name: quotas.text(used[name], hard[name]) for name in sorted(hard)},
            }
            if quota.get("status") != wanted:
                changed = {**quota, "status": wanted}
                self.store.update("ResourceQuota", changed, "status", manager="kube-controller-manager")
