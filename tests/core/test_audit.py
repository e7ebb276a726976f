"""The audit from the first command on: written with the change, chained, refused alteration."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from deployments.commands.base import command
from deployments.commands.cluster_reasons import require_reasons
from deployments.commands.install import install
from deployments.commands.operations import cancel
from deployments.commands.profiles import create_profile
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.errors import ClusterError, Conflict, Denied, InvalidInput
from deployments.domain.spec import ModelSpec, StackSpec
from deployments.domain.states import OperationKind, Queue, Role
from deployments.domain.subjects import Subject
from deployments.ledger import audit, transitions
from deployments.models import (
    AuditEntry,
    AuditHead,
    Cluster,
    ClusterGrant,
    Deployment,
    Operation,
    Profile,
    Revision,
    Team,
)
from deployments.policies import Action
from tests.core.chain import first_broken
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


def connected_cluster(team: Team, **values: object) -> Cluster:
    cluster = Cluster.objects.create(name="fra", server="https://203.0.113.7:6443", **values)
    ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=["*"])
    return cluster


@contextmanager
def _without_triggers() -> Iterator[None]:
    set_triggers(present=False)
    try:
        yield
    finally:
        set_triggers(present=True)


def test_a_cluster_may_ask_for_reasons(owner: Actor, admin: Actor, team: Team, revision: Revision) -> None:
    cluster = connected_cluster(team, reason_required=True)
    place = {"revision_id": revision.pk, "cluster_id": cluster.pk, "namespace": "llm", "name": "r1"}
    with pytest.raises(InvalidInput, match="says why") as refused:
        install(owner, **place, reason="   ")
    assert refused.value.field == "reason"
    assert not Deployment.objects.exists()
    operation = install(owner, **place, reason="the pilot of the support desk")
    assert AuditEntry.objects.latest("sequence").reason == "the pilot of the support desk"
    with pytest.raises(InvalidInput, match="says why"):
        cancel(owner, operation_id=operation.pk)
    cancel(owner, operation_id=operation.pk, reason="wrong size")
    require_reasons(admin, cluster_id=cluster.pk, required=False)
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.before, entry.after) == (
        "cluster.require_reasons",
        {"reason_required": True},
        {"reason_required": False},
    )
    install(owner, **place | {"name": "r2"})


def test_what_fails_for_another_cause_is_on_record(owner: Actor) -> None:
    @command(Action.INSTALL)
    def explode(actor: Actor, error: Exception) -> None:
        audit.record(actor, "never seen")
        raise error

    with pytest.raises(ClusterError):
        explode(owner, ClusterError("The API server went away."))
    with pytest.raises(ZeroDivisionError):
        explode(owner, ZeroDivisionError("secret details"))
    with pytest.raises(Conflict):
        explode(owner, Conflict("It is taken."))
    assert list(AuditEntry.objects.order_by("sequence").values_list("action", "outcome", "reason")) == [
        ("deployment.install", "failed", "The API server went away."),
        ("deployment.install", "failed", "A fault of the program."),
    ]


def test_a_command_inside_a_command_is_one_refusal(team: Team) -> None:
    viewer = member(team, Role.VIEWER)

    @command(Action.INSTALL)
    def outer(actor: Actor) -> None:
        create_profile(actor, team_id=team.pk, name="a", spec=StackSpec())

    with pytest.raises(Denied):
        outer(viewer)
    assert [entry.action for entry in AuditEntry.objects.all()] == ["deployment.install"]


def test_an_operation_whose_workers_die_is_a_failure_on_record(admin: Actor, team: Team) -> None:
    words = {"title": "Pull a", "actor": admin, "steps": ["pull"], "team": team}
    operation = transitions.create(kind=OperationKind.PULL, queue=Queue.PULL, **words)
    Operation.objects.filter(pk=operation.pk).update(recoveries=transitions.MAX_RECOVERIES)
    transitions.claim(operation.pk, "w", {Queue.PULL})
    assert transitions.recover(operation.pk, now=timezone.now() + timedelta(minutes=1)) == "failed"
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.outcome, entry.actor_name) == ("operation.pull", "failed", "admin")
    assert entry.operation_id == operation.pk and "died" in entry.reason


def test_writers_at_once_leave_no_gap_and_no_fork(admin: Actor) -> None:
    def write(number: int) -> None:
        try:
            for _ in range(10):
                audit.record(admin, f"act {number}")
        finally:
            connection.close()

    threads = [threading.Thread(target=write, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert list(AuditEntry.objects.order_by("sequence").values_list("sequence", flat=True)) == list(
        range(1, 81)
    )
    assert first_broken() is None
