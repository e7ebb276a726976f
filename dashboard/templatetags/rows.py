"""Rows of the lists that everybody has open.

``{% load rows %}``. A row is made of what it says, in words that the page's reader knows, and is rendered
once for the same words: see :func:`dashboard.templatetags.pilothouse.fixed`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from dashboard.presenters.states import look
from dashboard.templatetags.charts import sparkline
from dashboard.templatetags.pilothouse import age, deed_of, fixed, page_of
from deployments.models import Deployment, Operation
from deployments.sentences import said

register = template.Library()


@register.simple_tag
def attention_row(item: Mapping[str, Any]) -> SafeString:
    """One thing that needs somebody: look (Look), name, href, sentence, context, since (datetime or None),
    action, action_href; ``word`` in place of the look's own label."""
    return fixed(
        "attention_row",
        css=item["look"].css,
        icon=item["look"].icon,
        word=item.get("word") or item["look"].label,
        name=item["name"],
        href=item["href"],
        sentence=said(item["sentence"]),
        context=said(item["context"]),
        since=age(item["since"], "span") if item["since"] else "",
        action=item["action"],
        action_href=item["action_href"],
    )


@register.simple_tag
def deployment_row(item: Mapping[str, Any]) -> SafeString:
    """One deployment of the list: row (Deployment), model, work (list of Operation), busy (percent over time)."""
    row: Deployment = item["row"]
    shown = look(row.health, "health")
    return fixed(
        "deployment_row",
        name=row.name,
        href=page_of("deployment", row.pk),
        work=_under_way(row, item["work"]),
        state=shown.css,
        icon=shown.icon,
        turning=shown.turning,
        word=shown.label,
        sentence=said(row.health_sentence),
        model=item["model"],
        busy=sparkline(item["busy"], _("GPUs busy in the last 6 hours")),
        cluster=row.cluster.name,
        simulated=row.cluster.simulated,
        silent=bool(row.cluster.last_error),
        namespace=row.namespace,
        team=row.team.name,
        profile=row.revision.profile.name,
        number=str(row.revision.number),
        since=age(row.health_since, "span") if row.health_since else "",
    )


def _under_way(row: Deployment, work: list[Operation]) -> SafeString:
    if not work:
        return SafeString("")
    links = ((page_of("operation", each.pk), deed_of(each.kind, row.name, "doing")) for each in work)
    return format_html("<small>{}</small>", format_html_join(" ", '<a href="{}">{}</a>', links))
