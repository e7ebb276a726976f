"""The log of a container as the API server sends it, piece by piece, for asynchronous readers.

Nothing is held but the piece at hand: a reader that is slow slows the server down. Who stops reading
closes the connection, and with it what the kubelet does for it.

Parameters: Kubernetes API reference, "Read log of the specified Pod". Answers: recorded transcript 29.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx

from deployments.domain import errors
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.errors import from_answer, from_failure, read_status
from deployments.gateways.kubernetes.proxy import async_client
from deployments.gateways.kubernetes.transport import Timeouts

MAX_ERROR_BYTES = 64 * 1024
NOT_KEPT = b"unable to retrieve container logs for "
"""How a kubelet begins its only line, with status 200, where the runtime has removed the log."""

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_POD = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_PATH = re.compile(r".*/api/v1/namespaces/[^/]+/pods/[^/]+/log")
_WAITING = re.compile(r'is waiting to start: (?P<why>[^\n"]*)')


@dataclass(frozen=True)
class LogQuery:
    """Which log, and how much of it.

    ``container`` may be "" for a pod with one. ``previous`` is the run before the last restart.
    ``since`` is a whole second in RFC 3339 ("2026-01-31T12:00:00Z"), ``tail`` a number of lines;
    where both are given, the server takes lines that satisfy both. ``stamps`` puts the time in front
    of each line.
    """

    namespace: str
    pod: str
    container: str = ""
    previous: bool = False
    follow: bool = False
    tail: int | None = None
    since: str = ""
    stamps: bool = True

    def target(self) -> str:
        """Path and query. Raises :class:`InvalidInput` for names that are none."""
        if not _NAMESPACE.fullmatch(self.namespace):
            raise errors.InvalidInput("The namespace's name is not valid.", field="namespace")
        if not _POD.fullmatch(self.pod):
            raise errors.InvalidInput("The pod's name is not valid.", field="pod")
        if self.container and not _NAMESPACE.fullmatch(self.container):
            raise errors.InvalidInput("The container's name is not valid.", field="container")
        given: dict[str, Any] = {
            "container": self.container,
            "previous": "true" if self.previous else "",
            "follow": "true" if self.follow else "",
            "tailLines": self.tail,
            "sinceTime": self.since,
            "timestamps": "true" if self.stamps else "",
        }
        query = urlencode({key: value for key, value in given.items() if value not in ("", None)})
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}/log" + (f"?{query}" if query else "")


class OpenLog:
    """A log that is being read; made by :func:`open_log`."""

    def __init__(self, response: httpx.Response, tried: str) -> None:
        self._response = response
        self._tried = tried

    async def pieces(self) -> AsyncIterator[bytes]:
        """The bytes as they come, until the log ends or, when it is followed, the container does.

        Raises :class:`ClusterUnreachable` where the connection breaks, :class:`ObjectMissing` where
        the node says that it does not keep this log.
        """
        first = True
        try:
            async for piece in self._response.aiter_raw():
                if first and piece.startswith(NOT_KEPT):
                    raise _not_kept(self._tried)
                first = False
                yield piece
        except (httpx.HTTPError, OSError) as error:
            raise _broken(error, self._tried) from error


@asynccontextmanager
async def open_log(
    credential: ClusterCredential, query: LogQuery, *, allow_loopback: bool, timeouts: Timeouts | None = None
) -> AsyncIterator[OpenLog]:
    """Ask for a log; inside the ``async with`` it can be read, leaving it ends the connection::

        async with open_log(credential, LogQuery("llm", "r1-server-0", follow=True)) as log:
            async for piece in log.pieces(): ...

    A followed log may be silent for as long as the container is, even before its first line: the
    server answers with that line. Of a log that is not followed every piece comes within
    ``timeouts.read`` seconds. A pod that no node has taken has an empty log.

    Raises :class:`ClusterError` with a sentence about the container where the server refuses:
    :class:`ObjectMissing` for a pod or a log that is gone, ``retryable`` where it may come.
    """
    limits = timeouts or Timeouts()
    tried = f"{'follow' if query.follow else 'read'} the log of Pod {query.namespace}/{query.pod}"
    target = query.target()
    async with async_client(credential, _check, allow_loopback=allow_loopback, timeouts=limits) as client:
        silence = None if query.follow else limits.read
        request = client.build_request(
            "GET",
            target,
            # Compressed, one piece could grow a thousandfold.
            headers={"Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(silence, connect=limits.connect, pool=limits.connect, write=limits.read),
        )
        try:
            response = await client.send(request, stream=True)
        except (httpx.HTTPError, OSError) as error:
            raise _broken(error, tried) from error
        try:
            if not 200 <= response.status_code <= 299:
                raise refusal(
                    response.status_code, response.headers, await _body(response, limits), tried, query.pod
                )
            if response.headers.get("content-encoding", "identity") != "identity":
                raise errors.ServerFault("The log comes compressed, which was not asked for.", tried=tried)
            yield OpenLog(response, tried)
        finally:
            await response.aclose()


def _broken(failure: Exception, tried: str) -> errors.ClusterError:
    error = from_failure(failure, tried)
    error.remedy = error.remedy or "Check the connection on the cluster's page."
    return error


async def _check(request: httpx.Request) -> None:
    if not _PATH.fullmatch(request.url.path):
        raise errors.InvalidInput("The path is not that of a log.", field="path")


async def _body(response: httpx.Response, limits: Timeouts) -> bytes:
    """The body of an error, as much of it as matters."""
    pieces, size = [], 0
    try:
        async with asyncio.timeout(limits.read):
            async for piece in response.aiter_raw():
                pieces.append(piece)
                size += len(piece)
                if size >= MAX_ERROR_BYTES:
                    break
    except (httpx.HTTPError, OSError, TimeoutError):
        return b"".join(pieces)  # the status says enough
    return b"".join(pieces)


def refusal(
    status: int, headers: Mapping[str, str] | None, body: bytes, tried: str, pod: str
) -> errors.ClusterError:
    """What a refused log means, in words about the container. What else can be refused of any request
    (rights, credentials, patience) keeps its general words."""
    error = from_answer(status, headers, body, tried)
    said = read_status(body)
    text = said.message if said else ""
    words: dict[str, Any] = {
        "tried": tried,
        "answered": error.answered,
        "status": status,
        "reason": error.reason,
    }
    waiting = _WAITING.search(text)
    if waiting:
        return errors.ClusterError(
            "The container has not started, so it has written nothing yet.",
            remedy="The pod's events say what it waits for. Its log is followed as soon as it starts.",
            retryable=True,
            **words,
        )
    if text.startswith("previous terminated container"):
        return errors.ObjectMissing(
            "There is no previous run: this container has not ended since its pod began.",
            remedy="Read the current run.",
            **words,
        )
    if NOT_KEPT.decode() in text:
        return _not_kept(tried)
    if status == 400 and "is not valid for pod" in text:
        return errors.ObjectMissing(
            "The pod has no container of that name.", remedy="Choose one of its containers.", **words
        )
    if status == 404 and said and said.kind == "pods" and said.name != pod:
        # The API server names the node under the kind of the pod.
        return errors.ObjectMissing(
            "The node that the pod ran on is gone, and the log with it.",
            remedy="The pod is replaced once the cluster notices; delete it to speed that up.",
            **words,
        )
    if status == 404:
        return errors.ObjectMissing(
            "The pod is gone, and its log with it.",
            remedy="Look at the pods that are there now.",
            **words,
        )
    if status >= 500 and "the kubelet of the node cannot be reached" in error.answered:
        return errors.ServerFault(
            "The pod's node does not answer, so its log cannot be read.",
            remedy="Look at the node: it is down, or cut off from the cluster's API server.",
            retry_after=error.retry_after,
            **words,
        )
    return error


def _not_kept(tried: str) -> errors.ObjectMissing:
    return errors.ObjectMissing(
        "The node does not keep the log of that run any more.",
        tried=tried,
        remedy="Read the current run. To keep logs for longer, collect them in the cluster.",
    )
