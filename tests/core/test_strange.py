"""What nobody thought of in one object or one stack: the observer goes on with all others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest
from django.db import DataError, OperationalError
from django.utils import timezone

from deployments.domain.health.assess import Assessment, assess
from deployments.domain.health.observed import ObservedStack
from deployments.domain.states import Health
from deployments.models import Cluster, ObservedObject, Revision
from deployments.observer import health, leases, writer
from deployments.observer.backlog import Backlog, Change, Upsert
from deployments.observer.health import reassess_all
from deployments.observer.objects import Touched, write_objects
from deployments.observer.reading import Kept
from deployments.observer.writer import Writer
from tests.web import rows

pytestmark = pytest.mark.django_db(transaction=True)


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, error: Exception) -> None:
    """No object of this name can be written."""

    def write(cluster_id: int, changes: Sequence[Change], now: datetime) -> Touched:
        if any(isinstance(change, Upsert) and change.seen.name == name for change in changes):
            raise error
        return write_objects(cluster_id, changes, now)

    monkeypatch.setattr(writer, "write_objects", write)


def seen(cluster: Cluster, *names: str) -> Backlog:
    lease = leases.acquire(leases.cluster_lease(cluster.pk), "a test")
    assert lease is not None
    backlog = Backlog()
    for name in names:
        backlog.put(Upsert(cluster.pk, lease, Kept("StorageClass", "", name, f"uid of {name}", "1", None)))
    return backlog


def written() -> set[str]:
    return set(ObservedObject.objects.values_list("name", flat=True))


@pytest.mark.parametrize("error", [TypeError("Integer exceeds 64-bit range"), DataError("out of range")])
def test_an_object_that_cannot_be_written_is_left_out_by_name(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(monkeypatch, "strange", error)
    backlog = seen(rows.cluster(), "slow", "strange", "fast")
    with caplog.at_level(logging.ERROR):
        assert Writer(backlog).flush() == 3
    assert written() == {"slow", "fast"} and len(backlog) == 0
    assert "left out" in caplog.text and "'strange'" in caplog.text


def test_where_the_database_is_away_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "strange", OperationalError("the connection is closed"))
    backlog = seen(rows.cluster(), "slow", "strange", "fast")
    with pytest.raises(OperationalError):
        Writer(backlog).flush()
    assert written() == set() and len(backlog) == 3


def test_a_stack_that_cannot_be_judged_says_so_and_others_are_judged(
    revision: Revision, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = rows.cluster()
    strange, usual = (rows.deployment(revision, cluster, name=name) for name in ("strange", "usual"))

    def judge(stack: ObservedStack, *rest: Any) -> Assessment:
        if any(workload.name.startswith("strange") for workload in stack.workloads):
            raise TypeError("a list where a map should be")
        return assess(stack, *rest)

    monkeypatch.setattr(health, "assess", judge)
    assert reassess_all([strange.pk, usual.pk], timezone.now()) == {strange.pk, usual.pk}
    strange.refresh_from_db()
    usual.refresh_from_db()
    assert (
        strange.health == Health.UNKNOWN and "beyond what Pilothouse understands" in strange.health_sentence
    )
    assert "beyond" not in usual.health_sentence
