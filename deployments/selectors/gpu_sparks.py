"""How busy the GPUs of each deployment of a list were: a line as high as a word for each.

A line is the mean utilisation of all the samples that were taken of a device while a pod of the
deployment held it, from roll-ups alone: a list shows dozens of deployments with dozens of devices.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from django.db.models import Q

from deployments.domain.gpu_series import SCALES, Unpackable, means, step_of
from deployments.domain.gpus import Figure, Resolution
from deployments.models import GpuHolding
from deployments.selectors.gpu_charts import rounded
from deployments.selectors.gpu_reading import Span, first_row, merged, stored_blobs, stretch

log = logging.getLogger(__name__)

STEP = 600  # seconds; such a line has no room for more
MOST_HELD = 5_000
"""Holdings that are read for one list, the oldest first."""
_LEVEL, _FIGURE = Resolution.FIVE_MINUTES, Figure.UTILISATION
_UNIT, _SCALE = int(step_of(_LEVEL).total_seconds()), SCALES[_FIGURE]
_PER_CELL = STEP // _UNIT

Line = list[float | None]
Blobs = Sequence[tuple[datetime, bytes]]
Row = tuple[int, int, int]
"""(at, samples, mean) of a roll-up, as in :func:`deployments.domain.gpu_series.means`."""


def deployment_sparklines(deployment_ids: Sequence[int], start: datetime, end: datetime) -> dict[int, Line]:
    """Deployment, which the caller may see -> percent in each STEP seconds between two times, None where
    nothing was measured. Those that held no device are absent; two queries."""
    first = int(start.timestamp()) // STEP * STEP
    count = max(1, (int(end.timestamp()) - first) // STEP)
    held = _held(deployment_ids, start, end)
    devices = list({device for _deployment, _pod, device in held})
    read = stored_blobs(devices, _LEVEL, datetime.fromtimestamp(first, UTC), end)
    lines: dict[int, _Line] = {}
    for (deployment, pod, device), times in held.items():
        line = lines.setdefault(deployment, _Line(first, count))
        for begin, packed in read.get(device, ()):
            line.add(int(begin.timestamp()), *_rows(device, pod, begin, packed, times, line.span))
    return {deployment: rounded(line.values, 1.0, 1) for deployment, line in lines.items()}


def _held(
    deployment_ids: Sequence[int], start: datetime, end: datetime
) -> Mapping[tuple[int, int, int], list[Span]]:
    """(deployment, pod, device) -> when, in Unix seconds."""
    rows = GpuHolding.objects.filter(
        Q(until=None) | Q(until__gt=start),
        pod__deployment_id__in=list(deployment_ids),
        since__lt=end,
    ).order_by("since")
    found: dict[tuple[int, int, int], list[Span]] = {}
    columns = ("pod__deployment_id", "pod_id", "device_id", "since", "until")
    for deployment, pod, device, since, until in rows.values_list(*columns)[:MOST_HELD]:
        span = (int(since.timestamp()), int((until or end).timestamp()))
        found.setdefault((deployment, pod, device), []).append(span)
    return {key: merged(times) for key, times in found.items()}


def _rows(
    device: int, pod: int, begin: datetime, packed: bytes, times: Sequence[Span], wanted: Span
) -> tuple[Iterable[Row], int]:
    """What of a blob was while a pod held its device, and the mean that says that there is none."""
    first = first_row(_LEVEL, begin, wanted[0])
    try:
        rows, none, parted = means(packed, _FIGURE, first)
    except Unpackable as error:
        log.warning("GPU %s, %s from %s: %s", device, _LEVEL, begin, error)
        return (), 0
    if not parted:  # nearly every device: in none of its rows was it held by several, one after another
        return _within(rows, int(begin.timestamp()), times), none
    whole = stretch(device, _LEVEL, begin, packed, _FIGURE, first)
    mine = whole.of_pod(pod, times).rows if whole else ()
    return ((at, samples, mean) for at, samples, _low, mean, _high in mine), none


def _within(rows: list[Row], base: int, times: Sequence[Span]) -> Iterable[Row]:
    """The rows, which are in order, whose spans touch one of the times; each of them once."""
    places: dict[int, None] = {}
    for since, until in times:
        first = bisect_left(rows, ((since - base) // _UNIT,))
        beyond = bisect_left(rows, (-((base - until) // _UNIT),), first)
        if len(times) == 1:
            return rows[first:beyond]
        places |= dict.fromkeys(range(first, beyond))
    return [rows[place] for place in places]


class _Line:
    """Means over several devices, by how often they were measured."""

    def __init__(self, first: int, count: int) -> None:
        self.span = (first, first + count * STEP)
        self._sums, self._weights = [0] * count, [0] * count

    def add(self, base: int, rows: Iterable[Row], none: int) -> None:
        """Rows of a blob that begins at ``base`` Unix seconds."""
        count, sums, weights = len(self._sums), self._sums, self._weights
        place = (base - self.span[0]) // _UNIT  # both begin at whole five minutes
        for at, samples, mean in rows:
            cell = (place + at) // _PER_CELL
            if mean != none and 0 <= cell < count:
                sums[cell] += samples * mean
                weights[cell] += samples

    @property
    def values(self) -> Line:
        several = zip(self._sums, self._weights, strict=True)
        return [total / weight / _SCALE if weight else None for total, weight in several]
