"""What the server adds to an object: versioned defaults on every write, and what a create sets once.

Fields that `apply_defaults` adds belong to the writer; what `prepare_for_create` and admission add belongs to nobody,
so ownership is recorded between the two (recorded transcript 06: a Service's managedFields hold no ipFamilies).
From the recorded transcript 19 (defaulting) and the `SetDefaults_*` functions of Kubernetes 1.36 (pkg/apis/*/v1).
`apply_defaults` may run on every write; `prepare_for_create` holds what registries and admission plugins do once.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from sandbox import codec
from sandbox.kinds import Kind
from sandbox.quantity import parse
from sandbox.schema import type_of

Object = dict[str, Any]

DEFAULT_MODE = 420  # 0644
SYSTEM_PRIORITIES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def apply_defaults(kind: Kind, obj: Object) -> None:
    """Fill in, in place, what the server's versioned defaulting adds; nothing that is there is changed."""
    if setter := _BY_KIND.get((kind.group, kind.kind)):
        setter(obj)
    codec.recompleted(type_of(kind), obj)


def _set(obj: Object, **values: Any) -> None:
    for key, value in values.items():
        if obj.get(key) in (None, ""):
            obj[key] = value


def _spec(obj: Object) -> Object:
    spec = obj.setdefault("spec", {})
    return spec if isinstance(spec, dict) else {}


# --- pods ---------------------------------------------------------------------------------------------------------


def pull_policy(image: str) -> str:
    """Always for :latest or no tag, IfNotPresent for any other tag or a digest."""
    if "@" in image:
        return "IfNotPresent"
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    return "IfNotPresent" if tag and tag != "latest" else "Always"


def _probe(probe: Object | None, *, http_path: str = "/") -> None:
    if not isinstance(probe, dict):
        return
    for key, value in (
        ("timeoutSeconds", 1),
        ("periodSeconds", 10),
        ("successThreshold", 1),
        ("failureThreshold", 3),
    ):
        if not probe.get(key):
            probe[key] = value
    _handler(probe)


def _handler(handler: Object | None) -> None:
    if not isinstance(handler, dict):
        return
    if isinstance(handler.get("httpGet"), dict):
        _set(handler["httpGet"], path="/", scheme="HTTP")
    if isinstance(handler.get("grpc"), dict):
        handler["grpc"].setdefault("service", "")


def _field_ref(source: Object | None) -> None:
    if isinstance(source, dict) and isinstance(source.get("fieldRef"), dict):
        _set(source["fieldRef"], apiVersion="v1")


def _resources(resources: Object) -> None:
    limits = resources.get("limits") or {}
    requests = dict(resources.get("requests") or {})
    for name, value in limits.items():
        requests.setdefault(name, value)
    if requests:
        resources["requests"] = requests


def _container(container: Object, pod: bool) -> None:
    _set(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=pull_policy(container.get("image") or ""),
    )
    for port in container.get("ports") or ():
        _set(port, protocol="TCP")
    for env in container.get("env") or ():
        _field_ref(env.get("valueFrom"))
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        _probe(container.get(name))
    lifecycle = container.get("lifecycle") or {}
    _handler(lifecycle.get("postStart"))
    _handler(lifecycle.get("preStop"))
    resources = container.setdefault("resources", {})
    # Templates keep their limits alone; the pods made from them get requests equal to the limits.
    if pod:
        _resources(resources)


def _downward(items: Any) -> None:
    for item in items or ():
        _field_ref(item)


def _volume(volume: Object) -> None:
    sources = [key for key, value in volume.items() if key != "name" and value is not None]
    if not sources:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if isinstance(volume.get(name), dict):
            volume[name].setdefault("defaultMode", DEFAULT_MODE)
    _downward((volume.get("downwardAPI") or {}).get("items"))
    if isinstance(volume.get("hostPath"), dict):
        volume["hostPath"].setdefault("type", "")
    for source in (volume.get("projected") or {}).get("sources") or ():
        if isinstance(source.get("serviceAccountToken"), dict):
            source["serviceAccountToken"].setdefault("expirationSeconds", 3600)
        _downward((source.get("downwardAPI") or {}).get("items"))
    template = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
    if isinstance(template, dict):
        _set(template.setdefault("spec", {}), volumeMode="Filesystem")


def pod_spec(spec: Object, pod: bool = False) -> None:
    """Defaults of a pod's spec; pod False for the template of a workload."""
    _set(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
    )
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("securityContext", {})
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for name in ("initContainers", "containers"):
        for container in spec.get(name) or ():
            _container(container, pod)
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)
    for volume in spec.get("volumes") or ():
        _volume(volume)
    if pod:
        spec.setdefault("enableServiceLinks", True)


def _pod(obj: Object) -> None:
    pod_spec(_spec(obj), pod=True)


def _template(spec: Object) -> None:
    template = spec.setdefault("template", {})
    pod_spec(template.setdefault("spec", {}))


# --- workloads ----------------------------------------------------------------------------------------------------


def _deployment(obj: Object) -> None:
    spec = _spec(obj)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    _set(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", "25%")
        rolling.setdefault("maxSurge", "25%")
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)


def _stateful_set(obj: Object) -> None:
    spec = _spec(obj)
    spec.setdefault("replicas", 1)
    _set(spec, podManagementPolicy="OrderedReady")
    update = spec.setdefault("updateStrategy", {})
    _set(update, type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        update.setdefault("rollingUpdate", {}).setdefault("partition", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _set(
        spec.setdefault("persistentVolumeClaimRetentionPolicy", {}), whenDeleted="Retain", whenScaled="Retain"
    )
    for claim in spec.get("volumeClaimTemplates") or ():
        _set(claim, kind="PersistentVolumeClaim", apiVersion="v1")
        _claim(claim)
    _template(spec)


def _replica_set(obj: Object) -> None:
    spec = _spec(obj)
    spec.setdefault("replicas", 1)
    _template(spec)


def _daemon_set(obj: Object) -> None:
    spec = _spec(obj)
    update = spec.setdefault("updateStrategy", {})
    _set(update, type="RollingUpdate")
    if update["type"] == "RollingUpdate":
        rolling = update.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 0)
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)


def _autoscaler(obj: Object) -> None:
    spec = _spec(obj)
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": 80}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if not isinstance(behavior, dict):
        return
    up = behavior.setdefault("scaleUp", {})
    up.setdefault("stabilizationWindowSeconds", 0)
    down = behavior.setdefault("scaleDown", {})
    for rules, policies in (
        (up, [("Pods", 4), ("Percent", 100)]),
        (down, [("Percent", 100)]),
    ):
        _set(rules, selectPolicy="Max")
        if not rules.get("policies"):
            rules["policies"] = [
                {"type": name, "value": value, "periodSeconds": 15} for name, value in policies
            ]


# --- services and networking --------------------------------------------------------------------------------------


def _service(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, sessionAffinity="None", type="ClusterIP")
    if spec["sessionAffinity"] == "ClientIP":
        spec.setdefault("sessionAffinityConfig", {}).setdefault("clientIP", {}).setdefault(
            "timeoutSeconds", 10800
        )
    for port in spec.get("ports") or ():
        _set(port, protocol="TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    if spec["type"] in ("NodePort", "LoadBalancer"):
        _set(spec, externalTrafficPolicy="Cluster")
    if spec["type"] == "LoadBalancer":
        spec.setdefault("allocateLoadBalancerNodePorts", True)
    if spec["type"] != "ExternalName":
        _set(spec, internalTrafficPolicy="Cluster")


def _endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            _set(port, protocol="TCP")


def _endpoint_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        port.setdefault("name", "")
        port.setdefault("protocol", "TCP")


def _network_policy(obj: Object) -> None:
    spec = _spec(obj)
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            _set(port, protocol="TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress"] + (["Egress"] if spec.get("egress") else [])


# --- storage ------------------------------------------------------------------------------------------------------


def _claim(obj: Object) -> None:
    _set(_spec(obj), volumeMode="Filesystem")
    _set(obj.setdefault("status", {}), phase="Pending")


def _volume_object(obj: Object) -> None:
    spec = _spec(obj)
    _set(spec, persistentVolumeReclaimPolicy="Retain", volumeMode="Filesystem")
    if isinstance(spec.get("hostPath"), dict):
        spec["hostPath"].setdefault("type", "")
    _set(obj.setdefault("status", {}), phase="Pending")


def _storage_class(obj: Object) -> None:
    _set(obj, reclaimPolicy="Delete", volumeBindingMode="Immediate")


# --- the rest -----------------------------------------------------------------------------------------------------


def _secret(obj: Object) -> None:
    _set(obj, type="Opaque")
    # stringData is write-only: it is turned into data when the object is read.
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _namespace(obj: Object) -> None:
    name = obj.get("metadata", {}).get("name")
    if name:
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name
    _set(obj.setdefault("status", {}), phase="Active")


def _node(obj: Object) -> None:
    status = obj.get("status") or {}
    if status.get("capacity") and not status.get("allocatable"):
        status["allocatable"] = dict(status["capacity"])


def _binding(obj: Object) -> None:
    reference = obj.get("roleRef")
    if isinstance(reference, dict):
        _set(reference, apiGroup="rbac.authorization.k8s.io")
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            _set(subject, apiGroup="rbac.authorization.k8s.io")


def _priority_class(obj: Object) -> None:
    _set(obj, preemptionPolicy="PreemptLowerPriority")


def _limit_range(obj: Object) -> None:
    for item in _spec(obj).get("limits") or ():
        if item.get("type") != "Container":
            continue
        limits = item.setdefault("default", {})
        requests = item.setdefault("defaultRequest", {})
        for name, value in (item.get("max") or {}).items():
            limits.setdefault(name, value)
        for name, value in limits.items():
            requests.setdefault(name, value)
        for name, value in (item.get("min") or {}).items():
            requests.setdefault(name, value)
        for key in ("default", "defaultRequest"):
            if not item[key]:
                del item[key]


def _token_request(obj: Object) -> None:
    _spec(obj).setdefault("expirationSeconds", 3600)


_RBAC = "rbac.authorization.k8s.io"
_BY_KIND: dict[tuple[str, str], Callable[[Object], None]] = {
    ("", "Pod"): _pod,
    ("", "Service"): _service,
    ("", "Endpoints"): _endpoints,
    ("", "Secret"): _secret,
    ("", "Namespace"): _namespace,
    ("", "Node"): _node,
    ("", "PersistentVolumeClaim"): _claim,
    ("", "PersistentVolume"): _volume_object,
    ("", "LimitRange"): _limit_range,
    ("apps", "Deployment"): _deployment,
    ("apps", "ReplicaSet"): _replica_set,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("autoscaling", "HorizontalPodAutoscaler"): _autoscaler,
    ("networking.k8s.io", "NetworkPolicy"): _network_policy,
    ("discovery.k8s.io", "EndpointSlice"): _endpoint_slice,
    ("storage.k8s.io", "StorageClass"): _storage_class,
    ("scheduling.k8s.io", "PriorityClass"): _priority_class,
    ("authentication.k8s.io", "TokenRequest"): _token_request,
    (_RBAC, "RoleBinding"): _binding,
    (_RBAC, "ClusterRoleBinding"): _binding,
}


# --- once, on create ----------------------------------------------------------------------------------------------

_STATUS_ON_CREATE: dict[tuple[str, str], Object] = {
    ("", "Pod"): {"phase": "Pending"},
    ("", "PersistentVolumeClaim"): {"phase": "Pending"},
    ("", "PersistentVolume"): {"phase": "Pending"},
    ("", "Namespace"): {"phase": "Active"},
}
# Kinds whose first generation is 1 (recorded transcript 19); the others have none.
_WITH_GENERATION = {
    ("", "Pod"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("apps", "DaemonSet"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("discovery.k8s.io", "EndpointSlice"),
}
_PROTECTION = {
    ("", "PersistentVolumeClaim"): "kubernetes.io/pvc-protection",
    ("", "PersistentVolume"): "kubernetes.io/pv-protection",
}
_KEEPS_CLIENT_STATUS = {("", "Node")}
TOLERATED_SECONDS = 300


def has_generation(kind: Kind) -> bool:
    """Whether objects of the kind count their generations."""
    return (kind.group, kind.kind) in _WITH_GENERATION


def prepare_for_create(kind: Kind, obj: Object) -> None:
    """What a create sets once, in place and after `apply_defaults`: first status, generation, protecting finalizers.

    uid, name suffix, creationTimestamp, cluster IPs, node ports, default storage class and whatever else depends on
    other objects stays with the store.
    """
    key = (kind.group, kind.kind)
    metadata = obj.setdefault("metadata", {})
    if has_generation(kind):
        metadata["generation"] = 1
    if kind.has_status and key not in _KEEPS_CLIENT_STATUS:
        obj["status"] = dict(_STATUS_ON_CREATE.get(key, {}))
    finalizer = _PROTECTION.get(key)
    if finalizer and finalizer not in metadata.setdefault("finalizers", []):
        metadata["finalizers"].append(finalizer)
    if key == ("", "Namespace"):
        finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
        if "kubernetes" not in finalizers:
            finalizers.append("kubernetes")
    if key == ("", "Pod"):
        _admit_pod(obj)
    if key == ("", "Service") and obj["spec"].get("type") != "ExternalName":
        _set(obj["spec"], ipFamilyPolicy="SingleStack")
        obj["spec"].setdefault("ipFamilies", ["IPv4"])
        if obj["spec"].get("clusterIP"):
            obj["spec"].setdefault("clusterIPs", [obj["spec"]["clusterIP"]])
    codec.recompleted(type_of(kind), obj)


def _admit_pod(obj: Object) -> None:
    spec = obj["spec"]
    _set(spec, serviceAccountName="default")
    spec["serviceAccount"] = spec["serviceAccountName"]
    # Only the two system classes are known here; the store overrides the value for classes that exist as objects.
    spec["priority"] = SYSTEM_PRIORITIES.get(spec.get("priorityClassName", ""), spec.get("priority", 0))
    _set(spec, preemptionPolicy="PreemptLowerPriority")
    tolerations = spec.setdefault("tolerations", [])
    for condition in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{condition}"
        if not any(_tolerates(toleration, key) for toleration in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": TOLERATED_SECONDS,
                }
            )
    obj["status"]["qosClass"] = qos_class(spec)


def _tolerates(toleration: Object, key: str) -> bool:
    return toleration.get("key") in (key, None, "") and toleration.get("effect") in ("NoExecute", None, "")


def qos_class(spec: Object) -> str:
    """Guaranteed, Burstable or BestEffort, by the CPU and memory of all containers."""
    requested = limited = False
    guaranteed = True
    for container in [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            requested = requested or parse(requests.get(name, "0")) > 0
            limited = limited or parse(limits.get(name, "0")) > 0
            if name not in limits or parse(requests.get(name, limits[name])) != parse(limits[name]):
                guaranteed = False
    if not requested and not limited:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def service_account_volume(suffix: str) -> tuple[Object, Object]:
    """(volume, mount) of the API credentials that admission adds to a pod; suffix is five random characters."""
    name = f"kube-api-access-{suffix}"
    downward = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [downward]}},
    ]
    mount = {"name": name, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    return {"name": name, "projected": {"sources": sources, "defaultMode": DEFAULT_MODE}}, mount


__all__ = [
    "apply_defaults",
    "has_generation",
    "pod_spec",
    "prepare_for_create",
    "pull_policy",
    "qos_class",
    "service_account_volume",
]
