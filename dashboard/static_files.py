"""Static files, served by WhiteNoise in a way that suits an asynchronous server."""

from __future__ import annotations

from typing import Any

from django.contrib.staticfiles.storage import staticfiles_storage
from django.http import HttpRequest, HttpResponse
from whitenoise.middleware import WhiteNoiseMiddleware


def built() -> str:
    """Tells the static files of one release from those of another; "" where they were not collected."""
    return str(getattr(staticfiles_storage, "manifest_hash", ""))


class StaticFiles(WhiteNoiseMiddleware):
    """Answers with the whole file instead of an iterator over it.

    Django reads such an iterator to its end before it sends anything asynchronously, and warns of it for
    each file. Ours have a hundred kilobytes at the most.
    """

    @staticmethod
    def serve(static_file: Any, request: HttpRequest) -> HttpResponse:
        found = static_file.get_response(request.method, request.META)
        body = b""
        if found.file is not None:
            with found.file as file:
                body = file.read()
        response = HttpResponse(body, status=int(found.status))
        del response["Content-Type"]
        for name, value in found.headers:
            response[name] = value
        return response
