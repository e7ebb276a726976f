"""Figures of GPUs over time, as charts take them: one list of times, one list of values per device.

The range chooses what is read: samples for a few hours, five-minute roll-ups for some days, hourly
ones beyond. What is not rolled up yet is taken from the finer series, so that a chart ends where the
figures end. A time without a figure is None: a gap, not 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from django.db.models import Q, Value
from django.db.models.functions import Concat

from deployments.domain.actors import Actor
from deployments.domain.gpus import SAMPLE_EVERY, Figure, fresh
from deployments.models import GpuHolding
from deployments.selectors.gpu_reading import MOST_POINTS, Cells, busiest, load, spans, stretches
from deployments.selectors.gpus import visible

MOST_DEVICES = 64
GIB = 2.0**30
DIGITS = {Figure.UTILISATION: 1, Figure.TEMPERATURE: 0, Figure.POWER: 0, Figure.MEMORY: 2}
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
    """Who used a device from a time on until another: "namespace/name", "" for nobody, None for somebody whom the
    caller may not see by name."""

    at: datetime
    until: datetime
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
    (found,) = charts(device_ids, start, end, points, (figure,), take)
    return found


def charts(
    device_ids: Sequence[int],
    start: datetime,
    end: datetime,
    points: int,
    figures: Sequence[Figure] = tuple(Figure),
    take: str = "mean",
) -> list[Chart]:
    """:func:`chart` of several figures, which are read together."""
    step, resolution = spans(start, end, points)
    first, count = grid(start, end, step)
    cells = Cells(first, step, count, take)
    times = list(range(first, first + count * step, step))
    loaded = load(device_ids, resolution, datetime.fromtimestamp(first, UTC), end)
    made = []
    for figure in figures:
        scale = 1 / GIB if figure is Figure.MEMORY else 1.0
        found = stretches(loaded, figure)
        lines = {pk: rounded(cells.fill(found.get(pk, ())), scale, DIGITS[figure]) for pk in device_ids}
        made.append(Chart(figure, UNITS[figure], step, times, lines))
    return made


def grid(start: datetime, end: datetime, step: int) -> tuple[int, int]:
    """The Unix seconds at which the spans of a range begin, and how many there are."""
    first = int(start.timestamp()) // step * step
    return first, min(MOST_POINTS, max(1, math.ceil((end.timestamp() - first) / step)))


def strips(
    device_ids: Sequence[int], start: datetime, end: datetime, cells: int = 48
) -> dict[int, list[int | None]]:
    """The busiest moment of each of ``cells`` spans for many devices that the caller is known to see, in
    whole percent of utilisation: the heat strip of a list. As many queries as :func:`chart`."""
    step, resolution = spans(start, end, cells)
    first, count = grid(start, end, step)
    loaded = load(device_ids, resolution, datetime.fromtimestamp(first, UTC), end)
    found = busiest(loaded, first, step, count)
    return {pk: found.get(pk) or [None] * count for pk in device_ids}


def holders(actor: Actor, device_id: int, start: datetime, end: datetime) -> list[Holding]:
    """Who held a device and when, in order: ``pod`` "" where nobody did, None for pods that are not of
    the caller's deployments, unless he sees everything. Of pods that share it the first one that he may
    see counts. Of a device that is silent or gone nothing is told after its last figures. Two queries."""
    device = visible(actor).filter(pk=device_id).first()
    if device is None:
        return []
    if not fresh(device.sampled_at, end):
        end = min(end, device.sampled_at + SAMPLE_EVERY)
    rows = GpuHolding.objects.filter(
        Q(until=None) | Q(until__gt=start), device_id=device_id, since__lte=end
    ).order_by("since", "pk")
    held = [
        (max(since, start), until or end, name if _may_see(actor, team) else None)
        for since, until, name, team in rows.annotate(
            whole=Concat("pod__namespace", Value("/"), "pod__name")
        ).values_list("since", "until", "whole", "pod__deployment__team_id")
    ]
    begin = max(start, device.first_seen_at)
    marks = sorted({begin, end, *(each[0] for each in held), *(each[1] for each in held)})
    marks = [at for at in marks if begin <= at <= end]
    found: list[Holding] = []
    for at, until in pairwise(marks):
        now = [name for since, ended, name in held if since <= at < ended]
        pod = next((name for name in now if name is not None), None) if now else ""
        if found and found[-1].pod == pod:
            found[-1] = Holding(found[-1].at, until, pod)
        else:
            found.append(Holding(at, until, pod))
    return found


def _may_see(actor: Actor, team: int | None) -> bool:
    return actor.sees_everything or team in actor.roles


def rounded(values: Iterable[float | None], scale: float, digits: int) -> list[float | None]:
    """In the chart's unit; whole numbers as such, which are shorter in an answer."""
    found: list[float | None] = []
    for value in values:
        if value is not None:
            value = round(value * scale, digits)
            if value == int(value):
                value = int(value)
        found.append(value)
    return found
