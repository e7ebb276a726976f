"""Pages: the logs of a deployment's containers, followed, as plain text, and as a file.

The page itself is drawn from the database. Only what streams the log talks to the cluster.
"""

from __future__ import annotations

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET

from dashboard.access import actor, address
from dashboard.errors import status_of
from dashboard.log_streams import LogStream, desk, messages, pieces, query_of, tail_of
from dashboard.presenters import pods as presenter
from deployments.commands.logs import note_download
from deployments.domain.actors import Actor
from deployments.domain.errors import PilothouseError
from deployments.domain.loglines import Place
from deployments.models import User
from deployments.selectors import lookup
from deployments.selectors import pods as selector
from deployments.selectors.actors import actor_for
from deployments.selectors.pods import LogSource, log_source
from deployments.sentences import said

TAILS = (100, 500, 1000, 5000)
TAIL = 500
TAIL_SECONDS = 20.0
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@require_GET
def logs(request: HttpRequest, pk: int) -> HttpResponse:
    """The page. ``of`` is "pod/container", ``run`` "previous" or "", ``tail`` how many lines to begin
    with; with X-Fragment the state of that container as a live region."""
    who = actor(request)
    deployment = lookup.deployment(who, pk)
    rows = selector.pods(deployment)
    chosen = presenter.log_choice(rows, request.GET.get("of", ""))
    previous = request.GET.get("run") == "previous"
    tail = _tail(request)
    about = f"of={chosen.pod}/{chosen.container}" + ("&run=previous" if previous else "")
    here = reverse("deployment_logs", args=[pk])
    values = {
        "deployment": deployment,
        "groups": presenter.log_groups(rows, chosen),
        "chosen": chosen,
        "previous": previous,
        "tail": tail,
        "tails": TAILS,
        "here": here,
        "live": f"deployment:{pk}",
        "source": f"{here}?{about}",
        "about": about,
    }
    fragment = bool(request.headers.get("X-Fragment"))
    return render(request, "deployments/log_state.html" if fragment else "deployments/logs.html", values)


def _tail(request: HttpRequest) -> int:
    given = request.GET.get("tail", "")
    return int(given) if given in {str(count) for count in TAILS} else TAIL


@login_not_required  # a redirect to a sign-in page would be no answer to a script
@require_GET
async def stream(request: HttpRequest, pk: int) -> HttpResponseBase:
    """``text/event-stream`` (see :func:`dashboard.log_streams.messages`). ``after`` is the id of the last
    message: then only what came later. 401 for whoever is not signed in, 404 for a stranger, 429 with a
    sentence for whoever follows too many logs."""
    try:
        opened = await sync_to_async(_open)(request, pk)
    except PilothouseError as error:
        return _plain(error)
    if opened is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    reader, source = opened
    if not desk().admit(reader):
        return _too_many()
    previous = request.GET.get("run") == "previous"
    reader.place = Place.read(request.GET.get("after", ""))
    query = query_of(
        source,
        previous=previous,
        follow=not previous,
        since=reader.place.since,
        tail=None if reader.place.since else _tail(request),
    )
    return StreamingHttpResponse(
        messages(reader, source, query), content_type="text/event-stream", headers=HEADERS
    )


@require_GET
async def text(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The last lines as plain text, for whoever has no scripts."""
    opened = await sync_to_async(_open)(request, pk)
    if opened is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    reader, source = opened
    if not desk().admit(reader):
        return _too_many()
    try:
        query = query_of(source, previous=request.GET.get("run") == "previous", tail=_tail(request))
        tail = await tail_of(reader, source, query, TAIL_SECONDS)
    finally:
        desk().dismiss(reader)
    found = []
    if tail.missed:
        n = tail.missed
        found.append(
            ngettext("[%(n)s line before is left out]", "[%(n)s lines before are left out]", n) % {"n": n}
        )
    for line in tail.lines:
        cut = _(" [%(n)s bytes more]") % {"n": line.cut} if line.cut else ""
        found.append(f"{line.stamp} {line.text}{cut}".lstrip())
    if not tail.whole:
        found.append(_("[Reading on took too long; what came later is left out]"))
    if not found:
        found.append(_("[The container has written nothing]"))
    return HttpResponse("\n".join(found) + "\n", content_type="text/plain; charset=utf-8", headers=HEADERS)


@require_GET
async def download(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The whole log that the node keeps, as it is, as a file. The audit notes who took it."""
    opened = await sync_to_async(_open)(request, pk)
    if opened is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    reader, source = opened
    if not desk().admit(reader):
        return _too_many()
    previous = request.GET.get("run") == "previous"
    content = pieces(reader, source, query_of(source, previous=previous))
    await anext(content)  # what the cluster refuses becomes a page, not a file
    await sync_to_async(_note)(reader.actor, source, previous)
    name = "-".join(part for part in (source.pod, source.container, "previous" if previous else "") if part)
    disposition = content_disposition_header(True, f"{name}.log")
    return StreamingHttpResponse(
        content,
        content_type="text/plain; charset=utf-8",
        headers={**HEADERS, "Content-Disposition": disposition or "attachment"},
    )


def _open(request: HttpRequest, pk: int) -> tuple[LogStream, LogSource] | None:
    """Who asks for what. Gives the database's connection back: a stream would hold it for hours."""
    try:
        user = request.user
        if not isinstance(user, User) or not user.is_active or not request.session.session_key:
            return None
        who = actor_for(user, address(request))
        pod, _slash, container = request.GET.get("of", "").partition("/")
        source = log_source(who, pk, pod, container)
        return LogStream(
            actor=who,
            session_key=request.session.session_key,
            session_hash=user.get_session_auth_hash(),
        ), source
    finally:
        connections.close_all()


def _note(who: Actor, source: LogSource, previous: bool) -> None:
    try:
        note_download(
            who,
            deployment_id=source.deployment_id,
            pod=source.pod,
            container=source.container,
            previous=previous,
        )
    finally:
        connections.close_all()


def _plain(error: PilothouseError) -> HttpResponse:
    words = said(" ".join(part for part in (error.sentence, error.remedy) if part))
    return HttpResponse(words, status=status_of(error), content_type="text/plain; charset=utf-8")


def _too_many() -> HttpResponse:
    words = _("You follow too many logs at once. Close one of them, then load this page again.")
    return HttpResponse(
        words, status=429, content_type="text/plain; charset=utf-8", headers={"Retry-After": "15"}
    )


urlpatterns = [
    path("<int:pk>/logs/", logs, name="deployment_logs"),
    path("<int:pk>/logs/stream", stream, name="deployment_logs_stream"),
    path("<int:pk>/logs/text", text, name="deployment_logs_text"),
    path("<int:pk>/logs/download", download, name="deployment_logs_download"),
]
