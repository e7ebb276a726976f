"""Live regions: parts of a page that the browser asks for again, rendered by the page's own view."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def wants_region(request: HttpRequest) -> bool:
    """Whether the browser asks for the live region alone."""
    return bool(request.headers.get("X-Fragment"))


def page_or_region(
    request: HttpRequest, page: str, region: str, values: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The template ``page``, which includes ``region``; or that alone where the browser asks for it."""
    if wants_region(request):
        return render(request, region, values)
    return render(request, page, values, status=status)


def watches(*objects: str) -> str:
    """The objects ("operation:12") whose changes a region follows, as its ``data-live``."""
    return " ".join(dict.fromkeys(objects))
