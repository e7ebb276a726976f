"""Proving the chain in the database, from the first entry to the head.

Rows are read as the database has them and not through the models: a row that was altered by hand need not
be one that a model can load. The walk holds a few thousand rows at a time, however long the chain is, and
no transaction, so that nobody waits for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.db import connection

from deployments.ledger import checkpoints
from deployments.ledger.audit_values import FIELDS, digest
from deployments.ledger.chainwalk import Broken, Gaps, Verdict, Walk
from deployments.ledger.checkpoints import Gap
from deployments.models import AuditCheckpoint, AuditEntry, AuditGap, AuditHead, Installation

CHUNK = 2000
COLUMNS = ("sequence", *FIELDS, "digest", "previous", "hash")
_AS_TEXT = {
    "postgresql": {
        "at": """to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')""",
        "before": "before::text",
        "after": "after::text",
    },
    "sqlite": {"before": 'CAST("before" AS TEXT)', "after": 'CAST("after" AS TEXT)'},
}
_SQLITE_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?")


def verify(progress: Callable[[int, int], None] | None = None) -> Verdict:
    """Walk the whole chain. ``progress`` is called with (entries seen, entries in all) after each chunk
    and may raise to stop the walk."""
    # Writers go on meanwhile. Read in this order, each is at least as new as what stands above it: every
    # gap has its checkpoint here, and every checkpoint its entry below the head.
    walk, gaps, count = Walk(), Gaps(), 0
    signed: dict[object, str] = {}
    for gap in AuditGap.objects.order_by("first").iterator(chunk_size=CHUNK):
        gaps.add(gap.checkpoint_id, Gap(gap.first, gap.last, gap.before, gap.after))
    installation = str(Installation.objects.get().uid)
    for checkpoint in AuditCheckpoint.objects.order_by("id").iterator(chunk_size=CHUNK):
        fault = _fault(checkpoint, installation)
        walk.expect(checkpoint.sequence, checkpoint.hash, fault)
        signed[checkpoint.pk] = "" if fault else checkpoint.pruned
        count += 1
    head = AuditHead.objects.get()
    broken = None
    try:
        _walk(walk, head.sequence, progress)
        gaps.compare(signed)
        walk.ends_at(head.sequence, head.hash)
        walk.beyond()
        _nothing_behind_the_head()
    except Broken as found:
        broken = found
    return walk.verdict(checked=count, broken=broken)


def _walk(walk: Walk, last: int, progress: Callable[[int, int], None] | None) -> None:
    between = _GapReader()
    while walk.expected <= last:
        chunk = list(read_rows(walk.expected, last, CHUNK))
        for row in chunk:
            sequence = row[0]
            while isinstance(sequence, int) and sequence > walk.expected:
                walk.gap(between.at(walk.expected))
            feed(walk, row)
        if not chunk:
            # What is left up to the head are gaps, or missing.
            walk.gap(between.at(walk.expected))
        if progress is not None:
            progress(min(walk.expected - 1, last), last)


def feed(walk: Walk, row: tuple[Any, ...]) -> None:
    """Give one row of :func:`read_rows` to the walk."""
    sequence = row[0]
    try:
        values = values_of(row)
        covered = digest(values)
    except (ValueError, RecursionError) as error:
        if sequence == walk.expected:
            raise Broken(walk.expected, "its content was altered: it cannot be read") from error
        raise Broken(walk.expected, "it is missing") from error
    walk.entry(sequence, values["at"], row[-3], row[-2], row[-1], covered)


def values_of(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of :func:`read_rows` as the digest sees it. Raises ValueError for what no entry can hold."""
    values = dict(zip(FIELDS, row[1:-3], strict=True))
    values["at"] = _moment(values["at"])
    for name in ("before", "after"):
        if values[name] is not None:
            values[name] = json.loads(values[name])
    return values


def read_rows(
    first: int, last: int, most: int, where: str = "", given: tuple[Any, ...] = ()
) -> Iterator[Any]:
    """Rows of :data:`COLUMNS` from ``first`` to ``last`` in order, at most ``most``; ``at`` and the two
    details as texts."""
    text = _AS_TEXT[connection.vendor]
    wanted = ", ".join(text.get(name, f'"{name}"') for name in COLUMNS)
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {wanted} FROM deployments_auditentry WHERE sequence >= %s AND sequence <= %s "  # noqa: S608
            f"{where}ORDER BY sequence LIMIT %s",
            [first, last, *given, most],
        )
        yield from cursor.fetchall()


def _moment(stored: object) -> str:
    """The time as the digest has it. SQLite keeps a text of its own, in UTC."""
    written = str(stored)
    if written.endswith("Z"):
        return written
    match = _SQLITE_TIME.fullmatch(written)
    if match is None:
        raise ValueError("this is no time")
    day, clock, fraction = match.groups()
    return f"{day}T{clock}.{(fraction or '').ljust(6, '0')}Z"


class _GapReader:
    """Gaps in order, a chunk at a time."""

    def __init__(self) -> None:
        self._held: dict[int, Gap] = {}

    def at(self, sequence: int) -> Gap:
        """The gap that begins here. Raises :class:`Broken` where none does."""
        if sequence not in self._held:
            rows: Mapping[int, AuditGap] = {
                row.first: row
                for row in AuditGap.objects.filter(first__gte=sequence).order_by("first")[:CHUNK]
            }
            self._held = {
                first: Gap(row.first, row.last, row.before, row.after) for first, row in rows.items()
            }
        if sequence not in self._held:
            raise Broken(sequence, "it is missing")
        return self._held[sequence]


def _fault(checkpoint: AuditCheckpoint, installation: str) -> str:
    """What is wrong with a checkpoint by itself, "" where nothing is."""
    wrong = checkpoints.fault(
        checkpoint.statement, checkpoint.public_key, checkpoint.signature, checkpoints.known_keys()
    )
    if wrong:
        return wrong
    try:
        said = checkpoints.read(checkpoint.statement)
    except ValueError as error:
        return str(error)
    if said.installation != installation:
        return "it was signed for another installation"
    if (said.sequence, said.hash, said.pruned) != (checkpoint.sequence, checkpoint.hash, checkpoint.pruned):
        return "it says something else than what was signed"
    return ""


def _nothing_behind_the_head() -> None:
    newest = AuditEntry.objects.order_by("-sequence").values_list("sequence", flat=True).first()
    head = AuditHead.objects.get()  # read after the newest entry: it cannot be behind
    if newest is not None and newest > head.sequence:
        raise Broken(head.sequence + 1, "it stands behind the end of the chain")
