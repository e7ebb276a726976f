"""Reading entries for an export: in the order of the chain, a window at a time, however many there are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Max, Min
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.ledger.audit_values import FIELDS, GENESIS, moment
from deployments.ledger.export_format import CSV, FORMAT, VERSION, head, write
from deployments.ledger.verification import read_rows, values_of
from deployments.models import AuditCheckpoint, AuditEntry, AuditGap, Installation
from deployments.selectors.audit import EntryFilter, narrowed, visible

WINDOW = 1000


@dataclass(frozen=True)
class Export:
    """What is written: ``last`` is the newest entry that may be in it. ``links`` also writes the digests of
    entries that the filter leaves out, from the first to the next checkpoint, so that the chain can be
    walked over them; JSON Lines only."""

    actor: Actor
    wanted: EntryFilter
    form: str
    last: int
    links: bool = False

    def parts(self) -> Iterator[bytes]:
        """The file, piece by piece; each piece is read from the database when it is asked for."""
        links = self.links and self.form != CSV
        selection = self.wanted.any and not links
        first, last, before = self._range(links)
        yield head(self.form) + write([self._header(first, last, before, selection)], self.form)
        checkpoints = self._checkpoints(first, last)
        yield write((_checkpoint(row) for row in checkpoints), self.form)
        gaps = _Gaps([row.pk for row in checkpoints])
        yield from self._write(gaps.before(first))
        entries, hash_ = 0, before
        for records in self._windows(first, last, links, selection, gaps):
            for record in records:
                if record["record"] == "entry":
                    entries, hash_ = entries + 1, record["hash"]
            yield write(records, self.form)
        yield from self._write(gaps.rest())
        if not selection:
            hash_ = self._hash_at(last, hash_)
        yield write([{"record": "end", "entries": entries, "last": last, "hash": hash_}], self.form)

    def _rows(self) -> Any:
        return narrowed(visible(self.actor), self.wanted).filter(sequence__lte=self.last).order_by("sequence")

    def _range(self, links: bool) -> tuple[int, int, str]:
        """(first, last, hash before the first)."""
        if not self.wanted.any:
            return 1, self.last, GENESIS
        ends = self._rows().aggregate(first=Min("sequence"), last=Max("sequence"))
        if ends["first"] is None:
            return self.last + 1, self.last, ""
        first, last = ends["first"], ends["last"]
        if links:
            sealed = AuditCheckpoint.objects.filter(sequence__gte=last, sequence__lte=self.last)
            last = sealed.aggregate(next=Min("sequence"))["next"] or self.last
            over = AuditGap.objects.filter(first__lte=last, last__gte=last).first()
            last = over.last if over is not None else last
        before = AuditEntry.objects.values_list("previous", flat=True).get(sequence=first)
        return first, last, before

    def _header(self, first: int, last: int, before: str, selection: bool) -> dict[str, Any]:
        return {
            "record": "header",
            "format": FORMAT,
            "version": VERSION,
            "installation": str(Installation.objects.get().uid),
            "made_at": moment(timezone.now()),
            "made_by": self.actor.name,
            "filter": {name: str(value) for name, value in vars(self.wanted).items() if value} or None,
            "selection": selection,
            "first": first,
            "last": last,
            "before": before,
        }

    def _checkpoints(self, first: int, last: int) -> list[AuditCheckpoint]:
        """Those that speak of the range, and those that signed a gap in it."""
        within = AuditCheckpoint.objects.filter(sequence__gte=first, sequence__lte=last)
        closing = AuditCheckpoint.objects.filter(gaps__first__lte=last, gaps__last__gte=first)
        return list((within | closing).distinct().order_by("sequence", "id"))

    def _windows(
        self, first: int, last: int, links: bool, selection: bool, gaps: _Gaps
    ) -> Iterator[list[dict[str, Any]]]:
        at = first
        while at <= last:
            if selection:
                wanted = list(
                    self._rows().filter(sequence__gte=at).values_list("sequence", flat=True)[:WINDOW]
                )
                if not wanted:
                    return
                marks = ", ".join(["%s"] * len(wanted))
                rows = list(read_rows(at, last, WINDOW, f"AND sequence IN ({marks}) ", tuple(wanted)))
                chosen = None
            else:
                rows = list(read_rows(at, last, WINDOW))
                until = rows[-1][0] if rows else last
                chosen = (
                    set(
                        self._rows()
                        .filter(sequence__gte=at, sequence__lte=until)
                        .values_list("sequence", flat=True)
                    )
                    if links and self.wanted.any
                    else None
                )
            yield _records(rows, chosen, gaps)
            if not rows or len(rows) < WINDOW:
                return
            at = rows[-1][0] + 1

    def _write(self, records: Iterator[dict[str, Any]]) -> Iterator[bytes]:
        batch: list[dict[str, Any]] = []
        for record in records:
            batch.append(record)
            if len(batch) == WINDOW:
                yield write(batch, self.form)
                batch = []
        if batch:
            yield write(batch, self.form)

    def _hash_at(self, last: int, known: str) -> str:
        """The hash at the end of a range, which a left out entry or a gap may be."""
        found = AuditEntry.objects.filter(sequence=last).values_list("hash", flat=True).first()
        if found is None:
            found = AuditGap.objects.filter(last=last).values_list("after", flat=True).first()
        return found or known


class _Gaps:
    """The gaps of some checkpoints in order, taken as the reader comes past them. They are read a window
    at a time by their numbers, since the connection is given back between two pieces of the file."""

    def __init__(self, checkpoints: list[int]) -> None:
        self._checkpoints = checkpoints
        self._held: list[AuditGap] = []
        self._at = 0

    def before(self, sequence: int) -> Iterator[dict[str, Any]]:
        """Those that begin before an entry."""
        while (gap := self._look()) is not None and gap.first < sequence:
            self._held.pop(0)
            yield _gap(gap)

    def rest(self) -> Iterator[dict[str, Any]]:
        while (gap := self._look()) is not None:
            self._held.pop(0)
            yield _gap(gap)

    def _look(self) -> AuditGap | None:
        if not self._held and self._checkpoints:
            rows = AuditGap.objects.filter(checkpoint_id__in=self._checkpoints, first__gt=self._at)
            self._held = list(rows.select_related("checkpoint").order_by("first")[:WINDOW])
            if not self._held:
                self._checkpoints = []
                return None
            self._at = self._held[-1].first
        return self._held[0] if self._held else None


def _records(rows: list[Any], chosen: set[int] | None, gaps: _Gaps) -> list[dict[str, Any]]:
    """Rows as records; those that are not ``chosen`` as runs of digests."""
    records: list[dict[str, Any]] = []
    links: dict[str, Any] | None = None
    for row in rows:
        passed = list(gaps.before(row[0]))
        if passed:
            records += passed
            links = None
        if chosen is None or row[0] in chosen:
            records.append(_entry(row))
            links = None
        elif links is None:
            links = {"record": "links", "first": row[0], "digests": [row[-3]]}
            records.append(links)
        else:
            links["digests"].append(row[-3])
    return records


def _entry(row: Any) -> dict[str, Any]:
    try:
        values = values_of(row)
    except (ValueError, RecursionError):
        # Somebody altered it so that it cannot be read: it goes out as it is, and proves just that.
        values = {
            name: None if value is None else str(value) for name, value in zip(FIELDS, row[1:-3], strict=True)
        }
    return {
        "record": "entry",
        "sequence": row[0],
        **values,
        "digest": row[-3],
        "previous": row[-2],
        "hash": row[-1],
    }


def _checkpoint(row: AuditCheckpoint) -> dict[str, Any]:
    return {
        "record": "checkpoint",
        "statement": row.statement,
        "public_key": row.public_key,
        "signature": row.signature,
    }


def _gap(row: AuditGap) -> dict[str, Any]:
    return {
        "record": "gap",
        "first": row.first,
        "last": row.last,
        "before": row.before,
        "after": row.after,
        "signed_at": row.checkpoint.sequence,
    }
