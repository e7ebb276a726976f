"""Requests to pods and services through the API server's proxy, with the cluster's own credential.

A path below the proxy comes from people or from other programs, and whoever decodes it next may
read it differently: an HTTP library collapses "..", and the API server decodes %2F and cleans dot
segments (recorded transcript 28). So a path must mean the same to everyone, or it is refused, and
what is finally sent must still lie below the proxy's own address.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import httpcore
import httpx

from deployments.domain.errors import ClusterError, InvalidInput, ServerFault
from deployments.gateways.kubernetes.addresses import checked, resolve
from deployments.gateways.kubernetes.compressed import ACCEPT, unpacked
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.errors import from_answer, from_failure, read_status
from deployments.gateways.kubernetes.transport import (
    USER_AGENT,
    Timeouts,
    Transport,
    keep_alive_options,
    tls_context,
)

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PORT = re.compile(r"[0-9]{1,5}|[a-z0-9]([-a-z0-9]{0,13}[a-z0-9])?")
_PROXY = re.compile(r"(/api/v1/namespaces/[^/]+/(?:pods|services)/[^/]+/proxy)/(.*)", re.DOTALL)
_SAFE = "/:@!$&'()*+,;=-._~"
MAX_PATH = 4096
MAX_READ = 8 * 1024 * 1024
_ERROR_BYTES = 64 * 1024


def safe_path(path: str) -> str:
    """A path below a proxy, percent-encoded in one way, without its leading slash.

    Raises :class:`InvalidInput` (field ``path``) for a dot segment, a backslash, an encoded slash, an
    empty segment, a control character, a query or a fragment, however many times it is encoded.
    """

    def refuse(what: str) -> InvalidInput:
        return InvalidInput(f"The path has {what}, which is not passed on.", field="path")

    if len(path) > MAX_PATH:
        raise InvalidInput("The path is too long.", field="path")
    text = path.removeprefix("/")
    if "?" in text or "#" in text:
        raise refuse("a query or a fragment")
    slashes = text.count("/")
    once: str | None = None
    for _ in range(10):
        if "\\" in text:
            raise refuse("a backslash")
        if any(ord(char) < 32 or ord(char) == 127 for char in text):
            raise refuse("a control character")
        if text.count("/") != slashes:
            raise refuse("an encoded slash")
        segments = text.split("/")
        # "..;x" is a dot segment to servers that know path parameters.
        if any(segment.partition(";")[0] in (".", "..") for segment in segments):
            raise refuse("a dot segment")
        if "" in segments[:-1]:
            raise refuse("an empty segment")
        try:
            decoded = unquote(text, encoding="utf-8", errors="strict")
        except UnicodeDecodeError:
            raise refuse("bytes that are not UTF-8") from None
        once = decoded if once is None else once
        if decoded == text:
            try:
                return quote(once, safe=_SAFE)
            except UnicodeEncodeError:
                raise refuse("characters that cannot be sent") from None
        text = decoded
    raise refuse("too many layers of encoding")


def proxy_path(namespace: str, resource: str, name: str, scheme: str, port: int | str, path: str) -> str:
    """The API path that leads to ``path`` of a pod or a service.

    ``resource`` is "pods" or "services"; ``scheme`` "http", "https" or "" for http; ``port`` a number
    or, for services, a port's name. Raises :class:`InvalidInput` with the field that is wrong.
    """
    text = str(port)
    if resource not in ("pods", "services"):
        raise InvalidInput("Only pods and services can be reached through the proxy.", field="resource")
    if not _LABEL.fullmatch(namespace):
        raise InvalidInput("The namespace's name is not valid.", field="namespace")
    if not _NAME.fullmatch(name):
        raise InvalidInput("The name of the pod or service is not valid.", field="name")
    if scheme not in ("", "http", "https"):
        raise InvalidInput("Only http and https can be reached through the proxy.", field="scheme")
    if not _PORT.fullmatch(text) or (text.isdigit() and not 1 <= int(text) <= 65535):
        raise InvalidInput("The port is not valid.", field="port")
    address = f"{scheme}:{name}:{text}" if scheme else f"{name}:{text}"
    return f"/api/v1/namespaces/{namespace}/{resource}/{address}/proxy/{safe_path(path)}"


class ProxyAnswer:
    """An answer from behind the proxy. Read it once, inside the ``with``.

    ``status`` and ``headers`` are the back end's (header names in lower case). Every read raises
    :class:`ClusterUnreachable` where the connection breaks.
    """

    def __init__(
        self, response: httpx.Response, tried: str, deadline: float | None, start: bytes | None
    ) -> None:
        self._response = response
        self._tried = tried
        self._deadline = deadline
        self._start = start
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def iter_bytes(self) -> Iterator[bytes]:
        """The body as it arrives, decompressed."""
        if self._start is not None:
            yield self._start
            return
        try:
            for piece in unpacked(self._response, self._tried):
                self._check_time()
                yield piece
        except (httpx.HTTPError, OSError) as error:
            raise from_failure(error, self._tried) from error

    def iter_lines(self, longest: int = 1024 * 1024) -> Iterator[bytes]:
        """The lines of the body as they arrive, without their line feed. Raises :class:`ServerFault`
        for a line over ``longest`` bytes."""
        pending = bytearray()
        for piece in self.iter_bytes():
            pending += piece
            *lines, rest = pending.split(b"\n")
            pending = bytearray(rest)
            for line in lines:
                yield bytes(line)
            if len(pending) > longest:
                raise ServerFault(
                    "A line of the answer is too long to be read.", tried=self._tried, retryable=False
                )
        if pending:
            yield bytes(pending)

    def read(self, limit: int = MAX_READ) -> bytes:
        """The whole body. Raises :class:`ServerFault` where it is longer than ``limit`` bytes."""
        pieces, size = [], 0
        for piece in self.iter_bytes():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise ServerFault("The answer is too long to be read.", tried=self._tried, retryable=False)
        return b"".join(pieces)

    def abort(self) -> None:
        """End the connection at once. Callable from another thread, also while that one reads: shutting
        a socket down wakes its reader, closing it would not."""
        network = self._response.extensions.get("network_stream")
        sock = network.get_extra_info("socket") if network is not None else None
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                return  # the other side was first: the reader is awake already

    def _check_time(self) -> None:
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise ServerFault("The answer did not end in time.", tried=self._tried)


class ProxyCalls:
    """The part of the client that calls what runs in the cluster."""

    _transport: Transport
    _proxy_lock: threading.Lock
    _httpx: httpx.Client | None = None

    @contextmanager
    def open_proxy(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        read_timeout: float = 30.0,
        total: float | None = None,
    ) -> Generator[ProxyAnswer, None, None]:
        """Send a request to a pod or service and give its answer as it arrives::

            path = proxy_path("llm", "pods", "ollama-0", "http", 11434, "api/pull")
            with client.open_proxy("POST", path, json={"model": name}, read_timeout=120) as answer:
                for line in answer.iter_lines(): ...

        ``path`` is of :func:`proxy_path`. ``read_timeout`` is the longest silence in seconds,
        ``total`` the longest time for the whole answer, None for no limit.

        What the back end itself answers, also 4xx and 5xx, is the answer. What the API server
        answers in its place (no right, no such pod, no endpoint, nothing listens) is raised: a
        ClusterError.
        """
        tried = f"{method.upper()} {path}"
        url = _url(self._transport.base, path)
        own = {key: value for key, value in (headers or {}).items() if key.lower() not in _NOT_PASSED_ON}
        timeout = httpx.Timeout(read_timeout, connect=self._transport.timeouts.connect)
        deadline = time.monotonic() + total if total is not None else None
        client = self._proxy_client()
        try:
            request = client.build_request(
                method, url, params=params, json=json, content=content, headers=own, timeout=timeout
            )
            response = client.send(request, stream=True)
        except (httpx.HTTPError, OSError) as error:
            raise from_failure(error, tried) from error
        try:
            yield ProxyAnswer(response, tried, deadline, _start(response, tried))
        finally:
            response.close()

    def request_through(
        self, method: str, path: str, *, limit: int = MAX_READ, **arguments: Any
    ) -> tuple[int, bytes]:
        """:meth:`open_proxy` for a short answer: status and whole body, within 60 s by default."""
        arguments.setdefault("total", 60.0)
        with self.open_proxy(method, path, **arguments) as answer:
            return answer.status, answer.read(limit)

    def _proxy_client(self) -> httpx.Client:
        """One for all threads that use this client; a second one would never be closed."""
        with self._proxy_lock:
            if self._httpx is None:
                transport = self._transport
                self._httpx = httpx.Client(
                    transport=_SyncTransport(
                        transport.credential, transport.context, transport.allow_loopback
                    ),
                    auth=_Auth(transport.credential),
                    headers={"User-Agent": USER_AGENT, **ACCEPT},
                    trust_env=False,
                    follow_redirects=False,
                )
            return self._httpx

    def _close_proxy(self) -> None:
        with self._proxy_lock:
            client, self._httpx = self._httpx, None
        if client is not None:
            client.close()


def async_proxy_client(
    credential: ClusterCredential, *, allow_loopback: bool, timeouts: Timeouts | None = None
) -> httpx.AsyncClient:
    """An asynchronous client whose base URL is the API server; for paths of :func:`proxy_path` only.

    Sends the cluster's credential, follows no redirect, reads no environment. The caller closes it,
    keeps it (connections are reused) and judges answers with :func:`api_error`.
    """
    return async_client(credential, _check_request, allow_loopback=allow_loopback, timeouts=timeouts)


def async_client(
    credential: ClusterCredential,
    check: Callable[[httpx.Request], Awaitable[None]],
    *,
    allow_loopback: bool,
    timeouts: Timeouts | None = None,
) -> httpx.AsyncClient:
    """An asynchronous client of the API server. ``check`` sees every request before the credential is
    sent with it, and raises for one that is not meant to be."""
    limits = timeouts or Timeouts()
    return httpx.AsyncClient(
        base_url=credential.server.rstrip("/"),
        transport=_AsyncTransport(credential, tls_context(credential), allow_loopback),
        auth=_Auth(credential),
        headers={"User-Agent": USER_AGENT},
        trust_env=False,
        follow_redirects=False,
        timeout=httpx.Timeout(limits.read, connect=limits.connect),
        event_hooks={"request": [check]},
    )


def api_error(status: int, headers: Mapping[str, str], start: bytes, tried: str) -> ClusterError | None:
    """The API server's own error in place of the back end's answer, or None where it is the back end's.

    The API server writes a Status object; its flow control writes one line of plain text.
    """
    if status < 400:
        return None
    if read_status(start) is not None or (
        status == 429 and start.strip() == b"Too many requests, please try again later."
    ):
        return from_answer(status, headers, start, tried)
    return None


_NOT_PASSED_ON = frozenset(
    {"authorization", "host", "connection", "transfer-encoding", "content-length", "origin"}
)


def _start(response: httpx.Response, tried: str) -> bytes | None:
    """The body of an error answer, read ahead to see whose it is; None where it was not read."""
    if response.status_code < 400:
        return None
    pieces, size = [], 0
    try:
        for piece in unpacked(response, tried):
            pieces.append(piece)
            size += len(piece)
            if size >= _ERROR_BYTES:
                break
    except (httpx.HTTPError, OSError) as error:
        raise from_failure(error, tried) from error
    body = b"".join(pieces)
    failure = api_error(response.status_code, response.headers, body, tried)
    if failure is not None:
        raise failure
    return body


def _url(base: str, path: str) -> httpx.URL:
    """The URL of a proxied path, still below its proxy after the HTTP library had its way with it."""
    match = _PROXY.fullmatch(path)
    if match is None:
        raise InvalidInput("The path does not lead through the API server's proxy.", field="path")
    prefix = f"{match[1]}/"
    url = httpx.URL(base + prefix + safe_path(match[2]))
    if not _below(base, prefix, url):
        raise InvalidInput("The path leads out of the proxy.", field="path")
    return url


def _below(base: str, prefix: str, url: httpx.URL) -> bool:
    server = httpx.URL(base)
    start = server.path.rstrip("/").encode() + prefix.encode()
    return url.raw_path.startswith(start) and (url.host, url.port, url.scheme) == (
        server.host,
        server.port,
        server.scheme,
    )


async def _check_request(request: httpx.Request) -> None:
    """Nothing but a proxied path may carry the credential of an asynchronous client."""
    path = request.url.raw_path.decode("ascii").partition("?")[0]
    at = path.find("/api/v1/namespaces/")
    match = _PROXY.fullmatch(path[at:]) if at >= 0 else None
    if match is None:
        raise InvalidInput("The path does not lead through the API server's proxy.", field="path")
    safe_path(match[2])


class _Auth(httpx.Auth):
    """The bearer token as it is now, for requests to the API server alone."""

    def __init__(self, credential: ClusterCredential) -> None:
        self._credential = credential
        self._server = httpx.URL(credential.server)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        if (request.url.host, request.url.port) != (self._server.host, self._server.port):
            raise InvalidInput("The address is not the cluster's.", field="path")
        token = self._credential.bearer_token()
        if token:
            request.headers["Authorization"] = f"Bearer {token}"
        yield request


class _SyncBackend(httpcore.SyncBackend):
    """Connects to addresses that were checked, not to whatever the name resolves to next."""

    def __init__(self, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    def connect_tcp(self, host: str, port: int, **options: Any) -> httpcore.NetworkStream:  # type: ignore[override]
        failure: Exception | None = None
        for _, address in resolve(host, port, self._allow_loopback):
            try:
                return super().connect_tcp(address, port, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")


class _AsyncBackend(httpcore.AnyIOBackend):
    def __init__(self, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    async def connect_tcp(self, host: str, port: int, **options: Any) -> httpcore.AsyncNetworkStream:  # type: ignore[override]
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        failure: Exception | None = None
        for _, address in checked(host, list(found), self._allow_loopback):
            try:
                return await super().connect_tcp(address, port, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError("no address")


# httpx has no public way to hand a network backend to its transports, httpcore has: so the pool
# that httpx made is replaced by one like it.
class _SyncTransport(httpx.HTTPTransport):
    def __init__(self, credential: ClusterCredential, context: ssl.SSLContext, allow_loopback: bool) -> None:
        super().__init__(verify=context, trust_env=False)
        self._sni = credential.tls_server_name
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=16,
            keepalive_expiry=30.0,
            network_backend=_SyncBackend(allow_loopback),
            socket_options=keep_alive_options(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if self._sni:
            request.extensions = {**request.extensions, "sni_hostname": self._sni}
        return super().handle_request(request)


class _AsyncTransport(httpx.AsyncHTTPTransport):
    def __init__(self, credential: ClusterCredential, context: ssl.SSLContext, allow_loopback: bool) -> None:
        super().__init__(verify=context, trust_env=False)
        self._sni = credential.tls_server_name
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=context,
            max_connections=None,
            max_keepalive_connections=32,
            keepalive_expiry=30.0,
            network_backend=_AsyncBackend(allow_loopback),
            socket_options=keep_alive_options(),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._sni:
            request.extensions = {**request.extensions, "sni_hostname": self._sni}
        return await super().handle_async_request(request)


__all__ = [
    "ProxyAnswer",
    "ProxyCalls",
    "api_error",
    "async_client",
    "async_proxy_client",
    "proxy_path",
    "safe_path",
]
