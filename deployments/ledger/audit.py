"""The only code that writes the audit.

An entry's ``digest`` is the SHA-256 of its canonical encoding (:func:`canonical`); its ``hash`` is the
SHA-256 of ``previous hash:sequence:digest``, all as ASCII. An entry is written in the transaction of
the change it tells of, as its last statement, so that the head is locked for the shortest time.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.models import AuditEntry, AuditHead

# The fields that the digest covers, in this order.
FIELDS = (
    "at",
    "actor_id",
    "actor_name",
    "source",
    "action",
    "object_type",
    "object_id",
    "object_name",
    "team_id",
    "cluster_id",
    "operation_id",
    "outcome",
    "reason",
    "before",
    "after",
    "manifest_digest",
)
MAX_DETAIL = 64 * 1024
NOTHING = Subject()


def record(
    actor: Actor,
    action: str,
    subject: Subject = NOTHING,
    *,
    outcome: Outcome = Outcome.DONE,
    operation_id: int | None = None,
    reason: str = "",
    before: Any = None,
    after: Any = None,
    manifest_digest: str = "",
) -> AuditEntry:
    """Append one entry. Call it last in the transaction of the change; without one it makes its own."""
    entry = AuditEntry(
        at=timezone.now(),
        actor_id=actor.user_id,
        actor_name=actor.name[:150],
        source=actor.source[:200],
        action=action,
        object_type=subject.type,
        object_id=subject.id,
        object_name=subject.name[:300],
        team_id=subject.team_id,
        cluster_id=subject.cluster_id,
        operation_id=operation_id,
        outcome=str(outcome),
        reason=reason,
        before=_bounded(before),
        after=_bounded(after),
        manifest_digest=manifest_digest,
    )
    entry.digest = digest(entry)
    with transaction.atomic():
        entry.sequence, entry.previous, entry.hash = _advance(entry.digest)
        entry.save(force_insert=True)
    return entry


def canonical(entry: AuditEntry) -> bytes:
    """UTF-8 JSON of the covered fields: keys sorted, no blanks, no ASCII escapes; the time as
    ``YYYY-MM-DDTHH:MM:SS.ffffffZ`` in UTC; numbers and null as JSON has them."""
    values: dict[str, Any] = {name: getattr(entry, name) for name in FIELDS}
    at: datetime = values["at"]
    values["at"] = at.astimezone(timezone.get_fixed_timezone(0)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(entry: AuditEntry) -> str:
    return hashlib.sha256(canonical(entry)).hexdigest()


def chain(previous: str, sequence: int, entry_digest: str) -> str:
    """The hash of the entry at ``sequence``."""
    return hashlib.sha256(f"{previous}:{sequence}:{entry_digest}".encode("ascii")).hexdigest()


def _advance(entry_digest: str) -> tuple[int, str, str]:
    """Move the head by one entry: (sequence, previous hash, new hash).

    PostgreSQL does it in one statement, which holds the row's lock for its own length only. SQLite's
    transactions are begun with the write lock, so reading and writing are one there anyway.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "WITH old AS (SELECT sequence, hash FROM deployments_audithead FOR UPDATE) "
                "UPDATE deployments_audithead AS head SET sequence = old.sequence + 1, hash = encode("
                "sha256(convert_to(old.hash || ':' || (old.sequence + 1)::text || ':' || %s, 'UTF8')), 'hex') "
                "FROM old RETURNING head.sequence, old.hash, head.hash",
                [entry_digest],
            )
            sequence, previous, new = cursor.fetchone()
            return sequence, previous, new
    head = AuditHead.objects.get()
    sequence, new = head.sequence + 1, chain(head.hash, head.sequence + 1, entry_digest)
    moved = AuditHead.objects.filter(sequence=head.sequence).update(sequence=sequence, hash=new)
    if moved != 1:
        raise RuntimeError("the audit's head moved under a transaction that holds the write lock")
    return sequence, head.hash, new


def first_broken() -> tuple[int, str] | None:
    """Walk the whole chain: None where it holds, else (sequence, what is wrong there)."""
    previous, expected = "0" * 64, 1
    for entry in AuditEntry.objects.order_by("sequence").iterator(chunk_size=2000):
        if entry.sequence != expected:
            return expected, f"entry {expected} is missing"
        if entry.previous != previous:
            return expected, "it does not continue the entry before it"
        if digest(entry) != entry.digest:
            return expected, "its content was altered"
        if chain(previous, expected, entry.digest) != entry.hash:
            return expected, "its hash does not fit"
        previous, expected = entry.hash, expected + 1
    head = AuditHead.objects.get()
    if (head.sequence, head.hash) != (expected - 1, previous):
        return expected, "entries after it were removed"
    return None


def _bounded(value: Any) -> Any:
    """The value, or a note of its size where it is too large to keep."""
    if value is None:
        return None
    text = json.dumps(value, ensure_ascii=False, default=str)
    if len(text) > MAX_DETAIL:
        return {"omitted": "too large", "bytes": len(text)}
    return json.loads(text)
