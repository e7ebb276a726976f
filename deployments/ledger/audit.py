"""The only code that writes the audit's entries.

An entry's ``digest`` is the SHA-256 of its canonical encoding (``deployments.ledger.audit_values``); its
``hash`` is the SHA-256 of ``previous hash:sequence:digest``, all as ASCII. An entry is written in the
transaction of the change it tells of, as its last statement, so that the head is locked for the shortest
time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.db import connection, transaction
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.states import Outcome
from deployments.domain.subjects import Subject
from deployments.ledger import audit_stream
from deployments.ledger.audit_values import FIELDS, GENESIS, chain, detail, line, moment, text
from deployments.ledger.audit_values import digest as digest_of
from deployments.models import AuditEntry, AuditHead

__all__ = ["FIELDS", "GENESIS", "chain", "collected", "digest", "record", "values_of"]

NOTHING = Subject()
MAX_REASON = 2000

_COLUMNS = (*FIELDS, "digest")
# PostgreSQL moves the head and inserts the entry in one statement: the head's row is locked from here to
# the commit and for no round trip more. The head's old hash is read under the lock.
_APPEND = (  # the only names in it are our own columns
    "WITH old AS (SELECT sequence, hash FROM deployments_audithead FOR UPDATE), "  # noqa: S608
    "moved AS (UPDATE deployments_audithead AS head SET sequence = old.sequence + 1, hash = encode("
    "sha256(convert_to(old.hash || ':' || (old.sequence + 1)::text || ':' || %s, 'UTF8')), 'hex') "
    "FROM old RETURNING head.sequence, old.hash AS previous, head.hash) "
    f"INSERT INTO deployments_auditentry (sequence, previous, hash, {', '.join(_COLUMNS)}) "
    f"SELECT moved.sequence, moved.previous, moved.hash, "
    f"{', '.join('%s::jsonb' if name in ('before', 'after') else '%s' for name in _COLUMNS)} FROM moved "
    "RETURNING sequence, previous, hash"
)

_collecting: ContextVar[list[AuditEntry] | None] = ContextVar("audit_entries", default=None)


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
        actor_name=line(actor.name, 150),
        source=line(actor.source, 200),
        action=line(action, 60),
        object_type=line(subject.type, 40),
        object_id=line(subject.id, 64),
        object_name=line(subject.name, 300),
        team_id=subject.team_id,
        cluster_id=subject.cluster_id,
        operation_id=operation_id,
        outcome=str(outcome),
        reason=text(reason, MAX_REASON),
        before=detail(before),
        after=detail(after),
        manifest_digest=line(manifest_digest, 64),
    )
    entry.digest = digest(entry)
    # No savepoint: to give it back would be a round trip more while others wait for the head.
    with transaction.atomic(savepoint=False):
        if connection.vendor == "postgresql":
            _append(entry)
        else:
            entry.sequence, entry.previous, entry.hash = _advance(entry.digest)
            entry.save(force_insert=True)
        if audit_stream.wanted():
            transaction.on_commit(lambda: audit_stream.emit(entry), robust=True)
    collecting = _collecting.get()
    if collecting is not None:
        collecting.append(entry)
    return entry


@contextmanager
def collected() -> Iterator[list[AuditEntry]]:
    """The entries that are written inside, in order."""
    entries: list[AuditEntry] = []
    token = _collecting.set(entries)
    try:
        yield entries
    finally:
        _collecting.reset(token)


def values_of(entry: AuditEntry) -> dict[str, Any]:
    """The covered fields as the digest sees them."""
    values: dict[str, Any] = {name: getattr(entry, name) for name in FIELDS}
    values["at"] = moment(entry.at)
    return values


def digest(entry: AuditEntry) -> str:
    return digest_of(values_of(entry))


def _append(entry: AuditEntry) -> None:
    values = {name: getattr(entry, name) for name in _COLUMNS}
    for name in ("before", "after"):
        values[name] = None if values[name] is None else json.dumps(values[name])
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, [entry.digest, *values.values()])
        entry.sequence, entry.previous, entry.hash = cursor.fetchone()
    entry._state.adding = False
    entry._state.db = connection.alias


def _advance(entry_digest: str) -> tuple[int, str, str]:
    """Move the head by one entry: (sequence, previous hash, new hash). SQLite's transactions are begun
    with the write lock, so reading and writing are one."""
    head = AuditHead.objects.get()
    sequence, new = head.sequence + 1, chain(head.hash, head.sequence + 1, entry_digest)
    moved = AuditHead.objects.filter(sequence=head.sequence).update(sequence=sequence, hash=new)
    if moved != 1:
        raise RuntimeError("the audit's head moved under a transaction that holds the write lock")
    return sequence, head.hash, new
