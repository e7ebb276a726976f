"""Following a pull without being held up by it.

Ollama says nothing while it hashes a layer, which takes minutes for a large one, and a blocked read
cannot look at a cancel request. So one thread reads, and the caller takes events with a time limit.
A line comes every 60 ms: progress of the same layer that nobody has taken yet is replaced by the
newer one, so that a slow caller costs no memory.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from deployments.domain.errors import ClusterError, ModelError, PilothouseError
from deployments.gateways.ollama.answers import IDLE, PullEvent, number
from deployments.gateways.ollama.errors import cut, pull_error
from deployments.gateways.ollama.lines import MAX_LINE, json_lines
from deployments.gateways.ollama.transport import Stream, Transport

Refuse = Callable[[int, bytes, str, str], "ModelError | ClusterError"]


class _Reader:
    """The reading thread and what it has read. ``end`` is None while it reads, True after a success,
    else the exception that ended it."""

    def __init__(
        self, transport: Transport, model: str, body: dict[str, Any], refuse: Refuse, silence: float
    ) -> None:
        self._transport = transport
        self._model = model
        self._body = body
        self._refuse = refuse
        self._silence = silence
        self._changed = threading.Condition()
        self._events: deque[PullEvent] = deque()
        self._end: Exception | bool | None = None
        self._stream: Stream | None = None
        self._stopped = False
        threading.Thread(target=self._run, name=f"pull {model}", daemon=True).start()

    def take(self, tick: float) -> PullEvent | None:
        """The next event, IDLE after ``tick`` seconds without one, None after the success."""
        with self._changed:
            self._changed.wait_for(lambda: self._events or self._end is not None, timeout=tick)
            if self._events:
                return self._events.popleft()
            if self._end is True:
                return None
            if isinstance(self._end, Exception):
                raise self._end
            return IDLE

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            stream = self._stream
        if stream is not None:
            stream.abort()

    def _run(self) -> None:
        try:
            self._read()
            self._finish(True)
        except Exception as error:  # noqa: BLE001  (handed to the caller's thread, whatever it is)
            self._finish(error)

    def _finish(self, end: Exception | bool) -> None:
        with self._changed:
            self._end = end
            self._stream = None
            self._changed.notify_all()

    def _read(self) -> None:
        tried = f"pull {self._model}"
        with self._transport.stream("POST", "/api/pull", self._body, self._silence) as stream:
            with self._changed:
                self._stream = stream
                if self._stopped:
                    return
            if stream.status != 200:
                raise self._refused(stream, tried)
            for line in json_lines(stream.chunks):
                error = line.get("error")
                if error is not None:
                    raise pull_error(
                        error if isinstance(error, str) else "an error without words", self._model
                    )
                event = _event(line)
                self._put(event)
                if event.status == "success":
                    return
        raise ModelError(
            "The download ended before it was complete.",
            tried=tried,
            answered="the stream ended without “success”",
            remedy="Pilothouse resumes it.",
            retryable=True,
        )

    def _refused(self, stream: Stream, tried: str) -> PilothouseError:
        body = bytearray()
        for chunk in stream.chunks:
            body += chunk
            if len(body) > MAX_LINE:
                break
        error = self._refuse(stream.status, bytes(body), self._model, tried)
        # A refusal in Ollama's own words is read by the table for pulls.
        return pull_error(error.answered, self._model) if isinstance(error, ModelError) else error

    def _put(self, event: PullEvent) -> None:
        with self._changed:
            last = self._events[-1] if self._events else None
            if (
                last is not None
                and event.digest
                and (last.status, last.digest) == (event.status, event.digest)
            ):
                self._events[-1] = event
            else:
                self._events.append(event)
            self._changed.notify()


def _event(line: dict[str, Any]) -> PullEvent:
    status, digest = line.get("status"), line.get("digest")
    return PullEvent(
        status=cut(status) if isinstance(status, str) else "",
        digest=digest[:100] if isinstance(digest, str) else "",
        total=number(line.get("total")),
        completed=number(line.get("completed")),
    )


def pull_events(
    transport: Transport,
    model: str,
    body: dict[str, Any],
    refuse: Refuse,
    *,
    tick: float,
    silence: float,
) -> Iterator[PullEvent]:
    """See :meth:`deployments.gateways.ollama.client.OllamaClient.pull`."""
    reader = _Reader(transport, model, body, refuse, silence)
    try:
        while (event := reader.take(tick)) is not None:
            yield event
    finally:
        reader.stop()
