"""What a simulated Prometheus has scraped: the exporters' series with their targets' labels, over time.

Labels that exporter and target both have: Prometheus documentation, "scrape_config", honor_labels. NVIDIA's
ServiceMonitors leave it false, AMD's set it true.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

Labels = Sequence[tuple[str, str]]

SCRAPE_SECONDS = 15.0
# How far an instant query looks back for a sample.
LOOKBACK_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Target:
    """One exporter as it is scraped."""

    job: str
    instance: str
    namespace: str
    pod: str
    container: str
    service: str
    endpoint: str
    honor_labels: bool

    def labels(self) -> dict[str, str]:
        return {
            "job": self.job,
            "instance": self.instance,
            "namespace": self.namespace,
            "pod": self.pod,
            "container": self.container,
            "service": self.service,
            "endpoint": self.endpoint,
        }


def merged(name: str, own: Labels, target: dict[str, str], honor: bool) -> dict[str, str]:
    """A series' labels after scraping; empty ones do not exist in Prometheus."""
    result = dict(target)
    for key, value in own:
        if not honor and key in target and value:
            result[f"exported_{key}"] = value
        elif honor or key not in target:
            result[key] = value
    return {"__name__": name, **{key: value for key, value in sorted(result.items()) if value}}


class SeriesSamples(Protocol):
    def at(self, when: float) -> str | None:
        """The value at a moment (seconds since the epoch), or None."""

    def taken(self, when: float) -> float | None:
        """When the value of that moment was scraped, or None."""


class Source(Protocol):
    """Where a Prometheus takes its answers from."""

    def series(
        self, wanted: Callable[[str], bool], honor: bool | None
    ) -> Iterator[tuple[dict[str, str], SeriesSamples]]:
        """Every series that there is or was, of the metrics with a wanted name.

        honor: whether labels of the exporter win over those of the target; None is as the target was set up.
        """


class Recorded:
    """Samples of one series, oldest first."""

    def __init__(self, keep: int) -> None:
        self.times: deque[float] = deque(maxlen=keep)
        self.values: deque[str] = deque(maxlen=keep)

    def add(self, when: float, value: str) -> None:
        self.times.append(when)
        self.values.append(value)

    def at(self, when: float) -> str | None:
        index = bisect_right(self.times, when) - 1
        if index < 0 or when - self.times[index] > LOOKBACK_SECONDS:
            return None
        # A series that its target no longer shows ends at once.
        return self.values[index] or None

    def taken(self, when: float) -> float | None:
        return None if self.at(when) is None else self.times[bisect_right(self.times, when) - 1]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of an exporter's page."""

    name: str
    labels: tuple[tuple[str, str], ...]
    target: Target
    value: str

    @property
    def key(self) -> tuple[str, tuple[tuple[str, str], ...], Target]:
        return self.name, self.labels, self.target


class History:
    """Series by name, labels and target. keep: samples of a series."""

    def __init__(self, keep: int = 960) -> None:
        self.keep = keep
        self._series: dict[tuple[str, tuple[tuple[str, str], ...], Target], Recorded] = {}

    def scrape(self, when: float, found: Iterable[Sample]) -> None:
        """All samples of one round; what was there in the round before and is not now, ends."""
        seen = set()
        for sample in found:
            seen.add(sample.key)
            self._series.setdefault(sample.key, Recorded(self.keep)).add(when, sample.value)
        for key, samples in self._series.items():
            if key not in seen and samples.values and samples.values[-1]:
                samples.add(when, "")

    def series(
        self, wanted: Callable[[str], bool], honor: bool | None
    ) -> Iterator[tuple[dict[str, str], SeriesSamples]]:
        for (name, labels, target), samples in self._series.items():
            if wanted(name):
                layout = target.honor_labels if honor is None else honor
                yield merged(name, labels, target.labels(), layout), samples
