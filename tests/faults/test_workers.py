"""Real workers and a real broker that die in the middle: no work is lost, and none is done twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils import timezone

from dashboard import broker
from deployments.commands.install import install
from deployments.commands.profiles import create_profile
from deployments.domain.actors import Actor
from deployments.domain.spec import StackSpec
from deployments.domain.states import OperationKind, OperationState, StepState
from deployments.ledger import announce, transitions
from deployments.models import Cluster, Operation, OperationTransition, PullProgress, Release, Team
from deployments.observer.timekeeper import Timekeeper
from tests.faults.conftest import switched
from tests.sandbox_server import RunningSandbox

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.real_broker]

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS, PULL_SECONDS, INSTALL_SECONDS = 60.0, 150.0, 150.0
PARK_SECONDS = 5.0  # what a worker has between SIGTERM and SIGKILL
HELD_AT = 0.3  # of the bytes: there the practice cluster holds a pull
T = TypeVar("T")


@dataclass
class Workers:
    """A broker, and worker processes on this test's database. ``start`` does not wait for
    a worker to be up: its messages do."""

    socket: Path
    directory: Path
    environment: dict[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, queues: str) -> subprocess.Popen[bytes]:
        log = self.directory / f"worker-{len(self.running)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "--app", "dashboard", "worker", "--loglevel", "INFO"),
                    *("--hostname", f"{queues}{len(self.running)}@%h", "--queues", queues),
                    *("--pool", "threads", "--concurrency", "4"),
                    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process

    def forget_everything(self) -> None:
        """What a broker's restart does: nothing of it is kept."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()


@pytest.fixture
def workers(ground: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    if connection.vendor != "sqlite":
        pytest.skip("the workers find this test's database by its file")
    program = broker.server_program()
    if program is None:
        pytest.skip("no Valkey or Redis is here")
    with ExitStack() as stack:
        socket = tmp_path / "v" / "valkey.sock"
        server = subprocess.Popen(broker.server_command(program, socket), stdout=subprocess.DEVNULL)
        stack.callback(end, server)
        until(lambda: broker.answers(socket), START_SECONDS, "the broker")
        stack.enter_context(sending_to(f"unix://{socket}", monkeypatch))
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "dashboard.settings",
            "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
            "REDIS_URL": f"unix://{socket}",
            "PULL_STALL_SECONDS": "300",
            "PYTHONUNBUFFERED": "1",
        }
        made = Workers(socket, tmp_path, environment)
        stack.callback(lambda: [end(process) for process in made.running])
        yield made


@contextmanager
def sending_to(url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process sends its messages and announcements there."""
    monkeypatch.setattr(settings, "REDIS_URL", url)
    before = current_app.conf.broker_url, current_app.conf.broker_write_url
    current_app.conf.broker_url = current_app.conf.broker_write_url = url.replace(
        "unix://", "redis+socket://"
    )
    forget_connections()
    yield
    current_app.conf.broker_url, current_app.conf.broker_write_url = before
    forget_connections()


def forget_connections() -> None:
    current_app.amqp._producer_pool = None
    current_app._pool = None
    announce._client.cache_clear()


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def until(condition: Callable[[], T | None], seconds: float, what: str) -> T:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            rows = Operation.objects.values_list("title", "state", "queue", "waiting_for", "failure")
            raise AssertionError(f"waited {seconds:g} s in vain for {what}: {list(rows)}")
        time.sleep(0.1)
    return found


@pytest.fixture
def installing(
    workers: Workers, cluster: Cluster, actor: Actor, team: Team, world: RunningSandbox
) -> Operation:
    """An install whose pull the practice cluster holds in the middle; one worker of each kind starts."""
    Operation.objects.update(state=OperationState.SUCCEEDED)  # the connection's check is not the subject
    switched(world, "stalled_pull", {"at": HELD_AT})
    workers.start("control,sample")
    workers.start("pull")
    revision = create_profile(actor, team_id=team.pk, name="r1", spec=StackSpec())
    name = f"w{time.time_ns() % 100_000}"
    return install(
        actor, revision_id=revision.pk, cluster_id=cluster.pk, namespace=name, name=name, reason="workers"
    )


def pull_held(keeper: Timekeeper) -> PullProgress | None:
    keeper.tick()
    return PullProgress.objects.filter(
        completed__gte=F("total") * (HELD_AT - 0.05), total__gt=0, operation__state=OperationState.RUNNING
    ).first()


def succeeded(operation: Operation, keeper: Timekeeper) -> bool:
    keeper.tick()
    operation.refresh_from_db()
    assert operation.state not in (OperationState.FAILED, OperationState.CANCELLED), operation.failure
    return operation.state == OperationState.SUCCEEDED


def nothing_twice(operation: Operation) -> None:
    """One release, one pull, each step ended once, and each epoch ended what it began."""
    assert Release.objects.filter(deployment=operation.deployment).count() == 1
    pulls = Operation.objects.filter(kind=OperationKind.PULL, deployment=operation.deployment)
    assert pulls.count() == 1
    assert set(operation.steps.values_list("state", flat=True)) == {StepState.DONE}
    for row in (operation, pulls.get()):
        ends = OperationTransition.objects.filter(operation=row, after=OperationState.SUCCEEDED)
        assert ends.count() == 1


def test_a_killed_worker_and_an_emptied_broker_lose_nothing(
    workers: Workers, installing: Operation, world: RunningSandbox
) -> None:
    keeper = Timekeeper("test")
    victim = workers.running[-1]
    row = until(lambda: pull_held(keeper), PULL_SECONDS, "the pull to be held in its middle")
    before = row.completed
    killed = timezone.now()
    end(victim)  # SIGKILL: it gives nothing back
    workers.forget_everything()
    workers.start("pull")

    def taken_over() -> PullProgress | None:
        keeper.tick()
        return PullProgress.objects.filter(pk=row.pk, attempt=2, completed__gt=0).first()

    second = until(taken_over, PULL_SECONDS, "another worker to take the pull over")
    assert timezone.now() - killed >= transitions.HEARTBEAT_LOST_AFTER - timedelta(seconds=2)
    assert second.completed >= before * 0.95, "bytes were pulled again"
    world.clear_faults()
    until(lambda: succeeded(installing, keeper), INSTALL_SECONDS, "the install to succeed")
    nothing_twice(installing)
    assert Operation.objects.get(pk=row.operation_id).recoveries == 1


def test_a_worker_told_to_stop_parks_its_work_within_five_seconds(
    workers: Workers, installing: Operation, world: RunningSandbox
) -> None:
    keeper = Timekeeper("test")
    told = workers.running[-1]
    row = until(lambda: pull_held(keeper), PULL_SECONDS, "the pull to be held in its middle")
    told.send_signal(signal.SIGTERM)

    def parked() -> bool:
        return Operation.objects.filter(pk=row.operation_id, state=OperationState.QUEUED).exists()

    until(parked, PARK_SECONDS, "the row to be parked")
    told.wait(PARK_SECONDS)
    workers.forget_everything()
    workers.start("pull")
    world.clear_faults()
    # The parked row's message went with the broker; it is sent again after a minute, which comes now.
    keeper.tick(timezone.now() + transitions.MESSAGE_AGAIN_AFTER + timedelta(seconds=1))
    until(lambda: succeeded(installing, keeper), INSTALL_SECONDS, "the install to succeed")
    nothing_twice(installing)
    assert Operation.objects.get(pk=row.operation_id).recoveries == 0
