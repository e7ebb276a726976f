"""GPUs: whether nodes offer them, and whether their driver is new enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from deployments.domain.drivers import ASK_CUDA, ASK_DRIVER, LEAST_CUDA, LEAST_DRIVER, driver_of
from deployments.domain.findings import Finding
from deployments.domain.fit import Answer, Node
from deployments.domain.spec import GpuVendor
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.checks.room import Room

# Signs of a card on a node whose device plugin does not offer it: node feature discovery (PCI vendor)
# and the operators' own labels.
_CARDS = {
    GpuVendor.NVIDIA.resource: ("feature.node.kubernetes.io/pci-10de.present", "nvidia.com/gpu.present"),
    GpuVendor.AMD.resource: (
        "feature.node.kubernetes.io/pci-1002.present",
        "feature.node.kubernetes.io/amd-gpu",
    ),
}
_PLUGIN = {
    GpuVendor.NVIDIA.resource: "Install the NVIDIA GPU operator: it brings driver and device plugin.",
    GpuVendor.AMD.resource: "Install the AMD GPU operator: it brings driver and device plugin.",
}
_SHOWN = 6


def gpus(room: Room) -> Iterator[Finding]:
    """Only where the profile asks for GPUs and nodes may be seen."""
    if not room.gpu or room.server is None:
        return
    offering = [node for node in room.nodes if node.allocatable.get(room.gpu, 0) > 0]
    if not offering:
        if room.nodes:
            yield _nobody_offers(room)
        return
    yield _free(room, offering)
    if room.gpu == GpuVendor.NVIDIA.resource:
        usable = {item.node.name for item in room.server.nodes if item.takes or not item.never}
        yield from _drivers([node for node in offering if node.name in usable] or offering)


def _nobody_offers(room: Room) -> Finding:
    broken = [node for node in room.nodes if node.capacity.get(room.gpu, 0) > 0]
    cards = [node for node in room.nodes if any(node.labels.get(key) == "true" for key in _CARDS[room.gpu])]
    plugin = _PLUGIN[room.gpu]
    if broken:
        evidence = f"{_names(broken)}: {room.gpu} is listed, but no device is healthy"
        remedy, plugin = "Look at the device plugin's pods and at the driver on these nodes.", ""
    elif cards:
        evidence = f"{_names(cards)}: a card is in the node, but nothing offers {room.gpu}"
        remedy = ""
    else:
        evidence = f"none of {len(room.nodes)} nodes has {room.gpu} or shows signs of such a card"
        remedy = "Choose a profile without GPUs, or add nodes that have them. "
    if room.server is not None and room.server.answer is Answer.CANNOT_TELL:
        return Finding("device_plugin", CANNOT_TELL, f"No node offers {room.gpu} now", evidence, remedy)
    return Finding(
        "device_plugin",
        FAIL,
        f"No node offers {room.gpu}",
        evidence,
        f"{remedy}{plugin}",
        source="nodes",
        field="gpu_vendor",
    )


def _free(room: Room, offering: Sequence[Node]) -> Finding:
    total = sum(node.allocatable[room.gpu] for node in offering)
    free = [node.free(room.gpu) for node in offering]
    broken = sum(max(0, node.capacity.get(room.gpu, 0) - node.allocatable[room.gpu]) for node in offering)
    if any(one is None for one in free):
        title = f"{total} {room.gpu} on {len(offering)} node{'s' if len(offering) > 1 else ''}; how many are free cannot be seen"
        return Finding("gpus", CANNOT_TELL, title, source="nodes")
    left = sum(max(0, one or 0) for one in free)
    title = f"{left} of {total} {room.gpu} are free on {len(offering)} node{'s' if len(offering) > 1 else ''}"
    if broken:
        return Finding(
            "gpus",
            WARN,
            title,
            f"{broken} more devices are broken: listed in capacity, not in allocatable",
            "Look at the driver and at the device plugin's log on the node.",
            source="nodes",
        )
    return Finding("gpus", PASS, title, source="nodes")


def _drivers(nodes: Sequence[Node]) -> Iterator[Finding]:
    """Nodes that the servers may come to, judged by the labels of GPU feature discovery."""
    known = {node.name: driver_of(node.labels) for node in nodes}
    old = {name: driver.too_old for name, driver in known.items() if driver.too_old}
    silent = [name for name, driver in known.items() if not driver.too_old and not driver.known]
    if old:
        told = "; ".join(f"{name}: {', '.join(clauses)}" for name, clauses in list(old.items())[:_SHOWN])
        every = len(old) == len(nodes)
        yield Finding(
            "driver",
            FAIL if every else WARN,
            "The NVIDIA driver is too old"
            if every
            else f"The NVIDIA driver is too old on {len(old)} of {len(nodes)} nodes",
            told,
            f"Update the driver to {LEAST_DRIVER} or newer (CUDA {LEAST_CUDA}), best by the GPU operator"
            + ("." if every else ", or keep the servers off these nodes with a node selector."),
            source="node labels",
        )
    if silent:
        yield Finding(
            "driver",
            CANNOT_TELL,
            f"Driver and CUDA of {_list(silent)} are not known",
            "no labels nvidia.com/cuda.driver-version and nvidia.com/cuda.runtime-version",
            f"No harm in going on. To know, install GPU feature discovery, or run on the node: {ASK_DRIVER} "
            f"({LEAST_DRIVER} or newer) and {ASK_CUDA} ({LEAST_CUDA} or newer).",
            source="node labels",
        )
    if not old and not silent:
        versions = ", ".join(sorted({f"{one.driver} with CUDA {one.cuda}" for one in known.values()})[:3])
        yield Finding("driver", PASS, f"The NVIDIA driver is new enough: {versions}", source="node labels")


def _names(nodes: Sequence[Node]) -> str:
    return _list([node.name for node in nodes])


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
