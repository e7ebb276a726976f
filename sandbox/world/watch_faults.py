"""Faults that end open watches at the moment they are switched on."""

from __future__ import annotations

from typing import Any, Protocol

from sandbox import status
from sandbox.backend import RequestInfo
from sandbox.world.faults import Fault, Faults


class WatchEnder(Protocol):
    """What these faults need of the server."""

    def end_watches(self, wanted: Any, error: status.ApiError | None = None) -> int: ...


class WatchFaults:
    """server is learned after the start, since the server learns of the world first."""

    def __init__(self) -> None:
        self.server: WatchEnder | None = None
        self._stall: Fault | None = None

    def changed(self, faults: Faults, name: str) -> None:
        """A fault was switched; other names than those of watches change nothing here."""
        fault = faults.get(name)
        if name == "watch_close":
            self._end(faults, fault, None)
        elif name == "gone_410":
            self._end(faults, fault, status.expired("too old resource version: 1 (2)"))
        elif name == "watch_stall":
            # Those who watch come again, into the silence; when it is over, the silent ones are ended too.
            self._end(faults, fault or self._stall, None, counts=False)
            self._stall = fault

    def _end(
        self, faults: Faults, fault: Fault | None, error: status.ApiError | None, counts: bool = True
    ) -> None:
        if fault is None or self.server is None:
            return

        def wanted(info: RequestInfo) -> bool:
            return fault.matches(
                namespace=info.namespace or None, path=info.path, resource=info.resource, verb="watch"
            )

        if self.server.end_watches(wanted, error) and counts:
            faults.use(fault)
