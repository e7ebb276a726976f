"""What a large practice cluster holds: how many of what, under which names, on which nodes. The same for the same seed.

Nothing here is an object of the API yet; objects.py writes those.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from sandbox.world.gpus import A100
from sandbox.world.nodes import NodeSpec
from sandbox.world.scenarios import MONITORING, PROMETHEUS

GPUS_OF_A_NODE = 8
PODS_OF_A_NODE = 110
SPECIAL_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
EXPORTER_NAMESPACE = "gpu-operator"
STAYING = (EXPORTER_NAMESPACE, MONITORING)
TENANTS = 40
# What is left free, so that there is something to schedule on.
GPUS_GIVEN = 0.8


@dataclass(frozen=True, slots=True)
class Size:
    """changes: a second; labelled: the share of the pods that belongs to stacks, in ``namespaces``;
    prometheus: whether there is one that scrapes the exporters.

    Raises ValueError for numbers that make no cluster.
    """

    nodes: int = 500
    pods: int = 10_000
    gpus: int = 2_000
    changes: float = 200.0
    seed: int = 1
    labelled: float = 0.2
    prometheus: bool = False
    namespaces: tuple[str, ...] = tuple(f"models-{number:02d}" for number in range(1, 9))

    def __post_init__(self) -> None:
        if self.nodes < 1 or self.pods < 0 or self.gpus < 0 or self.changes < 0:
            raise ValueError("a large cluster has at least one node, and no number below 0")
        if not 0 <= self.labelled <= 1:
            raise ValueError(f"labelled is a share between 0 and 1, not {self.labelled}")
        if self.pods > self.nodes * PODS_OF_A_NODE:
            raise ValueError(f"{self.pods} pods do not fit: a node takes {PODS_OF_A_NODE}")
        if self.gpus > self.nodes * GPUS_OF_A_NODE:
            raise ValueError(f"{self.gpus} GPUs do not fit: a node takes {GPUS_OF_A_NODE}")
        if self.pods < self.gpu_nodes + self.prometheus:
            raise ValueError(f"{self.gpu_nodes} nodes with GPUs need a pod each for their exporter")
        if not self.namespaces:
            raise ValueError("the stacks need a namespace")

    @property
    def gpu_nodes(self) -> int:
        return -(-self.gpus // GPUS_OF_A_NODE)


@dataclass(frozen=True, slots=True)
class Stack:
    """A model server and its chat, labelled as Pilothouse labels them. gpus: of one server pod."""

    uid: str
    namespace: str
    name: str
    servers: int
    chats: int
    gpus: int

    @property
    def pods(self) -> int:
        return self.servers + self.chats


@dataclass(frozen=True, slots=True)
class Workload:
    """Pods made from one template. kind: StatefulSet, Deployment (through a ReplicaSet) or DaemonSet.

    component is ``server`` or ``chat`` for a stack's, else empty; suffix is the hash in the name of a ReplicaSet.
    """

    kind: str
    namespace: str
    name: str
    replicas: int
    gpus: int = 0
    component: str = ""
    suffix: str = ""
    stack: Stack | None = None


@dataclass(slots=True)
class Place:
    """Room on a node."""

    node: str
    pods: int = PODS_OF_A_NODE
    gpus: int = 0


@dataclass(frozen=True, slots=True)
class Planned:
    """One pod: of which workload, under which name, on which node ("" where its GPUs fit on none)."""

    workload: Workload
    name: str
    node: str


def fits(place: Place, gpus: int) -> bool:
    return place.gpus >= gpus and place.pods > 0


@dataclass(slots=True)
class Fleet:
    """Everything, planned. ``stacks`` is what a benchmark makes its own rows from."""

    size: Size
    nodes: list[NodeSpec] = field(default_factory=list)
    stacks: list[Stack] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)
    pods: list[Planned] = field(default_factory=list)
    _random: random.Random = field(default_factory=random.Random)

    def __post_init__(self) -> None:
        self._random = random.Random(self.size.seed)
        self._plan_nodes()
        self._plan_workloads()
        self._place()

    def _plan_nodes(self) -> None:
        size, left = self.size, self.size.gpus
        for number in range(size.gpu_nodes):
            count = min(GPUS_OF_A_NODE, left)
            left -= count
            self.nodes.append(NodeSpec(f"scale-gpu-{number:04d}", 96, 1024, 4000, A100, count))
        for number in range(size.nodes - size.gpu_nodes):
            self.nodes.append(NodeSpec(f"scale-cpu-{number:04d}", 64, 256))

    def _plan_workloads(self) -> None:
        size = self.size
        if size.gpus:
            self.workloads.append(
                Workload("DaemonSet", EXPORTER_NAMESPACE, "nvidia-dcgm-exporter", size.gpu_nodes)
            )
        if size.prometheus:
            self.workloads.append(Workload("StatefulSet", MONITORING, PROMETHEUS, 1))
        room = size.pods - size.gpu_nodes - size.prometheus
        labelled = round(room * size.labelled)
        gpus = int(size.gpus * GPUS_GIVEN)
        given = 0
        while labelled > 0:
            chats = 1 if labelled > 1 else 0
            servers = min(labelled - chats, self._random.choice((1, 1, 1, 2, 2, 3, 4)))
            each = self._random.choice((1, 1, 1, 2, 4))
            each = each if given + each * servers <= gpus else 0
            given += each * servers
            stack = self._stack(servers, chats, each)
            labelled -= stack.pods
            self.stacks.append(stack)
            self._add("StatefulSet", stack.namespace, f"{stack.name}-server", servers, each, "server", stack)
            if chats:
                self._add("Deployment", stack.namespace, f"{stack.name}-chat", chats, 0, "chat", stack)
        others = room - sum(stack.pods for stack in self.stacks)
        number = 0
        while others > 0:
            replicas = min(others, self._random.randint(1, 30))
            each = 1 if given + replicas <= gpus and self._random.random() < 0.3 else 0
            given += each * replicas
            others -= replicas
            namespace = f"tenant-{number % TENANTS:02d}"
            self._add("Deployment", namespace, f"app-{number:04d}", replicas, each, "", None)
            number += 1

    def _stack(self, servers: int, chats: int, gpus: int) -> Stack:
        number = len(self.stacks)
        uid = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        namespace = self.size.namespaces[number % len(self.size.namespaces)]
        return Stack(uid, namespace, f"model-{number:04d}", servers, chats, gpus)

    def _add(
        self,
        kind: str,
        namespace: str,
        name: str,
        replicas: int,
        gpus: int,
        component: str,
        stack: Stack | None,
    ) -> None:
        suffix = self.letters(9) if kind == "Deployment" else ""
        self.workloads.append(Workload(kind, namespace, name, replicas, gpus, component, suffix, stack))

    def letters(self, count: int) -> str:
        """Letters as generated names have them."""
        return "".join(self._random.choices(SPECIAL_LETTERS, k=count))

    def _place(self) -> None:
        places = [Place(spec.name, gpus=spec.gpus) for spec in self.nodes]
        with_gpus, turn = 0, 0
        place: Place | None
        for workload in self.workloads:
            for ordinal in range(workload.replicas):
                if workload.kind == "DaemonSet":
                    place = places[ordinal]
                elif workload.gpus:
                    while not fits(places[with_gpus], 1) and with_gpus + 1 < len(places):
                        with_gpus += 1
                    place = next((found for found in places[with_gpus:] if fits(found, workload.gpus)), None)
                else:
                    while not places[turn % len(places)].pods:
                        turn += 1
                    place = places[turn % len(places)]
                    turn += 1
                if place is not None:
                    place.pods -= 1
                    place.gpus -= workload.gpus
                node = place.node if place is not None else ""
                self.pods.append(Planned(workload, self._pod_name(workload, ordinal), node))

    def _pod_name(self, workload: Workload, ordinal: int) -> str:
        if workload.kind == "StatefulSet":
            return f"{workload.name}-{ordinal}"
        if workload.kind == "DaemonSet":
            return f"{workload.name}-{self.letters(5)}"
        return f"{workload.name}-{workload.suffix}-{self.letters(5)}"

    def namespaces(self) -> Iterator[str]:
        """Of all workloads, in order."""
        yield from sorted({workload.namespace for workload in self.workloads})
