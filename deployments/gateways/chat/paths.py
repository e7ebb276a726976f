"""Which requests of a NextChat page are answered, and by whom.

Everything that is not in the table is refused. NextChat's own API is never passed on: below
``/api/<anything>`` it fetches what a header names, without asking who calls (NextChat#6813).
The table holds what the page of v2.16.1 asks for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import parse_qs, urlencode

from deployments.gateways.kubernetes.proxy import safe_path


class Kind(StrEnum):
    PAGE = "page"  # HTML of NextChat
    ASSET = "asset"  # a file of NextChat
    FONTS = "fonts"  # an empty style sheet: NextChat would fetch it from the internet
    CONFIG = "config"  # answered here
    MODELS = "models"  # Ollama
    COMPLETIONS = "completions"  # Ollama
    REFUSED = "refused"


@dataclass(frozen=True)
class Route:
    """``path`` is clean and relative to the back end; ``query`` what may go with it. A refused route
    has the ``status`` to answer and why."""

    kind: Kind
    path: str = ""
    query: str = ""
    immutable: bool = False
    status: int = 200
    why: str = ""


_FILES = re.compile(
    r"serviceWorker[A-Za-z]{0,20}\.js|audio-processor\.js|robots\.txt"
    r"|(?:masks|plugins|prompts)\.json"
    r"|[A-Za-z0-9_-]{1,60}\.(?:ico|png|svg|webp|woff2?)"
    r"|fonts/[A-Za-z0-9_./-]{1,120}\.(?:woff2?|ttf|otf)"
)
_COMPLETIONS = "api/openai/v1/chat/completions"
_MODELS = "api/openai/v1/models"
_IMAGE_SOURCE = re.compile(r"/(?:_next/static/media/)?[A-Za-z0-9_.-]{1,120}\.(?:png|jpe?g|webp|ico)")


def route(method: str, path: str, query: str) -> Route:
    """Judge a request. ``path`` begins with a slash and is as the browser sent it. Raises
    :class:`InvalidInput` for a path that means different things to different readers (dot segments,
    backslashes, encoded slashes, however often encoded)."""
    clean = safe_path(path)
    reading = method in ("GET", "HEAD")
    if clean == "api/config":
        return Route(Kind.CONFIG) if reading or method == "POST" else _refused(405, "method")
    if clean == _COMPLETIONS:
        return Route(Kind.COMPLETIONS, "v1/chat/completions") if method == "POST" else _refused(405, "method")
    if clean == _MODELS:
        return Route(Kind.MODELS, "v1/models") if reading else _refused(405, "method")
    if clean == "api" or clean.startswith("api/"):
        return _refused(403, "This part of the chat's API is not offered here.")
    if not reading:
        # A page asks its server whether MCP is on by a Next.js action, POST /. Any answer that is not
        # such an action's counts as no.
        return _refused(405, "method")
    if clean == "":
        return Route(Kind.PAGE)
    if clean.startswith("_next/static/"):
        return Route(Kind.ASSET, clean, immutable=True)
    if clean == "_next/image":
        return _image(query)
    if clean.startswith("google-fonts/"):
        return Route(Kind.FONTS)
    if _FILES.fullmatch(clean):
        return Route(Kind.ASSET, clean)
    return _refused(404, "There is no such page.")


def _image(query: str) -> Route:
    """Next.js resizes an image that the query names: one of its own, never an address."""
    try:
        asked = parse_qs(query, strict_parsing=True, max_num_fields=5)
    except ValueError:
        return _refused(400, "The query is not readable.")
    source, width, quality = (asked.get(name, [""])[0] for name in ("url", "w", "q"))
    if not _IMAGE_SOURCE.fullmatch(source) or not width.isdecimal() or not (quality or "75").isdecimal():
        return _refused(403, "Only the chat's own images are shown.")
    return Route(Kind.ASSET, "_next/image", urlencode({"url": source, "w": width, "q": quality or "75"}))


def _refused(status: int, why: str) -> Route:
    return Route(Kind.REFUSED, status=status, why=why)
