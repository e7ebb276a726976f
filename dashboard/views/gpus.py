"""Pages: GPUs. Every device that the reader may see, one device over time, and figures for charts."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import orjson
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from dashboard.access import actor
from dashboard.presenters import gpu_figures as drawn
from dashboard.presenters import gpu_pods as pod_words
from dashboard.presenters import gpus as words
from dashboard.presenters import ranges
from dashboard.presenters.parts import Link, ordering
from dashboard.regions import page_or_region, wants_region, watches
from dashboard.views.operations import number
from deployments.domain.gpus import Figure
from deployments.ledger.export_format import guard
from deployments.models import Deployment, GpuDevice
from deployments.selectors import gpu_charts, gpu_pods, gpu_sparks, lookup
from deployments.selectors import gpus as selector
from deployments.selectors.gpu_nodes import node_gpus

PER_PAGE = 24
NODES_SHOWN = 12
PRODUCTS_SHOWN = 50
ORIGINS_SHOWN = 6
GONE_SHOWN = 6
LOOK_BACK = ranges.RANGES["24h"]  # for what is gone, unless the strip goes back further
MOST_EXPORTED = 10_000
TABLE_ROWS = 48
MOST_LINES = 16
HOLDERS_SHOWN = 12
HOLDERS_BACK = ranges.RANGES["7d"]  # at least
SPARK_SPAN = timedelta(hours=6)


@require_GET
def gpus(request: HttpRequest) -> HttpResponse:
    """The list. Filters, order, range and page are in the address; with X-Fragment all that changes."""
    who, now, query = actor(request), timezone.now(), request.GET
    span = ranges.chosen(query.get("range", ""))
    wanted = _wanted(request)
    narrowed = any((wanted.node, wanted.product, wanted.state, wanted.text))
    filtered = bool(wanted.cluster) or narrowed
    back = max(span, LOOK_BACK, key=lambda each: each.length)
    clusters = selector.cluster_gpus(who, now)
    found = selector.devices(who, wanted, now, back.length, clusters)
    sums = selector.totals(who, wanted, now, back.length, clusters)
    page = _page(found, sums.devices, query.get("page"))
    rows = selector.rows(who, found[max(0, page.start_index() - 1) : page.end_index()], now, clusters)
    lost: list[selector.GpuRow] = []
    if wanted.state != "gone" and sums.gone != 0:
        gone = replace(wanted, state="gone", sort="-seen")
        missing = selector.devices(who, gone, now, back.length, clusters)
        lost = selector.rows(who, missing[: GONE_SHOWN + 1], now, clusters)
    shown = [each for each in clusters if wanted.cluster in (None, each.cluster.pk)]
    cells = gpu_charts.strips([row.id for row in rows], span.start(now), now, span.cells)
    products = selector.products(who, now) if filtered else list(sums.products)
    values = {
        "page": page,
        "rows": rows,
        "gone": lost[:GONE_SHOWN],
        "gone_more": len(lost) > GONE_SHOWN,
        "gone_all": _address(request, state="gone", page="1"),
        "back": back,
        "strip": drawn.strip(rows, cells),
        "span": span,
        "axis": drawn.axis(span.start(now), now),
        "ranges": ranges.links(span, lambda key: _address(request, range=key)),
        "columns": words.COLUMNS,
        "sort": wanted.sort,
        "wanted": wanted,
        "narrowed": narrowed,
        "filtered": filtered,
        "headline": words.headline_gone(sums)
        if wanted.state == "gone"
        else words.headline(sums, _told(rows), filtered),
        "summary": "" if wanted.state == "gone" else words.summary(sums),
        "reasons": words.reasons([each for each in shown if each.why]),
        "origins": words.origins(rows)[:ORIGINS_SHOWN],
        "room": words.room(node_gpus(each.cluster.pk for each in shown), NODES_SHOWN),
        "clusters": [(str(each.cluster.pk), each.cluster.name) for each in clusters],
        "products": [(name, name) for name in products[:PRODUCTS_SHOWN]],
        "states": words.STATES,
        "export": reverse("gpus_export") + _address(request),
        "live": watches("list:0", *(f"gpus:{each.cluster.pk}" for each in shown)),
        "source": request.get_full_path(),
    }
    return page_or_region(request, "gpus/list.html", "gpus/list_live.html", values)


def _page(found: QuerySet[GpuDevice], devices: int, number: str | None) -> Page[GpuDevice]:
    """A page of the list, whose length is known already."""
    paginator = Paginator(found, PER_PAGE)
    paginator.count = devices
    return paginator.get_page(number)


def _wanted(request: HttpRequest) -> selector.GpuFilter:
    """What the address narrows the list to; what makes no sense is left out."""
    query = request.GET
    state = query.get("state", "")
    return selector.GpuFilter(
        cluster=number(query.get("cluster", "")),
        node=query.get("node", "")[:253],
        product=query.get("product", "")[:120],
        state=state if state in selector.STATES else "",
        text=query.get("q", "").strip()[:80],
        sort=ordering(query.get("sort", ""), words.COLUMNS, "node"),
    )


@require_GET
def export(request: HttpRequest) -> HttpResponse:
    """The devices of the list, all its pages, as CSV with a column for each figure and its unit."""
    who, now = actor(request), timezone.now()
    rows = selector.rows(who, selector.devices(who, _wanted(request), now)[:MOST_EXPORTED], now)
    text = io.StringIO()
    csv.writer(text).writerows([words.CSV_COLUMNS, *(map(guard, words.csv_row(row)) for row in rows)])
    name = f"gpus-{now:%Y-%m-%d-%H%M}.csv"
    return HttpResponse(
        text.getvalue(),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


def _told(rows: list[selector.GpuRow]) -> bool:
    """Whether any of the sources tells who holds what."""
    return not rows or any(row.use is not selector.Use.UNKNOWN for row in rows)


def _address(request: HttpRequest, **changes: str) -> str:
    """The page's own address with some parameters changed."""
    query = request.GET.copy()
    for key, value in changes.items():
        query[key] = value
    return f"?{query.urlencode()}"


@require_GET
def gpu(request: HttpRequest, pk: int) -> HttpResponse:
    """One device: its figures now, its figures over time, and the same as a table."""
    who, now = actor(request), timezone.now()
    span = ranges.chosen(request.GET.get("range", ""))
    device = selector.device(who, pk)
    row = selector.row(who, device, now)
    [known] = selector.cluster_gpus(who, now, device.cluster_id)
    here = reverse("gpu", args=[pk])
    values: dict[str, Any] = {
        "device": device,
        "row": row,
        "facts": words.facts(row),
        "reason": words.silence(row, known),
        "live": watches(f"gpus:{device.cluster_id}"),
        "here": here,
    }
    if not wants_region(request):
        charts = _charts(device.pk, span, now, min(span.points, TABLE_ROWS))
        back = max(span, HOLDERS_BACK, key=lambda each: each.length)
        values |= {
            "span": span,
            "ranges": ranges.links(span, lambda key: f"?range={key}"),
            "drawings": drawn.drawings(row, charts, span),
            "table": drawn.table(charts),
            "history": drawn.history(gpu_charts.holders(who, pk, now - back.length, now))[:HOLDERS_SHOWN],
            "back": back,
            "about": words.about(device, selector.measured_by(known)),
            "figures": f"{reverse('gpu_figures', args=[pk])}?range={span.key}",
        }
    return page_or_region(request, "gpus/device.html", "gpus/device_now.html", values)


@require_GET
def figures(request: HttpRequest, pk: int) -> HttpResponse:
    """What the charts of one device draw: every figure over the range asked for."""
    who, now = actor(request), timezone.now()
    span = ranges.chosen(request.GET.get("range", ""))
    device = selector.device(who, pk)
    charts = _charts(device.pk, span, now, span.points)
    lines = {str(chart.figure): chart.lines[pk] for chart in charts}
    name = " · ".join(part for part in (device.node, device.index, device.instance) if part)
    return _json(charts[0], [{"name": name, **lines}])


@require_GET
def deployment_figures(request: HttpRequest, pk: int) -> HttpResponse:
    """The same for what a deployment's pods held, or for the devices that it holds now; one figure at a time."""
    who, now = actor(request), timezone.now()
    span, figure = ranges.chosen(request.GET.get("range", "")), _figure(request)
    deployment = lookup.deployment(who, pk)
    if _by_pod(request):
        pods = gpu_pods.pods_of(deployment, span.start(now), now).pods[:MOST_LINES]
        found = gpu_pods.pod_chart(pods, span.start(now), now, span.points, figure)
        named = {pod.id: pod.name for pod in pods}
    else:
        held = selector.held_by(who, deployment, now)[:MOST_LINES]
        found = gpu_charts.chart([row.id for row in held], span.start(now), now, span.points, figure=figure)
        named = {row.id: words.name(row) for row in held}
    lines = [{"name": named[key], str(figure): values} for key, values in found.lines.items()]
    return _json(found, lines)


def gpus_section(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """The GPUs of a deployment for its page: where its models sit, its devices now, and what its pods'
    GPUs did over time."""
    who, now = actor(request), timezone.now()
    span, figure, by_pod = ranges.chosen(request.GET.get("range", "")), _figure(request), _by_pod(request)
    found = selector.deployment_gpus(who, deployment, now)
    used = gpu_pods.pods_of(deployment, span.start(now), now)
    pods = used.pods[:MOST_LINES]
    coarse = gpu_pods.pod_chart(pods, span.start(now), now, min(span.points, TABLE_ROWS), figure)
    figures = reverse("deployment_gpu_figures", args=[deployment.pk])
    asked = urlencode({"range": span.key, "figure": str(figure), "by": "pod" if by_pod else "device"})
    if by_pod:
        drawings = [pod_words.drawing(figure, span)] if pods else []
        names = [pod.name for pod in pods]
    else:
        drawings = [drawn.together(found.rows, figure, span)] if found.rows else []
        names = [words.name(row) for row in found.rows[:MOST_LINES]]
    return {
        "live": watches(f"deployment:{deployment.pk}", f"gpus:{deployment.cluster_id}"),
        "gpus": found,
        "rows": found.rows,
        "columns": words.PLAIN_COLUMNS,
        "placements": [words.placed(each, found.wanted) for each in found.placements],
        "reasons": words.reasons([found.cluster]) if found.wanted or found.rows else [],
        "drawings": drawings,
        "names": names,
        "figures": f"{figures}?{asked}",
        "figure": dict(drawn.FIGURES)[figure],
        "span": span,
        "ranges": ranges.links(span, lambda key: _address(request, range=key)),
        "kinds": [
            Link(title, _address(request, figure=str(kind)), kind is figure) for kind, title in drawn.FIGURES
        ],
        "ways": [
            Link(_("Each pod"), _address(request, by="pod"), by_pod),
            Link(_("Each device"), _address(request, by="device"), not by_pod),
        ],
        "by_pod": by_pod,
        "pods": pod_words.rows(pods, coarse, span.start(now), now),
        "pod_table": pod_words.table(pods, coarse),
        "pods_since": used.since,
        "fewer": len(used.pods if by_pod else found.rows) > MOST_LINES,
        "most_lines": MOST_LINES,
    }


def _figure(request: HttpRequest) -> Figure:
    asked = request.GET.get("figure", "")
    return Figure(asked) if asked in set(Figure) else Figure.UTILISATION


def _by_pod(request: HttpRequest) -> bool:
    return request.GET.get("by", "") != "device"


def sparks(deployment_ids: list[int]) -> dict[int, list[float | None]]:
    """How busy the GPUs of each deployment, which the reader may see, were over the last hours: two queries
    for a page."""
    now = timezone.now()
    return gpu_sparks.deployment_sparklines(deployment_ids, now - SPARK_SPAN, now)


def _charts(pk: int, span: ranges.Range, now: datetime, points: int) -> list[gpu_charts.Chart]:
    """Every figure of a device that the reader is known to see."""
    figures = [figure for figure, _title in drawn.FIGURES]
    return gpu_charts.charts([pk], span.start(now), now, points, figures)


def _json(chart: gpu_charts.Chart, lines: list[dict[str, Any]]) -> HttpResponse:
    """See static/js/charts.js for the form."""
    start = chart.times[0] if chart.times else 0
    body = {"from": start, "step": chart.step, "count": len(chart.times), "lines": lines}
    return HttpResponse(
        orjson.dumps(body), content_type="application/json", headers={"Cache-Control": "no-store"}
    )


urlpatterns = [
    path("", gpus, name="gpus"),
    path("export", export, name="gpus_export"),
    path("<int:pk>/", gpu, name="gpu"),
    path("<int:pk>/figures", figures, name="gpu_figures"),
    path("deployments/<int:pk>/figures", deployment_figures, name="deployment_gpu_figures"),
]
