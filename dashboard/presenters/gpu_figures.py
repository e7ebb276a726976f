"""GPUs over time in words and drawings: strips, charts, the same as a table, who held what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.presenters import charts
from dashboard.presenters.gpus import name
from dashboard.presenters.numbers import NBSP, percent
from dashboard.presenters.ranges import Range
from dashboard.presenters.states import Words
from dashboard.presenters.words import comma
from deployments.domain.gpus import Figure
from deployments.selectors.gpu_charts import UNITS, Chart, Holding
from deployments.selectors.gpus import GpuRow, Use

FIGURES: tuple[tuple[Figure, Words], ...] = (
    (Figure.UTILISATION, gettext_lazy("Busy")),
    (Figure.MEMORY, gettext_lazy("Memory")),
    (Figure.TEMPERATURE, gettext_lazy("Temperature")),
    (Figure.POWER, gettext_lazy("Power")),
)
# Where the scale of a drawing ends; 0 lets the figures decide.
TOP = {Figure.UTILISATION: 100.0, Figure.TEMPERATURE: 100.0}
TICKS = 5  # on the time axis of a strip
HEATS = [charts.heat(value) for value in range(129)]  # by whole percent, as far as a series can say
IDLE_BELOW = 1  # percent: a device that nobody holds and that does nothing is drawn as free


@dataclass(frozen=True)
class Held:
    """Somebody held a device from a time on, for so many seconds."""

    who: str
    since: datetime
    seconds: float
    nobody: bool


@dataclass(frozen=True)
class StripRow:
    """One device in the heat strip. ``node`` is "" where it is that of the row above, ``cluster`` too, and
    where all are of one."""

    id: int
    cluster: str
    node: str
    place: str
    cells: list[str]
    value: str
    label: str


@dataclass(frozen=True)
class Drawing:
    """One chart: ``most`` is the top of its scale, 0 where the figures decide."""

    key: str
    title: Words
    unit: str
    most: float
    label: str


@dataclass(frozen=True)
class TableRow:
    """The figures of one span of time, in the order of FIGURES."""

    at: datetime
    values: list[str]


def strip(rows: Sequence[GpuRow], cells: Mapping[int, Sequence[int | None]]) -> list[StripRow]:
    """The rows of the heat strip, in the order of the table below it."""
    found: list[StripRow] = []
    several = len({row.cluster_id for row in rows}) > 1
    texts = _Texts.now()
    before = (0, "")
    for row in rows:
        new = row.cluster_id != before[0]
        values = cells.get(row.id, ())
        free, value = row.use is Use.IDLE, _value(row, texts)
        found.append(
            StripRow(
                id=row.id,
                cluster=row.cluster_name if several and new else "",
                node="" if (row.cluster_id, row.node) == before else row.node,
                place=" · ".join(part for part in (row.index, row.instance) if part),
                cells=[
                    charts.UNKNOWN
                    if value is None
                    else charts.FREE
                    if free and value < IDLE_BELOW
                    else HEATS[value]
                    for value in values
                ],
                value=value,
                label=texts.label % {"name": name(row), "said": _said(values, "%", value, texts)},
            )
        )
        before = row.cluster_id, row.node
    return found


class _Texts(NamedTuple):
    """What drawings say, translated once for all of a page."""

    label: str
    between: str
    gaps: str
    comma: str
    no_data: str
    free: str

    @classmethod
    def now(cls) -> _Texts:
        return cls(
            label=_("%(name)s: %(said)s"),
            between=_("between %(low)s and %(high)s, now %(now)s"),
            gaps=_("no data for %(share)s of the time"),
            comma=comma(),
            no_data=_("no data"),
            free=_("free"),
        )


def _value(row: GpuRow, texts: _Texts) -> str:
    """How busy a device is now."""
    if not row.fresh or row.utilisation is None:
        return texts.no_data
    if row.use is Use.IDLE and row.utilisation < IDLE_BELOW:
        return texts.free
    return percent(row.utilisation)


def _said(values: Sequence[float | None], unit: str, now: str, texts: _Texts) -> str:
    """What a drawing shows, in words."""
    known = [value for value in values if value is not None]
    if not known:
        return texts.no_data
    said = texts.between % {
        "low": f"{min(known):g}",
        "high": f"{max(known):g}{NBSP}{unit}",
        "now": now,
    }
    gaps = len(values) - len(known)
    if gaps:
        said += texts.comma + texts.gaps % {"share": percent(100 * gaps / len(values))}
    return said


def axis(start: datetime, end: datetime) -> list[str]:
    """The times below a strip, in UTC; the last one is now."""
    distance = (end - start) / (TICKS - 1)
    long = (end - start).total_seconds() > 2 * 86400
    marks = [(start + n * distance).astimezone(UTC) for n in range(TICKS - 1)]
    return [*(f"{at:%m-%d}" if long else f"{at:%H:%M}" for at in marks), _("now")]


def drawings(row: GpuRow, found: Sequence[Chart], span: Range) -> list[Drawing]:
    """The charts of one device, each with what it shows in words."""
    titles, texts = dict(FIGURES), _Texts.now()
    made = []
    for chart in found:
        values = next(iter(chart.lines.values()), [])
        newest = next((value for value in reversed(values) if value is not None), None)
        title = titles[chart.figure]
        most = TOP.get(chart.figure, 0.0)
        if chart.figure is Figure.MEMORY and row.memory_total:
            most = round(row.memory_total / 2**30, 1)
        said = _said(values, chart.unit, f"{newest:g}{NBSP}{chart.unit}" if newest is not None else "", texts)
        label = _("%(title)s, %(last)s: %(said)s. Arrow keys read single values.")
        made.append(
            Drawing(
                str(chart.figure),
                title,
                chart.unit,
                most,
                label % {"title": title, "last": span.last, "said": said},
            )
        )
    return made


def together(rows: Sequence[GpuRow], figure: Figure, span: Range) -> Drawing:
    """One figure of all devices of a deployment."""
    title = dict(FIGURES)[figure]
    most = TOP.get(figure, 0.0)
    if figure is Figure.MEMORY:
        most = round(max((row.memory_total or 0 for row in rows), default=0) / 2**30, 1)
    label = _("%(title)s of each device, %(last)s. Arrow keys read single values.")
    return Drawing(str(figure), title, UNITS[figure], most, label % {"title": title, "last": span.last})


def history(found: Sequence[Holding]) -> list[Held]:
    """Who held a device, the newest first, and for how long."""
    rows = [
        Held(
            _("another workload") if each.pod is None else each.pod or _("free"),
            each.at,
            (each.until - each.at).total_seconds(),
            nobody=each.pod == "",
        )
        for each in found
    ]
    return rows[::-1]


def table(found: Sequence[Chart]) -> list[TableRow]:
    """The same figures in rows, the newest first."""
    rows = []
    lines = [next(iter(chart.lines.values()), []) for chart in found]
    for place, at in enumerate(found[0].times if found else ()):
        values = [
            _("no data") if line[place] is None else f"{line[place]:g}{NBSP}{chart.unit}"
            for chart, line in zip(found, lines, strict=True)
        ]
        rows.append(TableRow(datetime.fromtimestamp(at, UTC), values))
    return rows[::-1]
