"""The event stream that keeps pages fresh: one line for each change, no data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import randint

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import path

from dashboard.access import address
from dashboard.streams import Hub, Stream, Unavailable, hub
from deployments.models import User
from deployments.selectors.actors import actor_for

HEARTBEAT = 15.0  # seconds; proxies close connections on which nothing is said
BEAT = b"event: beat\ndata: {}\n\n"  # no comment: the page must see that the stream lives
BACK_AFTER = (2000, 7000)  # ms


@login_not_required  # a redirect to a sign-in page would be no answer to an EventSource
async def stream(request: HttpRequest) -> HttpResponseBase:
    """``text/event-stream`` of {"o": "deployment:3", "v": 12}. 401 for whoever is not signed in; 503
    while there is nothing to read from, so that the page polls."""
    if request.method != "GET":
        return HttpResponse(status=405, headers={"Allow": "GET"})
    opened = await sync_to_async(_open)(request)
    if opened is None:
        return HttpResponse("Sign in first.", status=401, content_type="text/plain")
    here = hub()
    try:
        await here.join(opened)
    except Unavailable:
        return HttpResponse(
            "No stream at the moment.", status=503, content_type="text/plain", headers={"Retry-After": "5"}
        )
    return StreamingHttpResponse(
        _lines(here, opened),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def _open(request: HttpRequest) -> Stream | None:
    """Who asks. Gives the database's connection back: a stream would otherwise hold it for hours."""
    try:
        user = request.user
        if not isinstance(user, User) or not user.is_active or not request.session.session_key:
            return None
        return Stream(
            actor=actor_for(user, address(request)),
            session_key=request.session.session_key,
            session_hash=user.get_session_auth_hash(),
        )
    finally:
        connections.close_all()


async def _lines(here: Hub, opened: Stream) -> AsyncIterator[bytes]:
    opened.started = True
    try:
        # All streams end at once with the server; their readers must not come back at once.
        yield b"retry: %d\n\n" % randint(*BACK_AFTER)  # noqa: S311  (no secret)
        while (lines := await opened.take(HEARTBEAT)) is not None:
            yield lines or BEAT
    finally:
        here.leave(opened)


urlpatterns = [path("live/stream", stream, name="live_stream")]
