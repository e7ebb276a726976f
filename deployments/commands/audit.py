"""Proving the audit and taking it out: both are acts of their own and on record."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from deployments.commands.base import command
from deployments.domain.actors import Actor
from deployments.domain.audit import CheckpointKind, VerificationState
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.ledger import audit, checkpoints, verification
from deployments.ledger.announce import announce
from deployments.ledger.chainwalk import Verdict
from deployments.ledger.queue import send_verification
from deployments.models import AuditCheckpoint, AuditEntry, AuditHead, AuditVerification
from deployments.policies import Action, require

AUDIT = Subject("audit", name="the whole audit")


@command(Action.VERIFY_AUDIT)
def begin_verification(actor: Actor) -> AuditVerification:
    """Have a worker walk the whole chain; the one that runs already where there is one.

    How it ended is an entry of its own.
    """
    require(actor, Action.VERIFY_AUDIT, AUDIT)
    now = timezone.now()
    try:
        with transaction.atomic():
            asked = AuditVerification.objects.create(
                asked_at=now,
                actor_id=actor.user_id,
                actor_name=actor.name[:150],
                source=actor.source[:200],
                state=VerificationState.RUNNING,
                message_at=now,
                total=AuditHead.objects.get().sequence,
            )
    except IntegrityError:
        return AuditVerification.objects.get(state=VerificationState.RUNNING)
    tell_pages()
    transaction.on_commit(lambda: send_verification(asked.pk))
    return asked


def tell_pages() -> None:
    """Have the state of the chain asked for again wherever it is shown. The time is its version: it is one
    object, and each row of it begins to count anew."""
    announce("audit", 0, int(timezone.now().timestamp() * 1000))


def verify(actor: Actor) -> Verdict:
    """Walk the chain here and now, and put on record what came out."""
    require(actor, Action.VERIFY_AUDIT, AUDIT)
    verdict = verification.verify()
    record_verdict(actor, verdict)
    return verdict


def record_verdict(actor: Actor, verdict: Verdict) -> AuditEntry:
    """The entry of a verification."""
    after: dict[str, Any] = {
        "entries": verdict.entries,
        "last": verdict.last,
        "hash": verdict.hash,
        "pruned": verdict.pruned,
        "checkpoints": verdict.checkpoints,
        "signed_to": verdict.signed_to,
    }
    broken = verdict.broken
    if broken is None:
        return audit.record(actor, Action.VERIFY_AUDIT, AUDIT, after=after)
    return audit.record(
        actor,
        Action.VERIFY_AUDIT,
        AUDIT,
        outcome=Outcome.FAILED,
        reason=f"Entry {broken.sequence}: {broken.sentence}.",
        after=after | {"broken_at": broken.sequence},
    )


def finish_verification(asked: AuditVerification, verdict: Verdict) -> None:
    """Write how a verification ended, onto its row and into the audit."""
    broken = verdict.broken
    with transaction.atomic():
        AuditVerification.objects.filter(pk=asked.pk, state=VerificationState.RUNNING).update(
            state=VerificationState.BROKEN if broken else VerificationState.HOLDS,
            finished_at=timezone.now(),
            checked=verdict.last,
            total=verdict.last if broken is None else asked.total,
            broken_at=broken.sequence if broken else None,
            sentence=broken.sentence[:500] if broken else "",
            notes=verdict.notes,
            version=F("version") + 1,
        )
        tell_pages()
        record_verdict(Actor(asked.actor_id, asked.actor_name, asked.source), verdict)


@command(Action.EXPORT_AUDIT)
def begin_export(actor: Actor, *, form: str, wanted: dict[str, str], links: bool = False) -> int:
    """Put on record that somebody takes entries out, before the first one leaves; returns the sequence of
    that entry, which is the last one that a whole export holds."""
    require(actor, Action.EXPORT_AUDIT, AUDIT)
    after = {"format": form, "filter": wanted or "none", "with_links": links}
    return audit.record(actor, Action.EXPORT_AUDIT, AUDIT, after=after).sequence


@command(Action.VERIFY_AUDIT)
def sign_checkpoint(actor: Actor) -> AuditCheckpoint:
    """Sign the chain as it is now, this act included."""
    require(actor, Action.VERIFY_AUDIT, AUDIT)
    audit.record(actor, "audit.checkpoint", AUDIT)
    return checkpoints.write(CheckpointKind.ASKED, timezone.now())
