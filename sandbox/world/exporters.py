"""What the GPU exporters of a node say: dcgm-exporter's and AMD's device-metrics-exporter's text.

NVIDIA/dcgm-exporter etc/default-counters.csv and internal/pkg/rendermetrics; ROCm/device-metrics-exporter docs.
Values follow who holds a GPU, what is loaded and whether a model generates; the noise depends on seed and clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.backend import BackendRequest, BackendResponse
from sandbox.world.answers import text_answer
from sandbox.world.gpus import MIB, Device
from sandbox.world.nodes import AMD_DRIVER, DRIVER
from sandbox.world.process import Process

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
RESERVED_MIB = 593
STEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A device now. utilisation in percent, memory in MiB, temperatures in °C, power in W, energy in mJ."""

    device: Device
    utilisation: int
    used: int
    temperature: int
    memory_temperature: int
    power: float
    energy: int

    @property
    def ratio(self) -> float:
        return self.utilisation / 100


def _noise(seed: int, device: Device, elapsed: float, name: str) -> float:
    """Between 0 and 1, the same for the same seed, device and moment."""
    text = f"{seed}/{device.uuid}/{int(elapsed // STEP_SECONDS)}/{name}"
    return hashlib.sha256(text.encode()).digest()[0] / 255


def read(process: Process, device: Device) -> Reading:
    elapsed, seed = process.world.clock.elapsed(), process.world.seed
    busy = bool(device.busy)
    wobble = _noise(seed, device, elapsed, "util")
    utilisation = int(82 + 16 * wobble) if busy else 0
    model = device.model
    power = model.idle_watts + (model.full_watts - model.idle_watts) * (
        0.55 + 0.25 * wobble if busy else 0.02 * wobble
    )
    if device.loaded and not busy:
        power += 18
    temperature = 31 + int(3 * wobble) + (28 if busy else 4 if device.loaded else 0)
    used = device.used_bytes // MIB + (4 if model.vendor == "nvidia" else 280)
    return Reading(
        device, utilisation, used, temperature, temperature + 3, power, int(elapsed * power * 1000)
    )


def _line(name: str, labels: list[tuple[str, str]], value: str) -> str:
    text = ",".join(f'{key}="{content}"' for key, content in labels)
    return f"{name}{{{text}}} {value}"


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


def nvidia_text(process: Process) -> str:
    """The page of a node's dcgm-exporter."""
    readings = [read(process, device) for device in process.world.devices.nodes.get(process.node, ())]
    lines: list[str] = []
    for name, kind, text, value in _NVIDIA:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        for reading in readings:
            device = reading.device
            labels = [
                ("gpu", str(device.index)),
                ("UUID", device.uuid),
                ("pci_bus_id", f"00000000:{0x10 + device.index * 0x2B:02X}:00.0"),
                ("device", f"nvidia{device.index}"),
                ("modelName", device.model.product),
                ("Hostname", process.node),
                ("DCGM_FI_DRIVER_VERSION", DRIVER),
            ]
            if device.pod is not None:
                labels.append(("container", device.pod[2]))
            if name == "DCGM_FI_DEV_XID_ERRORS":
                labels += [("err_code", "0"), ("err_msg", "No Error")]
            if device.pod is not None:
                labels += [("namespace", device.pod[0]), ("pod", device.pod[1])]
            lines.append(_line(name, labels, value(reading)))
    return "\n".join(lines) + "\n"


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


def amd_text(process: Process) -> str:
    """The page of a node's AMD exporter. Empty pod labels mean an idle GPU."""
    readings = [read(process, device) for device in process.world.devices.nodes.get(process.node, ())]
    lines = [
        "# HELP gpu_nodes_total Number of GPUs in the machine",
        "# TYPE gpu_nodes_total gauge",
        f'gpu_nodes_total{{hostname="{process.node}"}} {len(readings)}',
    ]
    for name, text, value in _AMD:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
        for reading in readings:
            device = reading.device
            namespace, pod, container = device.pod or ("", "", "")
            labels = [
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
                ("hostname", process.node),
                ("job_id", ""),
                ("job_partition", ""),
                ("job_user", ""),
                ("namespace", namespace),
                ("pod", pod),
                ("serial_number", f"SIMULATED{device.index:04d}"),
            ]
            lines.append(_line(name, labels, value(reading)))
    return "\n".join(lines) + "\n"


class Exporter:
    """/metrics and /health."""

    def __init__(self, process: Process, text: Callable[[Process], str]) -> None:
        self.process = process
        self.text = text

    async def handle(self, request: BackendRequest) -> BackendResponse:
        if request.path == "/metrics":
            return text_answer(self.text(self.process), 200, CONTENT_TYPE)
        if request.path == "/health":
            return text_answer("KO" if self.process.exited.done() else "OK")
        return text_answer("404 page not found\n", 404)


def start_nvidia(process: Process) -> None:
    process.ports[9400] = Exporter(process, nvidia_text)
    process.log.write('level=INFO msg="Starting webserver" SIMULATED=true')


def start_amd(process: Process) -> None:
    process.ports[5000] = Exporter(process, amd_text)
    process.log.write("SIMULATED device metrics exporter serving on :5000")
