"""The two forms of an export of the audit, written and read record by record.

An export is a header, checkpoints, then entries in their order with gaps (and, where it is asked for, the
digests of the entries left out) between them, and an end. JSON Lines has one object a record; CSV has
entries in columns and everything else as JSON in the column ``statement``.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from deployments.ledger.audit_values import FIELDS, encode

FORMAT, VERSION = "pilothouse-audit", 1
JSONL, CSV = "jsonl", "csv"
PROOF = ("digest", "previous", "hash")
ENTRY_KEYS = frozenset({"record", "sequence", *FIELDS, *PROOF})
COLUMNS = ("record", "sequence", *FIELDS, *PROOF, "statement", "public_key", "signature")
NUMBERS = frozenset({"sequence", "actor_id", "team_id", "cluster_id", "operation_id"})
DETAILS = frozenset({"before", "after"})
MAX_LINE = 4 * 1024 * 1024
# What a spreadsheet takes for the beginning of a formula, also in its wide forms.
FORMULA = "=+-@＝＋－＠"
BYTE_ORDER = "\ufeff"  # without it spreadsheets read UTF-8 as something else


class Unreadable(ValueError):
    """A line that is no record."""


def guard(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes in front of what could be one, and
    in front of an apostrophe, so that :func:`unguard` gives back what was there."""
    first = cell.lstrip()[:1]
    return f"'{cell}" if cell[:1] in ("'", "\t", "\r", "\n") or (first and first in FORMULA) else cell


def unguard(cell: str) -> str:
    return cell.removeprefix("'")


def write(records: Iterable[Mapping[str, Any]], form: str) -> bytes:
    """Records one after another."""
    if form == JSONL:
        return b"".join(encode(dict(record)) + b"\n" for record in records)
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows(_row(record) for record in records)
    return text.getvalue().encode()


def head(form: str) -> bytes:
    """What stands before the first record."""
    if form == JSONL:
        return b""
    text = io.StringIO()
    csv.writer(text, quoting=csv.QUOTE_ALL).writerow(COLUMNS)
    return (BYTE_ORDER + text.getvalue()).encode()


def _row(record: Mapping[str, Any]) -> list[str]:
    kind = record["record"]
    if kind == "entry":
        return [_cell(name, record.get(name)) for name in COLUMNS]
    row = dict.fromkeys(COLUMNS, "")
    row["record"] = kind
    if kind == "checkpoint":
        row |= {name: guard(record[name]) for name in ("statement", "public_key", "signature")}
    else:
        row["statement"] = encode({key: value for key, value in record.items() if key != "record"}).decode()
    return list(row.values())


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name in DETAILS:
        return guard(encode(value).decode())
    return guard(str(value))


def read(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, record) of an export in either form, a record at a time. Raises :class:`Unreadable`."""
    start = file.read(1)
    file.seek(0)
    return _read_lines(file) if start == b"{" else _read_rows(file)


def _read_lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    while line := file.readline(MAX_LINE):
        number += 1
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"line {number} is no JSON") from error
        if not isinstance(record, dict):
            raise Unreadable(f"line {number} is no record")
        yield number, record


def _read_rows(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""), strict=True)
    try:
        if tuple(next(reader, ())) != COLUMNS:
            raise Unreadable("line 1 does not have the columns of an export")
        for row in reader:
            if len(row) != len(COLUMNS):
                raise Unreadable(f"line {reader.line_num} has {len(row)} columns")
            yield reader.line_num, _record(dict(zip(COLUMNS, row, strict=True)), reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise Unreadable(f"line {reader.line_num} is no CSV") from error


def _record(row: dict[str, str], line: int) -> dict[str, Any]:
    cells = {name: unguard(text) for name, text in row.items()}
    kind = cells["record"]
    try:
        if kind == "entry":
            if cells["statement"] or cells["public_key"] or cells["signature"]:
                raise Unreadable(f"line {line} has more than an entry")
            return {name: _value(name, cells[name]) for name in COLUMNS if name in ENTRY_KEYS}
        if kind == "checkpoint":
            return {name: cells[name] for name in ("record", "statement", "public_key", "signature")}
        said = json.loads(cells["statement"])
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"line {line} cannot be read") from error
    if not isinstance(said, dict):
        raise Unreadable(f"line {line} is no record")
    return {**said, "record": kind}


def _value(name: str, text: str) -> Any:
    if name in NUMBERS:
        return int(text) if text else None
    if name in DETAILS:
        return json.loads(text) if text else None
    return text
