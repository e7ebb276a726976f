"""Exports: complete, provable with our own command and with the verifier that shares no code with us."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.audit import CheckpointKind
from deployments.domain.subjects import Subject
from deployments.ledger import audit, checkpoints
from deployments.ledger.export_check import check_file
from deployments.ledger.export_format import CSV, JSONL
from deployments.models import AuditHead
from deployments.selectors.audit import EntryFilter
from deployments.selectors.audit_export import Export

pytestmark = pytest.mark.django_db

VERIFIER = Path(__file__).resolve().parents[2] / "docs" / "verify_export.py"
NASTY = [
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "'quoted",
    "\t=1",
    "a\x00b\x1b[31m\u202e",
    "line\nline",
    '，"“',
]


def exported(path: Path, wanted: EntryFilter | None = None, form: str = JSONL, links: bool = False) -> Path:
    last = AuditHead.objects.get().sequence
    path.write_bytes(b"".join(Export(PILOTHOUSE, wanted or EntryFilter(), form, last, links).parts()))
    return path


def independent(path: Path, *more: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(VERIFIER), str(path), *more], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def chain() -> None:
    """Twelve entries with what people may write, a checkpoint after the sixth."""
    for number in range(12):
        if number == 6:
            checkpoints.write(CheckpointKind.DAILY, timezone.now())
        name = NASTY[number % len(NASTY)]
        audit.record(
            Actor(None if number % 2 else number, name, "198.51.100.7"),
            "deployment.install" if number % 3 else "session.begin",
            Subject("deployment", str(number % 4), name, team_id=number or None, cluster_id=2),
            reason=name,
            before={"n": number, name: [name, 0.1, 10**20]},
            after={"token": "never to be seen", "n": number + 1},
        )


@pytest.mark.parametrize("form", [JSONL, CSV])
def test_a_whole_export_is_proven_by_us_and_by_a_stranger(chain: None, tmp_path: Path, form: str) -> None:
    path = exported(tmp_path / "audit", form=form)
    with path.open("rb") as file:
        verdict = check_file(file, checkpoints.known_keys())
    assert (verdict.broken, verdict.entries, verdict.signed_to) == (None, 12, 6)
    status, said = independent(path, "--key", checkpoints.public_key())
    assert (status, said.splitlines()[0]) == (0, "The chain holds up to entry 12: 12 entries.")
    assert b"never to be seen" not in path.read_bytes()


def test_a_spreadsheet_finds_no_formula_and_no_control_character(chain: None, tmp_path: Path) -> None:
    path = exported(tmp_path / "audit.csv", form=CSV)
    with path.open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert any(cell.startswith("'=cmd") for cell in cells)
    assert not any(cell.lstrip()[:1] in tuple("=+-@") for cell in cells if cell)
    assert not any(ord(letter) < 32 and letter not in "\n\t" for cell in cells for letter in cell)


def test_a_filtered_export_proves_what_is_in_it_over_what_is_left_out(chain: None, tmp_path: Path) -> None:
    wanted = EntryFilter(action="session.begin")
    path = exported(tmp_path / "linked", wanted, links=True)
    with path.open("rb") as file:
        verdict = check_file(file, checkpoints.known_keys())
    assert (verdict.broken, verdict.entries, verdict.skipped, verdict.last) == (None, 4, 8, 12)
    assert independent(path)[0] == 0
    alone = exported(tmp_path / "alone", wanted)
    status, said = independent(alone)
    assert status == 0 and "selection" in said
    with alone.open("rb") as file:
        assert check_file(file, checkpoints.known_keys()).entries == 4


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def edit(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> Path:
    records = lines_of(path)
    change(records)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def entry_at(records: list[dict[str, Any]], sequence: int) -> dict[str, Any]:
    return next(record for record in records if record.get("sequence") == sequence)


EDITS: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], str]] = {
    "cut off": (lambda records: records.__delitem__(slice(8, None)), "cut off"),
    "an entry less": (lambda records: records.remove(entry_at(records, 5)), "Entry 5: it is missing"),
    "an entry twice": (lambda records: records.insert(6, entry_at(records, 4)), "Entry"),
    "two exchanged": (
        lambda records: records.insert(5, records.pop(records.index(entry_at(records, 6)))),
        "Entry",
    ),
    "a field more": (lambda records: entry_at(records, 3).update(note="forged"), "Entry 3"),
    "the header's end": (lambda records: records[0].update(last=11), "Entry"),
    "another start": (lambda records: records[0].update(before="1" * 64), "Entry 1"),
    "the signature": (lambda records: records[1].update(signature="00" * 64), "Entry 6"),
    "the statement": (
        lambda records: records[1].update(statement=records[1]["statement"].replace("daily", "asked")),
        "Entry 6",
    ),
    "something behind": (lambda records: records.append(records[-2]), "behind its end"),
    "nothing": (lambda records: records.clear(), "Entry 1"),
}


@pytest.mark.parametrize("what", EDITS)
def test_an_edited_export_is_refused(chain: None, tmp_path: Path, what: str) -> None:
    change, words = EDITS[what]
    path = edit(exported(tmp_path / "audit"), change)
    with pytest.raises(CommandError, match=words) as refused:
        call_command("verify_audit", file=str(path))
    assert refused.value.returncode == 1
    status, said = independent(path)
    assert (status, words in said) == (1, True), said


def test_every_field_of_an_entry_counts_in_an_export(chain: None, tmp_path: Path) -> None:
    whole = exported(tmp_path / "audit").read_text()
    path = tmp_path / "edited"
    for field in [*audit.FIELDS, "digest", "previous", "hash"]:
        path.write_text(whole)
        edit(
            path,
            lambda records, name=field: entry_at(records, 4).update({name: "2020-01-01T00:00:00.000000Z"}),
        )
        with path.open("rb") as file:
            broken = check_file(file, checkpoints.known_keys()).broken
        assert broken is not None and broken.sequence == 4, field


def test_a_checkpoint_of_another_key_is_not_believed(chain: None, tmp_path: Path) -> None:
    path = exported(tmp_path / "audit")
    with pytest.raises(CommandError, match=r"Entry 6.*key"):
        call_command("verify_audit", file=str(path), key=["ab" * 32])
    status, said = independent(path, "--key", "ab" * 32)
    assert status == 1 and "another key" in said


def test_a_checkpoint_kept_outside_uncovers_a_chain_that_was_rewritten(chain: None, tmp_path: Path) -> None:
    signed = checkpoints.write(CheckpointKind.ASKED, timezone.now())
    kept = tmp_path / "kept.json"
    kept.write_text(
        json.dumps(
            {
                "statement": signed.statement,
                "public_key": signed.public_key,
                "signature": signed.signature,
            }
        )
    )
    path = exported(tmp_path / "audit")
    assert independent(path, "--checkpoint", str(kept))[0] == 0

    def rewrite(records: list[dict[str, Any]]) -> None:
        """Whoever owns the database does it consistently, and drops the checkpoints."""
        previous = "0" * 64
        entry_at(records, 2)["reason"] = "never happened"
        records[:] = [record for record in records if record["record"] != "checkpoint"]
        for record in records:
            if record["record"] == "entry":
                record["digest"] = audit.digest_of(record)
                record["previous"] = previous
                previous = record["hash"] = audit.chain(previous, record["sequence"], record["digest"])
        records[-1]["hash"] = previous

    edit(path, rewrite)
    assert independent(path)[0] == 0, "consistent in itself: this is what no chain can show"
    status, said = independent(path, "--checkpoint", str(kept))
    assert status == 1 and "Entry 12" in said
