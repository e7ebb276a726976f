"""Proving an export: the walk of ``deployments.ledger.chainwalk`` over a file, a record at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO

from deployments.ledger import checkpoints
from deployments.ledger.audit_values import GENESIS, digest
from deployments.ledger.chainwalk import Broken, Gaps, Verdict, Walk
from deployments.ledger.checkpoints import Gap
from deployments.ledger.export_format import ENTRY_KEYS, FORMAT, VERSION, Unreadable, read


def check_file(file: BinaryIO, keys: frozenset[str]) -> Verdict:
    """Walk an export. Its checkpoints must be signed with one of ``keys``; empty believes any key."""
    check = _Check(keys)
    try:
        try:
            for _line, record in read(file):
                check.take(record)
        except Unreadable as error:
            raise Broken(check.walk.expected, f"the file is damaged there: {error}") from error
        check.close()
    except Broken as broken:
        return check.walk.verdict(checked=check.count, broken=broken)
    return check.walk.verdict(checked=check.count)


@dataclass
class _Check:
    keys: frozenset[str]
    walk: Walk = field(default_factory=Walk)
    count: int = 0
    header: dict[str, Any] | None = None
    end: dict[str, Any] | None = None
    signed: dict[object, str] = field(default_factory=dict)
    gaps: Gaps = field(default_factory=Gaps)
    _begun: bool = False

    def take(self, record: dict[str, Any]) -> None:
        """The next record of the file."""
        kind = record.get("record")
        if self.end is not None:
            raise Broken(self.walk.expected, "the file goes on behind its end")
        if (self.header is None) != (kind == "header"):
            raise Broken(self.walk.expected, "the file does not begin with one header")
        try:
            if kind == "header":
                self._header(record)
            elif kind == "checkpoint":
                self._checkpoint(record)
            elif kind == "gap":
                self._gap(record)
            elif kind == "links":
                self._links(record)
            elif kind == "entry":
                self._entry(record)
            elif kind == "end":
                self.end = record
            else:
                raise Broken(self.walk.expected, "a record of no known kind stands there")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise Broken(self.walk.expected, "the record there is not complete") from error

    def close(self) -> None:
        """What can be said only at the end of the file."""
        if self.header is None:
            raise Broken(1, "the file is no export: it has no header")
        if self.end is None:
            raise Broken(self.walk.expected, "the file is cut off before it")
        self.gaps.compare(self.signed)
        if self.end.get("entries") != self.walk.entries:
            raise Broken(self.walk.expected, f"the file should hold {self.end.get('entries')} entries")
        if self.end.get("last") != self.header["last"]:
            raise Broken(self.walk.expected, "the file's end is that of another file")
        if self.selection:
            self.walk.notes.append("The file is a selection: what stands between its entries is not in it.")
        else:
            self.walk.ends_at(self.header["last"], str(self.end.get("hash")))
            self.walk.beyond()

    @property
    def selection(self) -> bool:
        return bool(self.header and self.header["selection"])

    def _header(self, record: dict[str, Any]) -> None:
        if record["format"] != FORMAT or record["version"] != VERSION:
            raise Broken(1, "the file is no export of a version that is known here")
        first, before = record["first"], record["before"]
        if not _number(first) or not _number(record["last"]) or not isinstance(before, str):
            raise Broken(1, "the file's header is not complete")
        self.header = record
        self.walk = Walk(previous=before, expected=first)
        if first == 1 and before != GENESIS:
            raise Broken(1, "it follows something, and nothing can stand before it")
        if first > 1 and not record["selection"]:
            self.walk.notes.append(f"The file begins at entry {first}: what stands before it is not in it.")

    def _checkpoint(self, record: dict[str, Any]) -> None:
        assert self.header is not None
        if self._begun:
            raise Broken(self.walk.expected, "a checkpoint stands out of its place")
        statement = record["statement"]
        fault = checkpoints.fault(statement, record["public_key"], record["signature"], self.keys)
        said = checkpoints.read(statement)
        if not fault and said.installation != self.header["installation"]:
            fault = "it was signed for another installation"
        self.count += 1
        if said.pruned and not fault:
            self.signed[said.sequence] = said.pruned
        if fault or self.header["first"] <= said.sequence <= self.header["last"]:
            self.walk.expect(said.sequence, said.hash, fault)

    def _gap(self, record: dict[str, Any]) -> None:
        assert self.header is not None
        gap = Gap(record["first"], record["last"], record["before"], record["after"])
        if not _number(gap.first) or not _number(gap.last):
            raise Broken(self.walk.expected, "a gap there is not complete")
        self.gaps.add(record["signed_at"], gap)
        outside = gap.last < self.header["first"] or gap.first > self.header["last"]
        if not outside and not self.selection:
            self._begun = True
            self.walk.gap(gap)

    def _links(self, record: dict[str, Any]) -> None:
        self._begun = True
        if record["first"] != self.walk.expected or self.selection:
            raise Broken(self.walk.expected, "it is missing")
        for each in record["digests"]:
            self.walk.link(str(each))

    def _entry(self, record: dict[str, Any]) -> None:
        self._begun = True
        sequence = record["sequence"]
        if not _number(sequence):
            raise Broken(self.walk.expected, "it is missing: what stands in its place has no number")
        if frozenset(record) != ENTRY_KEYS:
            raise Broken(sequence, "its content was altered: it has other fields than an entry")
        if self.selection:
            if sequence < self.walk.expected:
                raise Broken(sequence, "it is out of its order")
            if sequence > self.walk.expected or not self.walk.entries:
                # Nothing is known of what it follows.
                self.walk.previous, self.walk.expected = record["previous"], sequence
        self.walk.entry(
            sequence, record["at"], record["digest"], record["previous"], record["hash"], digest(record)
        )


def _number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
