"""What is due: lost messages, silent workers, expired questions, health that depends on the time.

One observer at a time does this, under the lease "timekeeper"; every piece is safe to do twice. What
comes round at a pace of its own is a line in ``all_jobs``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from deployments.commands import approvals
from deployments.commands.quotas import settle_ended
from deployments.domain.health.assess import SILENT, STALE_AFTER
from deployments.domain.states import Health
from deployments.ledger import queue, transitions
from deployments.models import Deployment, Operation
from deployments.observer import leases
from deployments.observer.audit_due import tend_audit
from deployments.observer.due import Job, Rounds
from deployments.observer.health import reassess_all
from deployments.observer.sampling import (
    FORGET_EVERY,
    ROLL_UP_EVERY,
    forget_series_due,
    roll_up_due,
    sample_due,
)
from deployments.selectors import system

SENDING = 2.0  # seconds of one tick
EACH_TICK = timedelta(0)
HEALTH_EVERY = timedelta(seconds=5)
PROBE_EVERY = timedelta(seconds=30)
HOUSEKEEPING_EVERY = timedelta(minutes=1)
TROUBLED = (Health.FAILED, Health.MISSING, Health.DEGRADED, Health.UNKNOWN)

log = logging.getLogger(__name__)


@dataclass
class Timekeeper:
    """``tick`` once a second, whether or not this process holds the lease."""

    holder: str
    held: leases.Held | None = None
    renewed_at: datetime | None = None
    jobs: Sequence[Job] = ()
    _rounds: Rounds = field(init=False)

    def __post_init__(self) -> None:
        self._rounds = Rounds(self.jobs or all_jobs())

    def tick(self, now: datetime | None = None) -> bool:
        """Do what is due. False where another process holds the lease."""
        if not self._hold(now):
            return False
        self._rounds.run(now or timezone.now())
        return True

    def stop(self) -> None:
        """Give the lease back."""
        if self.held is not None:
            leases.release(self.held)
            self.held = None

    def _hold(self, now: datetime | None) -> bool:
        at = now or timezone.now()
        if self.held is not None and self.renewed_at is not None:
            # Renewed in the time to come: the clock was set back since.
            if timedelta() <= at - self.renewed_at < timedelta(seconds=leases.RENEW_EVERY):
                return leases.still_held(self.held)
            if leases.renew(self.held, now=now):
                self.renewed_at = at
                return True
            log.info("another observer keeps the time now")
        self.held = leases.acquire(leases.TIMEKEEPER, self.holder, now=now)
        self.renewed_at = at if self.held else None
        return self.held is not None


def recover(now: datetime) -> dict[str, int]:
    """Send again what is due or whose message was lost, and take from workers that fell silent.
    Returns how many rows had which outcome."""
    outcomes: dict[str, int] = {}
    # A broker that says nothing costs a second a message; the rest waits for the next tick.
    enough = time.monotonic() + SENDING
    for operation_id in system.due_operations(
        now, now - transitions.MESSAGE_AGAIN_AFTER, now - transitions.HEARTBEAT_LOST_AFTER
    ):
        if time.monotonic() > enough:
            break
        outcome = transitions.recover(operation_id, now=now)
        if outcome == "failed":
            settle_ended(Operation.objects.select_related("deployment", "release").get(pk=operation_id))
        if outcome:
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            if outcome != "sent":
                log.warning("operation %s: %s", operation_id, outcome)
    return outcomes


def probe_due(now: datetime) -> int:
    """Have workers ask the pods whose turn it is; the turn is moved on first, so that two observers
    which both think they keep the time ask once."""
    sent = 0
    enough = time.monotonic() + SENDING
    for deployment_id in system.due_probes(now):
        if time.monotonic() > enough:
            break
        if Deployment.objects.filter(pk=deployment_id, probe_due_at__lte=now).update(
            probe_due_at=now + PROBE_EVERY
        ):
            sent += queue.send_probe(deployment_id)
    return sent


def forget_expired(now: datetime) -> int:
    """Delete questions whose hour is over; what still runs is left to end first."""
    return Operation.objects.filter(pk__in=system.expired_questions(now)).delete()[0]


class Turn:
    """Takes ``most`` of many deployments at a time, and the next ones the next time: each has its turn,
    and a round costs no more with thousands in trouble than with a hundred."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._after = 0

    def take(self, rows: QuerySet[Deployment]) -> list[int]:
        ahead = rows.filter(pk__gt=self._after).order_by("pk")
        found = list(ahead.values_list("pk", flat=True)[: self._most])
        self._after = found[-1] if len(found) == self._most else 0
        return found


class Unsettled:
    """Judges again what changes by waiting: who has fallen silent, what is on its way to something, and
    trouble that a delay may explain."""

    def __init__(self) -> None:
        self._silent, self._moving, self._troubled = Turn(500), Turn(200), Turn(100)

    def judge(self, now: datetime) -> int:
        """Returns how many sentences became others."""
        since = now - STALE_AFTER
        due = [
            *self._silent.take(system.silent(since, SILENT)),
            *self._moving.take(system.seen_in([Health.PROGRESSING], since)),
            *self._troubled.take(system.seen_in(TROUBLED, since)),
        ]
        return len(reassess_all(due, now))


def keep_house(now: datetime) -> None:
    """Delete what nobody needs any more."""
    forget_expired(now)
    leases.forget_the_dead()


def all_jobs() -> tuple[Job, ...]:
    return (
        Job("recover", EACH_TICK, recover),
        Job("probe", EACH_TICK, probe_due),
        Job("health", HEALTH_EVERY, Unsettled().judge),
        Job("housekeeping", HOUSEKEEPING_EVERY, keep_house),
        Job("approvals", HOUSEKEEPING_EVERY, approvals.expire),
        Job("audit", HOUSEKEEPING_EVERY, tend_audit),
        Job("sample", EACH_TICK, sample_due),
        Job("roll up", ROLL_UP_EVERY, roll_up_due),
        Job("forget series", FORGET_EVERY, forget_series_due),
    )
