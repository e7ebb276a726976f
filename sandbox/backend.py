"""What stands behind a pod's port, and what the server tells the simulated world about a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BackendRequest:
    """A request as it arrives at a container. path begins with `/`, still percent-encoded; query has no `?`."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[str, str], ...]
    body: AsyncIterator[bytes]

    def header(self, name: str) -> str | None:
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    async def read(self) -> bytes:
        """The whole body."""
        return b"".join([part async for part in self.body])


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """End a stream together with its reader: a generator that is merely dropped ends some time later, when nobody
    waits for it any more."""
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


async def one(body: bytes) -> AsyncIterator[bytes]:
    """A body that is known at once."""
    if body:
        yield body


@dataclass(slots=True)
class BackendResponse:
    """An answer. The body may be endless; raising ConnectionError in it drops the caller's connection."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: AsyncIterator[bytes] | bytes = b""


class Backend(Protocol):
    async def handle(self, request: BackendRequest) -> BackendResponse:
        """Raises ConnectionRefusedError, TimeoutError, ... when nothing listens there."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """What a request is about, as authorisation sees it. resource is empty for paths outside the API groups."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    user: str


class DropConnection(Exception):
    """Raised by a fault: close the connection without an answer."""


class SilentWatch(Exception):
    """Raised by a fault: accept the watch and say nothing."""


class PlainAnswer(Exception):
    """Raised by a fault: answer this text, as a proxy or priority and fairness would, instead of a Status."""

    def __init__(self, code: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.headers = dict(headers or {})
