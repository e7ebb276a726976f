"""Addresses of the audit's list: the same filters with another place or another entry opened."""

from __future__ import annotations

from django import template
from django.http import QueryDict
from django.template.context import Context

register = template.Library()

PLACE = ("before", "after")


@register.simple_tag(takes_context=True)
def entry_query(context: Context, **changes: object) -> str:
    """The page's address with some parameters changed (None removes one).

    Going on to other entries, or narrowing the list, closes the opened one; opening one stays in place.
    """
    request = context.get("request")
    query: QueryDict = request.GET.copy() if request else QueryDict(mutable=True)
    query.pop("entry", None)
    if "entry" not in changes:
        for name in PLACE:
            query.pop(name, None)
    for key, value in changes.items():
        if value is None:
            query.pop(key, None)
        else:
            query[key] = str(value)
    return f"?{query.urlencode()}"
