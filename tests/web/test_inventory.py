"""Pages of a cluster's inventory: nodes and what is free, one node, classes, exporters, events."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.domain.errors import REPLACE_CREDENTIAL
from deployments.models import (
    Cluster,
    ClusterGrant,
    ClusterNode,
    MetricsSource,
    ObservedObject,
    Team,
    WatchState,
)
from tests.factories import make_team
from tests.web import gpu_rows, rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db

NB = "\u00a0"
KINDS = ("Node", "Pod", "StorageClass", "IngressClass", "Ingress", "Event")


@pytest.fixture
def cluster(team: Team) -> Cluster:
    cluster = rows.cluster("fra")
    ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=["*"])
    for kind in KINDS:
        watch(cluster, kind)
    return cluster


def watch(cluster: Cluster, kind: str, **values: Any) -> None:
    now = timezone.now()
    defaults = {"listed_at": now, "confirmed_at": now, **values}
    WatchState.objects.update_or_create(cluster=cluster, kind=kind, defaults=defaults)


def seen(cluster: Cluster, kind: str, name: str, namespace: str = "", **data: Any) -> None:
    ObservedObject.objects.create(
        cluster=cluster,
        kind=kind,
        namespace=namespace,
        name=name,
        uid=name,
        data=data,
        resource_version="1",
        changed_at=timezone.now(),
    )


def test_nodes_tell_what_they_have_and_what_is_free(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.node(cluster, "fra-1", gpus=4, requested=1)
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert "1 node, ready" in page
    for words in (
        "3 of 4 free",
        "40 of 64 cores free",
        f"323{NB}GiB of 503{NB}GiB free",
        "driver 550.54.15",
        "CUDA 12.4",
    ):
        assert words in page, words
    assert page.count('<i class="u"></i>') == 1
    assert "Nodes by watch, <time" in page


def test_pages_in_memory_that_a_node_does_not_have_are_no_rows(signed_in: Client, cluster: Cluster) -> None:
    amounts = {"cpu": "64", "hugepages-1Gi": "0", "hugepages-2Mi": "4Gi", "nvidia.com/gpu": "0"}
    gpu_rows.node(cluster, "fra-1", capacity=amounts, allocatable=amounts)
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/fra-1/")
    assert "hugepages-2Mi" in page and "NVIDIA GPUs" in page
    assert "hugepages-1Gi" not in page


def test_gpus_that_a_node_has_lost_are_all_requested_or_none(signed_in: Client, cluster: Cluster) -> None:
    lost = {"cpu": "64", "memory": "527951876Ki", "nvidia.com/gpu": "0"}
    gpu_rows.node(cluster, "fra-1", requested=1, allocatable=lost)
    gpu_rows.node(cluster, "fra-2", requested=0, allocatable=lost)
    for name, share in (("fra-1", 100), ("fra-2", 0)):
        page = html(signed_in, f"/clusters/{cluster.pk}/nodes/{name}/")
        row = page.partition("NVIDIA GPUs")[2].partition("</tr>")[0]
        assert f"{share}{NB}%" in row and "cannot tell" not in row


def test_trouble_taints_and_cordons_are_said(signed_in: Client, cluster: Cluster) -> None:
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    pressure = {
        "type": "DiskPressure",
        "status": "True",
        "message": "kubelet has <b>disk</b> pressure",
        "lastTransitionTime": "2026-11-20T10:00:00Z",
    }
    gpu_rows.node(cluster, "ill", taints=[taint], conditions=[{"type": "Ready", "status": "True"}, pressure])
    gpu_rows.node(cluster, "shut", unschedulable=True)
    gpu_rows.node(cluster, "mute", conditions=[{"type": "Ready", "status": "Unknown"}])
    gpu_rows.node(
        cluster, "down", conditions=[{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}]
    )
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert "2 of 4 nodes are ready" in page
    for words in (
        "Ready, with trouble",
        "DiskPressure: kubelet has &lt;b&gt;disk&lt;/b&gt; pressure",
        "<b>NoSchedule</b> nvidia.com/gpu=present",
        "Cordoned",
        "Silent",
        "Not ready",
    ):
        assert words in page, words
    detail = html(signed_in, f"/clusters/{cluster.pk}/nodes/ill/")
    assert "DiskPressure = True" in detail and "<b>NoSchedule</b> nvidia.com/gpu=present" in detail
    assert "It is cordoned:" in html(signed_in, f"/clusters/{cluster.pk}/nodes/shut/")


def test_many_nodes_page_and_sort(
    signed_in: Client, cluster: Cluster, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for n in range(60):
        gpu_rows.node(cluster, f"node-{n:03}", gpus=8, requested=n % 8)
    address = f"/clusters/{cluster.pk}/nodes/"
    with django_assert_max_num_queries(14):
        page = html(signed_in, address)
    assert "1 to 25 of 60" in page
    assert "node-059" in html(signed_in, f"{address}?sort=-name")
    freest = html(signed_in, f"{address}?sort=-gpus").partition("<tbody>")[2]
    assert freest.index("node-000") < freest.index("node-008") < freest.index("node-001")
    found = html(signed_in, f"{address}?q=node-01")
    assert "node-019" in found and "node-059" not in found
    assert "The filters hide all others." in html(signed_in, f"{address}?state=cordoned")
    for query in ("sort=x", "state=x", "page=x"):
        html(signed_in, f"{address}?{query}")


def test_where_others_pods_may_not_be_listed_what_is_free_cannot_be_told(
    signed_in: Client, cluster: Cluster
) -> None:
    watch(cluster, "Pod", cluster_wide=False)
    gpu_rows.node(cluster, "fra-1", requested=None)
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert "What is free cannot be told." in page and "4, free: cannot tell" in page
    assert f"0{NB}%" not in page
    detail = html(signed_in, f"/clusters/{cluster.pk}/nodes/fra-1/")
    assert "Requested and free cannot be told" in detail and detail.count("cannot tell") >= 8


def test_where_nodes_may_not_be_listed_the_page_says_so(signed_in: Client, cluster: Cluster) -> None:
    words = "Pilothouse may not list nodes there."
    watch(cluster, "Node", listed_at=None, error=words, cluster_wide=False)
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert "No data because:" in page and "Pilothouse may not list nodes there." in page
    assert "deploy/rbac.yaml" in page


@pytest.mark.parametrize("listed", [False, True])
def test_where_events_may_be_listed_by_namespace_alone_the_page_says_so(
    signed_in: Client, cluster: Cluster, listed: bool
) -> None:
    """Before anything is installed in such a namespace, and after."""
    at = timezone.now() if listed else None
    watch(cluster, "Event", listed_at=at, confirmed_at=at, cluster_wide=False)
    page = html(signed_in, f"/clusters/{cluster.pk}/events/")
    assert "Pilothouse may not list Event objects in the whole cluster." in page
    assert "deploy/rbac.yaml" in page and "has not been asked yet" not in page


def test_out_of_reach_every_page_says_why_and_what_to_do_and_claims_nothing_of_now(
    signed_in: Client, cluster: Cluster
) -> None:
    gpu_rows.node(cluster, "fra-1")
    why = "The cluster does not accept the stored credential (any more)."
    Cluster.objects.filter(pk=cluster.pk).update(
        last_error=f"{why} (Unauthorized)", last_error_remedy=REPLACE_CREDENTIAL
    )
    watch(cluster, "Event", error=f"Event in llm: {why}")
    for page, words in (
        ("nodes", "When last seen: 1 node, ready"),
        ("events", "What fra reports is not known"),
        ("classes", "This is as last seen."),
    ):
        text = html(signed_in, f"/clusters/{cluster.pk}/{page}/")
        assert words in text and why in text and REPLACE_CREDENTIAL in text, page
        assert "deploy/rbac.yaml" not in text, "no right is missing"
        assert "reports no warning" not in text and "Event in llm" not in text


def test_one_watch_that_fails_is_not_told_to_be_a_missing_right(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.node(cluster, "fra-1")
    watch(cluster, "Node", error="Node: The cluster's API server failed to answer.")
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert "These are the nodes as last seen." in page and "It is tried again" in page
    assert "deploy/rbac.yaml" not in page


def test_a_node_that_falls_silent_is_a_warning_whatever_type_its_event_has(
    signed_in: Client, cluster: Cluster
) -> None:
    lost = {"kind": "Node", "name": "fra-1"}
    seen(cluster, "Event", "fra-1.1", "default", type="Normal", reason="NodeNotReady", involved=lost)
    seen(cluster, "Event", "fra-1.2", "default", type="Normal", reason="NodeReady", involved=lost)
    address = f"/clusters/{cluster.pk}/events/"
    assert "fra reports 1 warning" in html(signed_in, address)
    page = html(signed_in, f"{address}?type=warning")
    assert "NodeNotReady" in page and "NodeReady<" not in page


def test_classes_and_exporters_are_listed(signed_in: Client, cluster: Cluster) -> None:
    address = f"/clusters/{cluster.pk}/classes/"
    empty = html(signed_in, address)
    for words in ("has no storage class", "has no ingress class", "No exporter was found"):
        assert words in empty, words
    seen(
        cluster,
        "StorageClass",
        "standard",
        provisioner="rancher.io/local-path",
        reclaimPolicy="Delete",
        volumeBindingMode="WaitForFirstConsumer",
        allowVolumeExpansion=False,
        default=True,
    )
    seen(cluster, "IngressClass", "nginx", controller="k8s.io/ingress-nginx", default=False)
    seen(cluster, "Ingress", "web", "shop", className="nginx", hosts=["shop.example.com"], anyHost=False)
    ready = [{"type": "Ready", "status": "True"}]
    seen(
        cluster,
        "Pod",
        "dcgm-abcde",
        "gpu-operator",
        exporter="dcgm",
        node="fra-1",
        conditions=ready,
        ports=[],
    )
    gpu_rows.sampling(cluster)
    page = html(signed_in, address)
    for words in (
        "standard",
        "default",
        "when a pod needs it",
        "deletes the data",
        "k8s.io/ingress-nginx",
        "1 host is taken",
        "shop.example.com",
        "gpu-operator/dcgm-abcde",
        "gpu-operator/nvidia-dcgm-exporter",
    ):
        assert words in page, words
    watch(cluster, "StorageClass", listed_at=None, error="That is refused.")
    ObservedObject.objects.filter(kind="StorageClass").delete()
    assert "That is refused." in html(signed_in, address)


def test_a_source_that_is_gone_or_silent_does_not_answer(signed_in: Client, cluster: Cluster) -> None:
    address = f"/clusters/{cluster.pk}/classes/"
    gpu_rows.sampling(cluster)
    assert "Answers" in html(signed_in, address)
    MetricsSource.objects.update(sampled_at=timezone.now() - timedelta(minutes=2))
    page = html(signed_in, address)
    assert "Gives nothing new" in page and "Answers" not in page
    MetricsSource.objects.update(detail={"there": False})
    page = html(signed_in, address)
    assert "No longer there" in page and "Answers" not in page


def test_events_are_told_warnings_first_asked_for(signed_in: Client, cluster: Cluster) -> None:
    address = f"/clusters/{cluster.pk}/events/"
    assert "fra reports no warning" in html(signed_in, address)
    about = {"kind": "Node", "name": "fra-1"}
    seen(
        cluster,
        "Event",
        "e1",
        "default",
        type="Warning",
        reason="NodeNotReady",
        involved=about,
        message="It is <i>gone</i>",
    )
    seen(
        cluster,
        "Event",
        "e2",
        "default",
        type="Normal",
        reason="Starting",
        involved=about,
        message="Starting kubelet.",
    )
    page = html(signed_in, address)
    assert (
        "fra reports 1 warning" in page
        and "It is &lt;i&gt;gone&lt;/i&gt;" in page
        and "Starting kubelet." in page
    )
    assert "Starting kubelet." not in html(signed_in, f"{address}?type=warning")


def test_what_a_cluster_answers_breaks_no_page(signed_in: Client, cluster: Cluster) -> None:
    hostile = "a/b\n<script>alert(1)</script>"
    taints = [{"key": hostile, "effect": hostile}]
    conditions = [
        {"type": hostile, "status": "True"},
        {"type": "Ready", "status": hostile, "message": hostile},
    ]
    amounts = {"nvidia.com/gpu": "many", "amd.com/gpu": "-1", hostile: "3", "cpu": "0", "memory": "1e9"}
    gpu_rows.node(
        cluster, hostile, taints=taints, conditions=conditions, capacity=amounts, allocatable=amounts
    )
    gpu_rows.node(cluster, "bare", labels={}, capacity={}, allocatable={}, conditions=[], nodeInfo={})
    for address in ("nodes/", "nodes/?sort=-gpus", "nodes/?sort=cpu", "nodes/bare/", "classes/", "events/"):
        assert "<script>alert" not in html(signed_in, f"/clusters/{cluster.pk}/{address}")
    assert "<script>alert" not in html(signed_in, "/gpus/")


def test_strangers_find_no_inventory(client: Client, cluster: Cluster) -> None:
    gpu_rows.node(cluster, "fra-1")
    client.force_login(rows.person("stranger", make_team("Others")))
    for section in ("nodes/", "nodes/fra-1/", "classes/", "events/"):
        html(client, f"/clusters/{cluster.pk}/{section}", 404)
        html(client, f"/clusters/{cluster.pk}/{section}", 404, **{"X-Fragment": "1"})


def test_every_section_is_a_live_region_and_leads_to_the_others(signed_in: Client, cluster: Cluster) -> None:
    gpu_rows.node(cluster, "fra-1")
    for section in ("nodes/", "nodes/fra-1/", "classes/", "events/"):
        address = f"/clusters/{cluster.pk}/{section}"
        part = html(signed_in, address, **{"X-Fragment": "1"})
        assert part.lstrip().startswith("<div id=") and f'data-src="{address}"' in part
        assert f'data-live="cluster:{cluster.pk}"' in part
    page = html(signed_in, f"/clusters/{cluster.pk}/")
    for section in ("nodes/", "classes/", "events/"):
        assert f'href="/clusters/{cluster.pk}/{section}"' in page
    html(signed_in, f"/clusters/{cluster.pk}/nodes/nowhere/", 404)


def test_the_headline_counts_ready_nodes_in_trouble(signed_in: Client, cluster: Cluster) -> None:
    pressure = {"type": "MemoryPressure", "status": "True", "message": "short of memory"}
    gpu_rows.node(cluster, "short", conditions=[{"type": "Ready", "status": "True"}, pressure])
    gpu_rows.node(cluster, "well")
    assert "2 nodes are ready, 1 with trouble" in html(signed_in, f"/clusters/{cluster.pk}/nodes/")


def test_what_is_free_never_reads_as_all_where_some_is_requested(signed_in: Client, cluster: Cluster) -> None:
    much = {"cpu": "64", "memory": "2Ti"}
    gpu_rows.node(cluster, "big", capacity=much, allocatable=much)
    ClusterNode.objects.filter(name="big").update(requested={"memory": 30 * 2**30})
    page = html(signed_in, f"/clusters/{cluster.pk}/nodes/")
    assert f"2018{NB}GiB of 2048{NB}GiB free" in page and f"2{NB}TiB of 2{NB}TiB" not in page
    ClusterNode.objects.filter(name="big").update(requested={"memory": 2**30})
    assert f"2{NB}TiB of 2{NB}TiB free" in html(signed_in, f"/clusters/{cluster.pk}/nodes/")
