"""What the GPUs of a deployment's pods did over time: also those that a pod held before it moved, and
those of pods that are gone.

A pod's figures are its devices' figures in the times that it held them (docs/decisions/0004). Where a
pod holds several devices at once its utilisation is their mean, its temperature that of the hottest, its
memory and power their sum, which is a gap where one of them is not known. A device that several pods
share counts in whole for each of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.db.models import Q

from deployments.domain.gpus import SAMPLE_EVERY, Figure, Gone, fresh
from deployments.models import Deployment, GpuHolding
from deployments.selectors.gpu_charts import DIGITS, GIB, UNITS, Chart, grid, rounded
from deployments.selectors.gpu_reading import Cells, Span, Stretch, load, merged, spans, stretches

MOST_HELD = 5_000
"""Holdings of a deployment that are read for one range, the newest ones."""
MOST_DEVICES = 128

Values = list[float | None]


@dataclass(frozen=True)
class Held:
    """A pod held a device from a time on until before another, None for still."""

    device_id: int
    node: str
    index: str
    instance: str
    gone: Gone | None
    since: datetime
    until: datetime | None


@dataclass(frozen=True)
class PodUse:
    """What a pod held within a range, in order of time. ``now`` says whether it holds one still."""

    id: int
    namespace: str
    name: str
    held: tuple[Held, ...]

    @property
    def now(self) -> bool:
        return any(each.until is None for each in self.held)

    def times(self, device_id: int, end: datetime) -> list[Span]:
        """When it held a device, in Unix seconds."""
        mine = (each for each in self.held if each.device_id == device_id)
        return merged((_unix(each.since), _unix(each.until or end)) for each in mine)


@dataclass(frozen=True)
class PodsOfRange:
    """``pods`` are those that hold devices now first, then those that did most lately. ``since`` is set
    where there were more changes than are read: what was before is not shown."""

    pods: list[PodUse]
    since: datetime | None


def pods_of(deployment: Deployment, start: datetime, end: datetime) -> PodsOfRange:
    """The pods of a deployment, which the caller may see, that held devices between two times; one query."""
    rows = GpuHolding.objects.filter(
        Q(until=None, device__sampled_at__gt=start) | Q(until__gt=start),
        pod__deployment=deployment,
        since__lt=end,
    ).order_by("-since", "-pk")
    found: dict[tuple[int, str, str], list[Held]] = {}
    oldest = None
    columns = ("device_id", "device__node", "device__index", "device__instance", "device__gone")
    several = rows.values_list(
        *("pod_id", "pod__namespace", "pod__name", "device__sampled_at", "since", "until"), *columns
    )[:MOST_HELD]
    for count, (pod, namespace, name, seen, since, until, device, node, index, instance, gone) in enumerate(
        several, 1
    ):
        # Of a device that has fallen silent nothing is known after its last figures.
        if until is None and not fresh(seen, end):
            until = seen + SAMPLE_EVERY
        oldest = since if count == MOST_HELD else None
        held = Held(device, node, index, instance, Gone(gone) if gone else None, since, until)
        found.setdefault((pod, namespace, name), []).append(held)
    pods = [PodUse(*key, tuple(reversed(held))) for key, held in found.items()]
    pods.sort(key=lambda pod: (not pod.now, -max(_unix(each.until or end) for each in pod.held), pod.name))
    return PodsOfRange(pods, oldest)


def pod_chart(pods: Sequence[PodUse], start: datetime, end: datetime, points: int, figure: Figure) -> Chart:
    """A figure of each pod between two times, by the pods' ids; a gap where it held nothing, and where
    nothing is known of what it held. One query, up to three where the newest figures are not rolled up."""
    step, resolution = spans(start, end, points)
    first, count = grid(start, end, step)
    cells = Cells(first, step, count, "mean")
    devices = list(dict.fromkeys(each.device_id for pod in pods for each in pod.held))[:MOST_DEVICES]
    found = stretches(load(devices, resolution, datetime.fromtimestamp(first, UTC), end), figure)
    scale = 1 / GIB if figure is Figure.MEMORY else 1.0
    lines = {pod.id: rounded(_line(pod, found, cells, end, figure), scale, DIGITS[figure]) for pod in pods}
    times = list(range(first, first + count * step, step))
    return Chart(figure, UNITS[figure], step, times, lines)


def _line(
    pod: PodUse, read: Mapping[int, Iterable[Stretch]], cells: Cells, end: datetime, figure: Figure
) -> Values:
    """A figure of a pod in each span of a chart."""
    several: list[tuple[Values, list[float]]] = []
    every: list[Span] = []
    for device in dict.fromkeys(each.device_id for each in pod.held):
        times = pod.times(device, end)
        every += times
        mine = cells.fill([each.of_pod(pod.id, times) for each in read.get(device, ())])
        several.append((mine, cells.covered(times)))
    if len(several) == 1:
        return several[0][0]
    return _together(several, cells.covered(merged(every)), figure, cells.step)


def _together(
    several: Sequence[tuple[Values, list[float]]], any_of: list[float], figure: Figure, step: int
) -> Values:
    """One line of several devices', each with the share of every span in which it counts; ``any_of`` is
    the share in which any of them does, for figures that are summed."""
    if figure is Figure.UTILISATION:
        return _mean(several)
    found: Values = []
    # A holding may end a round after its last figures: so much of a span may lack them.
    least = min(0.5, 2 * SAMPLE_EVERY.total_seconds() / step)
    for place, at_once in enumerate(zip(*(zip(*each, strict=True) for each in several), strict=True)):
        known = [(value, share) for value, share in at_once if value is not None and share]
        if not known:
            found.append(None)
        elif figure is Figure.TEMPERATURE:
            found.append(max(value for value, _ in known))
        elif any(value is None and share > least for value, share in at_once):
            found.append(None)
        else:
            found.append(math.fsum(value * share for value, share in known) / any_of[place])
    return found


def _mean(several: Sequence[tuple[Values, list[float]]]) -> Values:
    """The mean of each span, by the shares in which the lines count."""
    count = len(several[0][0]) if several else 0
    totals, weights = [0.0] * count, [0.0] * count
    for values, shares in several:
        for place, (value, share) in enumerate(zip(values, shares, strict=True)):
            if value is not None and share:
                totals[place] += value * share
                weights[place] += share
    return [total / weight if weight else None for total, weight in zip(totals, weights, strict=True)]


def _unix(at: datetime) -> int:
    return int(at.timestamp())
