"""From a domain error to an answer: a page, or a fragment for a part of a page.

What is not a domain error stays a 500 with a general sentence; its traceback is in the log only.
"""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from dashboard.access import actor
from deployments.domain.errors import (
    ClusterError,
    Conflict,
    Denied,
    InvalidInput,
    NotFound,
    PilothouseError,
    TooManyRequests,
)
from deployments.ledger import denials

_STATUS: list[tuple[type[PilothouseError], int]] = [
    (NotFound, 404),
    (Denied, 403),
    (Conflict, 409),
    (InvalidInput, 422),
    (TooManyRequests, 429),
    (ClusterError, 502),
    (PilothouseError, 500),
]


def status_of(error: PilothouseError) -> int:
    return next(status for kind, status in _STATUS if isinstance(error, kind))


class DomainErrors:
    """Turns a :class:`PilothouseError` that a view let through into its page or fragment."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, PilothouseError):
            return None
        signed_in = request.user.is_authenticated
        if isinstance(error, Denied) and error.action and not error.recorded and signed_in:
            denials.refuse_page(actor(request), error)
        status = status_of(error)
        fragment = bool(request.headers.get("X-Fragment") or request.headers.get("HX-Request"))
        template = "errors/fragment.html" if fragment else "errors/page.html"
        words = {
            "error": error,
            "status": status,
            "sentence": error.sentence,
            "tried": error.tried,
            "answered": error.answered,
            "remedy": error.remedy,
        }
        return render(request, template, words, status=status)
