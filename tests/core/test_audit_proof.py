"""What may be deleted, what is signed, and what a walk over the chain finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import timezone

from deployments.commands import audit as commands
from deployments.commands import audit_retention
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.audit import CheckpointKind, EntryClass, VerificationState
from deployments.domain.errors import Conflict, Denied, InvalidInput
from deployments.domain.states import Outcome, Role
from deployments.domain.subjects import Subject
from deployments.ledger import audit, checkpoints, denials
from deployments.ledger.chainwalk import Broken
from deployments.ledger.export_check import check_file
from deployments.ledger.verification import verify
from deployments.models import (
    AuditCheckpoint,
    AuditEntry,
    AuditGap,
    AuditGate,
    AuditHead,
    AuditVerification,
    Team,
)
from deployments.observer.audit_due import tend_audit
from deployments.workflows import audit as workflow
from tests.core.chain import first_broken
from tests.core.conftest import member
from tests.core.test_audit_export import exported
from tests.ground import set_triggers

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def behind_the_back() -> Iterator[None]:
    """As somebody with the database's password would do it."""
    set_triggers(present=False)
    try:
        yield
    finally:
        set_triggers(present=True)


def sql(statement: str, *values: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def write(count: int, action: str = "deployment.install", *, days_ago: int = 0, **more: object) -> None:
    """Entries as they would have been written then."""
    now = timezone.now
    try:
        timezone.now = lambda: now() - timedelta(days=days_ago)  # type: ignore[assignment]
        for number in range(count):
            audit.record(PILOTHOUSE, action, Subject("deployment", str(number)), **more)  # type: ignore[arg-type]
    finally:
        timezone.now = now  # type: ignore[assignment]


FIELDS = ["sequence", *audit.FIELDS, "digest", "previous", "hash"]


def test_the_command_names_the_entry_whatever_field_of_it_was_altered() -> None:
    for number in range(5):
        audit.record(PILOTHOUSE, f"act {number}", Subject("x", str(number)), before={"n": 0}, after={"n": 1})
    whole = AuditEntry.objects.values().get(sequence=3)
    columns = {"at": "2020-01-01 00:00:00", "before": '{"n": 9}', "after": '{"n": 9}', "sequence": 33}
    numbers = {"actor_id", "team_id", "cluster_id", "operation_id"}
    for field in FIELDS:
        altered = columns.get(field, 7 if field in numbers else "altered")
        with behind_the_back():
            sql(f"UPDATE deployments_auditentry SET {field} = %s WHERE sequence = 3", altered)
        with pytest.raises(CommandError, match=r"^Entry 3: ") as found:
            call_command("verify_audit", stdout=StringIO())
        assert found.value.returncode == 1, field
        with behind_the_back():
            AuditEntry.objects.filter(sequence__in=[3, 33]).update(**whole)
        head = AuditHead.objects.get()
        assert first_broken() is None, field
        # What the command itself put on record goes again, so that each field is alone.
        with behind_the_back():
            AuditEntry.objects.filter(sequence=head.sequence).delete()
        last = AuditEntry.objects.latest("sequence")
        AuditHead.objects.update(sequence=last.sequence, hash=last.hash)


@pytest.mark.parametrize("garbage", ["{not json", "[" * 3000, '{"n": NaN}'])
def test_an_entry_that_no_model_could_load_is_named(garbage: str) -> None:
    if connection.vendor == "postgresql":
        pytest.skip("this database does not take it")
    write(3)
    with behind_the_back():
        sql("PRAGMA ignore_check_constraints = ON")
        sql("UPDATE deployments_auditentry SET after = %s WHERE sequence = 2", garbage)
        sql("PRAGMA ignore_check_constraints = OFF")
    assert first_broken() is not None and first_broken()[0] == 2  # type: ignore[index]


def test_entries_inserted_exchanged_or_taken_from_the_end_are_found() -> None:
    write(4)
    with behind_the_back():
        sql("UPDATE deployments_auditentry SET sequence = 9 WHERE sequence = 3")
        sql("UPDATE deployments_auditentry SET sequence = 3 WHERE sequence = 2")
        sql("UPDATE deployments_auditentry SET sequence = 2 WHERE sequence = 9")
    assert first_broken() == (2, "it does not continue the entry before it")


def test_a_rewound_head_is_found_by_the_checkpoint_that_was_signed() -> None:
    write(4)
    checkpoints.write(CheckpointKind.DAILY, timezone.now())
    with behind_the_back():
        sql("DELETE FROM deployments_auditentry WHERE sequence > 2")
    last = AuditEntry.objects.get(sequence=2)
    AuditHead.objects.update(sequence=2, hash=last.hash)
    assert first_broken() == (3, "it is missing: a checkpoint was signed at entry 4")


def test_a_checkpoint_of_an_unknown_key_or_another_installation_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write(2)
    monkeypatch.setattr(settings, "AUDIT_SIGNING_KEY", "YW5vdGhlciBrZXkgYWx0b2dldGhlciwgMzIgYnl0ZXM=")
    checkpoints.write(CheckpointKind.DAILY, timezone.now())
    other = checkpoints.public_key()
    assert verify().broken is None
    monkeypatch.undo()
    broken = verify().broken
    assert broken is not None and broken.sequence == 2 and "not one of ours" in broken.sentence
    monkeypatch.setattr(settings, "AUDIT_PUBLIC_KEYS", [other])
    assert verify().broken is None, "a key that was in use before is named in AUDIT_PUBLIC_KEYS"
    with behind_the_back():
        AuditCheckpoint.objects.update(hash="0" * 64)
    assert "something else than what was signed" in verify().broken.sentence  # type: ignore[union-attr]


def test_nothing_is_deleted_without_an_open_gate_and_no_gate_outlives_its_transaction() -> None:
    write(5)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        AuditEntry.objects.filter(sequence=2).delete()
    with pytest.raises(IntegrityError), transaction.atomic():
        AuditGate.objects.create(first=2, last=3)
    assert not AuditGate.objects.exists()
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        gate = AuditGate.objects.create(first=2, last=3)
        AuditEntry.objects.filter(sequence=4).delete()
        gate.delete()
    for table in ("auditcheckpoint", "auditgap"):
        checkpoints.write(CheckpointKind.DAILY, timezone.now())
        if table == "auditgap":
            AuditGap.objects.create(
                first=90, last=91, before="", after="", checkpoint=AuditCheckpoint.objects.first()
            )
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            sql(f"DELETE FROM deployments_{table}")
    assert AuditEntry.objects.count() == 5


def test_an_entry_cannot_be_replaced() -> None:
    write(2)
    if connection.vendor == "sqlite":
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            sql("INSERT OR REPLACE INTO deployments_auditentry SELECT * FROM deployments_auditentry")
    else:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            sql("TRUNCATE deployments_auditentry CASCADE")
    assert first_broken() is None


def test_retention_deletes_by_class_and_age_and_the_chain_goes_on(admin: Actor, tmp_path) -> None:
    write(3, "session.begin", days_ago=400)
    write(2, days_ago=400)
    write(1, "audit.export", days_ago=400)
    write(2, "session.begin", days_ago=390)
    write(1, outcome=Outcome.DENIED, days_ago=390)
    write(3, "session.begin")
    checkpoints.write(CheckpointKind.DAILY, timezone.now())
    days = {EntryClass.SESSION: 365, EntryClass.CHANGE: None, EntryClass.REFUSED: 380}
    plan = {item.entry_class: item.count for item in audit_retention.preview(admin, days)}
    assert plan == {EntryClass.SESSION: 5, EntryClass.REFUSED: 1}
    assert AuditEntry.objects.count() == 12, "looking deletes nothing"
    with pytest.raises(Conflict, match="6 entries would be deleted"):
        audit_retention.set_retention(admin, days=days, seen=5)
    audit_retention.set_retention(admin, days=days, seen=6, reason="our policy of 2026")
    assert workflow.prune() == 6
    assert list(AuditGap.objects.values_list("first", "last")) == [(1, 3), (7, 8), (9, 9)]
    verdict = verify()
    assert (verdict.broken, verdict.pruned) == (None, 6)
    assert verdict.signed_to == AuditHead.objects.get().sequence
    told = AuditEntry.objects.filter(action="audit.prune").latest("sequence")
    assert (told.actor_name, told.after["class"], told.after["entries"]) == ("Pilothouse", "refused", 1)
    with exported(tmp_path / "export").open("rb") as file:
        assert check_file(file, checkpoints.known_keys()).pruned == 6
    with behind_the_back():
        sql("DELETE FROM deployments_auditentry WHERE sequence = 4")
        AuditGap.objects.create(
            first=4,
            last=4,
            before=AuditGap.objects.get(first=1).after,
            after=AuditEntry.objects.get(sequence=5).previous,
            checkpoint=AuditCheckpoint.objects.earliest("id"),
        )
    assert first_broken() == (4, "it was deleted, and no signed checkpoint says that it might be")


def test_retention_stops_at_what_was_tampered_with(admin: Actor) -> None:
    write(4, days_ago=400)
    with behind_the_back():
        sql("UPDATE deployments_auditentry SET reason = 'never happened' WHERE sequence = 2")
    with pytest.raises(Broken, match="entry 2"):
        audit_retention.prune(admin, days={EntryClass.CHANGE: 365})
    assert AuditEntry.objects.count() == 4


def test_a_clock_that_was_wrong_lets_nothing_go_early(admin: Actor) -> None:
    write(1)
    write(2, days_ago=1000)  # the clock was set back for a while
    write(1)
    assert audit_retention.preview(admin, {EntryClass.CHANGE: 365})[0].count == 0
    verdict = verify()
    assert verdict.broken is None
    assert verdict.notes and "went back at entry 2" in verdict.notes[0]


def test_retention_has_its_limits(admin: Actor, team: Team) -> None:
    with pytest.raises(InvalidInput, match="for ever"):
        audit_retention.preview(admin, {EntryClass.AUDIT: 365})
    with pytest.raises(InvalidInput, match="30 to"):
        audit_retention.preview(admin, {EntryClass.CHANGE: 1})
    with pytest.raises(Denied):
        audit_retention.set_retention(member(team, Role.OWNER), days={EntryClass.CHANGE: 30}, seen=0)


def test_from_the_terminal_it_says_what_it_would_delete_first() -> None:
    write(3, days_ago=400)
    out = StringIO()
    call_command("prune_audit", keep=["change=365"], stdout=out)
    assert "3 older" in out.getvalue() and "Nothing was deleted" in out.getvalue()
    assert AuditEntry.objects.count() == 3
    call_command("prune_audit", keep=["change=365"], apply=True, stdout=out)
    assert "3 entries deleted" in out.getvalue()
    call_command("verify_audit", stdout=out)
    assert "3 deleted by retention" in out.getvalue()
    call_command("checkpoint_audit", stdout=out)
    assert AuditCheckpoint.objects.first().sequence == AuditHead.objects.get().sequence  # type: ignore[union-attr]


def test_a_checkpoint_is_signed_once_a_day_and_only_when_something_was_written() -> None:
    now = timezone.now()
    tend_audit(now)
    assert not AuditCheckpoint.objects.exists(), "there is nothing to sign"
    write(1)
    tend_audit(now)
    write(1)
    tend_audit(now + timedelta(hours=23))
    assert AuditCheckpoint.objects.count() == 1
    tend_audit(now + timedelta(hours=25))
    assert [row.sequence for row in AuditCheckpoint.objects.order_by("id")] == [1, 2]
    tend_audit(now + timedelta(days=9))
    assert AuditCheckpoint.objects.count() == 2
    write(1)
    tend_audit(now - timedelta(days=30))  # the clock was set back
    assert AuditCheckpoint.objects.count() == 3


def test_a_verification_is_a_row_that_a_worker_takes_once(admin: Actor, team: Team) -> None:
    write(3)
    with pytest.raises(Denied, match="auditor"):
        commands.begin_verification(member(team, Role.OWNER))
    asked = commands.begin_verification(admin)
    assert commands.begin_verification(admin).pk == asked.pk
    workflow.verify(asked.pk)
    asked.refresh_from_db()
    assert (asked.state, asked.checked) == (VerificationState.HOLDS, 4)  # with the refusal above
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.actor_name, entry.after["entries"]) == ("audit.verify", "admin", 4)
    workflow.verify(asked.pk)
    assert AuditEntry.objects.latest("sequence") == entry
    with behind_the_back():
        sql("UPDATE deployments_auditentry SET reason = 'x' WHERE sequence = 2")
    again = commands.begin_verification(admin)
    workflow.verify(again.pk)
    again.refresh_from_db()
    assert (again.state, again.broken_at) == (VerificationState.BROKEN, 2)
    assert AuditEntry.objects.latest("sequence").outcome == Outcome.FAILED


def test_a_verification_that_no_worker_took_is_sent_again(admin: Actor, monkeypatch) -> None:
    sent: list[int] = []
    monkeypatch.setattr(
        "deployments.ledger.queue.send_verification", lambda pk: bool(sent.append(pk)) or True
    )
    asked = AuditVerification.objects.create(
        asked_at=timezone.now(), actor_name="x", state=VerificationState.RUNNING, message_at=timezone.now()
    )
    tend_audit(timezone.now())
    assert sent == []
    tend_audit(timezone.now() + timedelta(minutes=2))
    tend_audit(timezone.now() + timedelta(minutes=2, seconds=5))
    assert sent == [asked.pk]


def test_refusals_of_strangers_are_counted_and_not_written_one_by_one() -> None:
    for number in range(40):
        denials.refuse("203.0.113.9", "session.begin", Subject("user", name=f"name-{number}\x00"))
    denials.refuse("203.0.113.10", "session.begin", Subject("user", name="other"))
    assert [(e.source, e.object_name) for e in AuditEntry.objects.order_by("sequence")] == [
        ("203.0.113.9", "name-0␀"),
        ("203.0.113.10", "other"),
    ]
    tend_audit(timezone.now() + timedelta(minutes=11))
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.actor_name, entry.outcome, entry.after["times"]) == ("nobody", "denied", 39)
    assert entry.object_name.startswith("name-1␀, name-2␀")
    assert first_broken() is None


def test_what_is_too_large_or_secret_or_unprintable_is_never_stored() -> None:
    audit.record(
        Actor(1, "eve\x1b[2J\u202e\ud800"),
        "x",
        before={"big": "y" * 1_000_000},
        after={"password": "hunter2", "deep": [{"token": "t0ken"}], "ratio": 0.1, "huge": 2**70},
    )
    entry = AuditEntry.objects.get()
    assert entry.actor_name == "eve␛[2J\ufffd\ufffd"
    assert entry.before["omitted"] == "too large" and entry.before["bytes"] > 1_000_000
    assert entry.after == {
        "password": "••••••••",
        "deep": [{"token": "••••••••"}],
        "ratio": "0.1",
        "huge": str(2**70),
    }
    assert first_broken() is None
