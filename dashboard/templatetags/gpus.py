"""Rows of GPUs: of the table and of the heat strip.

``{% load gpus %}``. They are made here and not in a template, because a page has dozens of them with
dozens of values each, and the template engine's handling of values took most of the page's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple
from urllib.parse import urlencode

from django import template
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.presenters import charts, gpu_figures, gpus
from dashboard.presenters.numbers import percent, share
from dashboard.templatetags.charts import measured
from dashboard.templatetags.pilothouse import fixed, icon, named, page_of, tag, width
from deployments.domain.gpus import SourceKind
from deployments.selectors.gpus import GpuRow, Use
from deployments.sentences import said

register = template.Library()

PODS_SHOWN = 2
MEASURED_EVERY = 15.0


class _Texts(NamedTuple):
    """What every row of a table says, translated and escaped once."""

    held: str
    busy: str
    memory: str
    temperature: str
    power: str
    errors: str
    measured: str
    figures: str
    none: str
    not_told: str
    no_data: str
    gone: str
    unknown_node: str
    simulated: str


def _texts() -> _Texts:
    texts = (
        *(_("Held by"), _("Busy"), _("Memory"), _("Temp."), _("Power"), _("Errors"), _("Measured")),
        *(_("Figures"), _("none"), gpus.not_told(), _("No data"), _("Gone"), _("unknown node")),
        _("simulated"),
    )
    return _Texts(*map(escape, texts))


@register.simple_tag
def gpu_rows(rows: Sequence[GpuRow]) -> SafeString:
    """The body of the table of devices (selectors.gpus.GpuRow), in the order of presenters.gpus.COLUMNS."""
    texts = _texts()
    several = len({row.cluster_id for row in rows}) > 1
    ages: dict[tuple[datetime, SourceKind], str] = {}
    for row in rows:
        # Devices of one round were measured at one moment.
        key = row.sampled_at, row.source
        if key not in ages:
            source = escape(str(gpus.source(row.source)))
            ages[key] = f"{measured(row.sampled_at, MEASURED_EVERY)}<small>{source}</small>"
    return SafeString("\n".join(_row(row, texts, ages[row.sampled_at, row.source], several) for row in rows))


# Whatever is not markup written here goes through escape(), which is a fifth of what format_html takes.
def _row(row: GpuRow, texts: _Texts, age: str, several: bool) -> str:
    return (
        f'<tr id="gpu-{row.id}">{_device(row, texts, several)}<td data-l="{texts.held}">{_holder(row)}</td>'
        f"{_figures(row, texts) if row.fresh else _silent(row, texts)}"
        f'<td data-l="{texts.errors}">{_error(row, texts)}</td>'
        f'<td class="nowrap" data-l="{texts.measured}">{age}</td></tr>'
    )


def _device(row: GpuRow, texts: _Texts, several: bool) -> str:
    """``several``: there are devices of other clusters too, which may have nodes of the same name."""
    cluster = f"{escape(row.cluster_name)} · " if several else ""
    index = f" · {escape(row.index)}" if row.index else ""
    instance = f" {tag(row.instance)}" if row.instance else ""
    simulated = f" · {texts.simulated}" if row.simulated else ""
    return (
        f'<td class="key"><a href="{page_of("gpu", row.id)}">'
        f"<b>{escape(row.node) or texts.unknown_node}</b>{index}</a>{instance}"
        f"<small>{cluster}{escape(row.product or row.vendor)}{simulated}</small></td>"
    )


def _figures(row: GpuRow, texts: _Texts) -> str:
    busy, part = row.utilisation, share(row.memory_used, row.memory_total)
    return (
        f'<td data-l="{texts.busy}">'
        f"{_dim(texts.not_told) if busy is None else _bar(busy, texts.busy)}</td>"
        f'<td data-l="{texts.memory}">{"" if part is None else _bar(part, texts.memory)}'
        f"<small>{escape(gpus.memory_of(row))}</small></td>"
        f'<td class="num" data-l="{texts.temperature}">{escape(gpus.celsius(row.temperature))}</td>'
        f'<td class="num" data-l="{texts.power}">{escape(gpus.watts(row.power))}</td>'
    )


def _bar(value: float, label: str) -> str:
    """``{% heat_bar value label %}`` with a label that is escaped already."""
    words = escape(percent(value))
    return (
        f'<span class="with-bar"><svg class="bar heat" role="img" aria-label="{label} {words}">'
        f'<rect class="v" width="{width(value)}" height="100%"/></svg><span>{words}</span></span>'
    )


def _silent(row: GpuRow, texts: _Texts) -> str:
    return (
        f'<td colspan="4" class="full" data-l="{texts.figures}"><span class="st unknown">'
        f"{icon('unknown', 'i-s')}{texts.gone if row.gone else texts.no_data}</span>"
        f"<small>{escape(gpus.why_silent(row))}</small></td>"
    )


def _error(row: GpuRow, texts: _Texts) -> str:
    if not row.error:
        return _dim(texts.none)
    return f'<span class="st warn">{icon("degraded", "i-s")}</span>{escape(said(row.error))}'


def _holder(row: GpuRow) -> str:
    """Who uses a device, as far as the reader may know."""
    if row.use is Use.OTHERS:
        return escape(gpus.holder(row))
    if row.use is not Use.POD:
        return _dim(escape(gpus.holder(row)))
    shown, more = row.pods[:PODS_SHOWN], len(row.pods) - PODS_SHOWN
    after = f"<small>{escape(_('and %(n)s more') % {'n': more})}</small>" if more > 0 else ""
    if not row.deployment_id:
        return "".join(f'<span class="pod">{escape(pod)}</span>' for pod in shown) + after
    link = f'<a href="{page_of("deployment", row.deployment_id)}">{escape(row.deployment_name)}</a>'
    pods = (f'<small title="{escape(pod)}">{escape(gpus.pod_of(row, pod))}</small>' for pod in shown)
    return link + "".join(pods) + after


def _dim(words: str) -> str:
    return f'<span class="faint">{words}</span>'


@register.simple_tag
def strip_rows(lines: Sequence[gpu_figures.StripRow], span: str) -> SafeString:
    """The rows of a heat strip; ``span`` is the range's key, which the devices' pages take over."""
    return SafeString("\n".join(_strip(line, place, escape(span)) for place, line in enumerate(lines)))


def _strip(line: gpu_figures.StripRow, place: int, span: str) -> str:
    node = escape(line.node)
    apart = '<span class="sp"></span>' if node and place else ""
    cluster = f'<b class="cl">{escape(line.cluster)}</b>' if line.cluster else ""
    return (
        f'{apart}{cluster}<a class="l" href="{page_of("gpu", line.id)}?range={span}"><b title="{node}">{node}</b>'
        f"<span>{escape(line.place)}</span></a>{_run(line)}"
        f'<span class="v">{escape(line.value)}</span>'
    )


def _run(line: gpu_figures.StripRow) -> str:
    """The cells of a row (presenters.charts.runs); the label says in words what they show."""
    count = len(line.cells)
    paths = "".join(f'<path class="{css}" d="{path}"/>' for css, path in charts.runs(line.cells))
    return (
        f'<svg class="run" role="img" aria-label="{escape(line.label)}" viewBox="0 0 {count or 1} 1"'
        f' preserveAspectRatio="none">{paths}<path class="cuts" d="{charts.cuts(count)}"/></svg>'
    )


@register.simple_tag
def room_node(node: gpus.RoomNode) -> SafeString:
    """A node of the panel that tells where there is room."""
    query = urlencode({"cluster": node.cluster_id, "node": node.name})
    return fixed(
        "room_node",
        name=node.name,
        href=f"{named('gpus')}?{query}",
        slots=SafeString("".join(f'<i class="{slot}"></i>' if slot else "<i></i>" for slot in node.slots)),
        product=node.product,
        text=node.text,
    )
