"""What GPU exporters print: dcgm-exporter's and AMD's device-metrics-exporter's text, in the variants of the field.

NVIDIA/dcgm-exporter: etc/default-counters.csv, etc/1.x-compatibility-metrics.csv, internal/pkg/rendermetrics and
internal/pkg/transformation; ROCm/device-metrics-exporter: docs/configuration/metricslist.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial

from sandbox.world.nodes import AMD_DRIVER, DRIVER
from sandbox.world.readings import Reading

RESERVED_MIB = 593
# dcgm-exporter's blanks as older releases printed them: DCGM_INT32_BLANK, DCGM_INT64_BLANK, DCGM_FP64_BLANK.
INT32_BLANK, INT64_BLANK, FP64_BLANK = "2147483632", "9223372036854775792", "140737488355328.000000"
VARIANTS = (
    "hostname",
    "pod_hostname",
    "old_names",
    "no_profiling",
    "empty_labels",
    "no_pods",
    "no_metrics",
    "sentinels",
    "nan",
    "xid",
    "busy",
    "prefixed",
    "mi200",
    "duplicated",
    "truncated",
    "huge",
    "error",
    "html",
    "refused",
    "hanging",
)
"""hostname: the host label of releases after 4.8.2. pod_hostname: the host is the exporter's pod. old_names: the 1.x
namespace. no_profiling: no DCGM_FI_PROF_ metrics. empty_labels: an idle GPU has pod="" and the like. no_pods: without
--kubernetes. no_metrics: no metric of a GPU at all. sentinels: blanks
as numbers. nan: NaN and +Inf. xid: the first GPU reports XID 79. busy: every GPU that a pod holds is at work. prefixed,
mi200: AMD's names with a prefix, and those of the generation before. The others
spoil the page as a whole: each line twice, cut in the middle, endless lines, 500, a proxy's page, nothing listens, no answer.
"""
SPOILING = frozenset(("duplicated", "truncated", "huge", "error", "html", "refused", "hanging"))

_PAYLOADS = "- including both protocol headers and data payloads - in bytes per second."
_NVIDIA: tuple[tuple[str, str, str, Callable[[Reading], str]], ...] = (
    (
        "DCGM_FI_DEV_SM_CLOCK",
        "gauge",
        "SM clock frequency (in MHz).",
        lambda r: "1410" if r.utilisation else "210",
    ),
    ("DCGM_FI_DEV_MEM_CLOCK", "gauge", "Memory clock frequency (in MHz).", lambda r: "1593"),
    ("DCGM_FI_DEV_MEMORY_TEMP", "gauge", "Memory temperature (in C).", lambda r: str(r.memory_temperature)),
    ("DCGM_FI_DEV_GPU_TEMP", "gauge", "GPU temperature (in C).", lambda r: str(r.temperature)),
    ("DCGM_FI_DEV_POWER_USAGE", "gauge", "Power draw (in W).", lambda r: f"{r.power:.6f}"),
    (
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "counter",
        "Total energy consumption since boot (in mJ).",
        lambda r: str(r.energy),
    ),
    ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", "counter", "Total number of PCIe retries.", lambda r: "0"),
    ("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).", lambda r: str(r.utilisation)),
    (
        "DCGM_FI_DEV_MEM_COPY_UTIL",
        "gauge",
        "Memory utilization (in %).",
        lambda r: str(r.utilisation * 6 // 10),
    ),
    ("DCGM_FI_DEV_ENC_UTIL", "gauge", "Encoder utilization (in %).", lambda r: "0"),
    ("DCGM_FI_DEV_DEC_UTIL", "gauge", "Decoder utilization (in %).", lambda r: "0"),
    ("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.", lambda r: "0"),
    (
        "DCGM_FI_DEV_FB_FREE",
        "gauge",
        "Framebuffer memory free (in MiB).",
        lambda r: str(r.device.model.memory - RESERVED_MIB - r.used),
    ),
    ("DCGM_FI_DEV_FB_USED", "gauge", "Framebuffer memory used (in MiB).", lambda r: str(r.used)),
    (
        "DCGM_FI_DEV_FB_RESERVED",
        "gauge",
        "Framebuffer memory reserved (in MiB).",
        lambda r: str(RESERVED_MIB),
    ),
    (
        "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
        "counter",
        "Total number of NVLink bandwidth counters for all lanes.",
        lambda r: "0",
    ),
    ("DCGM_FI_DEV_VGPU_LICENSE_STATUS", "gauge", "vGPU License status", lambda r: "0"),
    (
        "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Number of remapped rows for uncorrectable errors",
        lambda r: "0",
    ),
    (
        "DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS",
        "counter",
        "Number of remapped rows for correctable errors",
        lambda r: "0",
    ),
    ("DCGM_FI_DEV_ROW_REMAP_FAILURE", "gauge", "Whether remapping of rows has failed", lambda r: "0"),
    (
        "DCGM_FI_PROF_GR_ENGINE_ACTIVE",
        "gauge",
        "Ratio of time the graphics engine is active.",
        lambda r: f"{r.ratio * 0.97:.6f}",
    ),
    (
        "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE",
        "gauge",
        "Ratio of cycles the tensor (HMMA) pipe is active.",
        lambda r: f"{r.ratio * 0.31:.6f}",
    ),
    (
        "DCGM_FI_PROF_DRAM_ACTIVE",
        "gauge",
        "Ratio of cycles the device memory interface is active sending or receiving data.",
        lambda r: f"{r.ratio * 0.58:.6f}",
    ),
    (
        "DCGM_FI_PROF_PCIE_TX_BYTES",
        "gauge",
        f"The rate of data transmitted over the PCIe bus {_PAYLOADS}",
        lambda r: str(int(r.ratio * 31_000_000) + 120_000),
    ),
    (
        "DCGM_FI_PROF_PCIE_RX_BYTES",
        "gauge",
        f"The rate of data received over the PCIe bus {_PAYLOADS}",
        lambda r: str(int(r.ratio * 44_000_000) + 160_000),
    ),
)


NVIDIA_VALUES = {name: value for name, _, _, value in _NVIDIA}
_OLD_NAMES = {
    "DCGM_FI_DEV_SM_CLOCK": "dcgm_sm_clock",
    "DCGM_FI_DEV_MEM_CLOCK": "dcgm_memory_clock",
    "DCGM_FI_DEV_MEMORY_TEMP": "dcgm_memory_temp",
    "DCGM_FI_DEV_GPU_TEMP": "dcgm_gpu_temp",
    "DCGM_FI_DEV_POWER_USAGE": "dcgm_power_usage",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION": "dcgm_total_energy_consumption",
    "DCGM_FI_DEV_PCIE_REPLAY_COUNTER": "dcgm_pcie_replay_counter",
    "DCGM_FI_DEV_GPU_UTIL": "dcgm_gpu_utilization",
    "DCGM_FI_DEV_MEM_COPY_UTIL": "dcgm_mem_copy_utilization",
    "DCGM_FI_DEV_ENC_UTIL": "dcgm_enc_utilization",
    "DCGM_FI_DEV_DEC_UTIL": "dcgm_dec_utilization",
    "DCGM_FI_DEV_XID_ERRORS": "dcgm_xid_errors",
    "DCGM_FI_DEV_FB_FREE": "dcgm_fb_free",
    "DCGM_FI_DEV_FB_USED": "dcgm_fb_used",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL": "dcgm_nvlink_bandwidth_total",
}
_BLANKS = {
    "DCGM_FI_DEV_MEMORY_TEMP": INT32_BLANK,
    "DCGM_FI_DEV_GPU_UTIL": INT64_BLANK,
    "DCGM_FI_DEV_GPU_TEMP": INT64_BLANK,
    "DCGM_FI_DEV_POWER_USAGE": FP64_BLANK,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": FP64_BLANK,
}
_NOT_NUMBERS = {
    "DCGM_FI_DEV_GPU_UTIL": "NaN",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": "NaN",
    "DCGM_FI_DEV_POWER_USAGE": "+Inf",
}
_XID = "DCGM_FI_DEV_XID_ERRORS"


Labels = list[tuple[str, str]]


def _nvidia_labels(reading: Reading, host: str, variants: Collection[str]) -> tuple[Labels, Labels]:
    """What comes before and after the labels of one metric alone."""
    device, old = reading.device, "old_names" in variants
    first = [
        ("gpu", str(device.index)),
        ("uuid" if old else "UUID", device.uuid),
        ("pci_bus_id", f"00000000:{(0x10 + device.index * 0x1B) % 256:02X}:00.0"),
        ("device", f"nvidia{device.index}"),
        ("modelName", device.model.product),
        ("hostname" if "hostname" in variants else "Hostname", host),
        ("DCGM_FI_DRIVER_VERSION", DRIVER),
    ]
    if "no_pods" in variants or (device.pod is None and "empty_labels" not in variants):
        return first, []
    namespace, pod, container = device.pod or ("", "", "")
    first.append(("container_name" if old else "container", container))
    return first, [
        ("pod_namespace" if old else "namespace", namespace),
        ("pod_name" if old else "pod", pod),
    ]


def _nvidia_metrics(variants: Collection[str]) -> list[tuple[str, str, str, str, Callable[[Reading], str]]]:
    """(name, shown name, type, help, value)."""
    found: list[tuple[str, str, str, str, Callable[[Reading], str]]] = []
    if "no_metrics" in variants:
        return found
    for name, kind, text, value in _NVIDIA:
        profiling = name.startswith("DCGM_FI_PROF_")
        if profiling and "no_profiling" in variants:
            continue
        fixed = _BLANKS.get(name) if "sentinels" in variants else None
        fixed = _NOT_NUMBERS.get(name, fixed) if "nan" in variants else fixed
        if fixed is not None:
            value = partial(_fixed, fixed)
        shown = name
        if "old_names" in variants:
            shown = _OLD_NAMES.get(name, name.lower() if profiling else "")
        if shown:
            found.append((name, shown, kind, text, value))
    return found


def _fixed(value: str, reading: Reading) -> str:
    return value


def _xid(reading: Reading, variants: Collection[str]) -> tuple[str, str]:
    """(code, message) of the last error."""
    if "xid" in variants and reading.device.index == 0:
        return "79", "GPU has fallen off the bus"
    return "0", "No Error"


def nvidia_series(
    readings: Sequence[Reading], host: str, variants: Collection[str] = (), names: Collection[str] = ()
) -> Iterator[tuple[str, Labels, str]]:
    """(name, labels, value) of every series, metric by metric; names: only these."""
    parts = [_nvidia_labels(reading, host, variants) for reading in readings]
    for name, shown, _, _, value in _nvidia_metrics(variants):
        if names and shown not in names:
            continue
        for reading, (first, last) in zip(readings, parts, strict=True):
            if name == _XID:
                code, message = _xid(reading, variants)
                yield shown, [*first, ("err_code", code), ("err_msg", message), *last], code
            else:
                yield shown, [*first, *last], value(reading)


def nvidia_text(readings: Sequence[Reading], host: str, variants: Collection[str] = ()) -> str:
    """The page of a node's dcgm-exporter."""
    heads: list[tuple[Reading, str, str]] = []
    for reading in readings:
        first, last = _nvidia_labels(reading, host, variants)
        heads.append((reading, _text(first), "," + _text(last) if last else ""))
    lines: list[str] = []
    for name, shown, kind, text, value in _nvidia_metrics(variants):
        lines += [f"# HELP {shown} {text}", f"# TYPE {shown} {kind}"]
        if name == _XID:
            for reading, head, tail in heads:
                code, message = _xid(reading, variants)
                lines.append(f'{shown}{{{head},err_code="{code}",err_msg="{message}"{tail}}} {code}')
        else:
            lines += [f"{shown}{{{head}{tail}}} {value(reading)}" for reading, head, tail in heads]
    return "\n".join(lines) + "\n"


def _text(labels: Labels) -> str:
    return ",".join(f'{key}="{value}"' for key, value in labels)


_AMD: tuple[tuple[str, str, Callable[[Reading], str]], ...] = (
    ("gpu_package_power", "Current socket power in Watts", lambda r: f"{r.power:.0f}"),
    (
        "gpu_junction_temperature",
        "Current junction/hotspot temperature in Celsius",
        lambda r: str(r.temperature),
    ),
    ("gpu_memory_temperature", "Current memory temperature in Celsius", lambda r: str(r.memory_temperature)),
    ("gpu_gfx_activity", "Graphics engine usage percentage (0 - 100)", lambda r: str(r.utilisation)),
    ("gpu_umc_activity", "Memory engine usage percentage (0 - 100)", lambda r: str(r.utilisation * 6 // 10)),
    ("gpu_used_vram", "Used VRAM memory of the GPU (in MB)", lambda r: str(r.used)),
    ("gpu_free_vram", "Free VRAM memory of the GPU (in MB)", lambda r: str(r.device.model.memory - r.used)),
    ("gpu_total_vram", "Total VRAM memory of the GPU (in MB)", lambda r: str(r.device.model.memory)),
    ("gpu_energy_consumed", "Accumulated energy consumed by the GPU in uJ", lambda r: str(r.energy * 1000)),
    ("gpu_ecc_uncorrect_total", "Total uncorrectable error count", lambda r: "0"),
    ("gpu_ecc_correct_total", "Total correctable error count", lambda r: "0"),
    ("gpu_health", "Health of the GPU (0 = Unhealthy | 1 = Healthy)", lambda r: "1"),
)


def _amd_labels(reading: Reading, host: str, variants: Collection[str]) -> Labels:
    device = reading.device
    nobody = device.pod is None or "no_pods" in variants
    namespace, pod, container = ("", "", "") if nobody or device.pod is None else device.pod
    return [
        ("card_model", "102-G30211-0C"),
        ("card_series", device.model.product),
        ("card_vendor", "AMD"),
        ("container", container),
        ("deployment_mode", "kubernetes"),
        ("driver_version", AMD_DRIVER),
        ("gpu_compute_partition_type", "spx"),
        ("gpu_id", str(device.index)),
        ("gpu_memory_partition_type", "nps1"),
        ("gpu_partition_id", "0"),
        ("gpu_uuid", device.uuid),
        ("hostname", host),
        ("job_id", ""),
        ("job_partition", ""),
        ("job_user", ""),
        ("namespace", namespace),
        ("pod", pod),
        ("serial_number", f"SIMULATED{device.index:04d}"),
    ]


_MI200 = {
    "gpu_package_power": "gpu_average_package_power",
    "gpu_junction_temperature": "gpu_edge_temperature",
}
AMD_PREFIX = "amd_"


def _amd_name(name: str, variants: Collection[str]) -> str:
    shown = _MI200.get(name, name) if "mi200" in variants else name
    return AMD_PREFIX + shown if "prefixed" in variants else shown


def amd_series(
    readings: Sequence[Reading], host: str, variants: Collection[str] = ()
) -> Iterator[tuple[str, Labels, str]]:
    """(name, labels, value) of every series, metric by metric."""
    yield _amd_name("gpu_nodes_total", variants), [("hostname", host)], str(len(readings))
    for name, _, value in _AMD if "no_metrics" not in variants else ():
        for reading in readings:
            yield _amd_name(name, variants), _amd_labels(reading, host, variants), value(reading)


def amd_text(readings: Sequence[Reading], host: str, variants: Collection[str] = ()) -> str:
    """The page of a node's AMD exporter. Empty pod labels mean an idle GPU."""
    help_of = {_amd_name(name, variants): text for name, text, _ in _AMD}
    lines, last = [], ""
    for name, labels, value in amd_series(readings, host, variants):
        if name != last:
            text = help_of.get(name, "Number of GPUs in the machine")
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            last = name
        lines.append(f"{name}{{{_text(labels)}}} {value}")
    return "\n".join(lines) + "\n"
