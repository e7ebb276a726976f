"""Where one deployment's chat lives and what may be asked of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from deployments.gateways.kubernetes import ClusterCredential


@dataclass(frozen=True)
class ChatTarget:
    """``chat_service`` serves NextChat, "" where no chat is installed; ``server_service`` is Ollama's.
    Ports are numbers or names of the Services'. ``models`` are the references that may be chatted
    with, the first is preselected. ``dashboard_origin`` is scheme://host[:port] of the page that may
    show the chat in a frame; ``deployment_url`` the page a reader is sent back to."""

    public_id: str
    credential: ClusterCredential = field(repr=False)
    namespace: str
    chat_service: str
    server_service: str
    models: tuple[str, ...]
    dashboard_origin: str
    deployment_url: str = ""
    chat_port: int | str = "http"
    server_port: int | str = 11434
    allow_loopback: bool = False


@dataclass(frozen=True)
class ChatRequest:
    """``path`` as it came, percent-encoded, without the query; header names in lower case. ``body``
    reads the whole body and is called at most once, for requests that need it; it takes the bound in
    bytes and raises :class:`InvalidInput` beyond it."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: Callable[[int], Awaitable[bytes]]


@dataclass
class ChatAnswer:
    """``stream`` marks a body that goes on while a model speaks. Iterate ``body`` to its end or call
    ``aclose``: both free the connection to the cluster."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]
    stream: bool = False
