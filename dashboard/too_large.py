"""What is answered when a form is larger than may be read: the form again, with the reason at its field.

Django reads a form's fields before the view runs, to check its token, and gives up where they are larger
than DATA_UPLOAD_MAX_MEMORY_SIZE. So nothing of what was sent is known here and nothing is done with it;
a view says by :func:`when_too_large` which page answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from django import forms
from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.defaults import bad_request as unreadable

from dashboard.errors import DomainErrors
from deployments.domain.errors import InvalidInput, PilothouseError

STATUS = 413
V = TypeVar("V", bound=Callable[..., HttpResponse])


def when_too_large(answer: Callable[..., HttpResponse]) -> Callable[[V], V]:
    """``answer`` gets the same arguments as the view, and a request without its form."""

    def mark(view: V) -> V:
        view.too_large = answer  # type: ignore[attr-defined]
        return view

    return mark


def words() -> str:
    """The reason, for a field."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024**2
    return _("This is larger than %(n)s MiB, so nothing of the form was read.") % {"n": most}


def with_reason(form: forms.Form, field: str) -> forms.Form:
    """A bound form with this one error only: what else is empty was not left empty by the reader."""
    form.errors.clear()
    form.add_error(field, words())
    return form


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The handler of every 400: too large a form for somebody who is signed in, or the general page."""
    user, match = getattr(request, "user", None), request.resolver_match
    if not isinstance(exception, RequestDataTooBig) or user is None or not user.is_authenticated or not match:
        return unreadable(request, exception)
    answer = getattr(match.func, "too_large", None)
    try:
        if answer is None:
            raise InvalidInput(words(), remedy=_("Go back and send less."))
        page: HttpResponse = answer(request, *match.args, **match.kwargs)
    except PilothouseError as error:
        refused = DomainErrors(lambda _request: HttpResponse()).process_exception(request, error)
        return refused or unreadable(request, exception)
    return page
