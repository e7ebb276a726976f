"""Pages of GPUs: the list with its strip, one device, figures for charts, and who may see what."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pytest
from django.template.loader import render_to_string
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dashboard.templatetags import charts
from deployments.domain.gpus import NoData, SourceKind, why
from deployments.domain.states import SiteRole
from deployments.models import Cluster, ClusterGrant, Deployment, GpuDevice, MetricsSource, Team
from tests.factories import make_team
from tests.web import gpu_rows, rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db

NB = "\u00a0"
library_found = charts.library_found


@pytest.fixture(autouse=True)
def _with_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages as they are where uPlot was fetched, whether or not it was here: see below for the other way."""
    monkeypatch.setattr(charts, "library_found", lambda: True)


@pytest.fixture
def cluster(team: Team) -> Cluster:
    cluster = rows.cluster("fra")
    ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=["*"])
    gpu_rows.sampling(cluster)
    return cluster


@pytest.fixture
def deployment(team: Team, cluster: Cluster) -> Deployment:
    return rows.deployment(rows.revision(team), cluster, "r1-70b-search")


def held_by(deployment: Deployment) -> dict[str, Any]:
    return {"pod_namespace": "llm", "pod_name": f"{deployment.name}-server-0", "deployment": deployment}


# The list -----------------------------------------------------------------------------------------
def test_the_list_answers_what_is_held_and_what_is_free(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    busy = gpu_rows.device(cluster, "fra-1", 0, **held_by(deployment))
    gpu_rows.device(cluster, "fra-1", 1, utilisation=0.0, memory_used=0)
    gpu_rows.series([busy], lambda ago: None if 1200 <= ago < 2400 else 81.0)
    gpu_rows.node(cluster, "fra-1", gpus=2, requested=1)
    page = html(signed_in, "/gpus/")
    assert "1 of 2 GPUs held, 1 free" in page
    assert "Largest free block: 1 on fra-1." in page
    assert f'href="/deployments/{deployment.pk}/"' in page and "llm/r1-70b-search-server-0" in page
    assert re.search(
        rf"fra-1 · 0: between 81 and 81{NB}%, now 81{NB}%, no data for 3\d{NB}% of the time", page
    )
    assert "fra-1 · 1: no data" in page
    for figure in (f"81{NB}%", f"71{NB}°C", f"298{NB}W", f"46 of 48{NB}GiB", "dcgm-exporter"):
        assert figure in page, figure


def test_what_was_not_measured_lately_is_neither_zero_nor_free(signed_in: Client, cluster: Cluster) -> None:
    long_ago = timezone.now() - timedelta(hours=3)
    gpu_rows.device(cluster, "fra-1", 0, utilisation=55.0, sampled_at=long_ago)
    gpu_rows.device(cluster, "fra-1", 1, utilisation=None, temperature=None, power=None, memory_used=None)
    page = html(signed_in, "/gpus/")
    assert "0 of 2 GPUs held, 1 known to be free" in page and "1 sends no fresh figures." in page
    old, silent = page.split('<tr id="gpu-')[1:]
    assert "No data" in old and "cannot tell" in old and f"55{NB}%" not in old
    assert silent.count("not told") == 3 and f"0{NB}%" not in silent


def test_a_node_that_offers_none_of_its_gpus_is_not_called_full(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.device(cluster, "fra-1", 0)
    gpu_rows.node(cluster, "fra-1", gpus=4, allocatable={"cpu": "64", "nvidia.com/gpu": "0"}, requested=0)
    gpu_rows.node(cluster, "fra-2", gpus=4, requested=3)
    page = html(signed_in, "/gpus/")
    assert "1 node offers none of its GPUs" in page and "full" not in page.partition('id="room"')[2][:3000]


def test_how_long_is_no_who_in_chinese(signed_in: Client, cluster: Cluster) -> None:
    device = gpu_rows.device(cluster, "fra-1", 0)
    gpu_rows.series([device], lambda ago: 81.0)
    page = html(signed_in, f"/gpus/{device.pk}/", **{"Accept-Language": "zh-CN"})
    assert ">时长</th>" in page and ">占用者</th>" not in page


def test_a_sum_over_some_devices_says_of_how_many_it_is(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.device(cluster, "fra-1", 0, utilisation=81.0, power=300.0)
    assert "They draw 0.3 kW." in html(signed_in, "/gpus/")
    gpu_rows.device(cluster, "fra-1", 1, utilisation=None, power=None)
    gpu_rows.device(cluster, "fra-1", 2, utilisation=41.0, power=None)
    page = html(signed_in, "/gpus/")
    assert f"Busy 61{NB}% on average (2 of 3 tell it)." in page
    assert "They draw 0.3 kW (1 of 3 tell it)." in page


def test_filters_order_and_range_are_in_the_address(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.device(cluster, "fra-1", 0, utilisation=10.0, product="NVIDIA L40S")
    gpu_rows.device(cluster, "fra-2", 0, utilisation=90.0, product="NVIDIA H100", error="XID 79")
    other = rows.cluster("par")
    ClusterGrant.objects.create(cluster=other, team=Team.objects.get(slug="default"), namespaces=["*"])
    gpu_rows.device(other, "par-1", 0)
    for query, shown, hidden in (
        ("product=NVIDIA+H100", "fra-2", "fra-1"),
        ("state=error", "fra-2", "fra-1"),
        ("node=fra-1", "fra-1", "fra-2"),
        ("q=h100", "fra-2", "fra-1"),
        (f"cluster={cluster.pk}", "fra-1", "par-1"),
    ):
        page = html(signed_in, f"/gpus/?{query}").partition('id="devices"')[2]
        assert f"<b>{shown}</b>" in page and f"<b>{hidden}</b>" not in page, query
    page = html(signed_in, "/gpus/?q=none")
    assert "No GPU is measured" not in page and "The filters hide all others." in page
    page = html(signed_in, "/gpus/?sort=-utilisation&range=24h")
    table = page.partition('id="devices"')[2]
    assert table.index("<b>fra-2</b>") < table.index("<b>fra-1</b>")
    assert 'href="?sort=-utilisation&amp;range=7d"' in page and "last 24 hours" in page
    assert "The filters hide all others." in html(signed_in, "/gpus/?q=nothing")
    for query in (
        "state=x",
        "sort=password",
        "page=x",
        "cluster=x",
        "range=x",
        "cluster=99999999999999999999",
    ):
        html(signed_in, f"/gpus/?{query}")


def test_nodes_of_one_name_in_two_clusters_are_two(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.device(cluster, "gpu-1", 0)
    page = html(signed_in, "/gpus/")
    assert 'class="cl"' not in page and "<small>fra · NVIDIA" not in page, "all are of one"
    other = rows.cluster("par")
    ClusterGrant.objects.create(cluster=other, team=Team.objects.get(slug="default"), namespaces=["*"])
    for n in range(2):
        gpu_rows.device(other, "gpu-1", n)
    page = html(signed_in, "/gpus/")
    assert re.findall(r'<b class="cl">(\w+)</b><a class="l" [^>]*><b title="gpu-1">', page) == ["fra", "par"]
    assert "<small>fra · NVIDIA L40S" in page and "<small>par · NVIDIA L40S" in page


@pytest.mark.parametrize("reason", [each for each in NoData if each not in (NoData.STALE, NoData.NOT_YET)])
def test_where_figures_are_missing_the_page_says_why_and_what_to_do(
    signed_in: Client, team: Team, reason: NoData
) -> None:
    cluster = rows.cluster("fra")
    ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=["*"])
    gpu_rows.sampling(cluster, reason, answered="pods is <b>forbidden</b>")
    if reason.partial:
        gpu_rows.device(cluster, "fra-1")
    page = html(signed_in, "/gpus/")
    said = why(reason)
    for words in (said.sentence, said.remedy, "pods is <b>forbidden</b>"):
        assert render_to_string_of(words) in page, words
    assert ("no data because" in page) is not reason.partial


def render_to_string_of(text: str) -> str:
    """A text as templates escape it."""
    return (
        str(render_to_string("components/none.html", {"title": text}))
        .partition("<b>")[2]
        .partition("</b>")[0]
    )


def test_without_clusters_the_page_says_what_belongs_there(signed_in: Client) -> None:
    assert "No cluster yet" in html(signed_in, "/gpus/")


def test_the_number_of_queries_does_not_grow(
    signed_in: Client,
    cluster: Cluster,
    deployment: Deployment,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    def fill(nodes: range) -> None:
        for n in nodes:
            gpu_rows.node(cluster, f"fra-{n}", requested=1)
            made = [gpu_rows.device(cluster, f"fra-{n}", i, **held_by(deployment)) for i in range(4)]
            gpu_rows.series(made, lambda ago: 50.0, step=600)

    fill(range(2))
    with django_assert_max_num_queries(22) as few:
        html(signed_in, "/gpus/")
    fill(range(2, 12))
    with django_assert_max_num_queries(len(few.captured_queries)):
        page = html(signed_in, "/gpus/")
    assert "1 to 24 of 48" in page and 'href="?page=2"' in page


def test_the_list_is_exported_as_it_is_filtered(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    gpu_rows.device(cluster, "fra-1", 0, error="=cmd()", **held_by(deployment))
    gpu_rows.device(cluster, "fra-1", 1, product="NVIDIA H100", utilisation=None)
    page = html(signed_in, "/gpus/?sort=-node")
    assert 'href="/gpus/export?sort=-node"' in page
    answer = signed_in.get("/gpus/export?sort=-node")
    assert answer["Content-Type"].startswith("text/csv") and "attachment" in answer["Content-Disposition"]
    second, first = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert first["utilisation_percent"] == "81" and first["memory_total_bytes"] == str(48 * gpu_rows.GIB)
    assert first["deployment"] == deployment.name and first["error"] == "'=cmd()"
    assert second["utilisation_percent"] == "" and second["use"] == "idle"
    assert signed_in.get("/gpus/export?product=NVIDIA+H100").content.count(b"fra-1") == 1


# Who may see what ---------------------------------------------------------------------------------
def test_strangers_find_nothing(client: Client, cluster: Cluster, deployment: Deployment) -> None:
    device = gpu_rows.device(cluster, "fra-1", **held_by(deployment))
    client.force_login(rows.person("stranger", make_team("Others")))
    assert b"fra-1" not in client.get("/gpus/export").content
    assert "fra-1" not in html(client, "/gpus/") and "fra" not in html(client, f"/gpus/?cluster={cluster.pk}")
    for address in (
        f"/gpus/{device.pk}/",
        f"/gpus/{device.pk}/figures",
        f"/gpus/deployments/{deployment.pk}/figures",
        "/gpus/999999/",
    ):
        html(client, address, 404)
        html(client, address, 404, **{"X-Fragment": "1"})


def test_another_teams_pod_is_another_workload(
    client: Client, cluster: Cluster, deployment: Deployment
) -> None:
    device = gpu_rows.device(cluster, "fra-1", **held_by(deployment))
    others = make_team("Others")
    ClusterGrant.objects.create(cluster=cluster, team=others, namespaces=["*"])
    client.force_login(rows.person("neighbour", others))
    for address in ("/gpus/", f"/gpus/{device.pk}/"):
        for headers in ({}, {"X-Fragment": "1"}):
            page = html(client, address, **headers)
            assert "another workload" in page
            assert deployment.name not in page and "server-0" not in page
    assert b"server-0" not in client.get("/gpus/export").content
    answer = client.get(f"/gpus/{device.pk}/figures")
    assert answer.status_code == 200 and deployment.name.encode() not in answer.content
    client.force_login(rows.person("auditor", site=SiteRole.AUDITOR))
    assert "r1-70b-search-server-0" in html(client, "/gpus/")


# One device ---------------------------------------------------------------------------------------
def test_a_device_shows_its_figures_with_source_and_age(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    device = gpu_rows.device(cluster, "fra-1", **held_by(deployment))
    gpu_rows.series([device], lambda ago: 81.0)
    page = html(signed_in, f"/gpus/{device.pk}/")
    assert page.count("dcgm-exporter, <time") == 6
    assert f'data-charts="/gpus/{device.pk}/figures?range=1h"' in page
    assert f"Busy, last hour: between 81 and 81{NB}%" in page
    assert "550.54.15" in page and device.key in page
    table = page.partition('id="as-table"')[2]
    assert f"81{NB}%" in table and f"72{NB}°C" in table
    part = html(signed_in, f"/gpus/{device.pk}/", **{"X-Fragment": "1"})
    assert part.lstrip().startswith('<div id="device"') and "data-charts" not in part


def test_a_device_names_the_exporter_of_its_own_vendor(signed_in: Client, cluster: Cluster) -> None:
    amds = {"kind": SourceKind.AMD, "namespace": "kube-amd-gpu", "name": "default-metrics-exporter"}
    MetricsSource.objects.create(cluster=cluster, chosen=True, found_at=timezone.now(), **amds)
    nvidia = gpu_rows.device(cluster, "fra-1")
    amd = gpu_rows.device(cluster, "fra-2", vendor="amd", source=SourceKind.AMD)
    names = {nvidia.pk: "gpu-operator/nvidia-dcgm-exporter", amd.pk: "kube-amd-gpu/default-metrics-exporter"}
    for pk in names:
        page = html(signed_in, f"/gpus/{pk}/")
        assert {other for other, name in names.items() if name in page} == {pk}


def test_what_an_exporter_writes_breaks_no_page(signed_in: Client, cluster: Cluster) -> None:
    hostile = "a/b\n<script>alert(1)</script>"
    texts = dict.fromkeys(("product", "error", "instance", "driver", "key"), hostile)
    device = gpu_rows.device(cluster, hostile, **texts)
    GpuDevice.objects.filter(pk=device.pk).update(index=hostile[:20])  # as long as it can be
    gpu_rows.series([device], lambda ago: 50.0, step=600)
    for address in ("/gpus/", f"/gpus/{device.pk}/", f"/gpus/?node={quote(hostile)}"):
        assert "<script>alert" not in html(signed_in, address)
    assert signed_in.get(f"/gpus/{device.pk}/figures").json()["lines"][0]["name"].startswith("a/b")


def test_who_held_a_device_is_told_to_those_who_may_know(
    client: Client, team: Team, cluster: Cluster, deployment: Deployment
) -> None:
    device = gpu_rows.device(cluster, "fra-1")

    now = timezone.now()
    gpu_rows.holding(device, "llm/r1-70b-search-server-0", 10_800, 9_000, deployment, now)
    gpu_rows.holding(device, "other/train-0", 9_000, 5_400, now=now)
    # Named like a pod of ours and somebody else's: names do not make it ours.
    gpu_rows.holding(device, "llm/r1-70b-search-notebook", 1_800, 900, now=now)
    told = {
        "olga": ("r1-70b-search-server-0", "another workload"),
        "auditor": ("r1-70b-search-server-0", "other/train-0"),
    }
    people = {
        "olga": rows.person("olga", team),
        "auditor": rows.person("auditor", site=SiteRole.AUDITOR),
        "neighbour": rows.person("neighbour", make_team("Others")),
    }
    ClusterGrant.objects.create(cluster=cluster, team=Team.objects.get(name="Others"), namespaces=["*"])
    for name, person in people.items():
        client.force_login(person)
        part = html(client, f"/gpus/{device.pk}/").partition('id="history"')[2].partition("</table>")[0]
        cells = re.findall(r'<td class="full[^"]*">([^<]*)</td>', part)
        first, second = told.get(name, ("another workload", "another workload"))
        third = "llm/r1-70b-search-notebook" if name == "auditor" else "another workload"
        mine = f"llm/{first}" if name in told else first
        # Neighbours in time that somebody may not tell apart are one to him.
        assert cells == ["free", third, "free", second, *([mine] if mine != second else []), "free"], name
        assert f"1{NB}h" in part


def test_a_silent_device_says_why(signed_in: Client, cluster: Cluster) -> None:
    device = gpu_rows.device(cluster, "fra-1", sampled_at=timezone.now() - timedelta(days=3))
    page = html(signed_in, f"/gpus/{device.pk}/")
    assert "No data because:" in page and "See whether the exporter runs on fra-1" in page


def test_without_the_library_the_page_has_its_table_and_says_why(
    signed_in: Client, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = gpu_rows.device(cluster, "fra-1")
    gpu_rows.series([device], lambda ago: 81.0)
    monkeypatch.setattr(charts, "LIBRARY", ("vendor/uplot/nowhere.js", "vendor/uplot/nowhere.css"))
    library_found.cache_clear()
    monkeypatch.setattr(charts, "library_found", library_found)
    try:
        page = html(signed_in, f"/gpus/{device.pk}/")
    finally:
        library_found.cache_clear()
    assert "uPlot, which draws them, was not fetched" in page
    assert "data-charts" not in page and "<script src" in page and "nowhere" not in page
    assert f"81{NB}%" in page.partition('id="as-table"')[2]


# Figures for charts -------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("span", "step", "most"),
    [
        ("1h", 30, 121),
        ("6h", 300, 73),
        ("24h", 300, 289),
        ("7d", 3600, 169),
        ("30d", 7200, 361),
        ("1y", 86400, 367),
    ],
)
def test_figures_come_in_bounded_spans_with_gaps(
    signed_in: Client, cluster: Cluster, span: str, step: int, most: int
) -> None:
    device = gpu_rows.device(cluster, "fra-1")
    gpu_rows.series([device], lambda ago: None if 1000 <= ago < 2000 else 50.0)
    answer = signed_in.get(f"/gpus/{device.pk}/figures?range={span}")
    assert answer.status_code == 200 and answer["Cache-Control"] == "no-store"
    figures = answer.json()
    [line] = figures["lines"]
    assert figures["step"] == step and figures["count"] <= most
    for key in ("utilisation", "memory_used", "temperature", "power"):
        assert len(line[key]) == figures["count"]
    assert 50 in line["utilisation"] and None in line["utilisation"]
    if span == "1h":
        begin = int(timezone.now().timestamp()) - 1900
        gap = line["utilisation"][(begin - figures["from"]) // step :][: 800 // step]
        assert set(gap) == {None}


def test_figures_of_a_deployment_are_a_line_for_each_device(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    devices = [gpu_rows.device(cluster, "fra-1", n, **held_by(deployment)) for n in range(2)]
    gpu_rows.series(devices, lambda ago: 50.0)
    gpu_rows.device(cluster, "fra-2")
    address = f"/gpus/deployments/{deployment.pk}/figures"
    assert signed_in.get(address).json()["lines"] == [], "no pod of it held anything yet"
    address += "?by=device"
    figures = signed_in.get(f"{address}&figure=power").json()
    assert [line["name"] for line in figures["lines"]] == ["fra-1 · 0", "fra-1 · 1"]
    assert 210 in figures["lines"][0]["power"]
    assert "utilisation" in signed_in.get(f"{address}&figure=nonsense").json()["lines"][0]


def test_a_deployments_pods_are_drawn_where_they_were_and_when_they_are_gone(
    signed_in: Client,
    cluster: Cluster,
    deployment: Deployment,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    old = gpu_rows.device(cluster, "fra-1", sampled_at=timezone.now() - timedelta(seconds=1500), gone="node")
    new = gpu_rows.device(cluster, "fra-2", 3, **held_by(deployment))
    gpu_rows.series([old], lambda ago: 80.0 if ago > 1500 else None)
    gpu_rows.series([new], lambda ago: 20.0)
    first, second = "llm/r1-70b-search-server-0", "llm/<b>r1</b>-server-1"
    gpu_rows.holding(old, first, 3000, 1500, deployment)
    gpu_rows.holding(new, first, 1200, None, deployment)
    gpu_rows.holding(new, second, 3000, 1800, deployment)
    gpu_rows.holding(new, "llm/somebody-else", 1800, 1500)
    address = f"/gpus/deployments/{deployment.pk}/figures"
    lines = {each["name"]: each["utilisation"] for each in signed_in.get(address).json()["lines"]}
    assert list(lines) == ["r1-70b-search-server-0", "<b>r1</b>-server-1"]
    moved = [value for value in lines["r1-70b-search-server-0"] if value is not None]
    assert (moved[0], moved[-1]) == (80, 20) and None in lines["r1-70b-search-server-0"]
    assert {*lines["<b>r1</b>-server-1"]} == {20, None}
    section = f"/deployments/{deployment.pk}/?tab=gpus"
    with django_assert_max_num_queries(60) as few:
        page = html(signed_in, section)
    pods = page.partition('id="gpu-pods"')[2].partition("</table>")[0]
    assert "&lt;b&gt;r1&lt;/b&gt;-server-1" in pods and "<b>r1</b>-server-1" not in page
    assert "somebody-else" not in page
    assert f'fra-1 · <a href="/gpus/{old.pk}/?range=1h">0</a>' in pods
    assert f'fra-2 · <a href="/gpus/{new.pk}/?range=1h">3</a>' in pods
    assert f"80{NB}%" in pods and ">now<" in pods and f"30{NB}min ago" in pods
    table = page.partition('id="pods-as-table"')[2].partition("</details>")[0]
    for figure in (f"80{NB}%", f"20{NB}%", "no data"):
        assert figure in table
    assert f'data-charts="{address}?range=1h&amp;figure=utilisation&amp;by=pod"' in page
    for n in range(6):
        more = gpu_rows.device(cluster, f"fra-{n + 5}", **held_by(deployment))
        gpu_rows.holding(more, f"llm/r1-{n}", 600, None, deployment)
    with django_assert_max_num_queries(len(few.captured_queries)):
        html(signed_in, section)


def test_what_is_gone_stands_apart_from_the_living(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    an_hour, days = (timezone.now() - timedelta(hours=hours) for hours in (1, 100))
    gpu_rows.device(cluster, "fra-1", utilisation=10.0)
    lost = gpu_rows.device(cluster, "fra-2", sampled_at=an_hour, gone="node", **held_by(deployment))
    dropped = gpu_rows.device(cluster, "fra-1", 1, sampled_at=an_hour, gone="report")
    gpu_rows.device(cluster, "fra-3", sampled_at=days, gone="node")
    gpu_rows.device(cluster, "fra-4", sampled_at=days)
    page = html(signed_in, "/gpus/")
    assert "0 of 1 GPU held, 1 free" in page and "no fresh figures" not in page
    living, _, gone = page.partition('id="gone"')
    assert "fra-2" not in living.partition('id="devices"')[2]
    assert "Its node, fra-2, left the cluster." in gone and "tells of it no more" in gone
    assert f'href="/gpus/{lost.pk}/?range=24h"' in gone and f'href="/gpus/{dropped.pk}/?range=24h"' in gone
    assert "fra-3" not in page and "fra-4" not in page, "after a day they leave the list"
    page = html(signed_in, "/gpus/?range=7d")
    assert "fra-3" in page and "fra-4" in page and "in the last 7 days" in page
    page = html(signed_in, "/gpus/?state=gone")
    assert "2 GPUs are gone" in page and "fra-2" in page and 'id="gone"' not in page
    page = html(signed_in, f"/gpus/{lost.pk}/")
    assert "left the cluster" in page and "held by" not in page
    assert "fra-2" not in html(signed_in, f"/deployments/{deployment.pk}/?tab=gpus")


def test_a_node_that_takes_no_pods_is_no_room(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.device(cluster, "fra-1")
    gpu_rows.node(cluster, "fra-1", gpus=4, requested=4)
    gpu_rows.node(cluster, "fra-2", gpus=4, unschedulable=True)
    gpu_rows.node(cluster, "fra-3", gpus=2, conditions=[{"type": "Ready", "status": "Unknown"}])
    page = html(signed_in, "/gpus/")
    assert "No node has a free one." in page
    assert "2 nodes with 6 free take no pods" in page


# On the pages of deployments ----------------------------------------------------------------------
def test_a_deployments_section_tells_where_its_models_sit(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    now = timezone.now()

    def loaded(placement: str, share: float) -> dict[str, Any]:
        sizes = {"size": 10 * gpu_rows.GIB, "size_vram": int(share * 10 * gpu_rows.GIB)}
        return {"model": f"m-{share}", "placement": placement, "share": share, **sizes}

    deployment.probes = {
        "pods": {
            "pod-0": {"at": now.isoformat(), "loaded": [loaded("on GPU", 1.0), loaded("split 60:40", 0.6)]},
            "pod-1": {"at": now.isoformat(), "loaded": [loaded("on CPU", 0.0)]},
            "pod-2": {"at": now.isoformat(), "loaded": []},
            "pod-3": {},
        }
    }
    deployment.save()
    device = gpu_rows.device(cluster, "fra-1", **held_by(deployment))
    gpu_rows.holding(device, "llm/r1-70b-search-server-0", 600, None, deployment)
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=gpus")
    for words in ("On the GPU", "Split 60:40", "On the CPU", f"6{NB}GiB of 10{NB}GiB in GPU memory"):
        assert words in page, words
    assert "none is loaded now" in page and "This pod has not said what it has loaded." in page
    assert f"/gpus/deployments/{deployment.pk}/figures?range=1h&amp;figure=utilisation" in page
    part = html(
        signed_in,
        f"/deployments/{deployment.pk}/?part=section&tab=gpus&figure=power&range=6h",
        **{"X-Fragment": "1"},
    )
    assert "range=6h&amp;figure=power" in part and f"gpus:{cluster.pk}" in part


def test_a_deployment_without_gpus_says_so(signed_in: Client, deployment: Deployment) -> None:
    assert "It asks for no GPU" in html(signed_in, f"/deployments/{deployment.pk}/?tab=gpus")


def test_the_list_of_deployments_draws_how_busy_each_one_was(
    signed_in: Client,
    cluster: Cluster,
    deployment: Deployment,
    django_assert_max_num_queries: DjangoAssertNumQueries,
) -> None:
    devices = [gpu_rows.device(cluster, "fra-1", n, **held_by(deployment)) for n in range(2)]
    gpu_rows.series(devices, lambda ago: 50.0, hours=6, step=60)
    for device in devices:
        gpu_rows.holding(device, "llm/r1-70b-search-server-0", 20_000, None, deployment)
    page = html(signed_in, "/deployments/")
    assert re.search(
        rf'aria-label="GPUs busy in the last 6 hours, newest 50{NB}%"[^>]*><polyline points="', page
    )
    GpuDevice.objects.all().delete()
    assert "<polyline" not in html(signed_in, "/deployments/")


def test_where_nothing_is_fresh_the_headline_does_not_say_that_none_is_free(
    signed_in: Client, cluster: Cluster
) -> None:
    gpu_rows.node(cluster, "fra-1", gpus=4, requested=0)
    for index in range(4):
        gpu_rows.device(cluster, "fra-1", index, sampled_at=timezone.now() - timedelta(minutes=5))
    page = html(signed_in, "/gpus/")
    assert "0 of 4 GPUs held when last measured" in page and "0 free" not in page
    assert "Largest free block: 4 on fra-1." in page
