"""For how long the audit is kept: looked at first, then decided, then carried out day by day."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from deployments.commands.base import checked_reason, command
from deployments.domain.actors import Actor
from deployments.domain.audit import KEPT_FOR_EVER, EntryClass
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.subjects import Subject
from deployments.ledger import audit, retention
from deployments.ledger.queue import send_pruning
from deployments.ledger.retention import Due
from deployments.models import AuditRetention
from deployments.policies import Action, require

RETENTION = Subject("audit", name="retention")
LEAST, MOST = 30, 36_500  # days


def checked(days: Mapping[EntryClass, int | None]) -> dict[EntryClass, int]:
    """Days by class, without the classes that are kept for ever. Raises :class:`InvalidInput` with the
    class as its field."""
    kept = {}
    for entry_class, count in days.items():
        if count is None:
            continue
        if entry_class in KEPT_FOR_EVER:
            raise InvalidInput("What concerns the audit itself is kept for ever.", field=str(entry_class))
        if not LEAST <= count <= MOST:
            raise InvalidInput(
                f"Give {LEAST} to {MOST:,} days, or nothing to keep them.", field=str(entry_class)
            )
        kept[entry_class] = count
    return kept


def preview(actor: Actor, days: Mapping[EntryClass, int | None]) -> list[Due]:
    """What would be deleted now, class by class. Nothing is changed."""
    require(actor, Action.KEEP_AUDIT, RETENTION)
    return retention.due(checked(days), timezone.now())


@command(Action.KEEP_AUDIT)
def set_retention(
    actor: Actor, *, days: Mapping[EntryClass, int | None], seen: int, reason: str = ""
) -> list[Due]:
    """Decide for how long entries are kept, and have a worker delete what is older, now and every day.

    ``seen`` is how many entries :func:`preview` said would go: where it is another number by now,
    :class:`Conflict` is raised and nothing is changed.
    """
    require(actor, Action.KEEP_AUDIT, RETENTION)
    kept = checked(days)
    plan = retention.due(kept, timezone.now())
    count = sum(item.count for item in plan)
    if count != seen:
        raise Conflict(
            f"{count:,} entries would be deleted, not the {seen:,} that you have seen.",
            remedy="Look at the new numbers and decide again.",
        )
    before = {str(each): days_kept for each, days_kept in retention.policy().items()}
    AuditRetention.objects.exclude(entry_class__in=[str(each) for each in kept]).delete()
    for entry_class, count_of_days in kept.items():
        AuditRetention.objects.update_or_create(
            entry_class=str(entry_class), defaults={"days": count_of_days, "applied_at": None}
        )
    audit.record(
        actor,
        "audit.retention",
        RETENTION,
        reason=checked_reason(reason),
        before=before,
        after={str(each): days_kept for each, days_kept in kept.items()},
    )
    transaction.on_commit(send_pruning)
    return plan


def prune(
    actor: Actor, *, days: Mapping[EntryClass, int | None] | None = None, now: datetime | None = None
) -> int:
    """Delete what is older than it is kept for, by the stored policy or by ``days``; returns how many.

    Raises :class:`~deployments.ledger.chainwalk.Broken` where an entry was tampered with.
    """
    require(actor, Action.KEEP_AUDIT, RETENTION)
    now = now or timezone.now()
    kept = retention.policy() if days is None else checked(days)
    count = sum(retention.prune(actor, retention.due(kept, now), now))
    if days is None:
        AuditRetention.objects.update(applied_at=now)
    return count
