"""Loaded models and invented answers: memory, expiry, timing, thinking. Ollama docs/api.md; server/routes.go.

Every answer says that it is a simulation.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.world.gpus import MIB
from sandbox.world.objects import container_limit
from sandbox.world.registry import Manifest

if TYPE_CHECKING:
    from sandbox.world.process import Process

Object = dict[str, Any]

LOAD_BYTES_PER_SECOND = 1.2e9
KEEP_ALIVE_SECONDS = 300.0
FOR_EVER_SECONDS = 200 * 365 * 86400.0
RUNNER_BYTES = 450_000_000
GPU_TOKENS_PER_SECOND = 90.0
CPU_TOKENS_PER_SECOND = 14.0
_DURATION = re.compile(r"(-?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class LoadError(Exception):
    """Why a model could not be loaded; the text is Ollama's."""


def keep_alive_seconds(value: Any) -> float:
    """A keep_alive as seconds, negative for ever. Raises ValueError for what Go's time.ParseDuration refuses."""
    if value is None:
        return KEEP_ALIVE_SECONDS
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"json: cannot unmarshal keep_alive {value!r}")
    if isinstance(value, int | float):
        return float(value)
    if not _DURATION.fullmatch(value):
        raise ValueError(
            f'time: invalid duration "{value}"'
            if not value.lstrip("-").isdigit()
            else f'time: missing unit in duration "{value}"'
        )
    total = sum(
        float(number) * _UNITS[unit]
        for number, unit in re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", value)
    )
    return -total if value.startswith("-") else total


@dataclass(slots=True)
class Loaded:
    """A model in memory. size and vram in bytes; expires: seconds since the epoch."""

    name: str
    manifest: Manifest
    size: int
    vram: int
    expires: float
    context: int
    idle_from: float


class Memory:
    """What one server process has loaded."""

    def __init__(self, process: Process, sees_gpu: bool, counts_cgroup: bool) -> None:
        self.process = process
        self.sees_gpu = sees_gpu
        self.counts_cgroup = counts_cgroup
        self.loaded: dict[str, Loaded] = {}
        self._loading: dict[str, asyncio.Lock] = {}

    async def load(self, name: str, manifest: Manifest, keep_alive: float) -> float:
        """Have the model in memory; the simulated seconds it took. Raises LoadError, ConnectionResetError."""
        clock = self.process.world.clock
        began = clock.elapsed()
        async with self._loading.setdefault(name, asyncio.Lock()):
            if name not in self.loaded:
                await self._load(name, manifest)
        self.touch(name, keep_alive)
        return clock.elapsed() - began

    async def _load(self, name: str, manifest: Manifest) -> None:
        process, clock = self.process, self.process.world.clock
        need = int(manifest.size * 1.12) + RUNNER_BYTES
        devices = process.devices if self.sees_gpu else []
        room = sum(device.model.memory * MIB - device.used_bytes for device in devices)
        vram = min(need, max(0, room))
        self._check_memory(need - vram)
        text = "offload" if devices else "no compatible GPUs were discovered; using CPU"
        process.log.write(
            f'level=INFO source=sched.go:760 msg="loading model" model={name} {text}={bool(devices)}'
        )
        await clock.sleep(0.4 + manifest.size / LOAD_BYTES_PER_SECOND)
        for device in devices:
            device.loaded[process.identity] = device.loaded.get(process.identity, 0) + vram // len(devices)
        self.loaded[name] = Loaded(
            name, manifest, need, vram, 0.0, min(4096, manifest.context), clock.elapsed()
        )
        process.log.write('level=INFO source=server.go:637 msg="llama runner started"')

    def _check_memory(self, ram: int) -> None:
        limit = container_limit(self.process.container, "memory")
        held = sum(loaded.size - loaded.vram for loaded in self.loaded.values())
        node = self.process.world.nodes.specs.get(self.process.node)
        host = (node.memory if node is not None else 64) * 1024**3
        have = int(limit) - held if limit is not None and self.counts_cgroup else host - held
        if ram > have:
            wants, has = ram / 1024**3, max(0, have) / 1024**3
            raise LoadError(
                f"model requires more system memory ({wants:.1f} GiB) than is available ({has:.1f} GiB)"
            )
        if limit is not None and ram + held > int(limit):
            # Versions that do not know the container's limit are killed by the kernel instead.
            self.process.end(137, "OOMKilled")
            raise ConnectionResetError("the container was killed")

    def touch(self, name: str, keep_alive: float) -> None:
        loaded = self.loaded.get(name)
        if loaded is None:
            return
        if keep_alive == 0:
            self.unload(name)
            return
        clock = self.process.world.clock
        seconds = FOR_EVER_SECONDS if keep_alive < 0 else keep_alive
        loaded.expires = self.process.world.store.clock() + (
            seconds if keep_alive < 0 else seconds / clock.speed
        )
        loaded.idle_from = mark = clock.elapsed()
        if keep_alive < 0:
            return

        async def expire() -> None:
            await clock.sleep(keep_alive)
            if name in self.loaded and self.loaded[name].idle_from == mark:
                self.unload(name)

        self.process.spawn(expire())

    def unload(self, name: str) -> None:
        loaded = self.loaded.pop(name, None)
        if loaded is None:
            return
        devices = [device for device in self.process.devices if self.process.identity in device.loaded]
        for device in devices:
            left = device.loaded[self.process.identity] - loaded.vram // len(devices)
            if left > 0 and self.loaded:
                device.loaded[self.process.identity] = left
            else:
                del device.loaded[self.process.identity]


def answer_text(model: str, prompt: str) -> str:
    quoted = " ".join(prompt.split())
    quoted = quoted[:60] + ("…" if len(quoted) > 60 else "")
    return (
        f"This is a simulated answer: the practice cluster has no language model. {model} would now answer "
        f"“{quoted}”. Connect a real cluster to talk to it."
    )


THOUGHT = "This is a simulation, so there is nothing to think about. I will say so."


def tokens_of(text: str) -> list[str]:
    """Pieces as a tokenizer gives them: words with the blank before them."""
    return re.findall(r"\s*\S+|\s+$", text)


@dataclass(slots=True)
class Piece:
    """thinking: the text belongs to the reasoning and is sent apart."""

    text: str
    thinking: bool = False


def pieces(model: str, prompt: str, thinks: bool, separate: bool) -> list[Piece]:
    """The answer in tokens. separate: reasoning is sent in a field of its own, else between <think> tags."""
    answer = [Piece(token) for token in tokens_of(answer_text(model, prompt))]
    if not thinks:
        return answer
    thought = tokens_of(THOUGHT)
    if separate:
        return [*(Piece(token, True) for token in thought), *answer]
    tagged = ["<think>", "\n", *thought, "\n", "</think>", "\n\n"]
    return [*(Piece(token) for token in tagged), *answer]


async def generate(
    process: Process, memory: Memory, loaded: Loaded, wanted: list[Piece]
) -> AsyncIterator[Piece]:
    """The tokens at the speed of what the model lies on; GPUs are busy meanwhile."""
    clock = process.world.clock
    share = loaded.vram / loaded.size if loaded.size else 0.0
    billions = max(0.5, loaded.manifest.architecture_parameters / 1e9)
    rate = (CPU_TOKENS_PER_SECOND + (GPU_TOKENS_PER_SECOND - CPU_TOKENS_PER_SECOND) * share) * (
        1.5 / billions
    ) ** 0.35
    devices = [device for device in process.devices if process.identity in device.loaded]
    for device in devices:
        device.busy.add(process.identity)
    try:
        for piece in wanted:
            await clock.sleep(1 / rate)
            yield piece
    finally:
        for device in devices:
            device.busy.discard(process.identity)
