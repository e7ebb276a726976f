"""The observer against a living practice cluster: what it sees becomes rows, health and wake-ups."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.db.models import F
from django.utils import timezone

from deployments.commands.install import install
from deployments.domain.actors import Actor
from deployments.domain.states import Health, OperationKind, OperationState
from deployments.ledger import transitions
from deployments.models import (
    Cluster,
    Deployment,
    ObservedObject,
    Operation,
    OwnedObject,
    Revision,
    Team,
    WatchState,
)
from deployments.observer import leases
from deployments.observer.service import BrokenOff, Observer
from deployments.observer.writer import Writer
from tests.core.conftest import connected
from tests.sandbox_server import RunningSandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture
def world(bare_sandbox: RunningSandbox) -> RunningSandbox:
    """The API server alone: what a test puts there stays as it is."""
    return bare_sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    yield connected(admin, team, world)
    world.clear_faults()


def running(observer: Observer) -> threading.Thread:
    thread = threading.Thread(target=observer.run, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def observer(cluster: Cluster) -> Iterator[Observer]:
    found = Observer("test-observer")
    thread = running(found)
    yield found
    found.stop()
    thread.join(10)
    assert not thread.is_alive()
    connections.close_all()


def pod(name: str, namespace: str, deployment: uuid.UUID | str) -> dict[str, Any]:
    labels = {"pilothouse.io/deployment": str(deployment), "app.kubernetes.io/component": "server"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"containers": [{"name": "c", "image": "ollama/ollama:0.9.6"}]},
    }


def make_namespace(world: RunningSandbox, name: str) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    status, _, answer = world.request("POST", "/api/v1/namespaces", body)
    assert status in (201, 409), answer


def make_deployment(cluster: Cluster, team: Team, revision: Revision, namespace: str) -> Deployment:
    return Deployment.objects.create(
        team=team, cluster=cluster, namespace=namespace, name="r1", revision=revision
    )


def test_an_installed_stack_becomes_healthy_in_the_rows(
    admin: Actor, owner: Actor, team: Team, revision: Revision, practice: RunningSandbox
) -> None:
    cluster = connected(admin, team, practice)
    observer = Observer("installing")
    thread = running(observer)
    try:
        _install_and_look(owner, cluster, revision)
    finally:
        observer.stop()
        thread.join(10)


def _install_and_look(owner: Actor, cluster: Cluster, revision: Revision) -> None:
    operation = install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace="seen", name="r1", reason="a try"
    )
    operation = work_off(operation, seconds=40)
    assert operation.state == OperationState.SUCCEEDED, (operation.failure, operation.failure_answered)
    deployment = Deployment.objects.get()

    def kinds() -> bool:
        found = set(ObservedObject.objects.filter(deployment=deployment).values_list("kind", flat=True))
        return {"Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim", "Event"} <= found

    wait_for(kinds)
    claim = wait_for(lambda: OwnedObject.objects.filter(kind="PersistentVolumeClaim").first())
    assert claim.by_controller and claim.name == "models-r1-server-0" and claim.uid

    def healthy() -> bool:
        deployment.refresh_from_db()
        return deployment.health == Health.HEALTHY

    Deployment.objects.update(
        probes={
            "server": {"answers": True, "at": timezone.now().isoformat()},
            "chat": {"reaches": True, "at": timezone.now().isoformat()},
            "pods": {"r1-server-0": {"model_present": True, "at": timezone.now().isoformat()}},
        }
    )
    try:
        wait_for(healthy)
    except AssertionError:
        raise AssertionError(
            f"{deployment.health}: {deployment.health_sentence} {deployment.health_evidence}"
        ) from None
    assert deployment.observed_at is not None
    cluster.refresh_from_db()
    assert cluster.last_seen_at and cluster.kubernetes_version and cluster.uid and not cluster.last_error


def test_only_a_deployments_own_namespace_speaks_for_it(
    team: Team, cluster: Cluster, revision: Revision, observer: Observer, world: RunningSandbox
) -> None:
    mine, theirs = f"mine-{uuid.uuid4().hex[:6]}", f"theirs-{uuid.uuid4().hex[:6]}"
    for name in (mine, theirs):
        make_namespace(world, name)
    deployment = make_deployment(cluster, team, revision, mine)
    world.request("POST", f"/api/v1/namespaces/{theirs}/pods", pod("forged", theirs, deployment.uid))
    world.request("POST", f"/api/v1/namespaces/{mine}/pods", pod("real", mine, deployment.uid))
    seen = wait_for(lambda: ObservedObject.objects.filter(kind="Pod").first())
    assert (seen.name, seen.deployment_id) == ("real", deployment.pk)
    world.request("DELETE", f"/api/v1/namespaces/{mine}/pods/real", {"gracePeriodSeconds": 0})
    wait_for(lambda: not ObservedObject.objects.filter(kind="Pod").exists())


def test_a_change_wakes_the_parked_operation(
    admin: Actor,
    team: Team,
    cluster: Cluster,
    revision: Revision,
    observer: Observer,
    world: RunningSandbox,
    sent: list[tuple[int, str]],
) -> None:
    space = f"wake-{uuid.uuid4().hex[:6]}"
    make_namespace(world, space)
    deployment = make_deployment(cluster, team, revision, space)
    operation, retried = (
        transitions.create(
            kind=OperationKind.CHECK_CHAT,
            title=title,
            actor=admin,
            steps=["wait"],
            team=team,
            cluster=cluster,
            deployment=deployment,
        )
        for title in ("waits for a pod", "failed and is to be tried again later")
    )
    Operation.objects.update(wake_at=timezone.now() + timedelta(hours=1))
    Operation.objects.filter(pk=retried.pk).update(attempts=1)
    sent.clear()
    world.request("POST", f"/api/v1/namespaces/{space}/pods", pod("p", space, deployment.uid))
    wait_for(lambda: any(pk == operation.pk for pk, _ in sent))
    operation.refresh_from_db()
    assert operation.wake_at is None
    retried.refresh_from_db()
    assert retried.wake_at is not None


def test_another_cluster_at_the_address_changes_nothing_but_the_error(
    team: Team, cluster: Cluster, revision: Revision, world: RunningSandbox
) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(uid=str(uuid.uuid4()), version=F("version"))
    deployment = make_deployment(cluster, team, revision, "default")
    kept = ObservedObject.objects.create(
        cluster=cluster, deployment=deployment, kind="Pod", namespace="default", name="kept",
        uid="u", data={}, resource_version="1", changed_at=timezone.now(),
    )  # fmt: skip
    observer = Observer("strict-observer")
    thread = running(observer)
    try:
        wait_for(lambda: Cluster.objects.filter(last_error__contains="Another cluster").exists())
        assert ObservedObject.objects.filter(pk=kept.pk).exists()
        assert not WatchState.objects.filter(confirmed_at__isnull=False).exists()
        assert Cluster.objects.get(pk=cluster.pk).foreign_uid not in ("", Cluster.objects.get().uid)
        wait_for(lambda: "Another cluster" in Deployment.objects.get(pk=deployment.pk).health_sentence)
    finally:
        observer.stop()
        thread.join(10)


def test_what_is_gone_while_nobody_watched_is_deleted(
    team: Team, cluster: Cluster, revision: Revision, world: RunningSandbox
) -> None:
    deployment = make_deployment(cluster, team, revision, "default")
    ObservedObject.objects.create(
        cluster=cluster, deployment=deployment, kind="Pod", namespace="default", name="ghost",
        uid="u", data={}, resource_version="1", changed_at=timezone.now(),
    )  # fmt: skip
    observer = Observer("late-observer")
    thread = running(observer)
    try:
        wait_for(lambda: not ObservedObject.objects.filter(name="ghost").exists())
        wait_for(lambda: Deployment.objects.get(pk=deployment.pk).health == Health.MISSING)
    finally:
        observer.stop()
        thread.join(10)


def test_an_observer_that_stops_hands_over_at_once(cluster: Cluster) -> None:
    first, second = Observer("first"), Observer("second")
    threads = [running(first)]
    try:
        wait_for(lambda: Cluster.objects.filter(pk=cluster.pk, last_seen_at__isnull=False).exists())
        threads.append(running(second))
        began = time.monotonic()
        first.stop()
        threads[0].join(6)
        assert not threads[0].is_alive() and time.monotonic() - began < 5
        name = f"cluster:{cluster.pk}"
        assert wait_for_lease(name, "second")
    finally:
        second.stop()
        for thread in threads:
            thread.join(10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_observer_that_cannot_write_ends_and_gives_its_clusters_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(writer: Writer, wait: float = 0.0) -> int:
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(Writer, "flush", broken)
    with pytest.raises(BrokenOff, match="its writer ended by an error"):
        Observer("broken").run()
    assert leases.acquire(leases.cluster_lease(cluster.pk), "another") is not None


def wait_for_lease(name: str, holder: str) -> bool:
    from deployments.models import Lease

    return bool(wait_for(lambda: Lease.objects.filter(name=name, holder=holder).exists()))
