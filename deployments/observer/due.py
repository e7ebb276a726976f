"""The timekeeper's table: what comes round again and again, and how often.

A job runs in the observer that keeps the time, between two of its ticks: it takes at most a second or
two, does no more than find what is due and send it to the workers, and may be done twice. What takes
longer belongs into a worker. After a change of the observer every job is due at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import DatabaseError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """``run`` is called with the time that counts as now; what it returns is for tests."""

    name: str
    every: timedelta
    run: Callable[[datetime], object]


@dataclass
class Rounds:
    """When each job of a table is due again."""

    jobs: Sequence[Job]
    _due: dict[str, datetime] = field(default_factory=dict)

    def run(self, now: datetime) -> list[str]:
        """Do what is due; returns the names. A job that fails is logged and has its turn again.

        Raises :class:`django.db.DatabaseError`, which concerns them all.
        """
        done: list[str] = []
        for job in self.jobs:
            due = self._due.get(job.name, now)
            if now < due <= now + job.every:  # due later still: the clock was set back since
                continue
            self._due[job.name] = now + job.every
            done.append(job.name)
            try:
                job.run(now)
            except DatabaseError:
                raise
            except Exception:
                log.exception("the job %s failed", job.name)
        return done
