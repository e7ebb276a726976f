"""From rounds to roll-ups, charts and oblivion, without a cluster; and when rounds are due."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from celery import current_app
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deployments import tasks
from deployments.domain.actors import Actor
from deployments.domain.gpu_series import Part, Rolled, unpack
from deployments.domain.gpus import Figure, Resolution
from deployments.gateways.metrics import GpuReading
from deployments.ledger.queue import FORGET_SERIES_TASK, ROLL_UP_TASK, SAMPLE_TASK
from deployments.models import (
    Cluster,
    ClusterNode,
    GpuDevice,
    GpuRollUp,
    GpuSampling,
    GpuSeries,
    ObservedObject,
    Team,
)
from deployments.observer.sampling import next_turn, sample_due
from deployments.selectors import gpu_charts
from deployments.workflows import gpu_rows, rollup
from tests.web import rows as web_rows

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
GIB = 1024**3


@pytest.fixture
def cluster() -> Cluster:
    return Cluster.objects.create(name="c", server="https://c", credential=b"x", credential_kind="token")


def reading(number: int, utilisation: float | None, pod: str = "") -> GpuReading:
    return GpuReading(
        key=f"GPU-{number}",
        vendor="nvidia",
        node="n",
        index=str(number),
        utilisation=utilisation,
        memory_used=20 * GIB,
        temperature=60.0,
        power=300.0,
        holders=(("llm", pod),) if pod else (),
    )


def store(cluster: Cluster, at: datetime, *found: GpuReading) -> None:
    rows = gpu_rows.distinct(found)
    gpu_rows.write(cluster.pk, rows, None, gpu_rows.known_devices(cluster.pk), {}, at, at)


def hours(cluster: Cluster, hours: float, devices: int = 1) -> datetime:
    """A round a minute for some hours, the utilisation rising by one percent each; the end."""
    at, end = START, START + timedelta(hours=hours)
    while at < end:
        minute = int((at - START).total_seconds()) // 60
        store(cluster, at, *(reading(n, float(minute % 100), f"p{minute // 60}") for n in range(devices)))
        at += timedelta(minutes=1)
    return end


def roll_up(now: datetime) -> None:
    while rollup.roll_up_due(now):
        pass


def test_five_minutes_are_rolled_up_once_and_then_hours(cluster: Cluster) -> None:
    end = hours(cluster, 2.5)
    roll_up(end)
    day = GpuSeries.objects.filter(resolution=Resolution.FIVE_MINUTES).order_by("start")
    before, after = (list(unpack(Resolution.FIVE_MINUTES, row.packed)) for row in day)
    first = [row for row in before if isinstance(row, Rolled)]
    assert [row.at for row in first] == list(range(22 * 12, 24 * 12))
    assert all(row.samples == 5 for row in first)
    spread = first[1].spreads[0]
    assert spread is not None and (spread.low, spread.mean, spread.high) == (5.0, 7.0, 9.0)
    assert not [row for row in before if isinstance(row, Part)], "each step was one pod's in whole"
    # The last step has ended, but its last round may still be on its way.
    assert [row.at for row in after if isinstance(row, Rolled)] == [0, 1, 2, 3, 4]
    month = GpuSeries.objects.filter(resolution=Resolution.HOUR).order_by("start")
    assert [row.start for row in month] == [datetime(2026, 3, 1, tzinfo=UTC)]
    rolled = [row for row in unpack(Resolution.HOUR, month[0].packed) if isinstance(row, Rolled)]
    assert [(row.at, row.samples) for row in rolled] == [(30 * 24 + 22, 60), (30 * 24 + 23, 60)]
    packed = [bytes(row.packed) for row in GpuSeries.objects.order_by("pk")]
    assert rollup.roll_up_due(end) == 0
    assert [bytes(row.packed) for row in GpuSeries.objects.order_by("pk")] == packed
    assert rollup.roll_up_due(end + timedelta(seconds=31)) == 1


def test_a_step_that_another_worker_wrote_is_not_written_again(cluster: Cluster) -> None:
    end = hours(cluster, 0.5)
    roll_up(end)
    packed = bytes(GpuSeries.objects.get(resolution=Resolution.FIVE_MINUTES).packed)
    until = GpuRollUp.objects.get(resolution=Resolution.FIVE_MINUTES).until
    assert until is not None
    slices = dict(rollup._slices(Resolution.RAW, until - timedelta(minutes=5), until))
    assert slices, "there is something to write"
    assert not rollup._commit(
        Resolution.FIVE_MINUTES, until - timedelta(minutes=10), until - timedelta(minutes=5), slices
    )
    assert bytes(GpuSeries.objects.get(resolution=Resolution.FIVE_MINUTES).packed) == packed


def test_times_without_rounds_are_gaps(cluster: Cluster) -> None:
    store(cluster, START, reading(0, 10.0))
    later = START + timedelta(days=3, minutes=20)
    store(cluster, later, reading(0, 30.0))
    roll_up(later + timedelta(hours=1))
    device = GpuDevice.objects.get()
    chart = gpu_charts.chart([device.pk], START, later + timedelta(minutes=5), 2000)
    assert chart.step == 300
    begin = int(START.timestamp())
    line = zip(chart.times, chart.lines[device.pk], strict=True)
    known = [(at - begin, value) for at, value in line if value is not None]
    assert known == [(0, 10), (3 * 86400 + 1200, 30)]


def test_a_chart_ends_where_the_figures_end(cluster: Cluster, admin: Actor) -> None:
    end = hours(cluster, 4.2)
    roll_up(end - timedelta(minutes=12))
    device = GpuDevice.objects.get()
    chart = gpu_charts.series(admin, [device.pk], START, end, 300)
    assert (chart.step, chart.unit) == (300, "%")
    line = chart.lines[device.pk]
    assert len(line) == len(chart.times) and None not in line
    short = gpu_charts.series(admin, [device.pk], end - timedelta(minutes=30), end, 300, figure=Figure.MEMORY)
    assert short.step == 15 and set(short.lines[device.pk]) == {20, None}
    long = gpu_charts.series(admin, [device.pk], end - timedelta(days=30), end, 1000, take="max")
    assert long.step == 3600 and next(value for value in long.lines[device.pk] if value is not None) == 59
    nobody = Actor(None, "nobody")
    assert gpu_charts.series(nobody, [device.pk], START, end).lines == {}


def test_a_day_of_sixteen_devices_is_small_and_takes_few_queries(cluster: Cluster, admin: Actor) -> None:
    end = hours(cluster, 1.0, devices=16)
    roll_up(end + timedelta(minutes=1))
    ids = list(GpuDevice.objects.values_list("pk", flat=True))
    for figure in Figure:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            chart = gpu_charts.series(admin, ids, end - timedelta(hours=24), end, 288, figure=figure)
        assert len(queries) <= 3
        full = chart.lines[ids[0]][-10]
        # As if the whole day had figures as long as the longest.
        assert full is not None and len(str(full)) <= 6
        assert len(json.dumps(chart.uplot)) + 288 * 16 * 4 <= 60_000


def test_who_used_a_device_and_when(cluster: Cluster, admin: Actor) -> None:
    end = hours(cluster, 2.0)
    device = GpuDevice.objects.get()
    held = gpu_charts.holders(admin, device.pk, START, end)
    assert [(hold.at, hold.pod) for hold in held] == [
        (START, "llm/p0"),
        (START + timedelta(hours=1), "llm/p1"),
    ]


def test_series_are_kept_as_long_as_the_settings_say(cluster: Cluster, settings: object) -> None:
    store(cluster, START, reading(0, 1.0))
    device = GpuDevice.objects.get()
    now = START + timedelta(days=400)
    ages = {Resolution.RAW: (1, 3), Resolution.FIVE_MINUTES: (13, 16), Resolution.HOUR: (364, 398)}
    GpuSeries.objects.all().delete()
    for resolution, days in ages.items():
        for each in days:
            GpuSeries.objects.create(
                device=device, resolution=resolution, start=now - timedelta(days=each), packed=b"\x01"
            )
    rollup.forget_old(now)
    left = GpuSeries.objects.values_list("resolution", "start")
    assert {(resolution, (now - start).days) for resolution, start in left} == {
        ("raw", 1),
        ("5m", 13),
        ("1h", 364),
    }
    assert GpuDevice.objects.exists()
    rollup.forget_old(now + timedelta(days=500))
    assert not GpuSeries.objects.exists() and not GpuDevice.objects.exists()


def test_devices_that_claim_one_uuid_are_two(cluster: Cluster) -> None:
    twin = GpuReading(key="GPU-0", vendor="nvidia", node="m", index="0")
    store(cluster, START, reading(0, 1.0), twin)
    assert sorted(GpuDevice.objects.values_list("key", "node")) == [("GPU-0", "n"), ("m/GPU-0", "m")]


def test_who_had_a_device_keeps_it_whoever_claims_it(cluster: Cluster) -> None:
    claim = replace(reading(0, 99.0), node="evil")
    for at, found in enumerate(([reading(0, 1.0)], [claim, reading(0, 2.0)], [claim], [reading(0, 3.0)])):
        known = gpu_rows.known_devices(cluster.pk)
        moment = START + timedelta(minutes=at)
        gpu_rows.write(cluster.pk, gpu_rows.distinct(found, known), None, known, {}, moment, moment)
    rows = {
        key: (node, busy) for key, node, busy in GpuDevice.objects.values_list("key", "node", "utilisation")
    }
    assert rows == {"GPU-0": ("n", 3.0), "evil/GPU-0": ("evil", 99.0)}


def test_a_pod_holds_nothing_on_a_node_where_it_is_not(cluster: Cluster, team: Team) -> None:
    stack = web_rows.deployment(web_rows.revision(team), cluster)
    for name in ("n", "m"):
        ClusterNode.objects.create(
            cluster=cluster, name=name, uid=name, resource_version="1", changed_at=START, data={}
        )
    ObservedObject.objects.create(
        cluster=cluster, deployment=stack, kind="Pod", namespace="llm", name="r1-0", uid="u",
        data={"node": "n"}, resource_version="1", changed_at=START,
    )  # fmt: skip
    there, forged = reading(0, 1.0, "r1-0"), replace(reading(1, 1.0, "r1-0"), node="m")
    assert gpu_rows.deployments_of(cluster.pk, [there]) == {("llm", "r1-0"): stack.pk}
    assert gpu_rows.deployments_of(cluster.pk, [forged]) == {}
    # A Prometheus that calls hosts otherwise is believed.
    assert gpu_rows.deployments_of(cluster.pk, [replace(forged, node="host-7")]) == {
        ("llm", "r1-0"): stack.pk
    }


def test_of_pods_that_share_a_device_ours_comes_first(cluster: Cluster, team: Team) -> None:
    shared = replace(reading(0, 5.0), holders=(("other", "notebook"), ("llm", "r1-server-0")))
    rows = gpu_rows.distinct([shared])
    stack = web_rows.deployment(web_rows.revision(team), cluster)
    gpu_rows.write(cluster.pk, rows, None, {}, {("llm", "r1-server-0"): stack.pk}, START, START)
    device = GpuDevice.objects.get()
    assert (device.pod_namespace, device.pod_name) == ("llm", "r1-server-0")
    assert device.shared_with == ["other/notebook"]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []

    def take(cluster_id: int, expires: float) -> bool:
        sent.append(cluster_id)
        return True

    monkeypatch.setattr("deployments.ledger.queue.send_sample", take)
    return sent


def test_each_cluster_has_its_turn_every_fifteen_seconds(cluster: Cluster, asked: list[int]) -> None:
    Cluster.objects.create(name="gone", server="https://d", credential=b"", credential_kind="token")
    now = datetime(2026, 3, 1, 12, 0, 7, tzinfo=UTC)
    for second in range(61):
        sample_due(now + timedelta(seconds=second))
    assert asked == [cluster.pk] * 5
    state = GpuSampling.objects.get()
    assert (
        state.due_at == datetime(2026, 3, 1, 12, 1, 15, tzinfo=UTC) == next_turn(now + timedelta(seconds=60))
    )


def test_workers_know_the_tasks_by_their_names(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "close_old_connections", lambda: None)  # the test's transaction needs its own
    assert tasks.sample_gpus.name == SAMPLE_TASK
    for name, argument in ((SAMPLE_TASK, cluster.pk), (ROLL_UP_TASK, 0), (FORGET_SERIES_TASK, 0)):
        current_app.tasks[name](argument)
    assert GpuRollUp.objects.count() == 2
