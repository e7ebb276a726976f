"""Requests to Services of a cluster from an event loop, with connections that are kept."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from deployments.domain.errors import ClusterError, ServerFault
from deployments.gateways.chat.target import ChatTarget
from deployments.gateways.kubernetes import ClusterCredential, api_error, async_proxy_client, proxy_path
from deployments.gateways.kubernetes.errors import from_failure

ERROR_BYTES = 64 * 1024  # of an error's body that are read to see whose it is
IDLE_SECONDS = 600.0  # after which a client that nobody uses is closed
MAX_CLIENTS = 64


@dataclass
class _Kept:
    client: httpx.AsyncClient
    used_at: float


class Clients:
    """One client for each cluster's credential and event loop. A changed credential is another one:
    the old is closed once it has been idle."""

    def __init__(self) -> None:
        self._by_loop: weakref.WeakKeyDictionary[
            asyncio.AbstractEventLoop, dict[tuple[ClusterCredential, bool], _Kept]
        ] = weakref.WeakKeyDictionary()

    async def get(self, credential: ClusterCredential, allow_loopback: bool) -> httpx.AsyncClient:
        kept = self._by_loop.setdefault(asyncio.get_running_loop(), {})
        now = time.monotonic()
        stale = [key for key, one in kept.items() if now - one.used_at > IDLE_SECONDS]
        for key in stale:
            await kept.pop(key).client.aclose()
        found = kept.get((credential, allow_loopback))
        if found is None:
            if len(kept) >= MAX_CLIENTS:
                oldest = min(kept, key=lambda key: kept[key].used_at)
                await kept.pop(oldest).client.aclose()
            client = async_proxy_client(credential, allow_loopback=allow_loopback)
            found = kept[(credential, allow_loopback)] = _Kept(client, now)
        found.used_at = now
        return found.client

    async def close(self) -> None:
        """Close the clients of the running loop."""
        for one in self._by_loop.pop(asyncio.get_running_loop(), {}).values():
            await one.client.aclose()


class Upstream:
    """An answer of a Service. ``status`` and ``headers`` are the back end's own; ``start`` the body of
    an error, already read. Close it in any case."""

    def __init__(self, response: httpx.Response, prefixes: tuple[str, ...], tried: str) -> None:
        self._response = response
        self._tried = tried
        self.prefixes = prefixes
        self.api_host = response.request.url.netloc.decode("ascii")
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.start: bytes | None = None

    async def chunks(self, *, decoded: bool) -> AsyncIterator[bytes]:
        """The body as it arrives, decompressed or as it was sent."""
        if self.start is not None:
            yield self.start
            return
        pieces = self._response.aiter_bytes() if decoded else self._response.aiter_raw()
        try:
            async for piece in pieces:
                yield piece
        except (httpx.HTTPError, OSError) as error:
            raise from_failure(error, self._tried) from error

    async def read(self, limit: int) -> bytes:
        """The whole body, decompressed. Raises :class:`ServerFault` beyond ``limit`` bytes."""
        body = bytearray()
        async for piece in self.chunks(decoded=True):
            body += piece
            if len(body) > limit:
                raise ServerFault("The answer is too long to be shown.", tried=self._tried, retryable=False)
        return bytes(body)

    async def aclose(self) -> None:
        await self._response.aclose()

    async def judge(self) -> ClusterError | None:
        """For an error: read its start; the error to raise where the API server wrote it."""
        if self.status < 400:
            return None
        body = bytearray()
        async for piece in self.chunks(decoded=True):
            body += piece
            if len(body) >= ERROR_BYTES:
                break
        self.start = bytes(body[:ERROR_BYTES])
        return api_error(self.status, self.headers, self.start, self._tried)


async def call(
    clients: Clients,
    target: ChatTarget,
    service: str,
    port: int | str,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str],
    content: bytes | None = None,
    read_timeout: float,
) -> Upstream:
    """Send a request to a Service through the API server. Raises a :class:`ClusterError` where
    nothing answered or the API server answered in the back end's place."""
    tried = f"{method} /{path} of Service {target.namespace}/{service}"
    at = proxy_path(target.namespace, "services", service, "http", port, path)
    prefix = at[: at.index("/proxy/") + len("/proxy")]
    client = await clients.get(target.credential, target.allow_loopback)
    front = urlsplit(target.credential.server).path.rstrip("/")
    # The base URL is joined as text: merging would collapse what a path must not hold anyway.
    url = target.credential.server.rstrip("/") + at + (f"?{query}" if query else "")
    timeout = httpx.Timeout(read_timeout, connect=10.0)
    try:
        request = client.build_request(method, url, headers=headers, content=content, timeout=timeout)
        if not request.url.raw_path.startswith(f"{front}{prefix}/".encode()):
            raise ServerFault("The path leads out of the Service.", tried=tried, retryable=False)
        response = await client.send(request, stream=True)
    except (httpx.HTTPError, OSError) as error:
        raise from_failure(error, tried) from error
    prefixes = (f"{front}{prefix}", prefix) if front else (prefix,)
    upstream = Upstream(response, prefixes, tried)
    try:
        failure = await upstream.judge()
    except BaseException:
        await upstream.aclose()
        raise
    if failure is not None:
        await upstream.aclose()
        raise failure
    return upstream
