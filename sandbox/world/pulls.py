"""Pulling models: the lines, the shared downloads, what goes wrong. Ollama server/images.go, server/download.go.

Layers come one after another, the config last; every download line is repeated each 60 ms, also while nothing moves;
`completed` falls when a part fails. Downloads of one digest are shared within one server process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from sandbox.backend import closing
from sandbox.world import registry
from sandbox.world.modelname import ModelName
from sandbox.world.modelstore import Stored, Volume
from sandbox.world.registry import Layer, PullError

if TYPE_CHECKING:
    from sandbox.world.process import Process

Object = dict[str, Any]

TICK_SECONDS = 0.06
BYTES_PER_SECOND = 45e6
VERIFY_BYTES_PER_SECOND = 1.5e9
MANIFEST_SECONDS = 0.4
STALL_SECONDS = 30.0
MIN_PART = 100_000_000
MAX_PART = 1_000_000_000


def part_size(size: int) -> int:
    """A sixteenth of the blob, between 100 MB and 1 GB."""
    return min(size, max(MIN_PART, min(MAX_PART, size // 16)))


class Download:
    """One blob on its way to one volume."""

    def __init__(self, process: Process, volume: Volume, layer: Layer, model: str, models_path: str) -> None:
        self.process = process
        self.volume = volume
        self.layer = layer
        self.model = model
        self.path = f"{models_path}/blobs/{layer.digest.replace(':', '-')}-partial"
        self.waiters = 0
        self.failure: Exception | None = None
        self.completed = volume.partials.get(layer.digest, 0)
        self.done = asyncio.Event()
        self._fallen = 0
        self.task = process.spawn(self._run())

    async def _run(self) -> None:
        try:
            await self._fetch()
            self.volume.finish(self.layer.digest, self.layer.size)
        except (OSError, PullError) as error:
            self.failure = (
                PullError(f"write {self.path}: no space left on device")
                if isinstance(error, OSError)
                else error
            )
        finally:
            self.done.set()

    async def _fetch(self) -> None:
        clock, size = self.process.world.clock, self.layer.size
        part = part_size(size)
        short = self.layer.digest[7:19]
        self.process.log.write(_log(f"downloading {short} in {-(-size // part)} {_unit(part)} part(s)"))
        last = clock.elapsed()
        stalled_since: float | None = None
        while self.completed < size:
            # Small blobs are there before the first line is due; big ones move a little ahead of each line.
            rest = (size - self.completed) / self.process.world.download_rate / clock.speed
            await asyncio.sleep(min(TICK_SECONDS / 2, max(rest, 0.001)))
            now = clock.elapsed()
            if self._stalled():
                if stalled_since is None:
                    stalled_since = now
                elif now - stalled_since > STALL_SECONDS:
                    stalled_since = now
                    hint = "press ctrl-c to exit, then 'ollama pull' to find a faster connection."
                    self.process.log.write(
                        _log(f"{short} part 3 stalled; retrying. If this persists, {hint}")
                    )
                last = now
                continue
            stalled_since = None
            step = int((now - last) * self.process.world.download_rate)
            last = now
            self._move(min(size, self.completed + step))

    def _fault(self, name: str) -> Any:
        return self.process.world.faults.find(name, pod=self.process.pod, model=self.model)

    def _stalled(self) -> bool:
        fault = self._fault("stalled_pull")
        return (
            fault is not None
            and self.completed >= fault.number("at", 0.3) * self.layer.size
            and self.layer.size > 1_000_000
        )

    def _move(self, to: int) -> None:
        size = self.layer.size
        full = self._fault("disk_full")
        if full is not None and size > 1_000_000 and to >= full.number("at", 0.3) * size:
            raise OSError("no space left on device")
        part = self._fault("failing_pull_part")
        if (
            part is not None
            and size > 1_000_000
            and self._fallen < int(part.number("times", 1))
            and to >= part.number("at", 0.4) * size
        ):
            self._fallen += 1
            to = max(0, to - part_size(size))
            self.process.log.write(
                _log(f"{self.layer.digest[7:19]} part 2 attempt 0 failed: unexpected EOF, retrying in 1s")
            )
            self.volume.partials[self.layer.digest] = to
        stalled = self._fault("stalled_pull")
        if stalled is not None and size > 1_000_000:
            to = min(to, max(self.completed, int(stalled.number("at", 0.3) * size) + 1))
        try:
            self.volume.grow(self.layer.digest, to)
        finally:
            self.completed = self.volume.partials.get(self.layer.digest, to)


class Puller:
    """The downloads of one server process."""

    def __init__(self, process: Process, volume: Volume, models_path: str) -> None:
        self.process = process
        self.volume = volume
        self.models_path = models_path
        self.downloads: dict[str, Download] = {}

    async def pull(self, name: ModelName, insecure: bool) -> AsyncIterator[Object]:
        """Progress objects up to `success`. Raises PullError."""
        clock = self.process.world.clock
        yield {"status": "pulling manifest"}
        await clock.sleep(MANIFEST_SECONDS)
        fault = self.process.world.faults.find("pull_error", pod=self.process.pod, model=name.shortest)
        if fault is not None:
            self.process.world.faults.use(fault)
            raise PullError(fault.text("text", "pull model manifest: 500: registry fault"))
        manifest = registry.lookup(name, insecure)
        fetched = 0
        for layer in manifest.all_layers():
            if layer.digest in self.volume.blobs:
                yield self._line(layer, layer.size)
                continue
            fetched += layer.size
            async with closing(self._layer(layer, name.shortest)) as lines:
                async for line in lines:
                    yield line
        yield {"status": "verifying sha256 digest"}
        await clock.sleep(fetched / VERIFY_BYTES_PER_SECOND)
        yield {"status": "writing manifest"}
        key = self.volume.find(name.full) or name.full
        self.volume.models[key] = Stored(manifest, self.process.world.store.clock())
        yield {"status": "success"}

    @staticmethod
    def _line(layer: Layer, completed: int) -> Object:
        line: Object = {
            "status": f"pulling {layer.digest[7:19]}",
            "digest": layer.digest,
            "total": layer.size,
        }
        if completed:
            line["completed"] = completed
        return line

    async def _layer(self, layer: Layer, model: str) -> AsyncIterator[Object]:
        download = self.downloads.get(layer.digest)
        if download is None:
            download = Download(self.process, self.volume, layer, model, self.models_path)
            self.downloads[layer.digest] = download
        download.waiters += 1
        try:
            while True:
                try:
                    await asyncio.wait_for(download.done.wait(), TICK_SECONDS)
                except TimeoutError:
                    yield self._line(layer, download.completed)
                    continue
                break
            if download.failure is not None:
                raise download.failure
            if layer.size > 1_000_000:
                yield self._line(layer, layer.size)
        finally:
            download.waiters -= 1
            if download.waiters == 0 or download.done.is_set():
                # The last one who waited takes the download with him; what has arrived stays for the next pull.
                if not download.done.is_set():
                    download.task.cancel()
                if self.downloads.get(layer.digest) is download:
                    del self.downloads[layer.digest]


def _unit(size: int) -> str:
    if size < 1_000_000:
        return f"{size} B"
    return f"{size // 1_000_000} MB" if size < 1_000_000_000 else f"{size / 1e9:g} GB"


def _log(text: str) -> str:
    return f'level=INFO source=download.go:177 msg="{text}"'
