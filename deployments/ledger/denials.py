"""Refusals that are no command's: of people who are not signed in, and of pages.

Those of strangers are counted instead of written one by one: somebody who tries passwords must not be able
to fill the audit. The first refusal of a kind from an address is an entry at once; those that follow within
ten minutes are counted and become one entry.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.errors import Denied
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.ledger.audit_values import line
from deployments.models import AuditEntry, AuditTally

WINDOW = timedelta(minutes=10)
MOST_NAMES = 10
# Beyond so many addresses at once they are counted together.
MOST_TALLIES = 500
MANY = "many addresses"
NOBODY = "nobody"


def refuse(source: str, action: str, subject: Subject, *, now: datetime | None = None) -> None:
    """Put on record that somebody unknown was refused."""
    now = now or timezone.now()
    with transaction.atomic():
        tally = _tally(source, action, subject, now)
        if tally is None:
            audit.record(Actor(None, NOBODY, source), action, subject, outcome=Outcome.DENIED)
            return
        name = line(subject.name, 150)
        if name and name not in tally.names and len(tally.names) < MOST_NAMES:
            tally.names = [*tally.names, name]
        tally.count += 1
        tally.last_at = now
        tally.save()


def refuse_page(actor: Actor, refusal: Denied, *, now: datetime | None = None) -> None:
    """Put on record that somebody who is signed in may not see a page; asked for again and again, it is one
    entry in ten minutes. What a command refuses is always an entry."""
    now = now or timezone.now()
    again = AuditEntry.objects.filter(
        actor_name=line(actor.name, 150),
        action=refusal.action,
        outcome=Outcome.DENIED,
        object_type=refusal.about.type,
        object_id=refusal.about.id,
        at__gte=now - WINDOW,
    )
    if not again.exists():
        audit.record(actor, refusal.action, refusal.about, outcome=Outcome.DENIED, reason=refusal.sentence)
    refusal.recorded = True


def write_due(now: datetime) -> int:
    """Write the counted refusals of windows that are over; returns how many entries that made."""
    written = 0
    for key in list(AuditTally.objects.filter(since__lte=now - WINDOW).values_list("key", flat=True)[:500]):
        with transaction.atomic():
            tally = AuditTally.objects.select_for_update().filter(key=key).first()
            if tally is None:
                continue
            tally.delete()
            if tally.count:
                written += 1
                audit.record(
                    Actor(None, NOBODY, tally.source),
                    tally.action,
                    Subject(tally.object_type, name=", ".join(tally.names)),
                    outcome=Outcome.DENIED,
                    after={
                        "times": tally.count,
                        "from": tally.since.isoformat(),
                        "to": tally.last_at.isoformat(),
                    },
                )
    return written


def _tally(source: str, action: str, subject: Subject, now: datetime) -> AuditTally | None:
    """The open count of this kind, locked; None where this refusal is the first one and is to be an
    entry of its own."""
    known = AuditTally.objects.select_for_update().filter(key=_key(source, action, subject)).first()
    if known is not None:
        return known
    if AuditTally.objects.count() >= MOST_TALLIES:
        source = MANY
    tally, made = AuditTally.objects.get_or_create(
        key=_key(source, action, subject),
        defaults={
            "source": line(source, 200),
            "action": line(action, 60),
            "object_type": line(subject.type, 40),
            "since": now,
            "last_at": now,
        },
    )
    return None if made else tally


def _key(source: str, action: str, subject: Subject) -> str:
    return hashlib.sha256("\n".join((source, action, subject.type)).encode("utf-8", "replace")).hexdigest()
