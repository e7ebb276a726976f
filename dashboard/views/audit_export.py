"""Pages: taking the audit out. What to export, the file as a stream, and how to verify it without us."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from dashboard.access import actor
from dashboard.forms.audit import entry_filter
from dashboard.presenters.audit import filter_words
from deployments.commands import audit as commands
from deployments.domain.errors import NotFound
from deployments.ledger import checkpoints
from deployments.ledger.export_format import CSV, JSONL
from deployments.policies import Action, require
from deployments.selectors import audit as selector
from deployments.selectors.audit_export import Export

TYPES = {JSONL: "application/x-ndjson", CSV: "text/csv; charset=utf-8"}


@require_GET
def export(request: HttpRequest) -> HttpResponse:
    """What will be in the file, and in which form."""
    who = actor(request)
    require(who, Action.EXPORT_AUDIT, commands.AUDIT)
    wanted = entry_filter(request.GET)
    found = selector.entries(who, wanted)
    values = {
        "wanted": wanted,
        "filtered": wanted.any,
        "words": filter_words(who, wanted),
        "found": found,
        "query": request.GET.urlencode(),
    }
    return render(request, "audit/export.html", values)


@require_POST
def export_file(request: HttpRequest) -> StreamingHttpResponse:
    """The file. It is put on record first, and goes out piece by piece, so that its length costs no
    memory and a reader who goes away ends it."""
    who = actor(request)
    wanted = entry_filter(request.GET)
    form = CSV if request.POST.get("form") == CSV else JSONL
    links = form == JSONL and wanted.any and "links" in request.POST
    last = commands.begin_export(
        who,
        form=form,
        wanted={name: str(value) for name, value in vars(wanted).items() if value},
        links=links,
    )
    parts = Export(who, wanted, form, last, links).parts()
    # Under ASGI a plain iterator would be read to its end before the first byte leaves.
    stream = _one_by_one(parts) if isinstance(request, ASGIRequest) else parts
    response = StreamingHttpResponse(stream, content_type=TYPES[form])
    name = f"pilothouse-audit-{timezone.now():%Y%m%d-%H%M%S}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response


async def _one_by_one(parts: Iterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        part = await sync_to_async(_next)(parts)
        if part is None:
            return
        yield part


def _next(parts: Iterator[bytes]) -> bytes | None:
    """The next piece; the connection is not held while the reader takes it."""
    try:
        return next(parts, None)
    finally:
        if not connection.in_atomic_block:
            connection.close()


@require_GET
def proof(request: HttpRequest) -> HttpResponse:
    """How to verify the audit without this installation, with what has to be kept outside for it."""
    who = actor(request)
    require(who, Action.VERIFY_AUDIT, commands.AUDIT)
    checkpoint = selector.newest_checkpoint(who)
    values = {
        "public_key": checkpoints.public_key(),
        "checkpoint": checkpoint,
        "title": _("Verify it yourself"),
    }
    return render(request, "audit/proof.html", values)


@require_GET
def checkpoint(request: HttpRequest) -> HttpResponse:
    """The newest checkpoint as a file to keep outside. Raises :class:`NotFound` while there is none."""
    who = actor(request)
    require(who, Action.VERIFY_AUDIT, commands.AUDIT)
    newest = selector.newest_checkpoint(who)
    if newest is None:
        raise NotFound(_("No checkpoint was signed yet."))
    kept = {"statement": newest.statement, "public_key": newest.public_key, "signature": newest.signature}
    response = HttpResponse(json.dumps(kept, indent=2) + "\n", content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="audit-checkpoint-{newest.sequence}.json"'
    return response


urlpatterns = [
    path("checkpoint", checkpoint, name="audit_checkpoint"),
    path("export", export, name="audit_export"),
    path("export/file", export_file, name="audit_export_file"),
    path("proof", proof, name="audit_proof"),
]
