"""Figures of GPUs over time, as charts take them: one list of times, one list of values per device.

The range chooses what is read: samples for a few hours, five-minute roll-ups for some days, hourly
ones beyond. What is not rolled up yet is taken from the finer series, so that a chart ends where the
figures end. A time without a figure is None: a gap, not 0.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from deployments.domain.actors import Actor
from deployments.domain.gpu_series import (
    Mark,
    MarkKind,
    Stored,
    Unpackable,
    period_of,
    step_of,
    stored_values,
    unpack,
)
from deployments.domain.gpus import Figure, Resolution
from deployments.models import GpuSeries
from deployments.selectors import scope
from deployments.selectors.gpus import visible

log = logging.getLogger(__name__)

MOST_DEVICES = 64
MOST_POINTS = 2000
RAW_UP_TO = timedelta(hours=3)
FIVE_MINUTES_UP_TO = timedelta(days=4)
SAMPLE_EVERY = 15  # seconds
SPARK_STEP = 600  # seconds; a line as high as a word has no room for more
_NICE = (15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800)
_GIB = 2.0**30
_DIGITS = {Figure.UTILISATION: 1, Figure.TEMPERATURE: 0, Figure.POWER: 0, Figure.MEMORY: 2}
UNITS = {Figure.UTILISATION: "%", Figure.TEMPERATURE: "°C", Figure.POWER: "W", Figure.MEMORY: "GiB"}


@dataclass(frozen=True)
class Chart:
    """``times`` are Unix seconds, ``step`` apart, each the start of a span; ``lines`` gives each device
    as many values in ``unit``, None for a gap. ``uplot`` is the whole as uPlot takes it, the lines in
    the order of ``lines``."""

    figure: Figure
    unit: str
    step: int
    times: list[int]
    lines: dict[int, list[float | None]]

    @property
    def uplot(self) -> list[list[int] | list[float | None]]:
        return [self.times, *self.lines.values()]


@dataclass(frozen=True)
class Holding:
    """Who used a device from a time on: "namespace/name", "" for nobody, None for somebody whom the
    caller may not see by name."""

    at: datetime
    pod: str | None


def series(
    actor: Actor,
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
    points: int = 300,
    *,
    figure: Figure = Figure.UTILISATION,
    take: str = "mean",
) -> Chart:
    """A figure of up to ``MOST_DEVICES`` devices between two times, in at most ``points`` spans.

    ``take`` is "mean", "max" or "min" of each span. Devices that the caller may not see are left out;
    those without figures have a line of gaps. Two queries, three where the newest figures are not
    rolled up yet.
    """
    seen = set(visible(actor).filter(pk__in=list(device_ids)[:MOST_DEVICES]).values_list("pk", flat=True))
    wanted = [pk for pk in dict.fromkeys(device_ids) if pk in seen]
    return chart(wanted, start, end, points, figure=figure, take=take)


def chart(
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
    points: int = 300,
    *,
    figure: Figure = Figure.UTILISATION,
    take: str = "mean",
) -> Chart:
    """:func:`series` of devices that the caller is known to see."""
    step, resolution = spans(start, end, points)
    first = int(start.timestamp()) // step * step
    count = min(MOST_POINTS, max(1, math.ceil((end.timestamp() - first) / step)))
    scale = 1 / _GIB if figure is Figure.MEMORY else 1.0
    read = _read(device_ids, resolution, datetime.fromtimestamp(first, UTC), end, figure)
    cells = _Cells(first, step, count, take)
    lines = {pk: _rounded(cells.fill(read.get(pk, ())), scale, _DIGITS[figure]) for pk in device_ids}
    times = list(range(first, first + count * step, step))
    return Chart(figure, UNITS[figure], step, times, lines)


def strips(
    actor: Actor, device_ids: Sequence[int], start: datetime, end: datetime, cells: int = 48
) -> dict[int, list[int | None]]:
    """The busiest moment of each of ``cells`` spans for many devices, in whole percent of utilisation:
    the heat strip of a list. Always from roll-ups where the range allows it; as many queries as
    :func:`series`."""
    seen = set(visible(actor).filter(pk__in=list(device_ids)).values_list("pk", flat=True))
    found = chart([pk for pk in device_ids if pk in seen], start, end, cells, take="max")
    return {
        pk: [None if value is None else round(value) for value in line] for pk, line in found.lines.items()
    }


def deployment_sparklines(
    actor: Actor, deployment_ids: Sequence[int], start: datetime, end: datetime
) -> dict[int, list[float | None]]:
    """For each deployment the mean utilisation of the devices that it holds now, from roll-ups alone:
    a list shows dozens. Deployments without a device are absent; two queries."""
    held = visible(actor).filter(deployment_id__in=list(deployment_ids)).order_by("pk")
    devices_of: dict[int, list[int]] = {}
    for pk, deployment_id in held.values_list("pk", "deployment_id"):
        devices_of.setdefault(deployment_id, []).append(pk)
    step = SPARK_STEP
    first = int(start.timestamp()) // step * step
    cells = _Cells(first, step, max(1, (int(end.timestamp()) - first) // step), "mean")
    every = [pk for devices in devices_of.values() for pk in devices]
    rows = _read_level(every, Resolution.FIVE_MINUTES, datetime.fromtimestamp(first, UTC), end)
    return {
        key: _rounded(cells.fill(each for pk in devices for each in rows.get(pk, ())), 1.0, 1)
        for key, devices in devices_of.items()
    }


def holders(actor: Actor, device_id: int, start: datetime, end: datetime) -> list[Holding]:
    """Who used a device and when, from the marks in its samples: as far back as those are kept.

    Pods that are not of the caller's deployments are None, unless he sees everything.
    """
    device = visible(actor).filter(pk=device_id).first()
    if device is None:
        return []
    own = None
    if not actor.sees_everything:
        mine = scope.deployments(actor).filter(cluster_id=device.cluster_id)
        own = tuple(f"{namespace}/{name}-" for namespace, name in mine.values_list("namespace", "name"))
    found: list[Holding] = []
    last: str | None = None
    for at, pod in _held(device_id, start, end):
        if pod != last:
            last = pod
            found.append(Holding(at, pod if not pod or own is None or pod.startswith(own) else None))
    return found


def _held(device_id: int, start: datetime, end: datetime) -> Iterator[tuple[datetime, str]]:
    """The holder ("" for nobody) at the beginning of each hour with samples, and at each change."""
    for begin, packed in _blobs([device_id], Resolution.RAW, start, end).get(device_id, ()):
        told = False
        for row in unpack(Resolution.RAW, packed):
            if isinstance(row, Mark):
                if row.kind is not MarkKind.HOLDER:
                    continue
                told = True
                yield begin + timedelta(seconds=row.at), row.text
            elif not told:
                # A blob that begins without a holder begins with nobody.
                told = True
                yield begin + timedelta(seconds=row.at), ""


def spans(start: datetime, end: datetime, points: int) -> tuple[int, Resolution]:
    """How many seconds a span takes so that a range fits into ``points``, and what it is read from."""
    seconds = max(1.0, (end - start).total_seconds())
    points = min(MOST_POINTS, max(1, points))
    if seconds <= RAW_UP_TO.total_seconds():
        resolution, least = Resolution.RAW, SAMPLE_EVERY
    elif seconds <= FIVE_MINUTES_UP_TO.total_seconds():
        resolution, least = Resolution.FIVE_MINUTES, 300
    else:
        resolution, least = Resolution.HOUR, 3600
    for nice in _NICE:
        if nice >= least and seconds / nice <= points:
            return nice, resolution
    return math.ceil(seconds / points / 86400) * 86400, resolution


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One figure of a device over one blob: a row's time is ``base`` Unix seconds and its "when" times
    ``step``, its figures are divided by ``scale``."""

    base: int
    step: int
    scale: float
    rows: list[Stored]

    @property
    def end(self) -> int:
        """When the span of the last row ends."""
        return self.base + (self.rows[-1][0] + 1) * self.step

    def since(self, at: int) -> _Stretch:
        """What of it begins at a time or later."""
        if self.base >= at:
            return self
        least = -((self.base - at) // self.step)
        rows = [row for row in self.rows if row[0] >= least]
        return _Stretch(self.base, self.step, self.scale, rows)


class _Cells:
    """Sorts rows into spans."""

    def __init__(self, first: int, step: int, count: int, take: str) -> None:
        self._first, self._step, self._count = first, step, count
        self._take = take

    def fill(self, stretches: Iterable[_Stretch]) -> list[float | None]:
        """The mean, largest or smallest figure of each span, None where no row falls into it."""
        if self._take == "mean":
            return self._means(stretches)
        found: list[float | None] = [None] * self._count
        step, count, largest = self._step, self._count, self._take == "max"
        for stretch in stretches:
            base, unit, scale = stretch.base - self._first, stretch.step, stretch.scale
            for at, _weight, low, _mean, high in stretch.rows:
                cell = (base + at * unit) // step
                if not 0 <= cell < count:
                    continue
                known, value = found[cell], (high if largest else low) / scale
                if known is None or (value > known if largest else value < known):
                    found[cell] = value
        return found

    def _means(self, stretches: Iterable[_Stretch]) -> list[float | None]:
        step, count = self._step, self._count
        sums, weights = [0.0] * count, [0] * count
        for stretch in stretches:
            base, unit, scale = stretch.base - self._first, stretch.step, stretch.scale
            for at, weight, _low, mean, _high in stretch.rows:
                cell = (base + at * unit) // step
                if 0 <= cell < count:
                    sums[cell] += weight * mean / scale
                    weights[cell] += weight
        return [total / weight if weight else None for total, weight in zip(sums, weights, strict=True)]


def _read(
    device_ids: Sequence[int], resolution: Resolution, start: datetime, end: datetime, figure: Figure
) -> dict[int, list[_Stretch]]:
    """The figures of each device; where the roll-ups end before the range does, finer ones follow."""
    found: dict[int, list[_Stretch]] = {pk: [] for pk in device_ids}
    ends: dict[int, int] = {}
    for level in _levels(resolution):
        since = start if level is resolution else max(start, end - _tail(level))
        for device_id, stretches in _read_level(device_ids, level, since, end, figure).items():
            after = ends.get(device_id, 0)
            found[device_id] += [rest for each in stretches if (rest := each.since(after)).rows]
            if found[device_id] and level is not Resolution.RAW:
                ends[device_id] = found[device_id][-1].end
    return found


def _read_level(
    device_ids: Sequence[int],
    level: Resolution,
    start: datetime,
    end: datetime,
    figure: Figure = Figure.UTILISATION,
) -> dict[int, list[_Stretch]]:
    """A figure of each device from one resolution alone."""
    return {
        device_id: [
            stretch
            for begin, packed in blobs
            if (stretch := _stretch(device_id, level, begin, packed, figure, start)) is not None
        ]
        for device_id, blobs in _blobs(device_ids, level, start, end).items()
    }


def _stretch(
    device_id: int, level: Resolution, begin: datetime, packed: bytes, figure: Figure, start: datetime
) -> _Stretch | None:
    """What a blob says from ``start`` on; None where it cannot be read, or has nothing of the figure."""
    step = step_of(level)
    since = max(0, (start - begin) // step)
    try:
        stored = stored_values(level, packed, figure, since)
    except Unpackable as error:
        log.warning("GPU %s, %s from %s: %s", device_id, level, begin, error)
        return None
    if stored.cut:
        # What was read stays; one spoilt hour must not hide the others.
        log.warning("GPU %s, %s from %s: %s", device_id, level, begin, stored.cut)
    if not stored.rows:
        return None
    return _Stretch(int(begin.timestamp()), int(step.total_seconds()), stored.scale, stored.rows)


def _levels(resolution: Resolution) -> tuple[Resolution, ...]:
    order = (Resolution.HOUR, Resolution.FIVE_MINUTES, Resolution.RAW)
    return order[order.index(resolution) :]


def _tail(level: Resolution) -> timedelta:
    """How far back what is finer than the range asks for may be needed."""
    return timedelta(minutes=20) if level is Resolution.RAW else timedelta(hours=2)


def _blobs(
    device_ids: Sequence[int], resolution: Resolution, start: datetime, end: datetime
) -> dict[int, list[tuple[datetime, bytes]]]:
    # Sorted here: asked for an order, SQLite reads that period of every device there is instead of
    # looking up those asked for.
    rows = GpuSeries.objects.filter(
        device_id__in=list(device_ids),
        resolution=resolution,
        start__gte=period_of(resolution, start),
        start__lte=end,
    ).order_by()
    found: dict[int, list[tuple[datetime, bytes]]] = {}
    for device_id, begin, packed in rows.values_list("device_id", "start", "packed"):
        found.setdefault(device_id, []).append((begin, bytes(packed)))
    for blobs in found.values():
        blobs.sort()  # no two begin at the same time
    return found


def _rounded(values: Iterable[float | None], scale: float, digits: int) -> list[float | None]:
    """In the chart's unit; whole numbers as such, which are shorter in an answer."""
    found: list[float | None] = []
    for value in values:
        if value is not None:
            value = round(value * scale, digits)
            if value == int(value):
                value = int(value)
        found.append(value)
    return found
