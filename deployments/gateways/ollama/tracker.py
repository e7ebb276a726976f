"""What the lines of a pull add up to: bytes, rate, time left, and whether it has come to a halt.

Pure: the caller gives the clock. Ollama reports layers one after the other, the total of each only
when it begins; with the registry's manifest the whole is known from the start. What Ollama does on
the way (server/download.go): ``completed`` goes down when a part failed and is fetched again, lines
keep coming while nothing arrives, and a layer that was there already shows as one complete line or
not at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from deployments.gateways.ollama.answers import PullEvent

RATE_WINDOW = 20.0  # seconds over which the rate is a mean
SAMPLE_EVERY = 0.5  # seconds between two samples of the window
MANIFEST_DEADLINE = 120.0  # Ollama fetches the manifest without a time limit of its own
VERIFY_DEADLINE = 120.0  # seconds, and on top of it:
VERIFY_BYTES_PER_SECOND = 20_000_000  # a slow network volume being read back and hashed
WRITE_DEADLINE = 300.0  # pruning walks over all blobs


class PullPhase(StrEnum):
    STARTING = "starting"
    MANIFEST = "manifest"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    WRITING = "writing"
    DONE = "done"


@dataclass
class Layer:
    """One blob. ``total`` and ``completed`` in bytes; ``cached`` where it was there before the pull."""

    digest: str
    total: int
    completed: int = 0
    seen: bool = False
    cached: bool = False

    @property
    def done(self) -> bool:
        return self.seen and self.completed >= self.total


@dataclass(frozen=True)
class PullSnapshot:
    """The state to store and show. ``eta`` in seconds, None while it cannot be told; ``stalled_for``
    seconds without progress; ``stalled`` when that is longer than is allowed now."""

    phase: PullPhase
    status: str
    total: int
    total_known: bool
    completed: int
    rate: float
    eta: float | None
    stalled: bool
    stalled_for: float
    layers: tuple[Layer, ...]


@dataclass
class PullTracker:
    """``started`` and every ``now`` are seconds of one clock that never goes back (time.monotonic).

    ``expected`` are (digest, bytes) of the manifest, config blob included, or nothing;
    ``stall_seconds`` how long ``completed`` may stand still while downloading.
    """

    started: float
    stall_seconds: float = 60.0
    expected: Iterable[tuple[str, int]] = ()
    phase: PullPhase = PullPhase.STARTING
    status: str = ""
    last_progress: float = field(init=False)
    _layers: dict[str, Layer] = field(default_factory=dict, init=False)
    _total_known: bool = field(default=False, init=False)
    _fetched: int = field(default=0, init=False)
    _samples: deque[tuple[float, int]] = field(default_factory=deque, init=False)
    _current: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self.last_progress = self.started
        for digest, size in self.expected:
            # A manifest may name one blob twice; Ollama stores it once.
            self._layers.setdefault(digest, Layer(digest, size))
        self._total_known = bool(self._layers)
        self._samples.append((self.started, 0))

    def feed(self, event: PullEvent, now: float) -> None:
        """Take one event; an idle one only lets time pass."""
        if not event.idle:
            self._enter(_phase(event), now)
            self.status = event.status or self.status
            if event.digest:
                self._layer(event, now)
        self._sample(now)

    @property
    def total(self) -> int:
        """Bytes of all layers known so far; the whole only where :attr:`total_known`."""
        return sum(layer.total for layer in self._layers.values())

    @property
    def completed(self) -> int:
        return sum(min(layer.completed, layer.total) for layer in self._layers.values())

    @property
    def total_known(self) -> bool:
        return self._total_known or self.phase in (PullPhase.VERIFYING, PullPhase.WRITING, PullPhase.DONE)

    def rate(self, now: float) -> float:
        """Bytes a second, the mean of the last 20 seconds, 0 or more. What the disk had is not counted."""
        first_at, first = self._samples[0]
        for at, fetched in self._samples:
            if at > now - RATE_WINDOW:
                break
            first_at, first = at, fetched
        elapsed = now - first_at
        return max(0.0, (self._fetched - first) / elapsed) if elapsed > 0 else 0.0

    def eta(self, now: float) -> float | None:
        """Seconds until the last byte is here, None while that cannot be told."""
        if self.phase is not PullPhase.DOWNLOADING or not self.total_known:
            return None
        rate = self.rate(now)
        return (self.total - self.completed) / rate if rate > 0 else None

    @property
    def patience(self) -> float:
        """Seconds that the present phase may stand still."""
        if self.phase is PullPhase.DOWNLOADING:
            return self.stall_seconds
        if self.phase is PullPhase.VERIFYING:
            return VERIFY_DEADLINE + self.total / VERIFY_BYTES_PER_SECOND
        return WRITE_DEADLINE if self.phase is PullPhase.WRITING else MANIFEST_DEADLINE

    def stalled(self, now: float) -> bool:
        """Whether nothing has come for longer than the phase allows, lines or no lines."""
        return self.phase is not PullPhase.DONE and now - self.last_progress > self.patience

    def snapshot(self, now: float) -> PullSnapshot:
        return PullSnapshot(
            phase=self.phase,
            status=self.status,
            total=self.total,
            total_known=self.total_known,
            completed=self.completed,
            rate=self.rate(now),
            eta=self.eta(now),
            stalled=self.stalled(now),
            stalled_for=max(0.0, now - self.last_progress),
            layers=tuple(
                Layer(one.digest, one.total, one.completed, one.seen, one.cached)
                for one in self._layers.values()
            ),
        )

    def _enter(self, phase: PullPhase | None, now: float) -> None:
        if phase is None or phase is self.phase:
            return
        self.phase = phase
        self.last_progress = now
        if phase in (PullPhase.VERIFYING, PullPhase.WRITING, PullPhase.DONE):
            for layer in self._layers.values():
                self._complete(layer)

    def _layer(self, event: PullEvent, now: float) -> None:
        layer = self._layers.get(event.digest)
        if layer is None:
            layer = self._layers[event.digest] = Layer(event.digest, event.total)
        if event.digest != self._current:
            # Layers follow one another: the one before is complete, also if its last line was not sent.
            if self._current:
                self._complete(self._layers[self._current])
            self._current = event.digest
            self.last_progress = now
        layer.total = event.total or layer.total
        if not layer.seen:
            # Its first line: what is there now was there before (a resumed or cached layer).
            layer.seen = True
            layer.cached = bool(layer.total) and event.completed >= layer.total
        else:
            if event.completed > layer.completed:
                self.last_progress = now
            self._fetched += event.completed - layer.completed
        layer.completed = event.completed

    def _complete(self, layer: Layer) -> None:
        if not layer.seen:
            layer.seen = layer.cached = True
        elif layer.completed < layer.total:
            self._fetched += layer.total - layer.completed
        layer.completed = layer.total

    def _sample(self, now: float) -> None:
        if now - self._samples[-1][0] >= SAMPLE_EVERY:
            self._samples.append((now, self._fetched))
        # One sample older than the window stays: it is where the window begins.
        while len(self._samples) > 1 and self._samples[1][0] <= now - RATE_WINDOW:
            self._samples.popleft()


def _phase(event: PullEvent) -> PullPhase | None:
    if event.digest:
        return PullPhase.DOWNLOADING
    status = event.status
    if status == "pulling manifest":
        return PullPhase.MANIFEST
    if status.startswith("verifying"):
        return PullPhase.VERIFYING
    if status == "success":
        return PullPhase.DONE
    if status.startswith(("writing", "removing", "couldn't remove")):
        return PullPhase.WRITING
    return None
