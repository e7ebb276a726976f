"""Rounds of sampling against the practice cluster: what is stored, and what is said where there is nothing."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import pytest
from django.utils import timezone

from deployments.domain.actors import Actor
from deployments.domain.gpu_series import Sample, unpack
from deployments.domain.gpus import SAMPLE_EVERY, NoData, Resolution, SourceKind
from deployments.domain.states import Role, SiteRole
from deployments.gateways.kubernetes import ClusterCredential
from deployments.gateways.metrics import prometheus
from deployments.ledger import vault
from deployments.models import (
    Cluster,
    ClusterNode,
    Deployment,
    GpuDevice,
    GpuSampling,
    GpuSeries,
    MetricsSource,
    ObservedObject,
    Revision,
    Team,
)
from deployments.observer.sampling import begin_new
from deployments.selectors import gpus
from deployments.selectors.gpus import ClusterGpus, Use
from deployments.workflows import sample as sampling
from deployments.workflows.keeper import keeper
from deployments.workflows.sample import sample, take
from tests.core.conftest import connected
from tests.sandbox_server import RunningSandbox, running_sandbox

pytestmark = pytest.mark.django_db

LIMITED = "limited-token"
SOMEBODY = Actor(None, "somebody", site_role=SiteRole.AUDITOR)
PAST_EVERY_PAUSE = timedelta(minutes=5)


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    """Six GPUs of two makers, their exporters, a Prometheus, and one pod that has a GPU."""
    tokens = {LIMITED: ("limited", ())}
    with running_sandbox(world=True, scenario="monitored", speed=600, tokens=tokens) as sandbox:
        container = {
            "name": "c",
            "image": "registry.k8s.io/pause:3.10",
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
        }
        body = {"metadata": {"name": "user"}, "spec": {"containers": [container]}}
        assert sandbox.request("POST", "/api/v1/namespaces/default/pods", body)[0] == 201
        query = 'query=DCGM_FI_DEV_GPU_UTIL{exported_pod="user"}'
        path = f"/api/v1/namespaces/monitoring/services/prometheus-k8s:web/proxy/api/v1/query?{query}"
        deadline = time.monotonic() + 20
        while '"user"' not in str(sandbox.request("GET", path)[2]).replace("'", '"'):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, shared: RunningSandbox) -> Iterator[Cluster]:
    sampling._resting.clear()
    yield connected(admin, team, shared)
    shared.clear_faults()


def round_of(cluster: Cluster) -> tuple[datetime, ClusterGpus]:
    """One round that looks for sources anew, and how the cluster is known after it."""
    before = GpuSampling.objects.filter(cluster=cluster).values_list("tried_at", flat=True).first()
    now = before + PAST_EVERY_PAUSE if before else timezone.now()
    begin_new(now)
    assert sample(cluster.pk, now)
    (known,) = gpus.cluster_gpus(SOMEBODY, now, cluster.pk)
    return now, known


def until(cluster: Cluster, condition: Callable[[ClusterGpus], bool], seconds: float = 60.0) -> ClusterGpus:
    deadline = time.monotonic() + seconds
    while True:
        _, known = round_of(cluster)
        if condition(known):
            return known
        assert time.monotonic() < deadline, known
        time.sleep(0.05)


def by_vendor(cluster: Cluster) -> dict[str, int]:
    rows = GpuDevice.objects.filter(cluster=cluster).values_list("vendor", flat=True)
    return {vendor: list(rows).count(vendor) for vendor in sorted(set(rows))}


def test_exporters_are_asked_where_prometheus_has_nothing(cluster: Cluster, shared: RunningSandbox) -> None:
    shared.faults("prometheus", answer="empty")
    now, known = round_of(cluster)
    assert known.why is None and known.fresh and known.devices == 6
    assert by_vendor(cluster) == {"amd": 2, "nvidia": 4}
    chosen = MetricsSource.objects.filter(chosen=True).order_by("kind")
    assert [source.kind for source in chosen] == [SourceKind.AMD, SourceKind.DCGM]
    busy = GpuDevice.objects.get(pod_name="user")
    assert (busy.pod_namespace, busy.node, busy.source) == ("default", "practice-gpu-1", SourceKind.DCGM)
    assert busy.product == "NVIDIA A100-SXM4-80GB" and busy.driver and busy.sampled_at == now
    assert busy.memory_total == 80 * 1024**3 and busy.memory_used and busy.error == ""
    assert busy.utilisation == 0.0 and busy.power and busy.temperature
    seen = gpus.cluster_gpus(SOMEBODY, now + timedelta(seconds=61), cluster.pk)[0]
    assert seen.why is not None and seen.why.reason is NoData.STALE and not seen.fresh
    amd = GpuDevice.objects.filter(vendor="amd").first()
    assert amd is not None and amd.memory_total and amd.power and amd.temperature and amd.source == "amd"
    series = GpuSeries.objects.get(device=busy)
    slot = int(now.timestamp()) // 15 * 15 % 3600
    (point,) = unpack(Resolution.RAW, series.packed)
    assert isinstance(point, Sample) and (point.at, point.utilisation) == (slot, 0.0)


@pytest.mark.parametrize("honour", [True, False])
def test_prometheus_comes_first_in_both_ways_of_scraping(
    cluster: Cluster, shared: RunningSandbox, honour: bool
) -> None:
    shared.faults("prometheus", honor_labels=honour)
    now, known = round_of(cluster)
    assert (gpus.measured_by(known), known.devices) == (
        {SourceKind.PROMETHEUS: "monitoring/prometheus-k8s"},
        6,
    )
    held = GpuDevice.objects.exclude(pod_name="").values_list("pod_namespace", "pod_name", "node")
    assert list(held) == [("default", "user", "practice-gpu-1")]
    assert set(GpuDevice.objects.values_list("source", flat=True)) == {"prometheus"}
    assert all(
        timedelta() <= now - each.sampled_at < timedelta(minutes=1) for each in GpuDevice.objects.all()
    )


@pytest.mark.parametrize("answer", ["error", "html", "refused"])
def test_the_exporters_stand_in_for_a_prometheus_that_fails(
    cluster: Cluster, shared: RunningSandbox, answer: str
) -> None:
    assert set(gpus.measured_by(round_of(cluster)[1])) == {SourceKind.PROMETHEUS}
    shared.faults("prometheus", answer=answer)
    known = round_of(cluster)[1]
    assert (
        set(gpus.measured_by(known)) == {SourceKind.DCGM, SourceKind.AMD}
        and known.fresh
        and known.devices == 6
    )
    source = MetricsSource.objects.get(kind=SourceKind.PROMETHEUS)
    assert not source.chosen and source.error


def test_a_prometheus_that_hangs_costs_some_seconds_once_a_minute(
    cluster: Cluster, shared: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, known = round_of(cluster)
    assert set(gpus.measured_by(known)) == {SourceKind.PROMETHEUS}
    monkeypatch.setattr(prometheus._query, "__defaults__", (0.3,))
    shared.faults("prometheus", answer="hanging")
    asked: list[object] = []

    def ask(client: object, service: object, *more: object) -> object:
        asked.append(service)
        return prometheus.ask_prometheus(client, service, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(sampling, "ask_prometheus", ask)
    for number in (1, 2):
        at = now + number * timedelta(seconds=15)
        assert sample(cluster.pk, at)
        (known,) = gpus.cluster_gpus(SOMEBODY, at, cluster.pk)
        assert (
            known.why is None
            and set(gpus.measured_by(known)) == {SourceKind.DCGM, SourceKind.AMD}
            and known.devices == 6
        )
    assert len(asked) == 1


def test_an_exporter_that_does_not_run_is_missed(cluster: Cluster, shared: RunningSandbox) -> None:
    shared.faults("prometheus", answer="empty")
    now, _ = round_of(cluster)
    source = MetricsSource.objects.get(kind=SourceKind.DCGM)
    source.detail["pods"][0]["running"] = False
    source.save()
    assert sample(cluster.pk, now + timedelta(seconds=15))
    (known,) = gpus.cluster_gpus(SOMEBODY, now + timedelta(seconds=15), cluster.pk)
    assert known.why is not None and known.why.reason is NoData.SOME_SILENT
    assert known.why.answered.endswith("does not run.")


def test_every_wording_of_an_exporter_gives_the_same_devices(
    cluster: Cluster, shared: RunningSandbox
) -> None:
    shared.faults("prometheus", answer="empty")
    devices = GpuDevice.objects.filter(vendor="nvidia")
    for variant in (
        "hostname", "pod_hostname", "old_names", "no_profiling", "empty_labels", "duplicated", "xid",
        "sentinels", "nan", "truncated",
    ):  # fmt: skip
        shared.faults("gpu_exporter", variant=variant)
        now, known = round_of(cluster)
        assert known.why is None and known.devices == 6, (variant, known)
        assert set(devices.values_list("node", "sampled_at")) == {("practice-gpu-1", now)}, variant
        held = GpuDevice.objects.exclude(pod_name="").values_list("pod_namespace", "pod_name")
        assert list(held) == [("default", "user")], variant
        errors = devices.exclude(error="").count()
        assert errors == (1 if variant == "xid" else 0), variant
        unknown = devices.filter(power=None).count()
        assert unknown == (4 if variant in ("sentinels", "nan") else 0), variant
    assert devices.count() == 4


@pytest.mark.parametrize(
    ("variant", "reason", "answered"),
    [
        ("error", NoData.SILENT, "HTTP 500: An error has occurred"),
        ("html", NoData.SILENT, "HTTP 502: <html>"),
        ("refused", NoData.SILENT, "connection refused"),
        ("huge", NoData.SILENT, "too long"),
    ],
)
def test_why_exporters_give_nothing(
    cluster: Cluster, shared: RunningSandbox, variant: str, reason: NoData, answered: str
) -> None:
    shared.faults("prometheus", answer="empty")
    shared.faults("gpu_exporter", variant=variant, megabytes=9)
    _, known = round_of(cluster)
    assert known.why is not None and known.why.reason is reason and known.why.remedy
    assert answered in known.why.answered and not known.fresh
    assert not GpuDevice.objects.exists()


def test_figures_grow_old_and_are_not_zero(cluster: Cluster, shared: RunningSandbox, admin: Actor) -> None:
    now, _ = round_of(cluster)
    shared.faults("gpu_exporter", variant="refused")
    shared.faults("prometheus", answer="refused")
    later, known = round_of(cluster)
    assert known.sampled_at is not None and known.sampled_at <= now < later and not known.fresh
    row, *_ = gpus.rows(admin, gpus.devices(admin, gpus.GpuFilter(), later), later)
    assert not row.fresh and row.memory_used and row.sampled_at <= now
    sums = gpus.totals(admin, gpus.GpuFilter(), later)
    assert (sums.devices, sums.stale, sums.memory_used, sums.utilisation) == (6, 6, None, None)
    assert GpuSeries.objects.count() == 6, "a round without figures leaves a gap"


@pytest.mark.parametrize("variant", ["refused", "no_metrics"])
def test_one_silent_exporter_costs_only_its_own_devices(
    cluster: Cluster, shared: RunningSandbox, variant: str
) -> None:
    shared.faults("prometheus", answer="empty")
    shared.faults("gpu_exporter", variant=variant, pod="nvidia-*")
    _, known = round_of(cluster)
    assert known.why is not None and known.why.reason is NoData.SOME_SILENT
    assert known.why.answered.startswith("1 of 2 (practice-gpu-1): ")
    assert known.fresh and by_vendor(cluster) == {"amd": 2}


def test_who_uses_what_is_unknown_where_the_exporter_does_not_tell(
    cluster: Cluster, shared: RunningSandbox, team: Team, revision: Revision, admin: Actor
) -> None:
    shared.faults("prometheus", answer="empty")
    shared.faults("gpu_exporter", variant="no_pods")
    now, known = round_of(cluster)
    assert known.why is None, "nobody of ours has a GPU"
    observed(cluster, team, revision, "user", namespace="default")
    now, known = round_of(cluster)
    assert known.why is not None and known.why.reason is NoData.NO_PODS and known.fresh
    rows = gpus.rows(admin, gpus.devices(admin, gpus.GpuFilter(), now), now)
    assert {row.use for row in rows} == {Use.UNKNOWN}


def observed(
    cluster: Cluster, team: Team, revision: Revision, pod: str, namespace: str = "default"
) -> Deployment:
    deployment = Deployment.objects.create(
        team=team, cluster=cluster, namespace=namespace, name="r1", revision=revision
    )
    data = {"phase": "Running", "containers": [{"name": "c", "limits": {"nvidia.com/gpu": "1"}}]}
    ObservedObject.objects.create(
        cluster=cluster, deployment=deployment, kind="Pod", namespace=namespace, name=pod, uid="u",
        data=data, resource_version="1", changed_at=timezone.now(),
    )  # fmt: skip
    return deployment


def test_a_device_belongs_to_the_deployment_whose_pod_holds_it(
    cluster: Cluster, shared: RunningSandbox, team: Team, revision: Revision, owner: Actor
) -> None:
    shared.faults("prometheus", answer="empty")
    deployment = observed(cluster, team, revision, "user")
    now, known = round_of(cluster)
    assert known.why is None
    section = gpus.deployment_gpus(owner, deployment, now)
    (row,) = section.rows
    assert (row.use, row.pods, row.deployment_id) == (Use.POD, ("default/user",), deployment.pk)
    stranger = Actor(None, "other", roles={999: Role.VIEWER})
    assert not gpus.devices(stranger, gpus.GpuFilter(), now).exists()
    other = Team.objects.create(name="Other", slug="other")
    cluster.grants.create(team=other, namespaces=["*"])
    (seen,) = gpus.rows(
        Actor(None, "other", roles={other.pk: Role.VIEWER}), GpuDevice.objects.filter(pk=row.id), now
    )
    assert (seen.use, seen.pods, seen.deployment_id, seen.deployment_name) == (Use.OTHERS, (), None, "")


def test_a_round_is_taken_by_one_worker_and_written_once(cluster: Cluster) -> None:
    now, _ = round_of(cluster)
    packed = list(GpuSeries.objects.order_by("pk").values_list("packed", flat=True))
    assert not sample(cluster.pk, now), "it is done"
    assert list(GpuSeries.objects.order_by("pk").values_list("packed", flat=True)) == packed
    later = now + timedelta(seconds=15)
    slow = take(cluster.pk, later)
    assert slow is not None
    assert not sample(cluster.pk, later), "somebody is at it"
    much_later = later + timedelta(minutes=2)
    assert sample(cluster.pk, much_later), "he is gone"
    outcome = sampling.Round()
    assert not sampling._store(cluster, outcome, slow, later), "and writes nothing when he comes back"
    state = GpuSampling.objects.get(cluster=cluster)
    assert (state.tried_at, state.taken_until) == (much_later, None)


def test_a_credential_without_the_rights_is_told_which(cluster: Cluster, shared: RunningSandbox) -> None:
    whole = ClusterCredential.from_json(vault.unseal(cluster.credential))
    limited = dataclasses.replace(whole, token=LIMITED, client_certificate=None, client_key=None)
    Cluster.objects.filter(pk=cluster.pk).update(credential=vault.seal(limited.to_json()))
    _, known = round_of(cluster)
    assert known.why is not None and known.why.reason is NoData.MAY_NOT_LIST
    assert "resources: [pods], verbs: [list]" in known.why.remedy and "limited" in known.why.answered
    assert sample(cluster.pk, timezone.now() + timedelta(seconds=15)), "which does not look again"
    state = GpuSampling.objects.get(cluster=cluster)
    assert state.no_data == NoData.MAY_NOT_LIST and "limited" in state.answered
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    api, base = "rbac.authorization.k8s.io/v1", "/apis/rbac.authorization.k8s.io/v1"
    role = {"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": "looks"}, "rules": [rule]}
    binding = {
        "apiVersion": api,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "looks"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "looks"},
        "subjects": [{"kind": "User", "name": "limited", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    assert shared.request("POST", f"{base}/clusterroles", role)[0] == 201
    assert shared.request("POST", f"{base}/clusterrolebindings", binding)[0] == 201
    _, known = round_of(cluster)
    assert known.why is not None and known.why.reason is NoData.MAY_NOT_PROXY
    assert "resources: [pods/proxy], verbs: [get]" in known.why.remedy


def test_a_cluster_that_does_not_answer_says_so(cluster: Cluster, shared: RunningSandbox) -> None:
    shared.faults("unauthorized")
    _, known = round_of(cluster)
    assert known.why is not None and known.why.reason is NoData.UNREACHABLE and known.why.answered


def test_a_credential_refused_between_two_rounds_is_not_laid_at_the_exporters_door(
    cluster: Cluster, shared: RunningSandbox
) -> None:
    shared.faults("prometheus", answer="refused")  # it rests then, and the exporters are asked alone
    now, known = round_of(cluster)
    assert known.fresh
    shared.faults("unauthorized")
    now += SAMPLE_EVERY  # too soon to look for exporters anew
    begin_new(now)
    assert sample(cluster.pk, now)
    (known,) = gpus.cluster_gpus(SOMEBODY, now, cluster.pk)
    assert known.why is not None and known.why.reason is NoData.UNREACHABLE
    assert known.why.answered == "Unauthorized" and "log" not in known.why.remedy


def test_exporters_that_went_between_two_rounds_are_said_to_be_gone(
    cluster: Cluster, shared: RunningSandbox
) -> None:
    shared.faults("prometheus", answer="refused")
    now, known = round_of(cluster)
    assert known.fresh
    shared.faults("exporters_gone")
    pods = "/api/v1/namespaces/gpu-operator/pods"
    deadline = time.monotonic() + 20
    while shared.request("GET", pods)[2]["items"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    now += SAMPLE_EVERY  # too soon to look for exporters anew by itself
    begin_new(now)
    assert sample(cluster.pk, now)
    (known,) = gpus.cluster_gpus(SOMEBODY, now, cluster.pk)
    assert known.why is not None
    assert known.why.reason in (NoData.NO_EXPORTER, NoData.PROMETHEUS_EMPTY) and "log" not in known.why.remedy


def test_a_cluster_that_the_observer_does_not_reach_is_left_alone(cluster: Cluster) -> None:
    now, _ = round_of(cluster)
    Cluster.objects.filter(pk=cluster.pk).update(
        last_error="It does not answer.", last_seen_at=now, server="https://203.0.113.9:6443"
    )
    later, known = round_of(cluster)
    assert later - now > timedelta(minutes=1)
    assert known.why is not None and known.why.reason is NoData.UNREACHABLE
    assert known.why.answered == "It does not answer."
    Cluster.objects.filter(pk=cluster.pk).update(
        last_error="It is another.", foreign_uid="u", last_seen_at=later
    )
    _, known = round_of(cluster)
    assert known.why is not None and known.why.answered == "It is another."


def test_without_exporters_and_without_gpus(cluster: Cluster, shared: RunningSandbox) -> None:
    shared.faults("exporters_gone")
    shared.faults("prometheus", answer="empty")

    def reason(known: ClusterGpus) -> NoData | None:
        return known.why.reason if known.why else None

    until(cluster, lambda known: reason(known) is NoData.PROMETHEUS_EMPTY)
    shared.faults("prometheus", answer="refused")
    until(cluster, lambda known: reason(known) is NoData.NO_EXPORTER)
    ClusterNode.objects.create(
        cluster=cluster, name="n", uid="u", resource_version="1", changed_at=timezone.now(),
        data={"capacity": {"cpu": "4"}},
    )  # fmt: skip
    until(cluster, lambda known: reason(known) is NoData.NO_GPUS and known.devices == 0)


def test_an_exporter_that_makes_up_devices_does_not_fill_the_database(
    cluster: Cluster, shared: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "MOST_DEVICES", 4)
    shared.faults("prometheus", answer="empty")
    round_of(cluster)
    first = set(GpuDevice.objects.values_list("key", flat=True))
    now, _ = round_of(cluster)
    assert len(first) == 4 and set(GpuDevice.objects.values_list("key", flat=True)) == first
    assert set(GpuDevice.objects.values_list("sampled_at", flat=True)) == {now}, "those it has go on"


def test_a_page_that_is_cut_does_not_make_its_devices_gone(cluster: Cluster, shared: RunningSandbox) -> None:
    shared.faults("prometheus", answer="empty")
    round_of(cluster)
    shared.faults("gpu_exporter", variant="no_metrics", pod="nvidia-*")
    round_of(cluster)
    dropped = GpuDevice.objects.filter(vendor="nvidia")
    assert set(dropped.values_list("gone", flat=True)) == {"report"}
    shared.faults("gpu_exporter", variant="hostname", pod="nvidia-*")
    round_of(cluster)
    assert set(dropped.values_list("gone", flat=True)) == {""}
    shared.faults("gpu_exporter", variant="truncated", pod="nvidia-*")
    GpuDevice.objects.create(
        cluster=cluster, key="last-of-the-page", vendor="nvidia", node="practice-gpu-1", source="dcgm",
        sampled_at=timezone.now() - timedelta(hours=1), first_seen_at=timezone.now(),
    )  # fmt: skip
    round_of(cluster)
    assert GpuDevice.objects.get(key="last-of-the-page").gone == ""
    shared.faults("gpu_exporter", variant="hostname", pod="nvidia-*")
    round_of(cluster)
    assert GpuDevice.objects.get(key="last-of-the-page").gone == "report"


def test_a_worker_that_is_to_end_gives_its_round_back(
    cluster: Cluster, shared: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, _ = round_of(cluster)
    shared.faults("prometheus", answer="empty")
    shared.faults("gpu_exporter", variant="hanging")
    stopping = threading.Event()
    monkeypatch.setattr(keeper, "_stopping", stopping)
    timer = threading.Timer(0.3, stopping.set)
    timer.start()
    began = time.monotonic()
    assert not sample(cluster.pk, now + PAST_EVERY_PAUSE)
    assert time.monotonic() - began < 4
    state = GpuSampling.objects.get(cluster=cluster)
    assert (state.taken_until, state.tried_at) == (None, now)
    assert not sample(cluster.pk, now + PAST_EVERY_PAUSE), "nor does it begin another"
    timer.join()
