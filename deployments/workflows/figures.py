"""Pull figures of a whole process, written together.

A hundred pulls that each wrote by themselves would be two hundred transactions a second. One writer
takes the newest figures of each and writes them all in one transaction twice a second: at most two
row updates a second for a pull, and two transactions a second for the process.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

from django.db import Error as DatabaseError
from django.db import connection

from deployments.ledger.progress import PullFigures, write_figures
from deployments.workflows.keeper import Hold

EVERY_SECONDS = 0.5

log = logging.getLogger(__name__)


class FigureWriter:
    """The process's one writer; :data:`figures` below."""

    def __init__(self) -> None:
        self._waiting: dict[int, tuple[Hold, PullFigures]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def put(self, hold: Hold, values: dict[str, Any], line: tuple[str, bool] | None = None) -> None:
        """Hand in a pull's newest figures; lines for the log are kept, older figures are not."""
        with self._lock:
            _, waiting = self._waiting.get(hold.claim.operation_id, (hold, None))
            lines = [*(waiting.lines if waiting else []), *([line] if line else [])]
            figures = PullFigures(hold.claim, values, lines)
            self._waiting[hold.claim.operation_id] = (hold, figures)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="figures", daemon=True)
                self._thread.start()
        self._wake.set()

    def flush(self) -> None:
        """Write what is waiting, now and in this thread."""
        with self._lock:
            batch, self._waiting = self._waiting, {}
        if not batch:
            return
        try:
            lost = write_figures([figures for _, figures in batch.values()])
        except DatabaseError:
            log.exception("the figures of %s pulls were not written; newer ones follow", len(batch))
            connection.close()
            return
        for operation_id in lost:
            hold = batch[operation_id][0]
            hold.lost = True
            hold.notify()

    def _run(self) -> None:
        while self._wake.wait(30):
            self._wake.clear()
            self.flush()
            threading.Event().wait(EVERY_SECONDS)
        connection.close()


figures = FigureWriter()
