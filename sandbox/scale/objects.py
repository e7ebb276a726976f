"""The objects of a large practice cluster, whole, as its store keeps them: about 3 KB for a pod.

Objects of one workload share what they have in common, which keeps ten thousand pods in some tens of
megabytes; nothing that is stored is ever changed in place.
"""

from __future__ import annotations

import random
import uuid
from typing import Any

from sandbox.scale.fleet import Fleet, Planned, Workload
from sandbox.store import timestamp
from sandbox.world.scenarios import MONITORING, PROMETHEUS_IMAGE

Object = dict[str, Any]

MODEL = "deepseek-r1:1.5b"
_HASH = "6c9d5b7f4"
_OLLAMA, _CHAT = "ollama/ollama:0.9.6", "yidadaa/chatgpt-next-web:v2.16.1"
_EXPORTER = "nvcr.io/nvidia/k8s/dcgm-exporter:4.2.3-4.1.3-ubuntu22.04"
_TOLERATIONS = [
    {
        "key": f"node.kubernetes.io/{name}",
        "operator": "Exists",
        "effect": "NoExecute",
        "tolerationSeconds": 300,
    }
    for name in ("not-ready", "unreachable")
]
_SECURITY = {
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
}


class Writer:
    """Makes objects of planned pods. ``created``: seconds since the epoch that all of them carry."""

    def __init__(self, fleet: Fleet, created: float) -> None:
        self.created = timestamp(created)
        self._random = random.Random(f"{fleet.size.seed}/objects")
        self._templates: dict[int, Object] = {}
        self._owners: dict[int, Object] = {}
        self._addresses = 0
        self._nodes = fleet.size.nodes

    def uid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def address(self) -> str:
        self._addresses += 1
        number = self._addresses
        return f"10.{200 + number // 65025 % 50}.{number // 255 % 255}.{number % 255 + 1}"

    # ---- pods

    def pod(self, planned: Planned, created: str = "") -> Object:
        """A running pod, or a pending one where there is no node for it. created: RFC 3339, else that of all."""
        workload = planned.workload
        created = created or self.created
        metadata: Object = {
            "name": planned.name,
            "namespace": workload.namespace,
            "uid": self.uid(),
            "creationTimestamp": created,
            "labels": pod_labels(workload, planned.name),
            "ownerReferences": [self._owner(workload)],
        }
        if workload.kind != "StatefulSet":
            metadata["generateName"] = planned.name[:-5]
        spec = dict(self._template(workload))
        if workload.kind == "StatefulSet":
            spec["hostname"] = planned.name
        if planned.node:
            spec["nodeName"] = planned.node
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec}
        pod["status"] = self.running(spec, created) if planned.node else self._unscheduled(created, workload)
        return pod

    def running(self, spec: Object, created: str) -> Object:
        """The status of a pod whose container runs and is ready."""
        address = self.address()
        return {
            "phase": "Running",
            "conditions": conditions(created, ready=True),
            "hostIP": "10.99.0.1",
            "podIP": address,
            "podIPs": [{"ip": address}],
            "startTime": created,
            "containerStatuses": [container_status(spec, created, self._random.getrandbits(256))],
            "qosClass": "Burstable",
        }

    def _unscheduled(self, since: str, workload: Workload) -> Object:
        """The status of a pod for which no node has room."""
        count = self._nodes
        message = (
            f"0/{count} nodes are available: {count} Insufficient {'nvidia.com/gpu' if workload.gpus else 'pods'}. "
            f"no new claims to deallocate, preemption: 0/{count} nodes are available: "
            f"{count} No preemption victims found for incoming pod."
        )
        condition = _condition("PodScheduled", "False", since, "Unschedulable", message)
        return {"phase": "Pending", "conditions": [condition], "qosClass": "Burstable"}

    def _owner(self, workload: Workload) -> Object:
        found = self._owners.get(id(workload))
        if found is None:
            kind, name = workload.kind, workload.name
            if kind == "Deployment":
                kind, name = "ReplicaSet", f"{name}-{workload.suffix}"
            found = {
                "apiVersion": "apps/v1",
                "kind": kind,
                "name": name,
                "uid": self.uid(),
                "controller": True,
                "blockOwnerDeletion": True,
            }
            self._owners[id(workload)] = found
        return found

    def _template(self, workload: Workload) -> Object:
        found = self._templates.get(id(workload))
        if found is None:
            found = self._templates[id(workload)] = pod_spec(workload)
        return found

    # ---- what stands above them

    def set_of(self, workload: Workload) -> tuple[str, Object]:
        """(kind, object) of the workload itself."""
        count = workload.replicas
        state: Object = {"observedGeneration": 1, "replicas": count, "readyReplicas": count}
        spec: Object = {
            "selector": {"matchLabels": selector_labels(workload)},
            "template": {"metadata": {"labels": labels(workload)}, "spec": self._template(workload)},
        }
        if workload.kind == "DaemonSet":
            state = {"observedGeneration": 1, "numberReady": count, "numberMisscheduled": 0}
            for name in ("current", "desired", "updated"):
                state[f"{name}NumberScheduled"] = count
            state["numberAvailable"] = count
        else:
            spec["replicas"] = count
            state |= {"updatedReplicas": count, "availableReplicas": count}
        if workload.kind == "StatefulSet":
            revision = f"{workload.name}-{_HASH}"
            spec |= {"serviceName": f"{workload.name}-pods", "podManagementPolicy": "Parallel"}
            state |= {"currentReplicas": count, "currentRevision": revision, "updateRevision": revision}
            state["collisionCount"] = 0
        elif workload.kind == "Deployment":
            state["conditions"] = [
                {
                    "type": type_,
                    "status": "True",
                    "lastUpdateTime": self.created,
                    "lastTransitionTime": self.created,
                    "reason": reason,
                    "message": message,
                }
                for type_, reason, message in (
                    (
                        "Progressing",
                        "NewReplicaSetAvailable",
                        f'ReplicaSet "{workload.name}" has progressed.',
                    ),
                    ("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
                )
            ]
        return workload.kind, {
            "kind": workload.kind,
            "apiVersion": "apps/v1",
            "metadata": {
                "name": workload.name,
                "namespace": workload.namespace,
                "uid": self._owner(workload)["uid"] if workload.kind != "Deployment" else self.uid(),
                "generation": 1,
                "creationTimestamp": self.created,
                "labels": labels(workload),
            },
            "spec": spec,
            "status": state,
        }


# ---- labels


def selector_labels(workload: Workload) -> dict[str, str]:
    if workload.kind == "DaemonSet":
        return {"app": workload.name}
    if workload.namespace == MONITORING:
        return {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/instance": "k8s"}
    if workload.stack is None:
        return {"app": workload.name}
    return {
        "app.kubernetes.io/component": workload.component,
        "app.kubernetes.io/instance": workload.stack.name,
        "pilothouse.io/deployment": workload.stack.uid,
    }


def labels(workload: Workload) -> dict[str, str]:
    """Of the workload and its template."""
    if workload.stack is None:
        return selector_labels(workload)
    return {
        "app.kubernetes.io/name": "ollama" if workload.component == "server" else "nextchat",
        **selector_labels(workload),
        "app.kubernetes.io/part-of": "pilothouse-stack",
        "app.kubernetes.io/managed-by": "pilothouse",
    }


def pod_labels(workload: Workload, name: str) -> dict[str, str]:
    """And what the controller adds for each pod."""
    if workload.kind == "StatefulSet":
        return {
            **labels(workload),
            "apps.kubernetes.io/pod-index": name.rpartition("-")[2],
            "controller-revision-hash": f"{workload.name}-{_HASH}",
            "statefulset.kubernetes.io/pod-name": name,
        }
    if workload.kind == "DaemonSet":
        return {**labels(workload), "controller-revision-hash": _HASH, "pod-template-generation": "1"}
    return {**labels(workload), "pod-template-hash": workload.suffix}


# ---- parts of a pod


def _image(workload: Workload) -> tuple[str, str, int, str]:
    """(container name, image, port, its name)."""
    if workload.kind == "DaemonSet":
        return workload.name, _EXPORTER, 9400, "metrics"
    if workload.namespace == MONITORING:
        return "prometheus", PROMETHEUS_IMAGE, 9090, "web"
    if workload.component == "chat":
        return "nextchat", _CHAT, 3000, "http"
    if workload.component == "server":
        return "ollama", _OLLAMA, 11434, "http"
    return (
        "main",
        f"registry.example/{workload.namespace}/{workload.name}:1.{workload.replicas}",
        8080,
        "http",
    )


def pod_spec(workload: Workload) -> Object:
    """The template's spec, without a node."""
    name, image, port, port_name = _image(workload)
    requests, limits = {"cpu": "500m", "memory": "1Gi"}, {"cpu": "2", "memory": "2Gi"}
    if workload.component == "server":
        requests, limits = {"cpu": "2", "memory": "8Gi"}, {"cpu": "4", "memory": "10Gi"}
    if workload.gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = str(workload.gpus)
    probe = {
        "httpGet": {"path": "/", "port": port_name, "scheme": "HTTP"},
        "timeoutSeconds": 5,
        "periodSeconds": 20,
        "successThreshold": 1,
        "failureThreshold": 6,
    }
    container = {
        "name": name,
        "image": image,
        "ports": [{"name": port_name, "containerPort": port, "protocol": "TCP"}],
        "env": [{"name": "OLLAMA_MODELS", "value": "/models"}],
        "resources": {"limits": limits, "requests": requests},
        "volumeMounts": [{"name": "models", "mountPath": "/models"}],
        "readinessProbe": probe,
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
        "securityContext": _SECURITY,
    }
    return {
        "volumes": [{"name": "models", "emptyDir": {}}],
        "containers": [container],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "serviceAccountName": "default",
        "serviceAccount": "default",
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "schedulerName": "default-scheduler",
        "tolerations": _TOLERATIONS,
        "priority": 0,
        "enableServiceLinks": False,
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _condition(type_: str, status: str, since: str, reason: str = "", message: str = "") -> Object:
    found = {"type": type_, "status": status, "lastProbeTime": None, "lastTransitionTime": since}
    if reason:
        found["reason"] = reason
    if message:
        found["message"] = message
    return found


def conditions(since: str, ready: bool, changed: str = "") -> list[Object]:
    """changed: when readiness changed, else as long as everything else."""
    changed = changed or since
    found = [
        _condition(type_, "True", since)
        for type_ in ("PodReadyToStartContainers", "Initialized", "PodScheduled")
    ]
    for type_ in ("Ready", "ContainersReady"):
        if ready:
            found.insert(2, _condition(type_, "True", changed))
        else:
            message = "containers with unready status: [main]"
            found.insert(2, _condition(type_, "False", changed, "ContainersNotReady", message))
    return found


def container_status(spec: Object, started: str, identity: int) -> Object:
    """A container that runs. identity: 256 bits."""
    container = spec["containers"][0]
    return {
        "name": container["name"],
        "state": {"running": {"startedAt": started}},
        "lastState": {},
        "ready": True,
        "restartCount": 0,
        "image": container["image"],
        "imageID": f"docker.io/{container['image'].partition(':')[0]}@sha256:{0x5A17:064x}",
        "containerID": f"containerd://{identity:064x}",
        "started": True,
    }
