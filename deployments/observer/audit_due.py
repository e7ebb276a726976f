"""What the audit needs from time to time: a signed checkpoint a day, retention a day, counted refusals
written down, and a verification begun that no worker has taken."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import Q

from deployments.domain.audit import VerificationState
from deployments.ledger import checkpoints, denials, queue
from deployments.models import AuditRetention, AuditVerification

RETENTION_EVERY = timedelta(days=1)
AGAIN_AFTER = timedelta(seconds=60)


def tend_audit(now: datetime) -> None:
    """Do what is due; safe to do twice."""
    denials.write_due(now)
    checkpoints.write_due(now)
    send_waiting(now)
    send_retention(now)


def send_waiting(now: datetime) -> int:
    """Send verifications again that no worker is at; returns how many."""
    silent = Q(beat_at=None) | Q(beat_at__lte=now - AGAIN_AFTER)
    unsent = Q(message_at=None) | Q(message_at__lte=now - AGAIN_AFTER)
    waiting = AuditVerification.objects.filter(silent, unsent, state=VerificationState.RUNNING)
    sent = 0
    for pk in list(waiting.values_list("pk", flat=True)):
        if AuditVerification.objects.filter(unsent, pk=pk).update(message_at=now):
            sent += queue.send_verification(pk)
    return sent


def send_retention(now: datetime) -> bool:
    """Have a worker delete old entries, once a day; asked again each round until it did."""
    old = Q(applied_at=None) | Q(applied_at__lte=now - RETENTION_EVERY)
    return AuditRetention.objects.filter(old).exists() and queue.send_pruning()
