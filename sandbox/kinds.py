"""The one table of kinds that the practice cluster serves: names, scope, verbs and sub-resources.

Taken from the recorded transcript 02 (discovery of kube-apiserver 1.36). A kind that is not here is answered as a real
server answers a kind that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass

ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY = ("create",)
STATUS_VERBS = ("get", "patch", "update")
PROXY_VERBS = ("create", "delete", "get", "patch", "update")


@dataclass(frozen=True, slots=True)
class Subresource:
    """A path below an object. group, version and kind name what it speaks, when that is not the object itself."""

    name: str
    verbs: tuple[str, ...]
    kind: str
    group: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One served kind. `storage` is the key of its objects: two groups may show the same objects (events)."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ALL_VERBS
    subresources: tuple[Subresource, ...] = ()
    storage_hash: str = ""
    storage: str = ""

    @property
    def api_version(self) -> str:
        """`v1` or `apps/v1`: the value of apiVersion."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def prefix(self) -> str:
        """`/api/v1` or `/apis/apps/v1`: the beginning of its paths."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def group_resource(self) -> str:
        """`pods` or `deployments.apps`: how errors name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def group_kind(self) -> str:
        """`Pod` or `Deployment.apps`: how 422 errors name it."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def persistent(self) -> bool:
        """False for reviews and bindings, which are answered and not kept."""
        return "get" in self.verbs

    @property
    def storage_key(self) -> str:
        return self.storage or self.group_resource

    @property
    def has_status(self) -> bool:
        return any(sub.name == "status" for sub in self.subresources)

    def subresource(self, name: str) -> Subresource | None:
        for sub in self.subresources:
            if sub.name == name:
                return sub
        return None

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """The collection's path, or the object's when a name is given."""
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{self.prefix}{scope}/{self.plural}" + (f"/{name}" if name else "")


def _status(kind: str) -> Subresource:
    return Subresource("status", STATUS_VERBS, kind)


_SCALE = Subresource("scale", STATUS_VERBS, "Scale", "autoscaling", "v1")

KINDS: tuple[Kind, ...] = (
    Kind("", "v1", "Binding", "bindings", "binding", True, verbs=CREATE_ONLY),
    Kind("", "v1", "ConfigMap", "configmaps", "configmap", True, ("cm",), storage_hash="qFsyl6wFWjQ="),
    Kind("", "v1", "Endpoints", "endpoints", "endpoints", True, ("ep",), storage_hash="fWeeMqaN/OA="),
    Kind("", "v1", "Event", "events", "event", True, ("ev",), storage_hash="r2yiGXH7wu8="),
    Kind("", "v1", "LimitRange", "limitranges", "limitrange", True, ("limits",), storage_hash="EBKMFVe6cwo="),
    Kind(
        "",
        "v1",
        "Namespace",
        "namespaces",
        "namespace",
        False,
        ("ns",),
        verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
        subresources=(Subresource("finalize", ("update",), "Namespace"), _status("Namespace")),
        storage_hash="Q3oi5N2YM8M=",
    ),
    Kind(
        "",
        "v1",
        "Node",
        "nodes",
        "node",
        False,
        ("no",),
        subresources=(_status("Node"),),
        storage_hash="XwShjMxG9Fs=",
    ),
    Kind(
        "",
        "v1",
        "PersistentVolumeClaim",
        "persistentvolumeclaims",
        "persistentvolumeclaim",
        True,
        ("pvc",),
        subresources=(_status("PersistentVolumeClaim"),),
        storage_hash="QWTyNDq0dC4=",
    ),
    Kind(
        "",
        "v1",
        "PersistentVolume",
        "persistentvolumes",
        "persistentvolume",
        False,
        ("pv",),
        subresources=(_status("PersistentVolume"),),
        storage_hash="HN/zwEC+JgM=",
    ),
    Kind(
        "",
        "v1",
        "Pod",
        "pods",
        "pod",
        True,
        ("po",),
        ("all",),
        subresources=(
            Subresource("binding", CREATE_ONLY, "Binding"),
            Subresource("eviction", CREATE_ONLY, "Eviction", "policy", "v1"),
            Subresource("exec", ("create", "get"), "PodExecOptions"),
            Subresource("log", ("get",), "Pod"),
            Subresource("proxy", PROXY_VERBS, "PodProxyOptions"),
            _status("Pod"),
        ),
        storage_hash="xPOwRZ+Yhw8=",
    ),
    Kind(
        "",
        "v1",
        "ResourceQuota",
        "resourcequotas",
        "resourcequota",
        True,
        ("quota",),
        subresources=(_status("ResourceQuota"),),
        storage_hash="8uhSgffRX6w=",
    ),
    Kind("", "v1", "Secret", "secrets", "secret", True, storage_hash="S6u1pOWzb84="),
    Kind(
        "",
        "v1",
        "ServiceAccount",
        "serviceaccounts",
        "serviceaccount",
        True,
        ("sa",),
        subresources=(Subresource("token", CREATE_ONLY, "TokenRequest", "authentication.k8s.io", "v1"),),
        storage_hash="pbx9ZvyFpBE=",
    ),
    Kind(
        "",
        "v1",
        "Service",
        "services",
        "service",
        True,
        ("svc",),
        ("all",),
        subresources=(Subresource("proxy", PROXY_VERBS, "ServiceProxyOptions"), _status("Service")),
        storage_hash="0/CO1lhkEBI=",
    ),
    Kind(
        "apps",
        "v1",
        "DaemonSet",
        "daemonsets",
        "daemonset",
        True,
        ("ds",),
        ("all",),
        subresources=(_status("DaemonSet"),),
        storage_hash="dd7pWHUlMKQ=",
    ),
    Kind(
        "apps",
        "v1",
        "Deployment",
        "deployments",
        "deployment",
        True,
        ("deploy",),
        ("all",),
        subresources=(_SCALE, _status("Deployment")),
        storage_hash="8aSe+NMegvE=",
    ),
    Kind(
        "apps",
        "v1",
        "ReplicaSet",
        "replicasets",
        "replicaset",
        True,
        ("rs",),
        ("all",),
        subresources=(_SCALE, _status("ReplicaSet")),
        storage_hash="P1RzHs8/mWQ=",
    ),
    Kind(
        "apps",
        "v1",
        "StatefulSet",
        "statefulsets",
        "statefulset",
        True,
        ("sts",),
        ("all",),
        subresources=(_SCALE, _status("StatefulSet")),
        storage_hash="H+vl74LkKdo=",
    ),
    Kind(
        "events.k8s.io",
        "v1",
        "Event",
        "events",
        "event",
        True,
        ("ev",),
        storage_hash="r2yiGXH7wu8=",
        storage="events",
    ),
    Kind(
        "authentication.k8s.io",
        "v1",
        "SelfSubjectReview",
        "selfsubjectreviews",
        "selfsubjectreview",
        False,
        verbs=CREATE_ONLY,
    ),
    Kind(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectAccessReview",
        "selfsubjectaccessreviews",
        "selfsubjectaccessreview",
        False,
        verbs=CREATE_ONLY,
    ),
    Kind(
        "authorization.k8s.io",
        "v1",
        "SelfSubjectRulesReview",
        "selfsubjectrulesreviews",
        "selfsubjectrulesreview",
        False,
        verbs=CREATE_ONLY,
    ),
    Kind(
        "autoscaling",
        "v2",
        "HorizontalPodAutoscaler",
        "horizontalpodautoscalers",
        "horizontalpodautoscaler",
        True,
        ("hpa",),
        ("all",),
        subresources=(_status("HorizontalPodAutoscaler"),),
        storage_hash="qwQve8ut294=",
    ),
    Kind(
        "networking.k8s.io",
        "v1",
        "IngressClass",
        "ingressclasses",
        "ingressclass",
        False,
        storage_hash="l/iqIbDgFyQ=",
    ),
    Kind(
        "networking.k8s.io",
        "v1",
        "Ingress",
        "ingresses",
        "ingress",
        True,
        ("ing",),
        subresources=(_status("Ingress"),),
        storage_hash="39NQlfNR+bo=",
    ),
    Kind(
        "networking.k8s.io",
        "v1",
        "NetworkPolicy",
        "networkpolicies",
        "networkpolicy",
        True,
        ("netpol",),
        storage_hash="YpfwF18m1G8=",
    ),
    Kind(
        "policy",
        "v1",
        "PodDisruptionBudget",
        "poddisruptionbudgets",
        "poddisruptionbudget",
        True,
        ("pdb",),
        subresources=(_status("PodDisruptionBudget"),),
        storage_hash="EVWiDmWqyJw=",
    ),
    Kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
        "clusterrolebinding",
        False,
        storage_hash="48tpQ8gZHFc=",
    ),
    Kind(
        "rbac.authorization.k8s.io",
        "v1",
        "ClusterRole",
        "clusterroles",
        "clusterrole",
        False,
        storage_hash="bYE5ZWDrJ44=",
    ),
    Kind(
        "rbac.authorization.k8s.io",
        "v1",
        "RoleBinding",
        "rolebindings",
        "rolebinding",
        True,
        storage_hash="eGsCzGH6b1g=",
    ),
    Kind("rbac.authorization.k8s.io", "v1", "Role", "roles", "role", True, storage_hash="7FuwZcIIItM="),
    Kind(
        "storage.k8s.io",
        "v1",
        "StorageClass",
        "storageclasses",
        "storageclass",
        False,
        ("sc",),
        storage_hash="K+m6uJwbjGY=",
    ),
    Kind(
        "scheduling.k8s.io",
        "v1",
        "PriorityClass",
        "priorityclasses",
        "priorityclass",
        False,
        ("pc",),
        storage_hash="1QwjyaZjj3Y=",
    ),
    Kind("coordination.k8s.io", "v1", "Lease", "leases", "lease", True, storage_hash="gqkMMb/YqFM="),
    Kind(
        "node.k8s.io",
        "v1",
        "RuntimeClass",
        "runtimeclasses",
        "runtimeclass",
        False,
        storage_hash="WQTu1GL3T2Q=",
    ),
    Kind(
        "discovery.k8s.io",
        "v1",
        "EndpointSlice",
        "endpointslices",
        "endpointslice",
        True,
        storage_hash="qgS0xkrxYAI=",
    ),
)

_BY_RESOURCE = {(kind.group, kind.version, kind.plural): kind for kind in KINDS}
_BY_KIND = {(kind.group, kind.version, kind.kind): kind for kind in KINDS}
_BY_NAME: dict[str, Kind] = {}
for _kind in KINDS:
    _BY_NAME.setdefault(_kind.kind, _kind)


def groups() -> list[str]:
    """API groups in the order of the table, without the core group."""
    return list(dict.fromkeys(kind.group for kind in KINDS if kind.group))


def versions(group: str) -> list[str]:
    """Versions of a group, the preferred one first."""
    return list(dict.fromkeys(kind.version for kind in KINDS if kind.group == group))


def by_resource(group: str, version: str, plural: str) -> Kind | None:
    return _BY_RESOURCE.get((group, version, plural))


def by_kind(api_version: str, kind: str) -> Kind | None:
    """`by_kind('apps/v1', 'Deployment')`."""
    group, _, version = api_version.rpartition("/")
    return _BY_KIND.get((group, version, kind))


def by_name(kind: str) -> Kind:
    """The kind of that bare name, the core group first (`Event` is the core one). Raises KeyError."""
    return _BY_NAME[kind]
