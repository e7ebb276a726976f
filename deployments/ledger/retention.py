"""Deleting old entries without breaking the chain.

What is deleted leaves gaps: each is a run of entries with the hash before it and the hash that it ended
with, so that the chain goes on over it. The act itself is an entry, and a checkpoint signs both the head
after that entry and the gaps. All of it is one transaction, in which alone the database lets entries go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Max, Min, Q, QuerySet

from deployments.domain.actors import Actor
from deployments.domain.audit import AUDIT_ACTIONS, KEPT_FOR_EVER, SESSION_ACTIONS, CheckpointKind, EntryClass
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.ledger import audit, checkpoints
from deployments.ledger.chainwalk import Broken, Walk
from deployments.ledger.checkpoints import Gap
from deployments.ledger.verification import feed, read_rows
from deployments.models import AuditEntry, AuditGap, AuditGate, AuditRetention

# Entries of one transaction: on SQLite nobody else writes for so long.
SLICE = 10_000

_ABOUT_AUDIT = Q(action__startswith=AUDIT_ACTIONS)
_REFUSED = Q(outcome=Outcome.DENIED)
_SESSION = Q(action__startswith=SESSION_ACTIONS)
CLASS: Mapping[EntryClass, Q] = {
    EntryClass.AUDIT: _ABOUT_AUDIT,
    EntryClass.REFUSED: ~_ABOUT_AUDIT & _REFUSED,
    EntryClass.SESSION: ~_ABOUT_AUDIT & ~_REFUSED & _SESSION,
    EntryClass.CHANGE: ~_ABOUT_AUDIT & ~_REFUSED & ~_SESSION,
}


@dataclass(frozen=True)
class Due:
    """What one class would lose: ``count`` entries, all before the sequence ``horizon``."""

    entry_class: EntryClass
    days: int
    horizon: int
    count: int
    oldest: datetime | None
    newest: datetime | None


def policy() -> dict[EntryClass, int]:
    """Class -> days that its entries are kept; a class that is not there is kept for ever."""
    return {EntryClass(row.entry_class): row.days for row in AuditRetention.objects.all()}


def due(kept: Mapping[EntryClass, int], now: datetime) -> list[Due]:
    """What is older than it is kept for. Nothing is changed.

    Age goes by order as well as by time: an entry that stands behind one which is young enough is as
    young, so a clock that was wrong for a while lets nothing go early.
    """
    found = []
    for entry_class, days in kept.items():
        if entry_class in KEPT_FOR_EVER:
            continue
        young = AuditEntry.objects.filter(at__gte=now - timedelta(days=days))
        horizon = young.aggregate(first=Min("sequence"))["first"]
        if horizon is None:
            newest = AuditEntry.objects.aggregate(last=Max("sequence"))["last"]
            horizon = (newest or 0) + 1
        rows = _rows(entry_class, horizon)
        ages = rows.aggregate(oldest=Min("at"), newest=Max("at"))
        found.append(Due(entry_class, days, horizon, rows.count(), ages["oldest"], ages["newest"]))
    return found


def prune(actor: Actor, wanted: list[Due], now: datetime) -> Iterator[int]:
    """Delete what :func:`due` found, slice by slice; yields how many each took.

    Raises :class:`~deployments.ledger.chainwalk.Broken` at an entry that was tampered with: what proves
    that must not be deleted.
    """
    for item in wanted:
        while True:
            with transaction.atomic():
                deleted = _slice(actor, item, now)
            if not deleted:
                break
            yield deleted


def _rows(entry_class: EntryClass, horizon: int) -> QuerySet[AuditEntry]:
    return AuditEntry.objects.filter(CLASS[entry_class], sequence__lt=horizon)


def _slice(actor: Actor, item: Due, now: datetime) -> int:
    # One retention at a time: another one waits here, and finds what this one left.
    gate = AuditGate.objects.create(first=1, last=item.horizon)
    rows = _rows(item.entry_class, item.horizon).order_by("sequence")
    found = list(rows.values_list("sequence", "previous", "hash")[:SLICE])
    if not found:
        gate.delete()
        return 0
    gaps = list(_runs(found))
    for gap in gaps:
        _prove(gap)
    first, last = found[0][0], found[-1][0]
    AuditGate.objects.update(first=first, last=last)
    deleted, _by_model = rows.filter(sequence__gte=first, sequence__lte=last).delete()
    if deleted != len(found):
        raise RuntimeError(f"{deleted} entries were deleted where {len(found)} were due")
    audit.record(
        actor,
        "audit.prune",
        Subject("audit", name=str(item.entry_class)),
        after={
            "class": str(item.entry_class),
            "kept_for_days": item.days,
            "entries": deleted,
            "first": first,
            "last": last,
            "gaps": len(gaps),
            "gaps_digest": checkpoints.digest_of_gaps(gaps),
        },
    )
    checkpoint = checkpoints.write(CheckpointKind.RETENTION, now, gaps)
    AuditGap.objects.bulk_create(
        [
            AuditGap(
                first=gap.first, last=gap.last, before=gap.before, after=gap.after, checkpoint=checkpoint
            )
            for gap in gaps
        ],
        batch_size=500,
    )
    gate.delete()
    return deleted


def _runs(found: list[tuple[int, str, str]]) -> Iterator[Gap]:
    """Neighbours together."""
    first, before, at, after = found[0][0], found[0][1], found[0][0], found[0][2]
    for sequence, previous, hash_ in found[1:]:
        if sequence != at + 1:
            yield Gap(first, at, before, after)
            first, before = sequence, previous
        at, after = sequence, hash_
    yield Gap(first, at, before, after)


def _prove(gap: Gap) -> None:
    """Raise :class:`Broken` where the run, or its seam to what stands before it, does not hold."""
    earlier = AuditEntry.objects.filter(sequence=gap.first - 1).values_list("hash", flat=True).first()
    if earlier is not None and earlier != gap.before:
        raise Broken(gap.first, "it does not continue the entry before it")
    walk = Walk(previous=gap.before, expected=gap.first)
    while walk.expected <= gap.last:
        for row in read_rows(walk.expected, gap.last, 2000):
            feed(walk, row)
