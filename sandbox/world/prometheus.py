"""A simulated Prometheus: as much of its HTTP API as a reader of GPU figures asks.

Prometheus documentation, "HTTP API": /api/v1/query, /api/v1/query_range, /api/v1/series, /api/v1/label/NAME/values,
/api/v1/status/buildinfo, /-/healthy, /-/ready. Expressions are single selectors (see promql.py).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from sandbox.backend import BackendRequest, BackendResponse
from sandbox.world.answers import json_answer, text_answer
from sandbox.world.exporters import Exporter
from sandbox.world.faults import Fault, Faults
from sandbox.world.process import Process
from sandbox.world.promql import QueryError, Selector, parse
from sandbox.world.scrapes import SCRAPE_SECONDS, History, Sample, SeriesSamples, Source, Target

Object = dict[str, Any]

MAX_POINTS = 11_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_DURATION = re.compile(r"(\d+)(ms|[smhdwy])")


class Refusal(Exception):
    """An answer in Prometheus' envelope of errors."""

    def __init__(self, code: int, type_: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.type = type_


def _bad(parameter: str, why: str) -> Refusal:
    return Refusal(400, "bad_data", f'invalid parameter "{parameter}": {why}')


def _time(text: str, name: str) -> float:
    """Seconds since the epoch from a number or RFC 3339."""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise _bad(name, f'cannot parse "{text}" to a valid timestamp') from None


def _duration(text: str, name: str) -> float:
    """Seconds from a number or a duration such as 15s or 1h30m."""
    try:
        seconds = float(text)
    except ValueError:
        if not re.fullmatch(r"(\d+(ms|[smhdwy]))+", text):
            raise _bad(name, f'cannot parse "{text}" to a valid duration') from None
        seconds = sum(int(number) * _UNITS[unit] for number, unit in _DURATION.findall(text))
    if seconds <= 0:
        raise _bad(
            name, "zero or negative query resolution step widths are not accepted. Try a positive integer"
        )
    return seconds


def _selector(text: str, parameter: str = "query", *, stamps: bool = False) -> Selector:
    """stamps: whether timestamp() is understood there."""
    try:
        selector = parse(text)
    except QueryError as error:
        raise _bad(parameter, str(error)) from None
    if selector.timestamp and not stamps:
        raise _bad(parameter, "SIMULATED Prometheus: timestamp() is understood in instant queries only")
    return selector


def _envelope(data: Any) -> BackendResponse:
    return json_answer({"status": "success", "data": data}, content_type="application/json")


class Prometheus:
    """The fault `prometheus` changes the layout of labels or spoils the answers. now: seconds since the epoch."""

    def __init__(
        self,
        faults: Faults,
        pod: Object,
        source: Source,
        now: Callable[[], float],
    ) -> None:
        self.faults = faults
        self.pod = pod
        self.source = source
        self.now = now

    async def handle(self, request: BackendRequest) -> BackendResponse:
        fault = self.faults.find("prometheus", pod=self.pod)
        spoilt = await self._spoilt(fault)
        if spoilt is not None:
            return spoilt
        if request.path in ("/-/healthy", "/-/ready"):
            return text_answer(f"Prometheus Server is {request.path[3:].capitalize()}.\n")
        query = parse_qs(request.query, keep_blank_values=True)
        if request.method == "POST":
            for name, values in parse_qs((await request.read()).decode(errors="replace")).items():
                query.setdefault(name, []).extend(values)
        try:
            return self._answer(request.path, query, fault)
        except Refusal as refusal:
            body = {"status": "error", "errorType": refusal.type, "error": str(refusal)}
            return json_answer(body, refusal.code, "application/json")

    async def _spoilt(self, fault: Fault | None) -> BackendResponse | None:
        answer = fault.params.get("answer") if fault is not None else None
        if fault is None or answer in (None, "empty"):
            return None
        self.faults.use(fault)
        if answer == "refused":
            raise ConnectionRefusedError
        while answer == "hanging" and self.faults.get("prometheus") is fault:
            await self.faults.until_changed()
        if answer == "html":
            return text_answer("<html><body>SIMULATED sign-in page</body></html>\n", 200, "text/html")
        text = "query timed out in expression evaluation"
        return json_answer(
            {"status": "error", "errorType": "timeout", "error": text}, 503, "application/json"
        )

    def _answer(self, path: str, query: dict[str, list[str]], fault: Fault | None) -> BackendResponse:
        def one(name: str) -> str:
            return query.get(name, [""])[0]

        def found(*wanted: Selector) -> list[tuple[Object, SeriesSamples]]:
            if fault is not None and fault.params.get("answer") == "empty":
                return []
            return _select(
                self.source, wanted, fault.params.get("honor_labels") if fault is not None else None
            )

        if path == "/api/v1/query":
            when = _time(one("time"), "time") if one("time") else self.now()
            selector = _selector(one("query"), stamps=True)
            if selector.timestamp:
                return _envelope(_stamps(found(selector), when))
            return _envelope(_vector(found(selector), when))
        if path == "/api/v1/query_range":
            selector = _selector(one("query"))
            start, end = _time(one("start"), "start"), _time(one("end"), "end")
            step = _duration(one("step"), "step")
            if end < start:
                raise _bad("end", "end timestamp must not be before start time")
            if (end - start) / step > MAX_POINTS:
                raise Refusal(
                    400,
                    "bad_data",
                    f"exceeded maximum resolution of {MAX_POINTS:,} points per timeseries. "
                    "Try decreasing the query resolution (?step=XX)",
                )
            return _envelope(_matrix(found(selector), start, end, step))
        if path == "/api/v1/series":
            wanted = [_selector(text, "match[]") for text in query.get("match[]", [])]
            if not wanted:
                raise Refusal(400, "bad_data", "no match[] parameter provided")
            return _envelope([labels for labels, _ in found(*wanted)])
        label = re.fullmatch(r"/api/v1/label/([a-zA-Z_][a-zA-Z0-9_]*)/values", path)
        if label is not None:
            wanted = [_selector(text, "match[]") for text in query.get("match[]", ['{__name__=~".+"}'])]
            return _envelope(sorted({labels[label[1]] for labels, _ in found(*wanted) if label[1] in labels}))
        if path == "/api/v1/status/buildinfo":
            return _envelope({"version": "3.5.0", "revision": "SIMULATED", "goVersion": "go1.24"})
        return text_answer("404 page not found\n", 404)


def _select(
    source: Source, wanted: Sequence[Selector], honor: bool | None
) -> list[tuple[Object, SeriesSamples]]:
    def named(name: str) -> bool:
        return any(selector.matches_name(name) for selector in wanted)

    return [
        (labels, samples)
        for labels, samples in source.series(named, honor)
        if any(selector.matches(labels) for selector in wanted)
    ]


def _vector(found: list[tuple[Object, SeriesSamples]], when: float) -> Object:
    values = ((labels, samples.at(when)) for labels, samples in found)
    return {
        "resultType": "vector",
        "result": [
            {"metric": labels, "value": [round(when, 3), value]}
            for labels, value in values
            if value is not None
        ],
    }


def _stamps(found: list[tuple[Object, SeriesSamples]], when: float) -> Object:
    """What timestamp() gives: labels without the name, and the time of the sample as the value."""
    times = (
        ({key: value for key, value in labels.items() if key != "__name__"}, samples.taken(when))
        for labels, samples in found
    )
    return {
        "resultType": "vector",
        "result": [
            {"metric": labels, "value": [round(when, 3), str(round(taken, 3))]}
            for labels, taken in times
            if taken is not None
        ],
    }


def _matrix(found: list[tuple[Object, SeriesSamples]], start: float, end: float, step: float) -> Object:
    times = [round(start + step * number, 3) for number in range(int((end - start) / step) + 1)]
    result = []
    for labels, samples in found:
        points = ((when, samples.at(when)) for when in times)
        values = [[when, value] for when, value in points if value is not None]
        if values:
            result.append({"metric": labels, "values": values})
    return {"resultType": "matrix", "result": result}


class Scraper:
    """Reads the exporters of a living world for a Prometheus process, every 15 simulated seconds."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.history = History()

    async def run(self) -> None:
        world = self.process.world
        while True:
            self.history.scrape(world.store.clock(), self._samples())
            await world.clock.sleep(SCRAPE_SECONDS)
            # However fast simulated time goes, a round is not more often than five times a second.
            await asyncio.sleep(max(0.0, 0.2 - SCRAPE_SECONDS / world.clock.speed))

    def _samples(self) -> Iterator[Sample]:
        for worker in tuple(self.process.world.kubelet.workers.values()):
            for port, name in _EXPORTERS.items():
                process = worker.process_on(port)
                backend = process.ports.get(port) if process is not None else None
                if isinstance(backend, Exporter):
                    target = target_of(worker.pod, port, name)
                    yield Sample("up", (), target, "1")
                    for metric, labels, value in backend.series():
                        yield Sample(metric, tuple(labels), target, value)


_EXPORTERS = {9400: "gpu-metrics", 5000: "http"}


def target_of(pod: Object, port: int, endpoint: str) -> Target:
    """An exporter's pod as the operators' ServiceMonitors make a target of it."""
    container = pod["spec"]["containers"][0]["name"]
    job = container if port == 9400 else "amd-metrics-exporter"
    return Target(
        job=job,
        instance=f"{(pod.get('status') or {}).get('podIP', '')}:{port}",
        namespace=pod["metadata"]["namespace"],
        pod=pod["metadata"]["name"],
        container=container,
        service=container,
        endpoint=endpoint,
        honor_labels=port == 5000,
    )


def start(process: Process) -> None:
    """The program of a Prometheus image."""
    scraper = Scraper(process)
    world = process.world
    process.ports[9090] = Prometheus(world.faults, process.pod, scraper.history, world.store.clock)
    process.log.write('level=INFO msg="Server is ready to receive web requests." SIMULATED=true')
    process.spawn(scraper.run())
