"""What workers do for the audit: walk the chain, and delete what is older than it is kept for."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from django.db.models import F, Q
from django.utils import timezone

from deployments.commands import audit as commands
from deployments.commands import audit_retention
from deployments.domain.actors import PILOTHOUSE
from deployments.domain.audit import VerificationState
from deployments.ledger import verification
from deployments.ledger.chainwalk import Broken
from deployments.models import AuditVerification
from deployments.workflows.keeper import Stopping, keeper

BEAT = 1.0  # seconds between two lines of progress
LOST_AFTER = timedelta(seconds=30)

log = logging.getLogger(__name__)


def verify(verification_id: int) -> None:
    """Walk the chain for a row that was asked for. A second message for it does nothing while the first
    one's worker lives; a walk that was cut off begins anew, for it keeps nothing."""
    now = timezone.now()
    taken = AuditVerification.objects.filter(
        Q(beat_at=None) | Q(beat_at__lte=now - LOST_AFTER),
        pk=verification_id,
        state=VerificationState.RUNNING,
    ).update(beat_at=now)
    if not taken:
        return
    asked = AuditVerification.objects.get(pk=verification_id)
    told = time.monotonic()

    def progress(checked: int, total: int) -> None:
        nonlocal told
        if keeper.stopping.is_set():
            raise Stopping
        if time.monotonic() - told < BEAT:
            return
        told = time.monotonic()
        AuditVerification.objects.filter(pk=verification_id).update(
            beat_at=timezone.now(), checked=checked, total=total, version=F("version") + 1
        )
        commands.tell_pages()

    try:
        verdict = verification.verify(progress)
    except Stopping:
        # The timekeeper sends it again at once.
        AuditVerification.objects.filter(pk=verification_id).update(beat_at=None, message_at=None)
        return
    commands.finish_verification(asked, verdict)
    if verdict.broken is not None:
        log.error("the audit is broken at %s", verdict.broken)


def prune() -> int:
    """Delete what the stored policy lets go; returns how many entries went."""
    try:
        count = audit_retention.prune(PILOTHOUSE)
    except Broken as broken:
        log.error("retention stopped: the audit is broken at %s", broken)
        return 0
    if count:
        log.info("retention deleted %s audit entries", count)
    return count
