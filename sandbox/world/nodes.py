"""Nodes of the practice cluster: their objects, labels as feature discovery writes them, and their heartbeat.

NVIDIA GPU feature discovery (internal/lm/nvml.go), AMD node labeller, node feature discovery for the label names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sandbox.store import Store
from sandbox.world.events import Recorder, micro_time
from sandbox.world.gpus import Devices, Model
from sandbox.world.objects import condition, status_of

Object = dict[str, Any]

KUBELET_VERSION = "v1.36.2"
DRIVER = "550.90.07"
CUDA = "12.4"
AMD_DRIVER = "6.12.12"
LEASE_SECONDS = 40
RENEW_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What a scenario says about a node. cpu in cores, memory and disk in GiB, taints as (key, effect).

    discovered False: there are GPUs and a device plugin, but nothing that labels nodes with driver or product.
    """

    name: str
    cpu: int
    memory: int
    disk: int = 400
    gpu: Model | None = None
    gpus: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str], ...] = ()
    discovered: bool = True


def labels_of(spec: NodeSpec) -> dict[str, str]:
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        **spec.labels,
    }
    if spec.gpu is not None and not spec.discovered:
        labels["feature.node.kubernetes.io/pci-10de.present"] = "true"
    elif spec.gpu is not None and spec.gpu.vendor == "nvidia":
        labels.update(_nvidia(spec.gpu, spec.gpus))
    elif spec.gpu is not None:
        labels.update(_amd(spec.gpu, spec.gpus))
    return dict(sorted(labels.items()))


def _nvidia(model: Model, count: int) -> dict[str, str]:
    major, minor, revision = DRIVER.split(".")
    cuda_major, cuda_minor = CUDA.split(".")
    prefix = "nvidia.com"
    return {
        "feature.node.kubernetes.io/pci-10de.present": "true",
        f"{prefix}/cuda.driver-version.full": DRIVER,
        f"{prefix}/cuda.driver-version.major": major,
        f"{prefix}/cuda.driver-version.minor": minor,
        f"{prefix}/cuda.driver-version.revision": revision,
        f"{prefix}/cuda.driver.major": major,
        f"{prefix}/cuda.driver.minor": minor,
        f"{prefix}/cuda.driver.rev": revision,
        f"{prefix}/cuda.runtime-version.full": CUDA,
        f"{prefix}/cuda.runtime-version.major": cuda_major,
        f"{prefix}/cuda.runtime-version.minor": cuda_minor,
        f"{prefix}/cuda.runtime.major": cuda_major,
        f"{prefix}/cuda.runtime.minor": cuda_minor,
        f"{prefix}/gpu.compute.major": "8",
        f"{prefix}/gpu.compute.minor": "0",
        f"{prefix}/gpu.count": str(count),
        f"{prefix}/gpu.deploy.dcgm-exporter": "true",
        f"{prefix}/gpu.deploy.device-plugin": "true",
        f"{prefix}/gpu.deploy.driver": "true",
        f"{prefix}/gpu.family": "ampere",
        f"{prefix}/gpu.machine": "Practice-Cluster-Node",
        f"{prefix}/gpu.memory": str(model.memory),
        f"{prefix}/gpu.mode": "compute",
        f"{prefix}/gpu.present": "true",
        f"{prefix}/gpu.product": model.label,
        f"{prefix}/gpu.replicas": "1",
        f"{prefix}/gpu.sharing-strategy": "none",
        f"{prefix}/mig.capable": "true",
        f"{prefix}/mig.strategy": "single",
        f"{prefix}/mps.capable": "false",
    }


def _amd(model: Model, count: int) -> dict[str, str]:
    return {
        "feature.node.kubernetes.io/amd-gpu": "true",
        "feature.node.kubernetes.io/pci-1002.present": "true",
        "amd.com/gpu.device-id": "74a1",
        "amd.com/gpu.driver-version": AMD_DRIVER,
        "amd.com/gpu.family": "AI",
        "amd.com/gpu.product-name": model.label,
        "amd.com/gpu.cu-count": "304",
        "amd.com/gpu.vram": f"{model.memory // 1024}G",
        "beta.amd.com/gpu.product-name": model.label,
        f"beta.amd.com/gpu.product-name.{model.label}": str(count),
    }


class Nodes:
    """Makes the nodes of a scenario and keeps them alive."""

    def __init__(self, store: Store, recorder: Recorder, devices: Devices) -> None:
        self.store = store
        self.recorder = recorder
        self.devices = devices
        self.specs: dict[str, NodeSpec] = {}

    def furnish(self, specs: Iterable[NodeSpec], without: Collection[str] = ()) -> None:
        """Create nodes that are missing; safe to repeat on a loaded store. without: names to leave out."""
        for index, spec in enumerate(specs):
            self.specs[spec.name] = spec
            if spec.name in without:
                continue
            if spec.gpu is not None and spec.name not in self.devices.nodes:
                self.devices.add(spec.name, spec.gpu, spec.gpus)
            if self.store.get("Node", None, spec.name) is None:
                self.store.create("Node", self._object(spec, index), manager="kubelet")
            lease: Object = {
                "metadata": {"name": spec.name, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": spec.name, "leaseDurationSeconds": LEASE_SECONDS},
            }
            lease["spec"]["renewTime"] = micro_time(self.store.clock())
            if self.store.get("Lease", "kube-node-lease", spec.name) is None:
                self.store.create("Lease", lease, manager="kubelet")

    def _object(self, spec: NodeSpec, index: int) -> Object:
        capacity = {
            "cpu": str(spec.cpu),
            "ephemeral-storage": f"{spec.disk}Gi",
            "hugepages-1Gi": "0",
            "hugepages-2Mi": "0",
            "memory": f"{spec.memory}Gi",
            "pods": "110",
        }
        allocatable = {
            **capacity,
            "cpu": f"{spec.cpu * 1000 - 80}m",
            "memory": f"{spec.memory * 1024 - 600}Mi",
            "ephemeral-storage": f"{spec.disk - 40}Gi",
        }
        if spec.gpu is not None:
            capacity[spec.gpu.resource] = allocatable[spec.gpu.resource] = str(spec.gpus)
        taints = [{"key": key, "effect": effect} for key, effect in spec.taints]
        return {
            "metadata": {"name": spec.name, "labels": labels_of(spec)},
            "spec": {
                "podCIDR": f"10.{244 + index // 250}.{index % 250}.0/24",
                "podCIDRs": [f"10.{244 + index // 250}.{index % 250}.0/24"],
                **({"taints": taints} if taints else {}),
            },
            "status": {
                "capacity": dict(sorted(capacity.items())),
                "allocatable": dict(sorted(allocatable.items())),
                "conditions": self._conditions(),
                "addresses": [
                    {"type": "InternalIP", "address": f"10.99.{index // 200}.{index % 200 + 10}"},
                    {"type": "Hostname", "address": spec.name},
                ],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
                "nodeInfo": {
                    "machineID": f"{index:032x}",
                    "systemUUID": f"00000000-0000-4000-8000-{index:012x}",
                    "bootID": f"00000000-0000-4000-9000-{index:012x}",
                    "kernelVersion": "6.1.0-practice",
                    "osImage": "Practice cluster (simulated)",
                    "containerRuntimeVersion": "containerd://2.1.0",
                    "kubeletVersion": KUBELET_VERSION,
                    "kubeProxyVersion": "",
                    "operatingSystem": "linux",
                    "architecture": "amd64",
                },
            },
        }

    def _conditions(self) -> list[Object]:
        now = self.store.now()
        wanted = (
            (
                "MemoryPressure",
                "False",
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
            ),
            ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
        )
        return [
            {
                "type": type_,
                "status": value,
                "lastHeartbeatTime": now,
                "lastTransitionTime": now,
                "reason": reason,
                "message": message,
            }
            for type_, value, reason, message in wanted
        ]

    def address(self, name: str) -> str:
        node = self.store.get("Node", None, name)
        for entry in status_of(node or {}).get("addresses") or []:
            if entry["type"] == "InternalIP":
                return str(entry["address"])
        return "10.99.0.1"

    def renew(self, silent: set[str]) -> None:
        """Renew the leases of the nodes that are alive."""
        moment = micro_time(self.store.clock())

        def change(lease: Object) -> None:
            lease["spec"]["renewTime"] = moment

        for name in self.specs:
            if name not in silent:
                self.store.mutate("Lease", "kube-node-lease", name, change, manager="kubelet")

    def is_ready(self, name: str) -> bool:
        node = self.store.get("Node", None, name)
        found = condition(node, "Ready") if node is not None else None
        return found is not None and found["status"] == "True"

    def set_ready(self, name: str, ready: bool) -> None:
        """Ready True as the kubelet says it, or Unknown as the node controller does when the kubelet is silent."""
        now = self.store.now()

        def change(node: Object) -> object:
            found = condition(node, "Ready")
            wanted = "True" if ready else "Unknown"
            if found is None or found["status"] == wanted:
                return False
            found["status"] = wanted
            found["lastTransitionTime"] = now
            found["reason"] = "KubeletReady" if ready else "NodeStatusUnknown"
            found["message"] = (
                "kubelet is posting ready status" if ready else "Kubelet stopped posting node status."
            )
            return None

        before = self.is_ready(name)
        node = self.store.mutate("Node", None, name, change, "status", "kubelet")
        if node is not None and before != ready:
            reason = "NodeReady" if ready else "NodeNotReady"
            source = "kubelet" if ready else "node-controller"
            self.recorder.event(node, "Normal", reason, f"Node {name} status is now: {reason}", source)

    def set_devices(self, name: str, left: int | None) -> None:
        """How many GPUs a node offers, None for all: capacity stays listed, what is missing is not allocatable."""
        spec = self.specs.get(name)
        if spec is None or spec.gpu is None:
            return
        resource, value = spec.gpu.resource, str(spec.gpus if left is None else min(left, spec.gpus))

        def change(node: Object) -> object:
            if node["status"]["allocatable"].get(resource) == value:
                return False
            node["status"]["allocatable"][resource] = value
            return None

        self.store.mutate("Node", None, name, change, "status", "kubelet")

    def set_labels(self, name: str, labels: Mapping[str, str | None]) -> dict[str, str | None] | None:
        """Set labels, take away those that are None. Returns what undoes it; None without such a node."""
        before: dict[str, str | None] = {}

        def change(node: Object) -> None:
            found = node["metadata"].setdefault("labels", {})
            for key, value in labels.items():
                before[key] = found.get(key)
                if value is None:
                    found.pop(key, None)
                else:
                    found[key] = value

        return before if self.store.mutate("Node", None, name, change) is not None else None

    def set_pressure(self, name: str, type_: str, under: bool) -> None:
        """A condition such as DiskPressure, as the kubelet reports it."""

        def change(node: Object) -> object:
            found = condition(node, type_)
            value = "True" if under else "False"
            if found is None or found["status"] == value:
                return False
            what = {"MemoryPressure": "memory", "DiskPressure": "disk space", "PIDPressure": "PID"}[type_]
            found["status"] = value
            found["lastTransitionTime"] = self.store.now()
            found["reason"] = f"KubeletHas{type_}" if under else f"KubeletHasNo{type_}"
            found["message"] = f"kubelet has {'in' if under else ''}sufficient {what} available"
            return None

        self.store.mutate("Node", None, name, change, "status", "kubelet")

    def cordon(self, name: str, on: bool) -> None:
        def change(node: Object) -> object:
            if bool(node["spec"].get("unschedulable")) == on:
                return False
            if on:
                node["spec"]["unschedulable"] = True
            else:
                node["spec"].pop("unschedulable")
            return None

        self.store.mutate("Node", None, name, change)
