"""Observers as processes: one is killed, the other goes on where it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from django.db import connection

from dashboard.environment import BASE_DIR
from deployments.domain.actors import Actor
from deployments.models import Cluster, Lease, ObservedObject, Revision, Team, WatchState
from tests.core.conftest import connected
from tests.core.test_observer import make_deployment, make_namespace, pod, wait_for
from tests.sandbox_server import RunningSandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long]


@contextmanager
def observer_process(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    database = connection.settings_dict["NAME"]
    given = os.environ.get("TEST_DATABASE_URL", "")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "VAR_DIR": str(directory),
        "DATABASE_URL": f"{given.rpartition('/')[0]}/{database}" if given else f"sqlite:///{database}",
    }
    command = [sys.executable, str(BASE_DIR / "manage.py"), "observe"]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def test_a_killed_observer_is_replaced_within_fifteen_seconds(
    admin: Actor, team: Team, revision: Revision, bare_sandbox: RunningSandbox, tmp_path: Path
) -> None:
    cluster = connected(admin, team, bare_sandbox)
    space = f"over-{uuid.uuid4().hex[:6]}"
    make_namespace(bare_sandbox, space)
    deployment = make_deployment(cluster, team, revision, space)
    with ExitStack() as stack:
        processes = {}
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
            process = stack.enter_context(observer_process(tmp_path / name))
            processes[process.pid] = process
        wait_for(lambda: Lease.objects.filter(name__startswith="observer:").count() == 2, 60)
        holder = wait_for(lambda: lease_holder(cluster), 30)
        wait_for(lambda: WatchState.objects.filter(kind="Pod", listed_at__isnull=False).exists(), 30)
        victim = processes[int(holder.split(":")[1])]
        victim.kill()
        victim.wait()
        began = time.monotonic()
        # What happens while nobody watches is found by the list of whoever takes over.
        path = f"/api/v1/namespaces/{space}/pods"
        bare_sandbox.request("POST", path, pod("meanwhile", space, deployment.uid))
        wait_for(lambda: lease_holder(cluster) not in ("", holder), 20)
        wait_for(lambda: ObservedObject.objects.filter(name="meanwhile").exists(), 20)
        assert time.monotonic() - began <= 15


def lease_holder(cluster: Cluster) -> str:
    row = Lease.objects.filter(name=f"cluster:{cluster.pk}").first()
    return row.holder if row else ""
