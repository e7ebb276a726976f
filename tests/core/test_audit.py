"""The audit from the first command on: written with the change, chained, refused alteration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, transaction

from deployments.commands.profiles import create_profile
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.errors import Denied, InvalidInput
from deployments.domain.spec import ModelSpec, StackSpec
from deployments.domain.states import Role
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.ledger.verification import first_broken
from deployments.models import AuditEntry, AuditHead, Profile, Team
from tests.core.conftest import member
from tests.ground import set_triggers

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_command_and_its_entry_are_one(owner: Actor, team: Team) -> None:
    create_profile(owner, team_id=team.pk, name="a", spec=StackSpec())
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.object_name, entry.actor_name, entry.outcome) == (
        "profile.create",
        "a",
        "owner",
        "done",
    )
    assert first_broken() is None


def test_a_refused_command_leaves_only_its_denial(team: Team) -> None:
    viewer = member(team, Role.VIEWER)
    with pytest.raises(Denied, match="maintainer"):
        create_profile(viewer, team_id=team.pk, name="a", spec=StackSpec())
    assert not Profile.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.outcome, entry.actor_name, entry.team_id) == ("denied", "viewer", team.pk)


def test_an_invalid_command_writes_nothing(owner: Actor, team: Team) -> None:
    with pytest.raises(InvalidInput):
        create_profile(owner, team_id=team.pk, name="a", spec=StackSpec(model=ModelSpec(tag="-x")))
    assert not Profile.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_rolled_back_entry_leaves_no_gap(admin: Actor) -> None:
    audit.record(admin, "one")
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.record(admin, "two")
        raise ZeroDivisionError
    audit.record(admin, "three")
    assert list(AuditEntry.objects.order_by("sequence").values_list("sequence", "action")) == [
        (1, "one"),
        (2, "three"),
    ]
    assert first_broken() is None


def test_the_database_refuses_to_alter_or_delete() -> None:
    audit.record(PILOTHOUSE, "one")
    for attempt in (
        lambda: AuditEntry.objects.update(reason="never happened"),
        lambda: AuditEntry.objects.all().delete(),
    ):
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            attempt()
    assert AuditEntry.objects.get().reason == ""


@pytest.mark.parametrize("field", [*audit.FIELDS, "digest", "previous", "hash"])
def test_an_alteration_behind_the_triggers_is_found(field: str) -> None:
    for number in range(3):
        audit.record(PILOTHOUSE, f"act {number}", Subject("x", str(number)), after={"n": number})
    altered = {
        "at": "2020-01-01 00:00:00",
        "actor_id": 7,
        "team_id": 7,
        "cluster_id": 7,
        "operation_id": 7,
        "before": '{"n": 9}',
        "after": '{"n": 9}',
    }.get(field, "altered")
    with _without_triggers(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE deployments_auditentry SET {field} = %s WHERE sequence = 2", [altered])
    broken = first_broken()
    assert broken is not None and broken[0] == 2


def test_a_removed_tail_is_found() -> None:
    for number in range(3):
        audit.record(PILOTHOUSE, f"act {number}")
    with _without_triggers(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM deployments_auditentry WHERE sequence = 3")
    assert first_broken() == (3, "it is missing")
    assert AuditHead.objects.get().sequence == 3


def test_a_missing_trigger_fails_the_system_check() -> None:
    with connection.cursor() as cursor:
        on = " ON deployments_auditentry" if connection.vendor == "postgresql" else ""
        cursor.execute(f"DROP TRIGGER audit_no_update{on}")
    with pytest.raises(SystemCheckError, match="audit_no_update"):
        call_command("check", databases=["default"], tags=["database"])
    set_triggers(present=True)
    call_command("check", databases=["default"], tags=["database"])


@contextmanager
def _without_triggers() -> Iterator[None]:
    set_triggers(present=False)
    try:
        yield
    finally:
        set_triggers(present=True)
