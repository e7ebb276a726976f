"""The language of the pages: chosen on the sign-in page, in the account's menu and on its page.

It is kept twice. With the account, since letters are written by workers, which see no browser, and since it
should follow its owner to another one; and in Django's cookie, for the pages before the sign-in.
"""

from __future__ import annotations

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from dashboard.access import actor
from deployments.commands.language import choose_language
from deployments.domain.errors import InvalidInput


@login_not_required  # the sign-in page asks, too
@require_POST
def set_language(request: HttpRequest) -> HttpResponse:
    """Keep ``language`` ("" for that of the browser) and go back to ``next``."""
    chosen = request.POST.get("language", "")
    if chosen and chosen not in dict(settings.LANGUAGES):
        raise InvalidInput("There is no such language.", field="language")
    if request.user.is_authenticated:
        choose_language(actor(request), chosen)
    target = request.POST.get("next", "/")
    if not url_has_allowed_host_and_scheme(target, allowed_hosts={request.get_host()}):
        target = "/"
    response = HttpResponseRedirect(target)
    if not chosen:
        response.delete_cookie(settings.LANGUAGE_COOKIE_NAME, samesite="Lax")
        return response
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        chosen,
        max_age=settings.LANGUAGE_COOKIE_AGE,
        secure=settings.LANGUAGE_COOKIE_SECURE,
        httponly=settings.LANGUAGE_COOKIE_HTTPONLY,
        samesite="Lax",
    )
    return response


urlpatterns = [path("", set_language, name="set_language")]
