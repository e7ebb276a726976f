"""Reading packed figures of GPUs for charts: which resolution a range takes, and rows into spans.

What is not rolled up yet is taken from the finer series. A spoilt blob costs its own period only.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from deployments.domain.gpu_series import (
    SCALES,
    Parts,
    Stored,
    Unpackable,
    highest,
    period_of,
    step_of,
    stored_values,
)
from deployments.domain.gpus import SAMPLE_EVERY, Figure, Resolution
from deployments.models import GpuSeries

log = logging.getLogger(__name__)

MOST_POINTS = 2000
RAW_UP_TO = timedelta(hours=3)
FIVE_MINUTES_UP_TO = timedelta(days=4)
_NICE = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)

Span = tuple[int, int]
"""A time from one Unix second until before another."""


def merged(times: Iterable[Span]) -> list[Span]:
    """Times in order, those that meet or overlap as one."""
    found: list[Span] = []
    for since, until in sorted(times):
        if found and since <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], until))
        else:
            found.append((since, until))
    return found


def spans(start: datetime, end: datetime, points: int) -> tuple[int, Resolution]:
    """How many seconds a span takes so that a range fits into ``points``, and what it is read from."""
    seconds = max(1.0, (end - start).total_seconds())
    points = min(MOST_POINTS, max(1, points))
    if seconds <= RAW_UP_TO.total_seconds():
        resolution, least = Resolution.RAW, int(SAMPLE_EVERY.total_seconds())
    elif seconds <= FIVE_MINUTES_UP_TO.total_seconds():
        resolution, least = Resolution.FIVE_MINUTES, 300
    else:
        resolution, least = Resolution.HOUR, 3600
    for nice in _NICE:
        if nice >= least and seconds / nice <= points:
            return nice, resolution
    return math.ceil(seconds / points / 86400) * 86400, resolution


@dataclass(frozen=True, slots=True)
class Stretch:
    """One figure of a device over one blob: a row's time is ``base`` Unix seconds and its "when" times
    ``step``, its figures are divided by ``scale``. ``parts`` are what of a row belongs to single pods."""

    base: int
    step: int
    scale: float
    rows: list[Stored]
    parts: Parts

    @property
    def end(self) -> int:
        """When the span of the last row ends."""
        return self.base + (self.rows[-1][0] + 1) * self.step

    def since(self, at: int) -> Stretch:
        """What of it begins at a time or later."""
        if self.base >= at:
            return self
        least = -((self.base - at) // self.step)
        return replace(self, rows=self.rows[bisect_left(self.rows, (least,)) :])

    def within(self, since: int, until: int) -> list[Stored]:
        """The rows whose spans touch a time, which are in order."""
        first, beyond = (since - self.base) // self.step, -((self.base - until) // self.step)
        return self.rows[bisect_left(self.rows, (first,)) : bisect_left(self.rows, (beyond,))]

    def held(self, times: Sequence[Span]) -> Stretch:
        """What of it begins or ends in one of the times, which are Unix seconds in order."""
        if len(times) == 1:
            rows = self.within(*times[0])
        else:
            # A span that two times touch is there once.
            rows = list(dict.fromkeys(row for since, until in times for row in self.within(since, until)))
        return self if len(rows) == len(self.rows) else replace(self, rows=rows)

    def of_pod(self, pod: int, times: Sequence[Span]) -> Stretch:
        """What of it was while a pod held the device, which was at these times."""
        mine = self.held(times)
        if not self.parts:
            return mine
        rows: list[Stored] = []
        for row in mine.rows:
            parts = self.parts.get(row[0])
            part = parts.get(pod, row) if parts else row
            if part is not None:
                rows.append(part)
        return replace(mine, rows=rows)


class Cells:
    """Sorts rows into spans."""

    def __init__(self, first: int, step: int, count: int, take: str) -> None:
        self.step = step
        self._first, self._step, self._count = first, step, count
        self._take = take

    def fill(self, stretches: Iterable[Stretch]) -> list[float | None]:
        """The mean, largest or smallest figure of each span, None where no row falls into it."""
        if self._take == "mean":
            return self._means(stretches)
        found: list[float | None] = [None] * self._count
        step, count, largest = self._step, self._count, self._take == "max"
        for stretch in stretches:
            base, unit, scale = stretch.base - self._first, stretch.step, stretch.scale
            for at, _weight, low, _mean, high in self._rows(stretch):
                cell = (base + at * unit) // step
                if not 0 <= cell < count:
                    continue
                known, value = found[cell], (high if largest else low) / scale
                if known is None or (value > known if largest else value < known):
                    found[cell] = value
        return found

    def covered(self, times: Sequence[Span]) -> list[float]:
        """The share of each span that these times take, 0 to 1; they are in order and apart."""
        if len(times) == 1 and times[0][0] <= self._first <= times[0][1] - self._step * self._count:
            return [1.0] * self._count
        found = [0.0] * self._count
        for since, until in times:
            since, until = since - self._first, until - self._first
            cell = max(0, since // self._step)
            while cell < self._count and cell * self._step < until:
                begin = cell * self._step
                found[cell] += (min(until, begin + self._step) - max(since, begin)) / self._step
                cell += 1
        return found

    def _rows(self, stretch: Stretch) -> list[Stored]:
        return stretch.within(self._first, self._first + self._step * self._count)

    def _means(self, stretches: Iterable[Stretch]) -> list[float | None]:
        step, count = self._step, self._count
        sums, weights = [0.0] * count, [0] * count
        for stretch in stretches:
            base, unit, scale = stretch.base - self._first, stretch.step, stretch.scale
            for at, weight, _low, mean, _high in self._rows(stretch):
                cell = (base + at * unit) // step
                if 0 <= cell < count:
                    sums[cell] += weight * mean / scale
                    weights[cell] += weight
        return [total / weight if weight else None for total, weight in zip(sums, weights, strict=True)]


Blobs = dict[int, list[tuple[datetime, bytes]]]
"""Device -> its blobs of one resolution, each with the start of its period, in order."""


@dataclass(frozen=True)
class Loaded:
    """The blobs of a range that begins at ``since`` Unix seconds, the coarsest resolution first."""

    since: int
    levels: tuple[tuple[Resolution, Blobs], ...]

    def first(self, level: Resolution, begin: datetime) -> int:
        """The "when" of a blob at which the range begins."""
        return first_row(level, begin, self.since)


def first_row(level: Resolution, begin: datetime, since: int) -> int:
    """The "when" of a blob at which a range begins that begins at ``since`` Unix seconds."""
    return max(0, int((since - begin.timestamp()) // step_of(level).total_seconds()))


def load(device_ids: Sequence[int], resolution: Resolution, start: datetime, end: datetime) -> Loaded:
    """What charts of a range are read from; where the roll-ups end before the range does, the finer
    series of its end is with them. A query for each resolution, which is three at most."""
    levels = []
    for level in _levels(resolution):
        since = start if level is resolution else max(start, end - _tail(level))
        levels.append((level, stored_blobs(device_ids, level, since, end)))
    return Loaded(int(start.timestamp()), tuple(levels))


def stretches(loaded: Loaded, figure: Figure) -> dict[int, list[Stretch]]:
    """One figure of each device; where the roll-ups end, finer ones follow. Devices without are absent."""
    found: dict[int, list[Stretch]] = {}
    ends: dict[int, int] = {}
    for level, blobs in loaded.levels:
        for device_id, several in blobs.items():
            after = ends.get(device_id, 0)
            mine = found.setdefault(device_id, [])
            for begin, packed in several:
                each = stretch(device_id, level, begin, packed, figure, loaded.first(level, begin))
                rest = each and each.since(after)
                if rest and rest.rows:
                    mine.append(rest)
            if mine and level is not Resolution.RAW:
                ends[device_id] = mine[-1].end
    return found


def busiest(loaded: Loaded, first: int, step: int, count: int) -> dict[int, list[int | None]]:
    """The largest utilisation of each device in each of ``count`` spans, in whole percent: what
    :func:`stretches` and a :class:`Cells` would give, without a row of each sample on the way, because
    a page of strips is some ten thousand of them."""
    found: dict[int, list[int]] = {}
    ends: dict[int, int] = {}
    for level, blobs in loaded.levels:
        unit = int(step_of(level).total_seconds())
        for device_id, several in blobs.items():
            line = found.setdefault(device_id, [-1] * count)
            after = ends.get(device_id, 0)
            for begin, packed in several:
                base = int(begin.timestamp())
                rows, none = _highest(device_id, level, begin, packed, loaded.first(level, begin))
                place = base - first
                for at, value in rows:
                    cell = (place + at * unit) // step
                    if (
                        0 <= cell < count
                        and value > line[cell]
                        and value != none
                        and base + at * unit >= after
                    ):
                        line[cell] = value
                if rows and level is not Resolution.RAW:
                    ends[device_id] = base + (rows[-1][0] + 1) * unit
    scale = SCALES[Figure.UTILISATION]
    return {
        device_id: [None if value < 0 else round(value / scale) for value in line]
        for device_id, line in found.items()
    }


def _highest(
    device_id: int, level: Resolution, begin: datetime, packed: bytes, first: int
) -> tuple[list[tuple[int, int]], int]:
    try:
        return highest(level, packed, Figure.UTILISATION, first)
    except Unpackable as error:
        log.warning("GPU %s, %s from %s: %s", device_id, level, begin, error)
        return [], 0


def stretch(
    device_id: int, level: Resolution, begin: datetime, packed: bytes, figure: Figure, first: int
) -> Stretch | None:
    """A blob read; None where it cannot be, or has nothing of the figure."""
    try:
        stored = stored_values(level, packed, figure, first)
    except Unpackable as error:
        log.warning("GPU %s, %s from %s: %s", device_id, level, begin, error)
        return None
    if stored.cut:
        # What was read stays; one spoilt hour must not hide the others.
        log.warning("GPU %s, %s from %s: %s", device_id, level, begin, stored.cut)
    if not stored.rows:
        return None
    seconds = int(step_of(level).total_seconds())
    return Stretch(int(begin.timestamp()), seconds, stored.scale, stored.rows, stored.parts)


def _levels(resolution: Resolution) -> tuple[Resolution, ...]:
    order = (Resolution.HOUR, Resolution.FIVE_MINUTES, Resolution.RAW)
    return order[order.index(resolution) :]


def _tail(level: Resolution) -> timedelta:
    """How far back what is finer than the range asks for may be needed."""
    return timedelta(minutes=20) if level is Resolution.RAW else timedelta(hours=2)


def stored_blobs(device_ids: Sequence[int], resolution: Resolution, start: datetime, end: datetime) -> Blobs:
    """The blobs of one resolution that touch a range; one query."""
    # Sorted here: asked for an order, SQLite reads that period of every device there is instead of
    # looking up those asked for.
    rows = GpuSeries.objects.filter(
        device_id__in=list(device_ids),
        resolution=resolution,
        start__gte=period_of(resolution, start),
        start__lte=end,
    ).order_by()
    found: Blobs = {}
    for device_id, begin, packed in rows.values_list("device_id", "start", "packed"):
        found.setdefault(device_id, []).append((begin, bytes(packed)))
    for blobs in found.values():
        blobs.sort()  # no two begin at the same time
    return found
