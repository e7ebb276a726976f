"""How an Ollama server is reached: through anything that can carry a request and a stream.

In production this is the API server's pod or service proxy (:mod:`deployments.gateways.kubernetes`);
:class:`HttpTransport` speaks to an address directly.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import httpx

from deployments.domain.errors import ClusterUnreachable

MAX_BODY = 8 * 1024 * 1024  # bytes of an answer that is read whole


class Stream(Protocol):
    """An answer that is still arriving. ``chunks`` are raw body bytes, cut anywhere."""

    @property
    def status(self) -> int: ...

    @property
    def chunks(self) -> Iterator[bytes]: ...

    def abort(self) -> None:
        """End the connection at once. Callable from another thread, also while that one reads."""


class Transport(Protocol):
    """``path`` begins with a slash and is Ollama's own (``/api/tags``); times are in seconds.

    Both raise :class:`~deployments.domain.errors.ClusterError` where nothing answered, and return
    whatever status did: judging it is the client's work. ``read_timeout`` bounds the silence between
    two chunks.
    """

    def request(self, method: str, path: str, json: Any | None, timeout: float) -> tuple[int, bytes]: ...

    def stream(
        self, method: str, path: str, json: Any | None, read_timeout: float
    ) -> AbstractContextManager[Stream]: ...


class HttpStream:
    """A :class:`Stream` over an httpx answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code

    @property
    def chunks(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_bytes()
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    def abort(self) -> None:
        network = self._response.extensions.get("network_stream")
        sock = network.get_extra_info("socket") if network is not None else None
        if sock is not None:
            try:
                # Closing a descriptor does not wake a thread that reads from it; shutting down does.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                return  # the other side was first: the reader is awake already


class HttpTransport:
    """Ollama at ``base_url``, for example ``http://127.0.0.1:11434``, or at a proxy's prefix.

    ``client`` carries certificates and headers where they are needed; without one, a plain client
    that neither reads the environment's proxies nor follows redirects is made.
    """

    def __init__(self, base_url: str, client: httpx.Client | None = None) -> None:
        self._base = base_url.rstrip("/")
        self._client = client or httpx.Client(trust_env=False, follow_redirects=False)

    def request(self, method: str, path: str, json: Any | None, timeout: float) -> tuple[int, bytes]:
        try:
            with self._client.stream(method, self._base + path, json=json, timeout=timeout) as response:
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MAX_BODY:
                        raise ClusterUnreachable(
                            "The answer is larger than anything Ollama would say.", tried=f"{method} {path}"
                        )
                return response.status_code, bytes(body)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error

    @contextmanager
    def stream(self, method: str, path: str, json: Any | None, read_timeout: float) -> Iterator[HttpStream]:
        timeout = httpx.Timeout(10.0, read=read_timeout)
        try:
            with self._client.stream(method, self._base + path, json=json, timeout=timeout) as response:
                yield HttpStream(response)
        except httpx.HTTPError as error:
            raise _unreachable(error) from error


def _unreachable(error: httpx.HTTPError) -> ClusterUnreachable:
    return ClusterUnreachable(
        "Ollama cannot be reached.",
        answered=type(error).__name__ + (f": {str(error)[:200]}" if str(error) else ""),
        remedy="Check that its pod is running.",
    )
