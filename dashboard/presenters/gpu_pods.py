"""What a deployment's pods did on their GPUs over time: who held what when, and the same as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from django.utils.translation import gettext as _

from dashboard.presenters.gpu_figures import FIGURES, TOP, Drawing
from dashboard.presenters.numbers import NBSP
from dashboard.presenters.ranges import Range
from deployments.domain.gpus import Figure
from deployments.selectors.gpu_charts import UNITS, Chart
from deployments.selectors.gpu_pods import Held, PodUse

DEVICES_SHOWN = 4


@dataclass(frozen=True)
class HeldDevice:
    """A device that a pod held, as a line of a table's cell: ``when`` says from when to when."""

    id: int
    name: str
    when: str


@dataclass(frozen=True)
class PodRow:
    """A pod and what its GPUs did in a range. ``until`` is when it held one last, None for still."""

    name: str
    until: datetime | None
    devices: list[HeldDevice]
    more: int
    mean: str
    high: str


@dataclass(frozen=True)
class PodTable:
    """The chart in rows, the newest first: ``names`` are the columns."""

    names: list[str]
    rows: list[tuple[datetime, list[str]]]


def drawing(pods: Sequence[PodUse], figure: Figure, span: Range) -> Drawing:
    """The chart of all pods. What pods hold together has no top that is known beforehand."""
    title = dict(FIGURES)[figure]
    label = _("%(title)s of each pod's GPUs, %(last)s. Arrow keys read single values.")
    return Drawing(
        str(figure), title, UNITS[figure], TOP.get(figure, 0.0), label % {"title": title, "last": span.last}
    )


def rows(pods: Sequence[PodUse], chart: Chart, start: datetime, end: datetime) -> list[PodRow]:
    """The pods of a range with what they held and what the chart says of them."""
    long = (end - start).total_seconds() > 86400
    found = []
    for pod in pods:
        known = [value for value in chart.lines.get(pod.id, ()) if value is not None]
        held = [_device(each, start, long) for each in reversed(pod.held)]
        ends = [each.until for each in pod.held if each.until is not None]
        found.append(
            PodRow(
                name=pod.name,
                until=None if pod.now else max(ends),
                devices=held[:DEVICES_SHOWN],
                more=max(0, len(held) - DEVICES_SHOWN),
                mean=_figure(sum(known) / len(known), chart.unit) if known else _("no data"),
                high=_figure(max(known), chart.unit) if known else _("no data"),
            )
        )
    return found


def table(pods: Sequence[PodUse], chart: Chart) -> PodTable:
    """A line for each time and a column for each pod."""
    lines = [chart.lines[pod.id] for pod in pods]
    times = [
        (datetime.fromtimestamp(at, UTC), [_value(line[place], chart.unit) for line in lines])
        for place, at in enumerate(chart.times)
    ]
    return PodTable([pod.name for pod in pods], times[::-1])


def _device(held: Held, start: datetime, long: bool) -> HeldDevice:
    name = " · ".join(part for part in (held.node or _("unknown node"), held.index, held.instance) if part)
    shown = "%m-%d %H:%M" if long else "%H:%M"
    since = f"{held.since.astimezone(UTC):{shown}}"
    if held.until is None:
        when = _("since %(since)s") % {"since": since} if held.since > start else _("all the time")
    else:
        until = f"{held.until.astimezone(UTC):{shown}}"
        when = (
            _("%(since)s to %(until)s") % {"since": since, "until": until}
            if held.since > start
            else _("until %(until)s") % {"until": until}
        )
    return HeldDevice(held.device_id, name, when)


def _figure(value: float, unit: str) -> str:
    return f"{round(value, 1):g}{NBSP}{unit}"


def _value(value: float | None, unit: str) -> str:
    return _("no data") if value is None else f"{value:g}{NBSP}{unit}"
