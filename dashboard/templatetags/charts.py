"""Strips, sparklines and what a page with charts loads.

``{% load charts %}``. Every drawing has a name in words; none needs a script or an inline style.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache, lru_cache

from django import template
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.presenters import charts, gpus
from dashboard.presenters.numbers import percent
from dashboard.presenters.states import Words
from dashboard.templatetags.pilothouse import LATE_AFTER, age, width

register = template.Library()

register.filter("gpu_name", gpus.name)
register.filter("why_silent", gpus.why_silent)
register.filter("gpu_source", gpus.source)

LIBRARY = ("vendor/uplot/uPlot.iife.min.js", "vendor/uplot/uPlot.min.css")


@register.simple_tag
def heat_bar(value: float, label: Words) -> SafeString:
    """``{% with_bar value label "heat" %}`` in one piece, for tables with hundreds of them."""
    return format_html(
        '<span class="with-bar"><svg class="bar heat" role="img" aria-label="{} {}">'
        '<rect class="v" width="{}" height="100%"/></svg><span>{}</span></span>',
        label,
        percent(value),
        width(value),
        percent(value),
    )


@register.simple_tag
def sparkline(values: Sequence[float | None], label: Words = "", most: float = 100.0) -> SafeString | str:
    """A line the height of a word; "" where no value is known."""
    newest = next((value for value in reversed(values) if value is not None), None)
    if newest is None:
        return ""
    named = _("%(label)s, newest %(value)s") % {"label": label or _("Busy"), "value": percent(newest)}
    return _spark(tuple(values), named, most)


@lru_cache(maxsize=1024)  # the same for ten minutes, and for every reader
def _spark(values: tuple[float | None, ...], named: str, most: float) -> SafeString | str:
    lines = charts.spark_lines(values, most)
    if not lines:
        return ""
    return format_html(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 {} {}" preserveAspectRatio="none">{}</svg>',
        named,
        charts.SPARK_WIDTH,
        charts.SPARK_HEIGHT,
        format_html_join("", '<polyline points="{}"/>', ((line,) for line in lines)),
    )


@register.simple_tag
def measured(seen: datetime, every: float) -> SafeString:
    """How old a row's figures are; marked when they are later than three turns of their source."""
    limit = int(LATE_AFTER * every)
    late = (timezone.now() - seen).total_seconds() > limit
    return format_html(
        '<span class="age{}" data-limit="{}">{}</span>', " stale" if late else "", limit, age(seen)
    )


@cache
def library_found() -> bool:
    """Whether uPlot was fetched before this installation's static files were collected."""
    try:
        addresses = [static(name) for name in LIBRARY]
    except ValueError:  # the manifest of collected files does not have it
        return False
    return all(addresses) and all(finders.find(name) for name in LIBRARY)


@register.simple_tag
def chart_library() -> SafeString | str:
    """The head of a page with charts: uPlot and what draws with it; "" where uPlot is not there."""
    if not library_found():
        return ""
    script, sheet = (static(name) for name in LIBRARY)
    return format_html(
        '<link rel="stylesheet" href="{}"><script src="{}" defer></script>'
        '<script type="module" src="{}"></script>',
        sheet,
        script,
        static("js/charts.js"),
    )
