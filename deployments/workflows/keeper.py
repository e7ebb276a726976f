"""What a worker process holds now: heartbeats, requests to cancel, and the order to stop.

One thread a process renews the heartbeat of every held operation and reads, once a second, whether
somebody asked to cancel it or another worker took it over. Steps look at their :class:`Hold`; they
never ask the database themselves.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error as DatabaseError
from django.db import connection

from deployments.ledger import progress
from deployments.ledger.transitions import Claim, ClaimLost

BEAT_SECONDS = 1.0

log = logging.getLogger(__name__)


class Cancelled(Exception):
    """Somebody asked for the operation to stop. The message is his name."""


class Stopping(Exception):
    """This worker process is told to end: give the row back."""


class Hold:
    """One held operation, as its steps see it."""

    def __init__(self, claim: Claim, stopping: threading.Event) -> None:
        self.claim = claim
        self.cancelled_by = ""
        self.lost = False
        self._stopping = stopping
        self._changed = threading.Event()

    def check(self) -> None:
        """Raise where the step must not go on: ClaimLost, Stopping or Cancelled."""
        if self.lost:
            raise ClaimLost
        if self._stopping.is_set():
            raise Stopping
        if self.cancelled_by:
            raise Cancelled(self.cancelled_by)

    def pause(self, seconds: float) -> None:
        """Wait, at most so long, waking at once for anything that :meth:`check` raises on."""
        self._changed.wait(seconds)
        self.check()

    def notify(self) -> None:
        self._changed.set()


class Keeper:
    """The process's one keeper; :data:`keeper` below."""

    def __init__(self) -> None:
        self._holds: dict[int, Hold] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> threading.Event:
        return self._stopping

    def stop(self) -> None:
        """Make every held step end at its next look. Called from the signal handler."""
        self._stopping.set()
        for hold in list(self._holds.values()):
            hold.notify()

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[Hold]:
        hold = Hold(claim, self._stopping)
        with self._lock:
            self._holds[claim.operation_id] = hold
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
                self._thread.start()
        try:
            yield hold
        finally:
            with self._lock:
                if self._holds.get(claim.operation_id) is hold:
                    del self._holds[claim.operation_id]

    def _run(self) -> None:
        idle = 0
        while idle < 30:
            with self._lock:
                holds = list(self._holds.values())
            idle = 0 if holds else idle + 1
            if holds:
                self._beat(holds)
            else:
                connection.close()  # none held while there is nothing to hold it for
            threading.Event().wait(BEAT_SECONDS)

    def _beat(self, holds: list[Hold]) -> None:
        by_id = {hold.claim.operation_id: hold for hold in holds}
        try:
            standing = progress.beat(hold.claim for hold in holds)
        except DatabaseError:
            # The database may be back at the next beat; until then the reaper's patience holds.
            log.exception("the heartbeat of %s operations was not written", len(holds))
            connection.close()
            return
        for row in standing:
            hold = by_id[row.operation_id]
            if not row.ours:
                hold.lost = True
                hold.notify()
            elif row.cancelled_by and not hold.cancelled_by:
                hold.cancelled_by = row.cancelled_by
                hold.notify()


keeper = Keeper()
