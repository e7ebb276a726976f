"""The observer where a cluster grants little, fails, forgets, or is gone."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.db import connection

from dashboard.environment import BASE_DIR
from deployments.domain.actors import Actor
from deployments.gateways.kubernetes import (
    ClusterCredential,
    connect,
    import_context,
    read_kubeconfig,
)
from deployments.ledger import vault
from deployments.models import Cluster, ObservedObject, Revision, Team, WatchState
from deployments.observer import leases
from deployments.observer.backlog import Backlog, Upsert
from deployments.observer.backoff import Backoff
from deployments.observer.intake import Intake
from deployments.observer.reading import POD
from deployments.observer.scopes import Scope
from deployments.observer.service import Observer
from deployments.observer.watcher import Server, Surroundings, Watch
from tests.core.conftest import connected
from tests.core.test_observer import make_deployment, make_namespace, pod, running, wait_for
from tests.sandbox_server import RunningSandbox, running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)

LIMITED = "limited-token"


@pytest.fixture(scope="module")
def strict() -> Iterator[RunningSandbox]:
    with running_sandbox(tokens={LIMITED: ("limited", ())}, history_limit=50) as sandbox:
        yield sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, strict: RunningSandbox) -> Iterator[Cluster]:
    yield connected(admin, team, strict)
    strict.clear_faults()


@contextmanager
def observing(name: str = "troubled") -> Iterator[threading.Thread]:
    observer = Observer(name)
    thread = running(observer)
    try:
        yield thread
    finally:
        observer.stop()
        thread.join(10)
        assert not thread.is_alive()


def grant(sandbox: RunningSandbox, namespace: str) -> None:
    rules = [
        {
            "apiGroups": ["", "apps"],
            "resources": ["pods", "persistentvolumeclaims", "events", "statefulsets", "deployments"],
            "verbs": ["get", "list", "watch"],
        }
    ]
    base = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    api = "rbac.authorization.k8s.io/v1"
    role = {"apiVersion": api, "kind": "Role", "metadata": {"name": "look"}, "rules": rules}
    binding = {
        "apiVersion": api,
        "kind": "RoleBinding",
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"},
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    for path, body in (("roles", role), ("rolebindings", binding)):
        status, _, answer = sandbox.request("POST", f"{base}/{path}", body)
        assert status == 201, answer


def as_limited(cluster: Cluster) -> None:
    credential = ClusterCredential.from_json(vault.unseal(cluster.credential))
    limited = dataclasses.replace(credential, token=LIMITED, client_certificate=None, client_key=None)
    Cluster.objects.filter(pk=cluster.pk).update(credential=vault.seal(limited.to_json()))


def test_without_the_right_to_list_everywhere_the_namespaces_are_watched(
    team: Team, cluster: Cluster, revision: Revision, strict: RunningSandbox
) -> None:
    space = f"granted-{uuid.uuid4().hex[:6]}"
    make_namespace(strict, space)
    grant(strict, space)
    as_limited(cluster)
    deployment = make_deployment(cluster, team, revision, space)
    with observing():
        strict.request("POST", f"/api/v1/namespaces/{space}/pods", pod("p", space, deployment.uid))
        wait_for(lambda: ObservedObject.objects.filter(kind="Pod", name="p").exists())
        wait_for(lambda: WatchState.objects.filter(confirmed_at__isnull=False).count() == 5)
        assert not WatchState.objects.get(cluster=cluster, kind="Event").cluster_wide
        assert not Cluster.objects.get(pk=cluster.pk).last_error


def test_a_version_that_was_forgotten_is_listed_again(
    team: Team, cluster: Cluster, revision: Revision, strict: RunningSandbox
) -> None:
    """Kubernetes API concepts, "410 Gone responses": the client lists again and watches from there."""
    space = f"forgot-{uuid.uuid4().hex[:6]}"
    make_namespace(strict, space)
    deployment = make_deployment(cluster, team, revision, space)
    for number in range(80):
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"filler-{number}"}}
        strict.request("POST", f"/api/v1/namespaces/{space}/configmaps", body)
    strict.request("POST", f"/api/v1/namespaces/{space}/pods", pod("late", space, deployment.uid))
    credential = ClusterCredential.from_json(vault.unseal(cluster.credential))
    backlog, stop, lists = Backlog(), threading.Event(), list[str]()
    with connect(
        credential, cluster_uid="", cache_dir=Path(django_settings.VAR_DIR), allow_loopback=True
    ) as client:
        around = Surroundings(
            cluster_id=cluster.pk,
            client=client,
            intake=Intake(cluster.pk, leases.Held("x", "x", 1), backlog),
            backoff=Backoff(first=0.01),
            stop=stop,
            verify=client.cluster_uid,
            confirm=lambda scope, version, listed: lists.append(version) if listed else None,
            refused=lambda scope, error: None,
            failed=lambda scope, error: None,
        )
        watch = Watch(Scope(POD), around)
        watch._version = "1"
        watch.start()
        try:
            wait_for(lambda: lists)
            assert any(isinstance(c, Upsert) and c.seen.name == "late" for c in backlog.take(100, 1))
        finally:
            stop.set()
            watch.stop()
            watch.join(5)
        assert not watch.is_alive()


@pytest.mark.parametrize("fault", ["watch_stall", "watch_close", "gone_410"])
def test_a_watch_that_stalls_or_ends_or_is_forgotten_misses_nothing(
    cluster: Cluster, revision: Revision, team: Team, fault: str
) -> None:
    with running_sandbox(world=True, scenario="small", speed=100) as sandbox:
        credential = import_context(read_kubeconfig(sandbox.kubeconfig_path.read_text()), allow_loopback=True)
        backlog, stop, lists = Backlog(), threading.Event(), list[str]()
        make_namespace(sandbox, "trouble")
        with connect(
            credential, cluster_uid="", cache_dir=Path(django_settings.VAR_DIR), allow_loopback=True
        ) as client:
            around = Surroundings(
                cluster_id=cluster.pk,
                client=client,
                intake=Intake(cluster.pk, leases.Held("x", "x", 1), backlog),
                backoff=Backoff(first=0.05),
                stop=stop,
                verify=client.cluster_uid,
                confirm=lambda scope, version, listed: lists.append(version) if listed else None,
                refused=lambda scope, error: None,
                failed=lambda scope, error: None,
                server=Server(streams_lists=True),
                silent_seconds=1.0,
            )
            watch = Watch(Scope(POD, "trouble"), around)
            watch.start()
            try:
                wait_for(lambda: lists)
                assert sandbox.faults(fault, resource="pods")[0] < 300
                body = pod("meanwhile", "trouble", uuid.uuid4())
                assert sandbox.request("POST", "/api/v1/namespaces/trouble/pods", body)[0] == 201
                time.sleep(0.3)  # the fault has met the watch
                sandbox.clear_faults()
                names: set[str] = set()

                def seen() -> bool:
                    names.update(c.seen.name for c in backlog.take(100, 0.1) if isinstance(c, Upsert))
                    return "meanwhile" in names

                wait_for(seen)
            finally:
                stop.set()
                watch.stop()
                watch.join(5)
            assert not watch.is_alive()


def test_a_dead_cluster_costs_only_itself(
    admin: Actor, team: Team, cluster: Cluster, revision: Revision, strict: RunningSandbox
) -> None:
    space = f"alive-{uuid.uuid4().hex[:6]}"
    make_namespace(strict, space)
    deployment = make_deployment(cluster, team, revision, space)
    with observing():
        with running_sandbox() as other:
            dying = connected(admin, team, other, name="dying")
            wait_for(lambda: WatchState.objects.filter(cluster=dying, kind="Pod", confirmed_at__isnull=False))
        wait_for(lambda: Cluster.objects.get(pk=dying.pk).last_error)
        dying.refresh_from_db()
        assert dying.last_seen_at is not None and dying.last_error_at is not None
        strict.request("POST", f"/api/v1/namespaces/{space}/pods", pod("p", space, deployment.uid))
        wait_for(lambda: ObservedObject.objects.filter(name="p").exists())
        assert not Cluster.objects.get(pk=cluster.pk).last_error


def test_the_command_stops_on_sigterm_within_five_seconds(db: None, tmp_path: Path) -> None:
    database = connection.settings_dict["NAME"]
    given = os.environ.get("TEST_DATABASE_URL", "")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "VAR_DIR": str(tmp_path),
        "DATABASE_URL": f"{given.rpartition('/')[0]}/{database}" if given else f"sqlite:///{database}",
    }
    manage = str(BASE_DIR / "manage.py")
    process = subprocess.Popen(
        [sys.executable, manage, "observe"], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "has started" in line)
        assert line
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(8) == 0
        assert time.monotonic() - began < 5
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stderr.close()
