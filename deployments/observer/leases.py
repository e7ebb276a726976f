"""Who does a job now, where several observers run: rows claimed by compare-and-swap.

A lease lasts ``TTL`` and is renewed every few seconds. Whoever dies leaves it to expire, so another
observer takes over within ``TTL`` and one tick. ``epoch`` rises with each new holder: a holder who
slept through his lease finds another epoch and stops. What counts is the database's clock, which is one
for all of them: those of the hosts may differ.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import DateTimeField, ExpressionWrapper, F, Q, QuerySet
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from deployments.models import Lease

TTL = timedelta(seconds=10)
RENEW_EVERY = 3.0  # seconds
TIMEKEEPER = "timekeeper"
_PRESENCE = "observer:"


@dataclass(frozen=True)
class Held:
    """A lease that this process holds."""

    name: str
    holder: str
    epoch: int


def cluster_lease(cluster_id: int) -> str:
    return f"cluster:{cluster_id}"


def acquire(name: str, holder: str, *, now: datetime | None = None) -> Held | None:
    """Take a lease that is free, expired, or left over from ``holder`` itself; None where it is held."""
    Lease.objects.bulk_create([Lease(name=name, expires_at=now or Now())], ignore_conflicts=True)
    taken = Lease.objects.filter(Q(expires_at__lte=now or Now()) | Q(holder=holder), name=name).update(
        holder=holder, epoch=F("epoch") + 1, expires_at=_end(now)
    )
    if not taken:
        return None
    epoch = Lease.objects.filter(name=name, holder=holder).values_list("epoch", flat=True).first()
    return None if epoch is None else Held(name, holder, epoch)


def renew(held: Held, *, now: datetime | None = None) -> bool:
    """Hold on to a lease. False where another holder has it (also after it was given up)."""
    return bool(_row(held).update(expires_at=_end(now)))


def release(held: Held) -> None:
    """Give a lease back, so that nobody has to wait for it to expire."""
    _row(held).update(holder="", expires_at=Now())


def still_held(held: Held) -> bool:
    """Whether nobody else took it; asked in the transaction of what the holder writes."""
    return _row(held).exists()


def present(holder: str, *, now: datetime | None = None) -> int:
    """Say that this observer lives; returns how many do, itself included."""
    Lease.objects.bulk_create(
        [Lease(name=_PRESENCE + holder, holder=holder, expires_at=_end(now))],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["holder", "expires_at"],
    )
    return Lease.objects.filter(name__startswith=_PRESENCE, expires_at__gt=now or Now()).count()


def absent(holder: str) -> None:
    """Take back what :func:`present` said."""
    Lease.objects.filter(name=_PRESENCE + holder).delete()


def forget_the_dead(*, now: datetime | None = None) -> int:
    """Drop the rows of observers that have been gone for an hour."""
    an_hour_ago = _at(now, -timedelta(hours=1))
    return Lease.objects.filter(name__startswith=_PRESENCE, expires_at__lt=an_hour_ago).delete()[0]


def _end(now: datetime | None) -> datetime | Combinable:
    """When a lease expires that is taken now."""
    return _at(now, TTL)


def _at(now: datetime | None, later: timedelta) -> datetime | Combinable:
    return now + later if now else ExpressionWrapper(Now() + later, output_field=DateTimeField())


def _row(held: Held) -> QuerySet[Lease]:
    return Lease.objects.filter(name=held.name, holder=held.holder, epoch=held.epoch)
