"""Answers of the API server that go on: watches and logs."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from urllib.parse import quote, urlencode

import orjson
import urllib3.exceptions

from deployments.domain.errors import ClusterUnreachable, ServerFault, WatchBroken, WatchSilent
from deployments.gateways.kubernetes.errors import from_answer, from_failure
from deployments.gateways.kubernetes.objects import ResourceKind, WatchEvent, version_in
from deployments.gateways.kubernetes.transport import STOPPER, Transport, read_all

MAX_EVENT_BYTES = 16 * 1024 * 1024
MAX_LOG_LINE = 64 * 1024
LOG_BYTES = 1024 * 1024


class StreamCalls:
    """The part of the client that watches and follows."""

    _transport: Transport

    def _path(self, kind: ResourceKind, namespace: str | None) -> str:
        raise NotImplementedError

    def watch(
        self,
        kind: ResourceKind,
        namespace: str | None = None,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        timeout_seconds: int = 290,
        stop: threading.Event | None = None,
        initial_events: bool = False,
        silent_seconds: float | None = None,
    ) -> Iterator[WatchEvent]:
        """Changes after ``resource_version``, with bookmarks, until the server ends the watch after
        ``timeout_seconds`` or ``stop`` is set: both end the iteration quietly. Go on from the last
        event's ``resource_version``.

        ``initial_events`` (Kubernetes 1.34 and later) first sends what is there, as ADDED events
        ended by a bookmark; ``resource_version`` is then usually "".

        Raises :class:`Expired` where the version is too old: list again. Raises
        :class:`WatchSilent` where nothing came for ``silent_seconds`` (bookmarks come about once a
        minute; of events, and of what nobody changes, none), :class:`ClusterUnreachable` for a
        connection that broke, :class:`WatchBroken` for lines that are no events.
        """
        tried = f"watch {kind.kind} objects{f' in {namespace}' if namespace else ''}"
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "timeoutSeconds": str(timeout_seconds),
        }
        if initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        target = f"{self._path(kind, namespace)}?{urlencode({k: v for k, v in query.items() if v})}"
        read = min(timeout_seconds + 15.0, silent_seconds or float("inf"))
        try:
            for line in self._lines(target, tried, read=read, stop=stop, longest=MAX_EVENT_BYTES):
                if line:
                    yield _event(line, tried)
        except ClusterUnreachable as error:
            if silent_seconds is not None and isinstance(
                error.__cause__, urllib3.exceptions.ReadTimeoutError
            ):
                raise WatchSilent(
                    f"Nothing was heard of the watch for {silent_seconds:.0f} seconds.", tried=tried
                ) from error.__cause__
            raise

    def pod_logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        previous: bool = False,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        limit_bytes: int = LOG_BYTES,
        timestamps: bool = False,
    ) -> bytes:
        """The log so far, at most ``limit_bytes`` from its beginning (or of the last ``tail_lines``).

        b"" for a pod that no node has taken yet. Raises :class:`ObjectMissing`, and
        :class:`ClusterError` (400) where a container must be named or has not started.
        """
        tried = f"read the log of Pod {namespace}/{pod}"
        target = _log_target(
            namespace,
            pod,
            container=container,
            previous="true" if previous else None,
            tailLines=tail_lines,
            sinceSeconds=since_seconds,
            limitBytes=limit_bytes,
            timestamps="true" if timestamps else None,
        )
        status, headers, data = self._transport.call(
            "GET", target, tried=tried, headers={"Accept": "*/*"}, limit=limit_bytes + 4096
        )
        if not 200 <= status <= 299:
            raise from_answer(status, headers, data, tried)
        return data[:limit_bytes]

    def stream_logs(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
        timestamps: bool = False,
        max_bytes: int = 16 * LOG_BYTES,
        max_seconds: float = 3600.0,
        stop: threading.Event | None = None,
    ) -> Iterator[bytes]:
        """Follow a log: whole lines without their line feed (those over 64 KB in pieces), until the
        container ends, ``stop`` is set, or a limit is reached; all of these end it quietly."""
        tried = f"follow the log of Pod {namespace}/{pod}"
        target = _log_target(
            namespace,
            pod,
            follow="true",
            container=container,
            tailLines=tail_lines,
            sinceSeconds=since_seconds,
            timestamps="true" if timestamps else None,
        )
        seen = 0
        lines = self._lines(
            target,
            tried,
            read=max_seconds + 15.0,
            stop=stop,
            longest=MAX_LOG_LINE,
            cut=True,
            seconds=max_seconds,
        )
        with closing(lines):
            for line in lines:
                seen += len(line) + 1
                if seen > max_bytes:
                    return
                yield line

    def _lines(
        self,
        target: str,
        tried: str,
        *,
        read: float,
        stop: threading.Event | None,
        longest: int,
        cut: bool = False,
        seconds: float | None = None,
    ) -> Generator[bytes, None, None]:
        """The lines of an answer as they come. Longer ones than ``longest`` are cut into pieces, or
        are an error."""
        end = time.monotonic() + seconds if seconds is not None else None

        def over() -> bool:
            return (stop is not None and stop.is_set()) or (end is not None and time.monotonic() > end)

        if over():
            return
        response = self._transport.open(
            "GET", target, tried=tried, headers={"Accept": "application/json, */*"}, read=read
        )
        STOPPER.add(response, over)
        whole = False
        try:
            if response.status == 204:
                whole = True
                return
            if not 200 <= response.status <= 299:
                deadline = time.monotonic() + self._transport.timeouts.total
                body = read_all(response, 64 * 1024, deadline, tried)
                raise from_answer(response.status, response.headers, body, tried)
            pending = bytearray()
            for piece in response.stream(64 * 1024, decode_content=True):
                if over():
                    return
                pending += piece
                *lines, rest = pending.split(b"\n")
                pending = bytearray(rest)
                for line in lines:
                    yield bytes(line)
                    if over():
                        return
                if len(pending) > longest:
                    if not cut:
                        raise ServerFault(
                            "A line of the answer is too long to be read.", tried=tried, retryable=False
                        )
                    yield bytes(pending)
                    pending.clear()
            if over():
                return
            whole = True
            if pending:
                yield bytes(pending)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # A shutdown from another thread shows as any of these.
            if not over():
                raise from_failure(error, tried) from error
        finally:
            STOPPER.remove(response)
            if whole:
                response.release_conn()
            else:
                response.close()


def _event(line: bytes, tried: str) -> WatchEvent:
    try:
        data = orjson.loads(line)
        kind, obj = data["type"], data["object"]
        if not isinstance(kind, str) or not isinstance(obj, dict):
            raise TypeError
        if kind == "ERROR":
            code = obj.get("code")
            raise from_answer(code if isinstance(code, int) else 500, None, orjson.dumps(obj), tried)
        return WatchEvent(kind, obj, version_in(obj.get("metadata")))
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise WatchBroken("The watch broke in the middle of an event.", tried=tried) from None


def _log_target(namespace: str, pod: str, **query: object) -> str:
    given = urlencode({key: value for key, value in query.items() if value not in ("", None)})
    return f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{quote(pod, safe='')}/log?{given}"
