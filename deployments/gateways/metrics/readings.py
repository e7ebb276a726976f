"""From series of exporters to what each GPU shows now.

NVIDIA/dcgm-exporter: etc/default-counters.csv and etc/1.x-compatibility-metrics.csv (names and units),
internal/pkg/rendermetrics and internal/pkg/transformation (labels); NVIDIA/DCGM dcgm_structs.h (blank
values); ROCm/device-metrics-exporter docs/configuration/metricslist (names, units, labels).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from deployments.gateways.metrics.exposition import Series

MIB = 1024 * 1024
MAX_DEVICES = 256  # of one exporter's page: a node has some dozens, instances included
MAX_NAME = 200
# DCGM's blanks for 32 bits begin here, those for 64 bits and for floating point are far above.
BLANK = 2**31 - 16

NVIDIA, AMD = "nvidia", "amd"
_NVIDIA = {
    "DCGM_FI_DEV_GPU_UTIL": "util",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "ratio",
    "DCGM_FI_DEV_FB_USED": "used",
    "DCGM_FI_DEV_FB_FREE": "free",
    "DCGM_FI_DEV_FB_RESERVED": "reserved",
    "DCGM_FI_DEV_FB_TOTAL": "total",
    "DCGM_FI_DEV_GPU_TEMP": "temperature",
    "DCGM_FI_DEV_POWER_USAGE": "power",
    "DCGM_FI_DEV_XID_ERRORS": "xid",
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": "remap",
    "dcgm_gpu_utilization": "util",
    "dcgm_fi_prof_gr_engine_active": "ratio",
    "dcgm_fb_used": "used",
    "dcgm_fb_free": "free",
    "dcgm_gpu_temp": "temperature",
    "dcgm_power_usage": "power",
    "dcgm_xid_errors": "xid",
    "dcgm_row_remap_failure": "remap",
}
_AMD = {
    "gpu_gfx_activity": "util",
    "gpu_used_vram": "used",
    "gpu_free_vram": "free",
    "gpu_total_vram": "total",
    "gpu_package_power": "power",
    "gpu_average_package_power": "power2",
    "gpu_power_usage": "power3",
    "gpu_junction_temperature": "temperature",
    "gpu_edge_temperature": "temperature2",
    "gpu_health": "health",
    "gpu_ecc_uncorrect_total": "ecc",
}
_AMD_NAME = re.compile(f"(?:[a-zA-Z0-9_]+_)?({'|'.join(_AMD)})")


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One device, or one instance of a split one, as its source shows it now.

    Utilisation in percent, memory in bytes, temperature in degrees Celsius, power in watts; None where
    the source gives nothing usable. ``key`` tells devices of a cluster apart. ``holders`` are the pods
    that use it as (namespace, name), the one with most memory first. ``age`` is how many seconds old
    the figures are, by the source's own clock.
    """

    key: str
    vendor: str
    node: str
    index: str
    product: str = ""
    driver: str = ""
    instance: str = ""
    utilisation: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    temperature: float | None = None
    power: float | None = None
    error: str = ""
    holders: tuple[tuple[str, str], ...] = ()
    age: float = 0.0


class Wanted(dict[str, object]):
    """The names of series that are read: a mapping to (vendor, figure) that knows AMD's names behind
    any prefix, which its exporter lets people choose."""

    def __contains__(self, name: object) -> bool:
        # Long ones are none, and are not remembered: a page of megabytes may be one name.
        return isinstance(name, str) and len(name) <= MAX_NAME and meaning(name) is not None


WANTED = Wanted()


@lru_cache(maxsize=4096)
def meaning(name: str) -> tuple[str, str] | None:
    """(vendor, figure) of a series' name, None where it is not wanted."""
    figure = _NVIDIA.get(name)
    if figure:
        return NVIDIA, figure
    match = _AMD_NAME.fullmatch(name)
    return (AMD, _AMD[match[1]]) if match else None


NAMES_PATTERN = "|".join([*_NVIDIA, *(f"(.+_)?{name}" for name in _AMD)])
"""All wanted names as an anchored regular expression of Prometheus."""

Holder = tuple[str, str]
HolderOf = Callable[[Mapping[str, str]], Holder | None]
NodeOf = Callable[[Mapping[str, str]], str]


@dataclass
class _Value:
    value: float
    labelled: bool  # of one pod, not of the whole device


@dataclass
class _Device:
    vendor: str
    uuid: str
    node: str
    labels: Mapping[str, str]
    instance_id: str
    values: dict[str, _Value] = field(default_factory=dict)
    holders: dict[Holder, float] = field(default_factory=dict)
    error: str = ""
    age: float | None = None

    def add(self, figure: str, value: float, holder: Holder | None) -> None:
        """A pod's share of a device never replaces what the device says of itself; of repeated values
        (each pod that shares a device repeats the whole device's) the largest counts."""
        known = self.values.get(figure)
        labelled = holder is not None
        if known is None or (known.labelled and not labelled):
            self.values[figure] = _Value(value, labelled)
        elif known.labelled == labelled and value > known.value:
            known.value = value

    def get(self, *figures: str, most: float = math.inf) -> float | None:
        """The first of the figures that is there and may be one: what is over ``most`` is a blank."""
        for figure in figures:
            if figure in self.values and self.values[figure].value <= most:
                return self.values[figure].value
        return None


def direct_holder(labels: Mapping[str, str]) -> Holder | None:
    """The pod that an exporter's own page names; empty labels, as older versions print them, mean none."""
    name = labels.get("pod") or labels.get("pod_name") or ""
    if not name:
        return None
    return clean(labels.get("namespace") or labels.get("pod_namespace") or "", 63), clean(name, 253)


def host_of(labels: Mapping[str, str]) -> str:
    """The host that a series names: ``Hostname`` up to dcgm-exporter 4.8.2, ``hostname`` after it."""
    return labels.get("Hostname") or labels.get("hostname") or ""


def readings(
    series: Iterable[Series],
    *,
    node_of: NodeOf = host_of,
    holder_of: HolderOf = direct_holder,
    most: int = MAX_DEVICES,
) -> list[GpuReading]:
    """What each device shows, in the order of their first series; at most ``most`` devices."""
    devices: dict[tuple[str, str, str], _Device] = {}
    for one in series:
        wanted = meaning(one.name) if len(one.name) <= MAX_NAME else None
        if wanted is None:
            continue
        vendor, figure = wanted
        labels = one.labels
        node = clean(node_of(labels), 253)
        uuid = _uuid(vendor, labels, node)
        instance = _instance_id(vendor, labels)
        if not uuid:
            continue
        device = devices.get((vendor, uuid, instance))
        if device is None:
            if len(devices) >= most:
                continue
            device = _Device(vendor, uuid, node, labels, instance)
            devices[vendor, uuid, instance] = device
        _take(device, figure, one, holder_of(labels))
    return [_reading(device) for device in _without_split(devices)]


def _take(device: _Device, figure: str, one: Series, holder: Holder | None) -> None:
    if holder is not None:
        device.holders.setdefault(holder, 0.0)
    if not math.isfinite(one.value) or not 0 <= one.value < BLANK:
        return
    if one.age is not None and (device.age is None or one.age < device.age):
        device.age = one.age
    if figure == "used" and holder is not None:
        device.holders[holder] = max(device.holders[holder], one.value)
    if device.vendor == AMD and device.instance_id not in ("", "0") and one.value == 0:
        return  # the exporter fills partitions after the first with zeros
    if figure == "xid" and one.value > 0:
        device.error = _xid(one)
    elif figure == "remap" and one.value > 0 and not device.error:
        device.error = "row remapping failed: the GPU needs a reset or a replacement"
    elif figure == "health" and one.value == 0:
        device.error = "unhealthy"
    elif figure == "ecc" and one.value > 0 and not device.error:
        device.error = f"{int(one.value)} uncorrectable memory errors"
    device.add(figure, one.value, holder)


def _xid(one: Series) -> str:
    """The newest error in words. The series holds its number and keeps it until the driver is loaded
    again; what it means stands in a label of newer exporters."""
    message = clean(one.labels.get("err_msg") or "", 150)
    number = f"XID {int(one.value)}"
    return f"{number}: {message}" if message and message != "No Error" else number


def _uuid(vendor: str, labels: Mapping[str, str], node: str) -> str:
    if vendor == NVIDIA:
        known, index = labels.get("UUID") or labels.get("uuid"), labels.get("gpu", "")
    else:
        known, index = labels.get("gpu_uuid"), labels.get("gpu_id", "")
    if known:
        return clean(known, 80)
    return f"{clean(node, 80)}/{clean(index, 20)}" if index else ""


def _instance_id(vendor: str, labels: Mapping[str, str]) -> str:
    if vendor == NVIDIA:
        return clean(labels.get("GPU_I_ID") or "", 10)
    if labels.get("gpu_compute_partition_type", "").lower() in ("", "spx", "none"):
        return ""
    return clean(labels.get("gpu_partition_id") or "", 10)


def _without_split(devices: Mapping[tuple[str, str, str], _Device]) -> Iterator[_Device]:
    """Instances instead of the devices that are split into them. The chip they share has one
    temperature and its errors concern them all; its power is not any one's own."""
    parents = {(vendor, uuid) for vendor, uuid, instance in devices if instance and vendor == NVIDIA}
    for (vendor, uuid, instance), device in devices.items():
        if (vendor, uuid) not in parents:
            yield device
        elif instance:
            whole = devices.get((vendor, uuid, ""))
            if whole is not None:
                device.error = device.error or whole.error
                if "temperature" in whole.values:
                    device.values.setdefault("temperature", whole.values["temperature"])
            yield device


def _reading(device: _Device) -> GpuReading:
    labels = device.labels
    nvidia = device.vendor == NVIDIA
    used, total = device.get("used"), _total(device)
    profile = labels.get("GPU_I_PROFILE") if nvidia else labels.get("gpu_compute_partition_type")
    instance = device.instance_id and "/".join(filter(None, (clean(profile or "", 28), device.instance_id)))
    return GpuReading(
        key=f"{device.uuid}/{device.instance_id}" if device.instance_id else device.uuid,
        vendor=device.vendor,
        node=device.node,
        index=clean(labels.get("gpu" if nvidia else "gpu_id") or "", 20),
        product=_product(device),
        driver=clean(labels.get("DCGM_FI_DRIVER_VERSION" if nvidia else "driver_version") or "", 40),
        instance=instance,
        utilisation=_utilisation(device),
        memory_used=None if used is None else int(used * MIB),
        memory_total=None if total is None else int(total * MIB),
        temperature=device.get("temperature", "temperature2", most=200.0),
        power=device.get("power", "power2", "power3", most=20_000.0),
        error=device.error[:200],
        holders=tuple(sorted(device.holders, key=lambda holder: (-device.holders[holder], holder))[:16]),
        age=device.age or 0.0,
    )


def _product(device: _Device) -> str:
    labels = device.labels
    if device.vendor == NVIDIA:
        return clean(labels.get("modelName") or "", 120)
    return clean(labels.get("card_series") or labels.get("card_model") or "", 120)


def _utilisation(device: _Device) -> float | None:
    """The share of time that the engine was busy where it is told, else the coarser GPU utilisation,
    which says only whether any kernel ran."""
    ratio = device.get("ratio")
    if ratio is not None and ratio <= 1.05:
        return min(100.0, round(ratio * 100, 2))
    percent = device.get("util")
    return None if percent is None or percent > 105 else min(100.0, percent)


def _total(device: _Device) -> float | None:
    """MiB. DCGM's usual set has no total: it is the sum of what is used, free and reserved."""
    total = device.get("total")
    if total:
        return total
    used, free = device.get("used"), device.get("free")
    if used is None or free is None:
        return None
    return used + free + (device.get("reserved") or 0)


# Control characters, and what makes a text look like another one: directions, joiners, marks of order.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


@lru_cache(maxsize=8192)
def clean(text: str, size: int) -> str:
    """A text of at most ``size`` characters without control characters, which no name has and
    PostgreSQL does not store, and without those that cannot be seen."""
    return _CONTROL.sub("", text)[:size].encode("utf-8", "ignore").decode()
