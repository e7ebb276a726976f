"""What a chat host shows where there is no chat to show: why, and what to do.

A page of its own, because it may stand in a frame, without styles, scripts or pictures from anywhere.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from deployments.domain.errors import (
    ClusterError,
    ClusterUnreachable,
    Denied,
    InvalidInput,
    ModelError,
    NotFound,
    PilothouseError,
)
from deployments.sentences import said

_STYLE = (
    ":root{color-scheme:light dark}"
    "body{margin:0;min-height:100vh;display:grid;place-items:center;font:16px/1.5 system-ui,sans-serif;"
    "background:light-dark(#f6f7f9,#14171c);color:light-dark(#1c2128,#e6e9ee)}"
    "main{max-width:34rem;padding:2rem}h1{font-size:1.25rem;margin:0 0 .5rem}p{margin:.5rem 0}"
    "small{color:light-dark(#57606a,#9aa4b2);overflow-wrap:anywhere}"
    "a{color:light-dark(#0b57d0,#8ab4f8)}nav{display:flex;gap:1.25rem;margin-top:1rem}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
RETRY_SECONDS = 5


@dataclass(frozen=True)
class Trouble:
    """``retry`` where the same page may work in a moment; it then asks again by itself."""

    status: int
    sentence: str
    remedy: str
    answered: str = ""
    retry: bool = False


def trouble_of(error: PilothouseError) -> Trouble:
    """The words for an error, by what its reader can do about it."""
    if isinstance(error, ClusterError):
        return _cluster_trouble(error)
    status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
    return Trouble(status, said(error.sentence), said(error.remedy), said(error.answered), error.retryable)


_STATUS: tuple[tuple[type[PilothouseError], int], ...] = (
    (NotFound, 404),
    (Denied, 403),
    (InvalidInput, 400),
    (ModelError, 502),
)


def _cluster_trouble(error: ClusterError) -> Trouble:
    if isinstance(error, ClusterUnreachable):
        return Trouble(
            502,
            _("The cluster cannot be reached."),
            _("Nothing is lost. This page asks again by itself; the cluster's page says more."),
            error.answered,
            retry=True,
        )
    if error.status == 503:
        return Trouble(
            503,
            _("No pod of this chat is ready to answer."),
            _("It may still be starting. This page asks again by itself; the deployment's page says more."),
            error.answered,
            retry=True,
        )
    if error.status == 404:
        return Trouble(
            404,
            _("The chat is not on the cluster."),
            _("It is not installed yet, or somebody removed it. Look at the deployment's page."),
            error.answered,
        )
    return Trouble(502, said(error.sentence), said(error.remedy), said(error.answered), error.retryable)


def page(trouble: Trouble, way_back: str) -> bytes:
    """HTML. ``way_back`` is a page of the dashboard; it opens outside of the frame."""
    refresh: SafeString = (
        format_html('<meta http-equiv="refresh" content="{};url=/">', RETRY_SECONDS)
        if trouble.retry
        else mark_safe("")
    )
    again = format_html('<a href="/">{}</a>', _("Try again")) if trouble.retry else mark_safe("")
    answered = (
        format_html("<p><small>{}</small></p>", trouble.answered) if trouble.answered else mark_safe("")
    )
    text = format_html(
        '<!doctype html><html><head><meta charset="utf-8"><title>{sentence}</title>'
        '<meta name="viewport" content="width=device-width">{refresh}<style>{style}</style></head>'
        "<body><main role=alert><h1>{sentence}</h1><p>{remedy}</p>{answered}"
        '<nav>{again}<a href="{way_back}" target="_top">{back}</a></nav></main></body></html>',
        sentence=trouble.sentence,
        remedy=trouble.remedy,
        refresh=refresh,
        style=mark_safe(_STYLE),  # noqa: S308  (a constant)
        answered=answered,
        again=again,
        way_back=way_back,
        back=_("Back to Pilothouse"),
    )
    return text.encode()


def headers(dashboard_origin: str) -> list[tuple[str, str]]:
    """For these pages: nothing but their own style, and a frame of the dashboard at most."""
    return [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Cache-Control", "no-store"),
        (
            "Content-Security-Policy",
            f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; "
            f"form-action 'none'; frame-ancestors {dashboard_origin}",
        ),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
    ]
