"""The components that pages are written with. Their markup is in ``templates/components/``.

``{% load pilothouse %}`` gives the tags; each template opens with a comment that lists what it takes.
Filters for figures and times are in the same library, so that a page loads one thing.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode

from django import template
from django.core.paginator import Page
from django.http import QueryDict
from django.template.context import Context
from django.template.loader import get_template
from django.templatetags.static import static
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from dashboard.presenters import numbers, parts, times
from dashboard.presenters.states import Look, Words, deed, look
from dashboard.presenters.words import colon, comma, full_stop, stop, words
from dashboard.static_files import built
from deployments.sentences import said

register = template.Library()

register.filter("data", numbers.data)
register.filter("data_of", numbers.data_of)
register.filter("rate", numbers.rate)
register.filter("memory", numbers.memory)
register.filter("percent", numbers.percent)
register.filter("share_of", numbers.share)
register.filter("count", numbers.count)
register.filter("duration", numbers.duration)
register.filter("ago", times.ago)
register.filter("span", times.span)
register.filter("exact", times.exact)
register.filter("machine", times.machine)
register.filter("clock", times.clock)
register.filter("said", said)
register.simple_tag(words, name="words")
register.simple_tag(built, name="built")
for mark in (comma, colon, stop, full_stop):
    register.simple_tag(mark)

# A figure is late when its source has missed three of its turns.
LATE_AFTER = 3


def part(context: Context, component: str, /, **values: Any) -> SafeString:
    """Render ``components/<component>.html`` with the page's context and these values on top."""
    page = context.template
    if page is None:
        raise RuntimeError(f"components/{component}.html was asked for outside of a template")
    with context.push(**values):
        return page.engine.get_template(f"components/{component}.html").render(context)


def fixed(component: str, **values: Words | bool) -> SafeString:
    """:func:`part` for a component that needs nothing of the page and stands in every row of a table, or is
    such a row: rendered once for the same values in the same language. A page that is drawn anew after a
    change, or for the next reader, differs in a row or two."""
    # Escaped here: a cache takes "<" that is safe and "<" that is not for the same.
    return _fixed(
        component,
        get_language() or "",
        **{name: value if isinstance(value, bool) else safe(value) for name, value in values.items()},
    )


@lru_cache(maxsize=4096)
def _fixed(component: str, language: str, /, **values: SafeString | bool) -> SafeString:
    return SafeString(get_template(f"components/{component}.html").render(values))


def safe(text: Words) -> SafeString:
    """Escaped unless it is markup: as conditional_escape, which takes three times as long."""
    return text if isinstance(text, SafeString) else SafeString(html.escape(str(text)))


@register.simple_tag
def icon(name: str, css: str = "", label: str = "") -> SafeString:
    """A symbol of the sprite. ``css``: "i-s" small, "i-l" large, "spin". Without a label: decoration."""
    return _icon(str(name), str(css), str(label))


@lru_cache(maxsize=1024)
def _icon(name: str, css: str, label: str) -> SafeString:
    named = format_html('role="img" aria-label="{}"', label) if label else SafeString('aria-hidden="true"')
    return format_html(
        '<svg class="i{}" {}><use href="{}#i-{}"/></svg>',
        f" {css}" if css else "",
        named,
        static("icons.svg"),
        name,
    )


# State --------------------------------------------------------------------------------------------
@register.simple_tag
def state(value: str, vocabulary: str = "", word: Words = "", css: str = "") -> SafeString:
    """Icon and word of a state. ``vocabulary`` (health, operation, step, finding, audit) for strings."""
    return _state(look(value, vocabulary), word, css)


def _state(shown: Look, word: Words, css: str) -> SafeString:
    return fixed(
        "state",
        state=shown.css,
        icon=shown.icon,
        turning=shown.turning,
        css=css,
        word=word or shown.label,
    )


@register.simple_tag
def badge(value: str, vocabulary: str = "", word: Words = "") -> SafeString:
    """The same on a soft ground."""
    return _state(look(value, vocabulary), word, "badge")


@register.simple_tag
def look_of(value: str, vocabulary: str = "") -> Any:
    """``{% look_of d.health "health" as health %}``: label, css, icon, turning."""
    return look(value, vocabulary)


@register.simple_tag
def deed_of(kind: str, name: str = "", form: str = "label") -> str:
    """The words of an operation: ``form``: label (Install), doing (Installing r1), named (Install r1)."""
    text = str(getattr(deed(kind), form))
    return text % {"name": name} if form != "label" else text


@register.simple_tag
def tag(text: Words, css: str = "", icon_name: str = "") -> SafeString:
    """A neutral word in a frame; ``css``: "acc" for what is current."""
    return _tag(text, css, icon_name)


def _tag(text: Words, css: str, icon_name: str) -> SafeString:
    return fixed("tag", text=text, css=css, icon=icon_name)


@register.simple_tag
def sim() -> SafeString:
    """The mark of anything simulated."""
    return _tag(_("SIMULATED"), "sim", "sim")


# Time and provenance ------------------------------------------------------------------------------
@register.simple_tag
def age(when: datetime | None, form: str = "ago") -> SafeString | str:
    """A ticking time. ``form``: "ago" (6 min ago) or "span" (6 min). None is "never"."""
    if when is None:
        return _("never")
    return _age(when, form, times.ago(when) if form == "ago" else times.span(when))


@lru_cache(maxsize=8192)
def _age(when: datetime, form: str, text: str) -> SafeString:
    return format_html(
        '<time datetime="{}" title="{}" data-age="{}">{}</time>',
        times.machine(when),
        times.exact(when),
        form,
        text,
    )


@register.simple_tag(takes_context=True)
def prov(
    context: Context, source: Words, seen: datetime | None = None, every: float | None = None
) -> SafeString:
    """Where a figure comes from and how old it is; late after three times ``every`` seconds."""
    late = bool(seen and every and (timezone.now() - seen).total_seconds() > LATE_AFTER * every)
    return part(
        context, "prov", source=source, seen=seen, limit=int(LATE_AFTER * every) if every else None, late=late
    )


# Figures ------------------------------------------------------------------------------------------
def width(value: float) -> str:
    """A percentage for an SVG attribute, whatever the language's decimal sign is."""
    return f"{min(100.0, max(0.0, value)):.2f}".rstrip("0").rstrip(".") + "%"


@register.simple_tag(takes_context=True)
def bar(context: Context, value: float | None, label: Words, kind: str = "", size: str = "") -> SafeString:
    """0 to 100, None for unknown. ``kind``: degraded, healthy, unknown, heat; ``size``: thick, thin."""
    return part(
        context,
        "bar",
        width=None if value is None else width(value),
        now=None if value is None else str(int(value)),
        label=label,
        kind=kind,
        size=size,
    )


@register.simple_tag(takes_context=True)
def with_bar(context: Context, value: float | None, label: Words, kind: str = "") -> SafeString:
    """A bar with its percentage beside it, for a table's cell."""
    return part(context, "with_bar", value=value, label=label, kind=kind)


@register.simple_tag(takes_context=True)
def parts_bar(
    context: Context, shares: Sequence[tuple[str, float]], label: Words, progress: bool = False
) -> SafeString:
    """Pairs of (failed, degraded, ..., stalled, new, v, rest) and an amount; "rest" stays empty."""
    placed = [
        {"css": css if css in ("stalled", "v") else f"f-{css}", "x": width(start), "width": width(wide)}
        for css, start, wide in parts.segments(shares)
        if css != "rest"
    ]
    return part(context, "parts_bar", segments=placed, label=label, gaps=not progress)


@register.simple_tag(takes_context=True)
def facts(context: Context, items: Sequence[Any]) -> SafeString:
    """Six figures at most in a row (parts.Fact)."""
    return part(context, "facts", facts=items)


@register.simple_tag(takes_context=True)
def kv(context: Context, items: Sequence[Any]) -> SafeString:
    """Names and values below each other (parts.Fact)."""
    return part(context, "kv", items=items)


# Blocks -------------------------------------------------------------------------------------------
@register.simple_block_tag(takes_context=True)
def panel(
    context: Context,
    content: str,
    title: Words,
    meta: Words = "",
    lead: Words = "",
    css: str = "",
    id: str = "",
) -> SafeString:
    """A titled surface. The content brings its own ``.body``, list or table, and a ``footer`` if any."""
    return part(
        context, "panel", content=content, title=title, meta=meta, lead=lead, css=css, id=id or slug(title)
    )


def slug(title: Words) -> str:
    """An id for a heading: stable for one text, also where no letter of it is Latin."""
    return "p-" + "".join(letter if letter.isalnum() else "-" for letter in str(title).lower())


@register.simple_block_tag(takes_context=True)
def notice(
    context: Context,
    content: str,
    tone: str,
    lead: Words = "",
    action: Words = "",
    href: str = "",
    icon_name: str = "",
) -> SafeString:
    """A fact in the flow. ``tone``: fail, warn, progressing, cant, pass. One way on at most."""
    default = {
        "fail": "failed",
        "warn": "degraded",
        "progressing": "info",
        "cant": "unknown",
        "pass": "healthy",
    }
    return part(
        context,
        "notice",
        content=content,
        tone=tone,
        lead=lead,
        action=action,
        href=href,
        icon=icon_name or default.get(tone, "info"),
    )


@register.simple_block_tag(takes_context=True)
def hero(
    context: Context,
    content: str,
    health: str,
    sentence: Words,
    since: datetime | None = None,
    evidence: Sequence[Any] = (),
    word: Words = "",
) -> SafeString:
    """The health sentence on top of a deployment; the content says what to do, if anything."""
    return part(
        context,
        "hero",
        content=content if content.strip() else "",
        look=look(health, "health"),
        sentence=sentence,
        since=since,
        evidence=evidence,
        word=word,
    )


@register.simple_block_tag(takes_context=True)
def none(context: Context, content: str, title: Words) -> SafeString:
    """An empty list: the title says what is missing, the content offers the next step."""
    return part(context, "none", content=content, title=title)


@register.simple_block_tag(takes_context=True)
def confirm(
    context: Context,
    content: str,
    title: Words,
    action: str,
    verb: Words,
    back: str,
    back_label: Words = "",
    name: str = "",
    error: Words = "",
    danger: bool = True,
) -> SafeString:
    """A form that asks before a deed. ``name`` must be typed into ``confirm``; the server checks it too."""
    return part(
        context,
        "confirm",
        content=content,
        title=title,
        action=action,
        verb=verb,
        back=back,
        back_label=back_label,
        name=name,
        error=error,
        danger=danger,
    )


# Lists --------------------------------------------------------------------------------------------
def query_of(context: Context, **changes: str | None) -> str:
    """The page's address with some parameters changed (None removes one) and back on the first page."""
    request = context.get("request")
    query: QueryDict = request.GET.copy() if request else QueryDict(mutable=True)
    for place in ("page", "before", "after", "entry"):
        query.pop(place, None)
    query.pop("part", None)  # of a fragment; what is led to is a page
    for key, value in changes.items():
        if value is None:
            query.pop(key, None)
        else:
            query[key] = value
    return f"?{query.urlencode()}"


@register.simple_tag(takes_context=True)
def table_head(context: Context, columns: Sequence[parts.Column], sort: str = "") -> SafeString:
    """The head of a table; ``sort`` is the key now in force ("-started"). The address keeps it."""
    return _table_head(get_language() or "", tuple(columns), sort, query_of(context))


@lru_cache(maxsize=512)
def _table_head(language: str, columns: tuple[parts.Column, ...], sort: str, query: str) -> SafeString:
    cells = []
    for column in columns:
        current = bool(column.sort) and sort.removeprefix("-") == column.sort
        descending = current and sort.startswith("-")
        there = QueryDict(query[1:], mutable=True)
        there["sort"] = column.sort if not current or descending else f"-{column.sort}"
        cells.append(
            {
                "column": column,
                "current": ("descending" if descending else "ascending") if current else "",
                "href": f"?{there.urlencode()}",
            }
        )
    return SafeString(get_template("components/table_head.html").render({"cells": cells}))


@register.simple_tag(takes_context=True)
def filter_chip(
    context: Context, label: Words, param: str, choices: Sequence[tuple[str, Words]]
) -> SafeString:
    """A filter kept in the address: a menu of ``choices`` while off, a way to clear it while on."""
    request = context.get("request")
    value = request.GET.get(param, "") if request else ""
    clear = query_of(context, **{param: None})
    if value:
        chosen = dict(choices).get(value, value)
        return fixed("filter_chip", label=label, value=chosen, clear=clear, menu="")
    several = tuple((key, safe(text)) for key, text in choices)
    return fixed("filter_chip", label=label, value="", clear=clear, menu=_menu(param, several, clear))


@lru_cache(maxsize=256)
def _menu(param: str, choices: tuple[tuple[str, SafeString], ...], query: str) -> SafeString:
    """Links that add a parameter to an address."""
    joint = "&" if len(query) > 1 else ""
    links = ((f"{query}{joint}{urlencode({param: key})}", text) for key, text in choices)
    return format_html_join("", '<a href="{}">{}</a>', links)


@register.simple_tag(takes_context=True)
def pager(context: Context, page: Page[Any]) -> SafeString:
    """Where the reader is in a long list, with the ways to the next and the last page of it."""
    base = query_of(context)
    joint = "&" if len(base) > 1 else ""
    if page.paginator.num_pages <= 1:
        return SafeString("")
    return fixed(
        "pager",
        base=f"{base}{joint}page=",
        first=numbers.count(page.start_index()),
        last=numbers.count(page.end_index()),
        all=numbers.count(page.paginator.count),
        previous=str(page.previous_page_number()) if page.has_previous() else "",
        next=str(page.next_page_number()) if page.has_next() else "",
    )


@register.simple_tag(takes_context=True)
def tabs(context: Context, items: Sequence[Any], label: Words = "") -> SafeString:
    """Sections of an object (parts.Link)."""
    return part(context, "tabs", items=items, label=label or _("Sections"))


@register.simple_tag(takes_context=True)
def wizard(context: Context, steps: Sequence[Any]) -> SafeString:
    """The steps of a long form (parts.Link): those before the current one are done, their href leads back."""
    at = next((index for index, step in enumerate(steps) if step.current), len(steps))
    numbered = [{"link": step, "number": index + 1, "done": index < at} for index, step in enumerate(steps)]
    return part(context, "wizard", steps=numbered)


@register.simple_tag(takes_context=True)
def steps(context: Context, items: Sequence[Any]) -> SafeString:
    """The steps of an operation (parts.Step)."""
    return part(context, "steps", steps=[{"step": item, "look": look(item.state, "step")} for item in items])


@register.simple_tag(takes_context=True)
def findings(context: Context, items: Sequence[Any]) -> SafeString:
    """A preflight's findings (parts.Finding), worst first, the passed ones folded."""
    order = {"fail": 0, "warn": 1, "cannot_tell": 2, "pass": 3}
    ranked = sorted(items, key=lambda item: order[str(item.level)])
    return part(
        context,
        "findings",
        open=[
            {"finding": item, "look": look(item.level, "finding")} for item in ranked if item.level != "pass"
        ],
        passed=[item for item in ranked if item.level == "pass"],
    )


@register.simple_tag(takes_context=True)
def log_lines(context: Context, lines: Sequence[Any], label: Words = "") -> SafeString:
    """Lines of an operation's log (parts.LogLine), in the order given."""
    return part(context, "log", lines=lines, label=label or _("Log of the operation"))


@register.simple_tag(takes_context=True)
def code(context: Context, lines: Sequence[Any], label: Words) -> SafeString:
    """YAML or a diff (parts.CodeLine)."""
    kinds: Mapping[str, str] = {"+": "a", "-": "d", "h": "h"}
    return part(
        context,
        "code",
        lines=[{"line": line, "css": kinds.get(line.sign, "")} for line in lines],
        label=label,
    )


# Navigation ---------------------------------------------------------------------------------------
@register.simple_tag
def page_of(name: str, pk: int) -> str:
    """``{% url name pk %}`` for tables, where the same few hundred addresses are made again and again."""
    return _page_of(get_script_prefix(), name, pk)


@lru_cache(maxsize=4096)
def _page_of(prefix: str, name: str, pk: int) -> str:
    return reverse(name, args=[pk])


def named(name: str) -> str:
    """The address of a page that takes nothing."""
    return _named(get_script_prefix(), name)


@lru_cache(maxsize=64)
def _named(prefix: str, name: str) -> str:
    return reverse(name)


@register.simple_tag(takes_context=True)
def nav(
    context: Context, name: str, label: Words, icon_name: str, count: int | None = None
) -> SafeString | str:
    """A line of the side, left out while no page has that name; ``at``, the page's path, tells the current
    one."""
    try:
        href = named(name)
    except NoReverseMatch:
        return ""
    path = str(context.get("at") or "")
    current = path == href if href == "/" else path.startswith(href)
    return fixed(
        "nav",
        href=href,
        label=label,
        icon=icon_name,
        count=str(localize(count)) if count else "",
        current=current,
    )
