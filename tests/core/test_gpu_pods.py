"""What pods held when, from rounds to charts, roll-ups and oblivion; and devices that are there no more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from deployments.domain.actors import Actor
from deployments.domain.gpu_series import Part, unpack
from deployments.domain.gpus import Figure, Gone, Resolution
from deployments.gateways.metrics import GpuReading
from deployments.models import (
    Cluster,
    ClusterNode,
    Deployment,
    GpuDevice,
    GpuHolding,
    GpuPod,
    GpuSeries,
    Team,
)
from deployments.selectors import gpu_charts, gpu_pods, gpu_sparks
from deployments.selectors import gpus as selector
from deployments.workflows import gpu_gone, gpu_rows, rollup
from tests.web import rows as web_rows

pytestmark = pytest.mark.django_db

START = datetime(2026, 3, 31, 22, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GIB = 1024**3
OURS = "r1-server-0"


@pytest.fixture
def cluster() -> Cluster:
    return Cluster.objects.create(name="c", server="https://c", credential=b"x", credential_kind="token")


@pytest.fixture
def deployment(cluster: Cluster, team: Team) -> Deployment:
    return web_rows.deployment(web_rows.revision(team), cluster, "r1")


def reading(number: int, busy: float, *pods: str, node: str = "n", **values: object) -> GpuReading:
    figures = {"memory_used": 10 * GIB, "temperature": 50.0 + number, "power": 100.0, **values}
    return GpuReading(
        key=f"GPU-{number}",
        vendor="nvidia",
        node=node,
        index=str(number),
        utilisation=busy,
        holders=tuple(("llm", pod) for pod in pods),
        **figures,  # type: ignore[arg-type]
    )


def store(deployment: Deployment, at: datetime, *found: GpuReading) -> None:
    owned = {("llm", OURS): deployment.pk, ("llm", "r1-server-1"): deployment.pk}
    known = gpu_rows.known_devices(deployment.cluster_id)
    gpu_rows.write(deployment.cluster_id, gpu_rows.distinct(found), None, known, owned, at, at)


def roll_up(now: datetime) -> None:
    while rollup.roll_up_due(now):
        pass


def moved(deployment: Deployment) -> datetime:
    """A pod holds one device for 33 minutes, at 80 %, and then one of another node, at 20 %; the first
    goes to somebody else, at 4 %. A round a minute for two hours; the end."""
    for minute in range(120):
        first = reading(0, 80.0, OURS) if minute < 33 else reading(0, 4.0, "train")
        second = reading(1, 0.0, node="m") if minute < 33 else reading(1, 20.0, OURS, node="m")
        store(deployment, START + minute * MINUTE, first, second)
    return START + 120 * MINUTE


def line(
    deployment: Deployment, start: datetime, end: datetime, points: int, figure: Figure = Figure.UTILISATION
) -> dict[datetime, float | None]:
    """The line of the only pod of a deployment."""
    (pod,) = gpu_pods.pods_of(deployment, start, end).pods
    chart = gpu_pods.pod_chart([pod], start, end, points, figure)
    return {
        datetime.fromtimestamp(at, UTC): value
        for at, value in zip(chart.times, chart.lines[pod.id], strict=True)
    }


def test_a_pods_line_follows_it_from_one_device_to_the_next(deployment: Deployment) -> None:
    end = moved(deployment)
    fine = line(deployment, START, end, 2000)
    assert fine[START] == fine[START + 32 * MINUTE] == 80
    assert fine[START + 33 * MINUTE] == fine[end - MINUTE] == 20
    (pod,) = gpu_pods.pods_of(deployment, START, end).pods
    assert pod.now
    assert [(held.node, held.since, held.until) for held in pod.held] == [
        ("n", START, START + 33 * MINUTE),
        ("m", START + 33 * MINUTE, None),
    ]


def test_roll_ups_know_which_part_was_whose(deployment: Deployment) -> None:
    end = moved(deployment)
    roll_up(end + MINUTE)
    GpuSeries.objects.filter(resolution=Resolution.RAW).delete()
    coarse = line(deployment, START - timedelta(hours=3), end, 2000)
    assert coarse[START + 25 * MINUTE] == 80 and coarse[START + 35 * MINUTE] == 20
    # Three minutes on the one and two on the other, not the four percent of who came after it.
    assert coarse[START + 30 * MINUTE] == pytest.approx((3 * 80 + 2 * 20) / 5, abs=0.1)
    GpuSeries.objects.filter(resolution=Resolution.FIVE_MINUTES).delete()
    hours = line(deployment, START - timedelta(days=5), end, 2000)
    assert hours[START] == pytest.approx((33 * 80 + 27 * 20) / 60, abs=0.3)
    assert hours[START + 60 * MINUTE] == 20
    (device,) = GpuDevice.objects.filter(key="GPU-0")
    packed = GpuSeries.objects.get(device=device, resolution=Resolution.HOUR).packed
    parts = [each for each in unpack(Resolution.HOUR, packed) if isinstance(each, Part)]
    assert [each.row.samples for each in parts] == [33, 27], "and none where the hour was one pod's"
    whole = gpu_charts.chart([device.pk], START - timedelta(days=5), end, 2000)
    assert whole.lines[device.pk][-2] == pytest.approx((33 * 80 + 27 * 4) / 60, abs=0.3)


def test_several_devices_of_a_pod_are_summed_averaged_or_the_hottest(deployment: Deployment) -> None:
    for minute in range(10):
        power = None if minute == 7 else 100.0
        store(
            deployment,
            START + minute * MINUTE,
            reading(0, 10.0, OURS, power=power),
            reading(1, 30.0, OURS),
        )
    end = START + 10 * MINUTE
    at = START + 3 * MINUTE
    found = {figure: line(deployment, START, end, 2000, figure) for figure in Figure}
    assert {figure: values[at] for figure, values in found.items()} == {
        Figure.UTILISATION: 20,
        Figure.MEMORY: 20,
        Figure.TEMPERATURE: 51,
        Figure.POWER: 200,
    }
    # At a step of 15 seconds three of four spans lie between rounds.
    roll_up(end + 10 * MINUTE)
    summed = line(deployment, START - timedelta(hours=3), end, 2000, Figure.POWER)
    assert summed[START] == 200
    assert found[Figure.POWER][START + 7 * MINUTE] != 100, "half of it is not what it drew"


def test_pods_that_share_a_device_hold_it_both(deployment: Deployment) -> None:
    store(deployment, START, reading(0, 50.0, OURS, "r1-server-1"))
    store(deployment, START + MINUTE, reading(0, 60.0, "r1-server-1"))
    end = START + 2 * MINUTE
    pods = gpu_pods.pods_of(deployment, START, end).pods
    assert [(pod.name, pod.now) for pod in pods] == [("r1-server-1", True), (OURS, False)]
    chart = gpu_pods.pod_chart(pods, START, end, 2000, Figure.UTILISATION)
    both, left = (chart.lines[pod.id] for pod in pods)
    assert [each for each in both if each is not None] == [50, 60]
    assert [each for each in left if each is not None] == [50]


def test_a_pod_that_shows_up_elsewhere_holds_nothing_on_a_node_that_is_silent(
    deployment: Deployment,
) -> None:
    store(deployment, START, reading(0, 50.0, OURS))
    store(deployment, START + 5 * MINUTE, reading(1, 60.0, OURS, node="m"))
    assert list(GpuHolding.objects.order_by("pk").values_list("until", flat=True)) == [
        START + 5 * MINUTE,
        None,
    ]
    (pod,) = GpuPod.objects.all()
    assert pod.deployment == deployment


def test_a_pods_owner_is_learnt_late_and_a_name_is_not_an_identity(
    deployment: Deployment, team: Team
) -> None:
    known = gpu_rows.known_devices(deployment.cluster_id)
    found = gpu_rows.distinct([reading(0, 50.0, OURS)])
    gpu_rows.write(deployment.cluster_id, found, None, known, {}, START, START)
    assert GpuPod.objects.get().deployment is None
    store(deployment, START + MINUTE, reading(0, 50.0, OURS))
    assert GpuPod.objects.get().deployment == deployment
    other = web_rows.deployment(web_rows.revision(team), deployment.cluster, "other")
    known = gpu_rows.known_devices(deployment.cluster_id)
    owned = {("llm", OURS): other.pk}
    at = START + 2 * MINUTE
    gpu_rows.write(deployment.cluster_id, found, None, known, owned, at, at)
    end = at + MINUTE
    assert [pod.now for pod in gpu_pods.pods_of(deployment, START, end).pods] == [False]
    assert [pod.now for pod in gpu_pods.pods_of(other, START, end).pods] == [True]


def test_a_chart_of_pods_takes_as_many_queries_for_many_as_for_one(deployment: Deployment) -> None:
    def asked(pods: int) -> int:
        at = START + pods * MINUTE
        store(deployment, at, *(reading(n, 5.0, f"r1-server-{n % 2}", f"p{n}") for n in range(pods)))
        with CaptureQueriesContext(connection) as queries:
            found = gpu_pods.pods_of(deployment, START, at + MINUTE).pods
            gpu_pods.pod_chart(found, START, at + MINUTE, 300, Figure.POWER)
        return len(queries)

    assert asked(1) == asked(12) == 2


def test_holdings_and_pods_are_forgotten_with_the_last_figures(deployment: Deployment) -> None:
    moved(deployment)
    rollup.forget_old(START + timedelta(days=300))
    assert GpuHolding.objects.count() == 3 and GpuPod.objects.count() == 2
    GpuHolding.objects.filter(until=None).update(until=START + timedelta(days=300))
    GpuDevice.objects.update(sampled_at=START + timedelta(days=300))
    rollup.forget_old(START + timedelta(days=366))
    assert GpuHolding.objects.count() == 2, "what ended within a year is known still"
    rollup.forget_old(START + timedelta(days=1000))
    assert not GpuHolding.objects.exists() and not GpuPod.objects.exists()
    assert not GpuDevice.objects.exists()


def test_sparklines_follow_pods_too(deployment: Deployment) -> None:
    end = moved(deployment)
    roll_up(end + MINUTE)
    spark = gpu_sparks.deployment_sparklines([deployment.pk], START, end)
    known = [value for value in spark[deployment.pk] if value is not None]
    assert (known[0], known[-1]) == (80, 20)
    assert gpu_sparks.deployment_sparklines([deployment.pk + 1], START, end) == {}


def test_a_sparkline_has_only_what_was_while_a_pod_held_the_device(deployment: Deployment) -> None:
    for minute in range(60):
        pod = OURS if 20 <= minute < 40 else ""
        store(deployment, START + minute * MINUTE, reading(0, 70.0 if pod else 5.0, pod))
    end = START + timedelta(hours=1)
    roll_up(end + MINUTE)
    spark = gpu_sparks.deployment_sparklines([deployment.pk], START, end)
    assert spark[deployment.pk] == [None, None, 70.0, 70.0, None, None]
    assert all(
        70.0 not in line
        for line in gpu_sparks.deployment_sparklines([deployment.pk], end, end + MINUTE).values()
    )


# Devices that are there no more -------------------------------------------------------------------
def node(cluster: Cluster, name: str) -> ClusterNode:
    return ClusterNode.objects.create(
        cluster=cluster, name=name, uid=name, resource_version="1", changed_at=START, data={}
    )


def look(deployment: Deployment, now: datetime, found: set[str], heard: set[tuple[str, str]]) -> None:
    known = gpu_rows.known_devices(deployment.cluster_id)
    gpu_gone.write(gpu_gone.gone(deployment.cluster_id, known, found, heard, now))


def test_a_device_is_gone_with_its_node_or_when_its_exporter_drops_it(
    deployment: Deployment, admin: Actor
) -> None:
    for name in ("n", "m", "k"):
        node(deployment.cluster, name)
    found = (reading(0, 1.0, OURS), reading(1, 1.0), reading(2, 1.0, node="m"), reading(3, 1.0, node="k"))
    store(deployment, START, *found)
    answered = {("nvidia", "n"), ("nvidia", "k")}
    soon, later = START + MINUTE, START + 5 * MINUTE
    look(deployment, soon, {"GPU-1"}, answered)
    assert not GpuDevice.objects.exclude(gone="").exists(), "one round without is not gone"
    ClusterNode.objects.filter(name="k").delete()
    look(deployment, later, {"GPU-1"}, answered)
    gone = dict(GpuDevice.objects.values_list("key", "gone"))
    # m's exporter is silent: of its device nobody knows.
    assert gone == {"GPU-0": Gone.REPORT, "GPU-1": "", "GPU-2": "", "GPU-3": Gone.NODE}
    (held,) = GpuHolding.objects.all()
    assert held.until == START + timedelta(seconds=15), "its last figures end what held it"
    listed = selector.devices(admin, selector.GpuFilter(), later)
    assert sorted(listed.values_list("key", flat=True)) == ["GPU-1", "GPU-2"]
    sums = selector.totals(admin, selector.GpuFilter(), later)
    assert (sums.devices, sums.gone) == (2, 2)
    lost = selector.devices(admin, selector.GpuFilter(state="gone"), later)
    shown = selector.rows(admin, lost, later)
    assert [(row.index, row.gone, row.fresh, row.pods) for row in shown] == [
        ("3", Gone.NODE, False, ()),
        ("0", Gone.REPORT, False, ()),
    ]
    assert not selector.held_by(admin, deployment, later)
    store(deployment, later, reading(0, 1.0, OURS))
    assert GpuDevice.objects.get(key="GPU-0").gone == "", "it came back"
    assert GpuHolding.objects.filter(until=None).count() == 1


def test_those_that_are_gone_leave_the_list_and_stay_in_charts(deployment: Deployment, admin: Actor) -> None:
    store(deployment, START, reading(0, 40.0, OURS))
    roll_up(START + timedelta(hours=3))
    node(deployment.cluster, "another")
    later = START + timedelta(days=3)
    look(deployment, later, set(), set())
    wanted = selector.GpuFilter(state="gone")
    assert not selector.devices(admin, wanted, later).exists()
    week = timedelta(days=7)
    (lost,) = selector.rows(admin, selector.devices(admin, wanted, later, week), later)
    (pod,) = gpu_pods.pods_of(deployment, later - week, later).pods
    assert [held.gone for held in pod.held] == [Gone.NODE] and not pod.now
    chart = gpu_pods.pod_chart([pod], later - week, later, 300, Figure.UTILISATION)
    assert [value for value in chart.lines[pod.id] if value is not None] == [40]
    assert gpu_charts.chart([lost.id], later - week, later).lines[lost.id].count(40) == 1


def test_names_that_are_no_nodes_say_nothing_of_nodes(deployment: Deployment) -> None:
    """A Prometheus may call hosts as the cluster does not."""
    node(deployment.cluster, "ip-10-0-0-7")
    store(deployment, START, reading(0, 1.0, node="gpu-host"))
    GpuDevice.objects.update(source="prometheus")
    look(deployment, START + timedelta(hours=1), set(), set())
    assert GpuDevice.objects.get().gone == ""
    GpuDevice.objects.update(source="dcgm")
    look(deployment, START + timedelta(hours=1), set(), set())
    assert GpuDevice.objects.get().gone == Gone.NODE
