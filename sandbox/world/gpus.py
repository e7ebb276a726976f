"""GPUs of the simulated nodes: which pod holds which device, and what lies in its memory."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of GPU. memory in MiB; idle and full power in W; resource as nodes advertise it."""

    vendor: str
    product: str
    label: str
    memory: int
    idle_watts: float
    full_watts: float

    @property
    def resource(self) -> str:
        return f"{self.vendor}.com/gpu"


A100 = Model("nvidia", "NVIDIA A100-SXM4-80GB", "NVIDIA-A100-SXM4-80GB", 81920, 62.0, 400.0)
MI300X = Model("amd", "AMD Instinct MI300X OAM", "AMD_Instinct_MI300X_OAM", 196592, 140.0, 750.0)


@dataclass(slots=True)
class Device:
    """One GPU. pod: (namespace, pod, container) of its holder; loaded: bytes by process; busy: processes at work."""

    node: str
    index: int
    model: Model
    uuid: str
    pod: tuple[str, str, str] | None = None
    holder: str = ""
    loaded: dict[str, int] = field(default_factory=dict)
    busy: set[str] = field(default_factory=set)
    energy: float = 0.0

    @property
    def used_bytes(self) -> int:
        return sum(self.loaded.values())


class Devices:
    """All GPUs by node."""

    def __init__(self, seed: int | str) -> None:
        self._seed = seed
        self.nodes: dict[str, list[Device]] = {}

    def add(self, node: str, model: Model, count: int) -> None:
        self.nodes[node] = [
            Device(node, index, model, self._uuid(node, index, model)) for index in range(count)
        ]

    def _uuid(self, node: str, index: int, model: Model) -> str:
        digest = hashlib.sha256(f"{self._seed}/{node}/{index}".encode()).digest()
        text = str(uuid.UUID(bytes=digest[:16], version=4))
        return f"GPU-{text}" if model.vendor == "nvidia" else text

    def allocate(
        self, node: str, resource: str, count: int, holder: str, pod: tuple[str, str, str]
    ) -> list[Device] | None:
        """Devices for a container (holder: an id of its own), or None when too few are free."""
        mine = [device for device in self.nodes.get(node, ()) if device.holder == holder]
        if len(mine) == count:
            return mine
        free = [
            device
            for device in self.nodes.get(node, ())
            if not device.holder and device.model.resource == resource
        ]
        if len(free) < count:
            return None
        for device in free[:count]:
            device.holder, device.pod = holder, pod
        return free[:count]

    def free(self, node: str, resource: str) -> int:
        return sum(
            not device.holder and device.model.resource == resource for device in self.nodes.get(node, ())
        )

    def release(self, prefix: str) -> None:
        """Give back what containers hold whose holder begins with prefix (a pod's uid)."""
        for devices in self.nodes.values():
            for device in devices:
                if device.holder and device.holder.startswith(prefix):
                    device.holder, device.pod = "", None
                    device.loaded.clear()
                    device.busy.clear()

    def release_on(self, node: str, holder: str) -> None:
        """The same for one holder on a node that is known."""
        for device in self.nodes.get(node, ()):
            if device.holder == holder:
                device.holder, device.pod = "", None
                device.loaded.clear()
                device.busy.clear()
