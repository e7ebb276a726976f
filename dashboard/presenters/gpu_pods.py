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

TIMES_SHOWN = 4


@dataclass(frozen=True)
class HeldDevices:
    """Devices of one node that a pod held at the same time: ``when`` says from when to when, ``devices``
    are (id, place on the node)."""

    node: str
    devices: list[tuple[int, str]]
    when: str


@dataclass(frozen=True)
class PodRow:
    """A pod and what its GPUs did in a range. ``until`` is when it held one last, None for still."""

    name: str
    until: datetime | None
    held: list[HeldDevices]
    more: int
    mean: str
    high: str


@dataclass(frozen=True)
class PodTable:
    """The chart in rows, the newest first: ``names`` are the columns."""

    names: list[str]
    rows: list[tuple[datetime, list[str]]]


def drawing(figure: Figure, span: Range) -> Drawing:
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
        held = _times(pod.held, start, long)
        ends = [each.until for each in pod.held if each.until is not None]
        found.append(
            PodRow(
                name=pod.name,
                until=None if pod.now else max(ends),
                held=held[:TIMES_SHOWN],
                more=max(0, len(held) - TIMES_SHOWN),
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


def _times(held: Sequence[Held], start: datetime, long: bool) -> list[HeldDevices]:
    """What a pod held, the newest first, devices of one node and time together."""
    together: dict[tuple[str, str], list[Held]] = {}
    for each in reversed(held):
        when = _when(each.since, each.until, start, long)
        together.setdefault((each.node, when), []).append(each)
    return [
        HeldDevices(
            node=node or _("unknown node"),
            devices=[
                (each.device_id, " ".join(part for part in (each.index, each.instance) if part) or "?")
                for each in sorted(several, key=lambda each: (len(each.index), each.index, each.instance))
            ],
            when=when,
        )
        for (node, when), several in together.items()
    ]


def _when(since: datetime, until: datetime | None, start: datetime, long: bool) -> str:
    shown = "%m-%d %H:%M" if long else "%H:%M"
    first = f"{since.astimezone(UTC):{shown}}" if since > start else ""
    if until is None:
        return _("since %(since)s") % {"since": first} if first else _("all the time")
    last = f"{until.astimezone(UTC):{shown}}"
    if not first:
        return _("until %(until)s") % {"until": last}
    return _("%(since)s to %(until)s") % {"since": first, "until": last}


def _figure(value: float, unit: str) -> str:
    return f"{round(value, 1):g}{NBSP}{unit}"


def _value(value: float | None, unit: str) -> str:
    return _("no data") if value is None else f"{value:g}{NBSP}{unit}"
