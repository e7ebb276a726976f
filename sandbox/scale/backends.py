"""What answers on the ports of a large practice cluster's pods: exporters, and as much of Ollama as is asked of many."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.backend import BackendRequest, BackendResponse
from sandbox.scale.objects import MODEL
from sandbox.world import exporters
from sandbox.world.answers import error_answer, json_answer, text_answer
from sandbox.world.exporter_text import NVIDIA_VALUES, nvidia_series, nvidia_text
from sandbox.world.faults import Faults
from sandbox.world.gpus import MIB, Device
from sandbox.world.prometheus import target_of
from sandbox.world.readings import Reading
from sandbox.world.scrapes import SCRAPE_SECONDS, SeriesSamples, merged

Object = dict[str, Any]

GIB = 1024 * MIB


def reading(device: Device, elapsed: float) -> Reading:
    """Values that move: a wave of its own for each device while a pod holds it, else idle. elapsed in seconds."""
    model = device.model
    turn = zlib.crc32(device.uuid.encode()) / 2**32
    slow = math.sin(2 * math.pi * (elapsed / (300 + 1500 * turn) + turn))
    quick = math.sin(2 * math.pi * (elapsed / (20 + 40 * turn) + 7 * turn))
    load = max(0.0, min(1.0, 0.5 + 0.45 * slow + 0.15 * quick)) if device.pod is not None else 0.0
    power = model.idle_watts + (model.full_watts - model.idle_watts) * 0.8 * load
    used = int(model.memory * (0.2 + 0.6 * turn)) if device.pod is not None else 4
    temperature = 31 + int(38 * load + 3 * turn)
    energy = int(elapsed * model.full_watts * 400)
    return Reading(device, int(load * 100), used, temperature, temperature + 3, power, energy)


class Exporter:
    """The dcgm-exporter of one node."""

    def __init__(
        self, faults: Faults, pod: Object, devices: list[Device], elapsed: Callable[[], float]
    ) -> None:
        self.faults = faults
        self.pod = pod
        self.devices = devices
        self.elapsed = elapsed

    async def handle(self, request: BackendRequest) -> BackendResponse:
        if request.path == "/metrics":
            fault = self.faults.find("gpu_exporter", pod=self.pod)
            return await exporters.page(self.faults, fault, self._text)
        if request.path == "/health":
            return text_answer("OK")
        return text_answer("404 page not found\n", 404)

    def _text(self, variants: Collection[str]) -> str:
        name = "name" if "pod_hostname" in variants else "nodeName"
        host = self.pod["metadata"]["name"] if name == "name" else self.pod["spec"]["nodeName"]
        now = self.elapsed()
        return nvidia_text([reading(device, now) for device in self.devices], host, variants)


@dataclass(frozen=True, slots=True)
class _Samples:
    """One metric of one device, computed for any moment."""

    figures: Figures
    device: Device
    name: str

    def at(self, when: float) -> str | None:
        elapsed = self.figures.elapsed() - (self.figures.now() - when)
        return NVIDIA_VALUES[self.name](reading(self.device, elapsed))

    def taken(self, when: float) -> float:
        return when // SCRAPE_SECONDS * SCRAPE_SECONDS


class Figures:
    """What a Prometheus of this cluster would have scraped: the same waves, without storing them."""

    def __init__(
        self,
        exporters: Callable[[], Iterable[tuple[Object, list[Device]]]],
        elapsed: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self.exporters = exporters
        self.elapsed = elapsed
        self.now = now

    def series(
        self, wanted: Callable[[str], bool], honor: bool | None
    ) -> Iterator[tuple[dict[str, str], SeriesSamples]]:
        names = [name for name in NVIDIA_VALUES if wanted(name)]
        if not names:
            return
        for pod, devices in self.exporters():
            target = target_of(pod, 9400, "gpu-metrics").labels()
            readings = {device.uuid: device for device in devices}
            rows = nvidia_series(
                [reading(device, 0.0) for device in devices], pod["spec"]["nodeName"], (), names
            )
            for name, labels, _ in rows:
                device = readings[dict(labels)["UUID"]]
                yield merged(name, labels, target, bool(honor)), _Samples(self, device, name)


class Ollama:
    """A server that has one model, loaded. gpu: whether all of it sits on a GPU."""

    def __init__(self, gpu: bool) -> None:
        self.gpu = gpu

    async def handle(self, request: BackendRequest) -> BackendResponse:
        size = 2 * GIB
        model = {
            "name": MODEL,
            "model": MODEL,
            "size": size,
            "digest": f"{0xD5:064x}",
            "details": {
                "format": "gguf",
                "family": "qwen2",
                "parameter_size": "1.8B",
                "quantization_level": "Q4_K_M",
            },
        }
        if request.method == "GET" and request.path == "/":
            return text_answer("Ollama is running")
        if request.method == "GET" and request.path == "/api/version":
            return json_answer({"version": "0.9.6"})
        if request.method == "GET" and request.path == "/api/tags":
            return json_answer({"models": [{**model, "modified_at": "2026-01-01T00:00:00Z"}]})
        if request.method == "GET" and request.path == "/api/ps":
            loaded = {**model, "size_vram": size if self.gpu else 0, "expires_at": "2099-01-01T00:00:00Z"}
            return json_answer({"models": [loaded]})
        return error_answer(
            "SIMULATED: a large practice cluster answers /, /api/version, /api/tags and /api/ps", 501
        )


class Page:
    """Whatever else listens."""

    async def handle(self, request: BackendRequest) -> BackendResponse:
        return text_answer(f"SIMULATED {request.method} {request.path}\n")
