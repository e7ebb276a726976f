"""GPU exporters as programs: dcgm-exporter on 9400, AMD's device-metrics-exporter on 5000, and how they fail.

The fault `gpu_exporter` names the variants (see exporter_text.py) that an exporter shows while it is on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterator

from sandbox.backend import BackendRequest, BackendResponse
from sandbox.world.answers import stream_answer, text_answer
from sandbox.world.exporter_text import SPOILING, Labels, amd_series, amd_text, nvidia_series, nvidia_text
from sandbox.world.faults import Fault, Faults
from sandbox.world.objects import name_of
from sandbox.world.process import Process
from sandbox.world.readings import Reading, read

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
HUGE_MEGABYTES = 64
_HTML = "<html><head><title>502 Bad Gateway</title></head><body>SIMULATED proxy error</body></html>\n"


def variants_of(fault: Fault | None) -> frozenset[str]:
    """The variants that a fault names, one or several."""
    if fault is None:
        return frozenset()
    wanted = fault.params["variant"]
    return frozenset([wanted] if isinstance(wanted, str) else wanted)


async def page(
    faults: Faults, fault: Fault | None, text: Callable[[Collection[str]], str]
) -> BackendResponse:
    """The answer to GET /metrics. text makes the page in some variants.

    Raises ConnectionRefusedError while nothing listens.
    """
    variants = variants_of(fault)
    if fault is not None:
        faults.use(fault)
    if "refused" in variants:
        raise ConnectionRefusedError
    while "hanging" in variants and fault is not None and faults.get(fault.name) is fault:
        await faults.until_changed()
    if "error" in variants:
        return text_answer("An error has occurred while serving metrics\n", 500)
    if "html" in variants:
        return text_answer(_HTML, 502, "text/html")
    whole = text(variants)
    if "duplicated" in variants:
        whole = "".join(line + line for line in whole.splitlines(keepends=True))
    if "truncated" in variants:
        whole = whole[: len(whole) * 6 // 10]
    if "huge" in variants and fault is not None:
        return stream_answer(_huge(whole, fault.number("megabytes", HUGE_MEGABYTES)), CONTENT_TYPE)
    return text_answer(whole, 200, CONTENT_TYPE)


async def _huge(text: str, megabytes: float) -> AsyncIterator[bytes]:
    """The page again and again, each time as other GPUs."""
    left, turn = megabytes * 1024 * 1024, 0
    while left > 0:
        part = text.replace('UUID="GPU-', f'UUID="GPU-{turn:x}-').encode()
        left, turn = left - len(part), turn + 1
        yield part
        await asyncio.sleep(0)


class Exporter:
    """/metrics and /health of an exporter container."""

    def __init__(self, process: Process, amd: bool = False) -> None:
        self.process = process
        self.amd = amd

    async def handle(self, request: BackendRequest) -> BackendResponse:
        if request.path == "/metrics":
            return await page(self.process.world.faults, self._fault(), self._text)
        if request.path == "/health":
            return text_answer("KO" if self.process.exited.done() else "OK")
        return text_answer("404 page not found\n", 404)

    def _fault(self) -> Fault | None:
        return self.process.world.faults.find("gpu_exporter", pod=self.process.pod)

    def _readings(self, variants: Collection[str]) -> list[Reading]:
        world = self.process.world
        return [
            read(world.seed, world.clock.elapsed(), device, "busy" in variants)
            for device in world.devices.nodes.get(self.process.node, ())
        ]

    def _host(self, variants: Collection[str]) -> str:
        return name_of(self.process.pod) if "pod_hostname" in variants else self.process.node

    def _text(self, variants: Collection[str]) -> str:
        if self.amd:
            return amd_text(self._readings(variants), self.process.node, variants)
        return nvidia_text(self._readings(variants), self._host(variants), variants)

    def series(self) -> Iterator[tuple[str, Labels, str]]:
        """(name, labels, value) as a scrape reads them now; nothing while the page as a whole is spoilt."""
        variants = variants_of(self._fault())
        if variants & SPOILING:
            return iter(())
        if self.amd:
            return amd_series(self._readings(variants), self.process.node, variants)
        return nvidia_series(self._readings(variants), self._host(variants), variants)


def start_nvidia(process: Process) -> None:
    process.ports[9400] = Exporter(process)
    process.log.write('level=INFO msg="Starting webserver" SIMULATED=true')


def start_amd(process: Process) -> None:
    process.ports[5000] = Exporter(process, amd=True)
    process.log.write("SIMULATED device metrics exporter serving on :5000")
