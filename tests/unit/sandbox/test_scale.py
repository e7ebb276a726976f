"""The large cluster: the same for the same seed, whole objects in pages, changes at a set rate, exporters that move."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from sandbox import quantity
from sandbox.__main__ import options_of, parse
from sandbox.scale import Fleet, ScaleWorld, Size
from sandbox.store import Store
from tests.sandbox_server import RunningSandbox, running_sandbox

SMALL = Size(nodes=30, pods=600, gpus=40, changes=0, seed=7, labelled=0.5, namespaces=("a", "b"))


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(world=lambda store: ScaleWorld(store, SMALL)) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: RunningSandbox) -> Iterator[RunningSandbox]:
    yield shared
    shared.clear_faults()
    shared.request("PUT", "/sandbox/churn", {"changes": 0})


def pods(cluster: RunningSandbox, query: str = "") -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = cluster.request("GET", f"/api/v1/pods?{query}")[2]["items"]
    return items


def test_a_fleet_is_the_same_for_the_same_seed() -> None:
    first, again = Fleet(SMALL), Fleet(SMALL)
    assert (first.stacks, first.pods) == (again.stacks, again.pods)
    other = Fleet(Size(nodes=30, pods=600, gpus=40, seed=8, labelled=0.5))
    assert [stack.uid for stack in other.stacks] != [stack.uid for stack in first.stacks]


def test_a_fleet_has_the_numbers_that_were_asked_for() -> None:
    fleet = Fleet(SMALL)
    assert len(fleet.pods) == 600 and len({(pod.workload.namespace, pod.name) for pod in fleet.pods}) == 600
    assert sum(spec.gpus for spec in fleet.nodes) == 40 and len(fleet.nodes) == 30
    stacks = sum(stack.pods for stack in fleet.stacks)
    assert stacks == round((600 - 5) * 0.5)
    assert {stack.namespace for stack in fleet.stacks} == {"a", "b"}
    assert max(Counter(pod.node for pod in fleet.pods).values()) <= 110


def test_no_node_is_asked_for_more_than_it_has() -> None:
    fleet = Fleet(Size(nodes=8, pods=400, gpus=60, seed=3, labelled=1.0))
    held: Counter[str] = Counter()
    for pod in fleet.pods:
        held[pod.node] += pod.workload.gpus
    assert all(held[spec.name] <= spec.gpus for spec in fleet.nodes)


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": 0},
        {"nodes": 2, "pods": 221, "gpus": 0},
        {"nodes": 2, "pods": 100, "gpus": 17},
        {"labelled": 1.5},
        {"changes": -1},
        {"nodes": 10, "pods": 1, "gpus": 16},
    ],
)
def test_sizes_that_make_no_cluster_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Size(**wrong)


def test_pods_come_in_pages_whole_and_of_real_size(cluster: RunningSandbox) -> None:
    found: list[dict[str, Any]] = []
    token = ""
    while True:
        _, _, page = cluster.request("GET", f"/api/v1/pods?limit=250&continue={token}")
        found += page["items"]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert len(found) == 600 and len({pod["metadata"]["uid"] for pod in found}) == 600
    sizes = [len(json.dumps(pod, separators=(",", ":"))) for pod in found]
    assert 2500 < sum(sizes) / len(sizes) < 3600
    assert all(pod["status"]["phase"] == "Running" for pod in found if pod["spec"].get("nodeName"))


def test_an_object_is_encoded_once_for_all_lists(cluster: RunningSandbox) -> None:
    def encoded(store: Store) -> list[int]:
        return [id(version.item()) for _, version in store.collection("Pod").now(None)]

    pods(cluster, "limit=500")
    first = cluster.run(encoded)
    pods(cluster)
    pods(cluster, "labelSelector=pilothouse.io/deployment")
    assert cluster.run(encoded) == first


def test_stacks_carry_the_labels_by_which_they_are_found(cluster: RunningSandbox) -> None:
    stacks = cluster.request("GET", "/sandbox/fleet")[2]["stacks"]
    stack = max(stacks, key=lambda entry: entry["servers"])
    mine = pods(cluster, f"labelSelector=pilothouse.io/deployment={stack['uid']}")
    assert len(mine) == stack["servers"] + stack["chats"]
    assert {pod["metadata"]["namespace"] for pod in mine} == {stack["namespace"]}
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in mine} == {"server", "chat"}
    path = f"/apis/apps/v1/namespaces/{stack['namespace']}/statefulsets/{stack['name']}-server"
    code, _, set_ = cluster.request("GET", path)
    assert code == 200 and set_["status"]["readyReplicas"] == stack["servers"]
    owner = next(pod for pod in mine if pod["metadata"]["name"].endswith("-server-0"))
    assert owner["metadata"]["ownerReferences"][0]["uid"] == set_["metadata"]["uid"]


def test_changes_come_at_the_set_rate_and_reach_a_watch(cluster: RunningSandbox) -> None:
    version = cluster.request("GET", "/api/v1/pods?limit=1")[2]["metadata"]["resourceVersion"]
    before = cluster.request("GET", "/sandbox/churn")[2]["made"]
    began = time.monotonic()
    cluster.request("PUT", "/sandbox/churn", {"changes": 400})
    path = f"/api/v1/pods?watch=true&resourceVersion={version}&timeoutSeconds=1"
    events = cluster.events(path)
    cluster.request("PUT", "/sandbox/churn", {"changes": 0})
    took = time.monotonic() - began
    state = cluster.request("GET", "/sandbox/churn")[2]
    made = state["made"] - before
    # A busy machine may be late, never early.
    assert 0 < made <= took * 400 * 1.1 + 20
    assert set(state["by"]) == {"readiness", "restart", "phase", "replace"}
    assert {event["type"] for event in events} >= {"ADDED", "MODIFIED", "DELETED"}
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))


def test_changes_keep_the_fleet_whole(cluster: RunningSandbox) -> None:
    world = cluster.cluster.world
    cluster.run(lambda store: world.churn.step(2000), seconds=30)
    found = pods(cluster)
    assert len(found) == 600
    unwell = [
        pod
        for pod in found
        if pod["spec"].get("nodeName") and not all(c["ready"] for c in pod["status"]["containerStatuses"])
    ]
    assert len(unwell) <= 8
    asked = Counter[str]()
    for pod in found:
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        asked[pod["spec"].get("nodeName", "")] += int(quantity.parse(limits.get("nvidia.com/gpu", "0")))
    held = {
        node: sum(device.pod is not None for device in devices)
        for node, devices in world.devices.nodes.items()
    }
    assert {node: count for node, count in asked.items() if node and count} == {
        node: count for node, count in held.items() if count
    }


def test_the_same_seed_gives_the_same_row_of_changes() -> None:
    def row() -> list[str]:
        with running_sandbox(world=lambda store: ScaleWorld(store, SMALL)) as cluster:
            world = cluster.cluster.world
            cluster.run(lambda store: world.churn.step(300))
            return sorted(f"{pod['metadata']['name']} {pod['status']['phase']}" for pod in pods(cluster))

    assert row() == row()


def metrics(cluster: RunningSandbox) -> str:
    exporter = pods(cluster, "labelSelector=app=nvidia-dcgm-exporter")[0]["metadata"]
    path = f"/api/v1/namespaces/{exporter['namespace']}/pods/{exporter['name']}:9400/proxy/metrics"
    code, headers, text = cluster.request("GET", path)
    assert code == 200 and headers["content-type"].startswith("text/plain; version=0.0.4")
    return str(text)


def test_every_gpu_node_has_an_exporter_whose_values_move(cluster: RunningSandbox) -> None:
    assert len(pods(cluster, "labelSelector=app=nvidia-dcgm-exporter")) == 5
    text = metrics(cluster)
    lines = re.findall(r"^DCGM_FI_DEV_GPU_UTIL\{.*\} (\d+)$", text, re.MULTILINE)
    assert len(lines) == 8 and any(int(value) > 0 for value in lines)
    clock = cluster.cluster.world.clock
    cluster.run(lambda store: clock.set_speed(10_000))
    try:
        deadline = time.monotonic() + 5
        while metrics(cluster) == text:
            assert time.monotonic() < deadline
    finally:
        cluster.run(lambda store: clock.set_speed(1))


def test_a_server_has_its_model_and_says_where_it_sits(cluster: RunningSandbox) -> None:
    server = next(pod for pod in pods(cluster) if pod["metadata"]["name"].endswith("-server-0"))
    base = (
        f"/api/v1/namespaces/{server['metadata']['namespace']}/pods/{server['metadata']['name']}:11434/proxy"
    )
    tags = cluster.request("GET", f"{base}/api/tags")[2]
    assert [model["name"] for model in tags["models"]] == ["deepseek-r1:1.5b"]
    (loaded,) = cluster.request("GET", f"{base}/api/ps")[2]["models"]
    with_gpu = "nvidia.com/gpu" in server["spec"]["containers"][0]["resources"]["limits"]
    assert loaded["size_vram"] == (loaded["size"] if with_gpu else 0)


def test_a_prometheus_tells_the_figures_of_the_whole_fleet() -> None:
    size = Size(nodes=4, pods=60, gpus=20, changes=0, labelled=0.9, prometheus=True)
    api = "/api/v1/namespaces/monitoring/services/prometheus-k8s:9090/proxy/api/v1"
    with running_sandbox(world=lambda store: ScaleWorld(store, size)) as cluster:
        _, _, body = cluster.request("GET", f"{api}/query?query=DCGM_FI_DEV_GPU_UTIL")
        assert len(body["data"]["result"]) == 20
        query = urlencode({"query": 'DCGM_FI_DEV_GPU_UTIL{exported_pod=~"model.*"}'})
        held = cluster.request("GET", f"{api}/query?{query}")[2]["data"]["result"]
        assert 0 < len(held) <= 16 and all(row["metric"]["namespace"] == "gpu-operator" for row in held)
        start = time.time() - 3600
        query = urlencode(
            {"query": held[0]["metric"]["__name__"], "start": start, "end": start + 3600, "step": 60}
        )
        rows = cluster.request("GET", f"{api}/query_range?{query}")[2]["data"]["result"]
        assert len(rows) == 20 and all(len(row["values"]) == 61 for row in rows)


def test_faults_that_need_a_living_world_are_refused_by_name(cluster: RunningSandbox) -> None:
    assert cluster.faults("crash_loop")[0] == 404
    assert cluster.faults("http_5xx", resource="pods")[0] == 200
    assert cluster.request("GET", "/api/v1/pods")[0] == 503


@pytest.mark.parametrize("wrong", [-1, "many", None, True, 1e9])
def test_a_rate_that_is_none_is_refused(cluster: RunningSandbox, wrong: Any) -> None:
    code, _, body = cluster.request("PUT", "/sandbox/churn", {"changes": wrong})
    assert code == 400 and "changes must be a number" in body["error"]


@pytest.mark.parametrize(
    "wrong, words",
    [
        (["--nodes", "1", "--pods", "500"], "500 pods do not fit"),
        (["--state", "somewhere"], "leave out --state"),
    ],
)
def test_what_does_not_go_together_is_refused(wrong: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        options_of(parse(["--scenario", "scale", *wrong]))


def test_the_command_makes_the_size_that_it_is_told() -> None:
    arguments = ["--scenario", "scale", "--nodes", "3", "--pods", "20", "--gpus", "9", "--seed", "5"]
    options = options_of(parse([*arguments, "--changes", "1.5", "--namespaces", "x,y", "--prometheus"]))
    assert options.world is not None
    size = options.world(Store(seed=1)).fleet.size
    assert size == Size(3, 20, 9, 1.5, 5, prometheus=True, namespaces=("x", "y"))
