"""The simulated Prometheus: selectors, envelopes, ranges, and both layouts of labels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import pytest

from sandbox.world.promql import QueryError, parse
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.unit.sandbox.world.harness import container

Object = dict[str, Any]
T = TypeVar("T")
API = "/api/v1/namespaces/monitoring/services/prometheus-k8s:web/proxy/api/v1"
UTIL = "DCGM_FI_DEV_GPU_UTIL"


def until(what: str, condition: Callable[[], T | bool | None], seconds: float = 60.0) -> T:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
        time.sleep(0.05)
    return value  # type: ignore[return-value]


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(world=True, scenario="monitored", speed=200) as cluster:
        limits = {"limits": {"nvidia.com/gpu": "1"}}
        spec = {"containers": [container(resources=limits)]}
        cluster.request(
            "POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "user"}, "spec": spec}
        )
        until("Prometheus", lambda: cluster.request("GET", f"{API}/query?query=up")[0] == 200)
        until("a pod on a GPU", lambda: values(cluster, UTIL + '{exported_pod="user"}'))
        until("AMD's series", lambda: values(cluster, "gpu_gfx_activity"))
        yield cluster


@pytest.fixture
def cluster(shared: RunningSandbox) -> Iterator[RunningSandbox]:
    yield shared
    shared.clear_faults()


def values(cluster: RunningSandbox, query: str, **more: str) -> list[Object]:
    code, _, body = cluster.request("GET", f"{API}/query?{urlencode({'query': query, **more})}")
    assert code == 200 and body["status"] == "success" and body["data"]["resultType"] == "vector", body
    found: list[Object] = body["data"]["result"]
    return found


def test_selectors_match_as_documented() -> None:
    labels = {"__name__": "up", "pod": "a-1", "job": "x"}
    for text in (
        "up",
        "{__name__='up'}",
        'up{pod=~"a-.*",job!=""}',
        'up{other=""}',
        'up{pod!~"b.*",}',
        "up { }",
    ):
        assert parse(text).matches(labels), text
    for text in ("down", 'up{pod=~"a"}', 'up{pod="a-1",job="y"}', 'up{other!=""}'):
        assert not parse(text).matches(labels), text
    assert parse(r'up{pod="say \"x\" \\ \n"}').matches({"__name__": "up", "pod": 'say "x" \\ \n'})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{a=""}',
        "rate(up[5m])",
        "up[5m]",
        "up + 1",
        'up{a="b"',
        "up{a}",
        'up{a=~"("}',
        "up offset 5m",
        "timestamp(timestamp(up))",
        "timestamp(up",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        parse(text)


def test_services_and_pods_carry_the_usual_labels(cluster: RunningSandbox) -> None:
    query = "labelSelector=app.kubernetes.io/name=prometheus"
    (pod,) = cluster.request("GET", f"/api/v1/pods?{query}")[2]["items"]
    (service,) = cluster.request("GET", f"/api/v1/services?{query}")[2]["items"]
    assert pod["spec"]["containers"][0]["ports"][0]["containerPort"] == 9090
    assert service["spec"]["ports"][0]["port"] == 9090


def test_labels_collide_unless_they_are_honoured(cluster: RunningSandbox) -> None:
    series = [entry["metric"] for entry in values(cluster, UTIL)]
    assert len(series) == 4
    (busy,) = [labels for labels in series if labels.get("exported_pod") == "user"]
    assert busy["exported_namespace"] == "default" and busy["namespace"] == "gpu-operator"
    # An idle GPU carries its exporter's pod, which is nobody's workload.
    assert all(labels["pod"].startswith("nvidia-dcgm-exporter-") for labels in series)
    cluster.faults("prometheus", honor_labels=True)
    series = [entry["metric"] for entry in values(cluster, UTIL)]
    assert [labels["namespace"] for labels in series if labels["pod"] == "user"] == ["default"]
    assert not any("exported_pod" in labels for labels in series)


def test_amd_honours_its_labels_and_leaves_out_empty_ones(cluster: RunningSandbox) -> None:
    series = [entry["metric"] for entry in values(cluster, "gpu_gfx_activity")]
    assert len(series) == 2 and all("pod" not in labels and labels["job"] for labels in series)


def test_the_time_of_a_sample_can_be_asked_for(cluster: RunningSandbox) -> None:
    before = {
        tuple(sorted(one["metric"].items())): float(one["value"][1])
        for one in values(cluster, f"timestamp({UTIL})")
    }
    assert len(before) == 4 and all("__name__" not in dict(labels) for labels in before)
    assert all(abs(taken - time.time()) < 60 for taken in before.values())
    until(
        "a newer sample",
        lambda: all(
            float(one["value"][1]) > max(before.values()) for one in values(cluster, f"timestamp({UTIL})")
        ),
    )


def test_samples_are_texts_and_posts_work_too(cluster: RunningSandbox) -> None:
    (sample,) = values(cluster, UTIL + '{exported_pod="user"}')
    when, value = sample["value"]
    assert abs(when - time.time()) < 30 and value == "0"
    body = urlencode({"query": UTIL}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    code, _, answer = cluster.request("POST", f"{API}/query", body, headers)
    assert code == 200 and len(answer["data"]["result"]) == 4
    assert values(cluster, UTIL, time="2020-01-01T00:00:00Z") == []


def test_ranges_series_and_label_values(cluster: RunningSandbox) -> None:
    now = time.time()
    wanted = {"query": UTIL, "start": str(now - 10), "end": str(now), "step": "2s"}
    code, _, body = cluster.request("GET", f"{API}/query_range?{urlencode(wanted)}")
    assert code == 200 and body["data"]["resultType"] == "matrix" and len(body["data"]["result"]) == 4
    points = body["data"]["result"][0]["values"]
    assert 1 <= len(points) <= 6 and all(isinstance(value, str) for _, value in points)
    match = quote('{__name__=~"DCGM_FI_DEV_GPU_UTIL|gpu_gfx_activity"}')
    series = cluster.request("GET", f"{API}/series?match[]={match}")[2]["data"]
    # What was there before counts too, so a GPU that has changed hands is listed for each holder.
    assert len({labels.get("UUID") or labels["gpu_uuid"] for labels in series}) == 6
    names = cluster.request("GET", f"{API}/label/__name__/values")[2]["data"]
    assert {"up", UTIL, "gpu_used_vram"} <= set(names)


@pytest.mark.parametrize(
    "path",
    [
        "query?query=sum(up)",
        "query?query=up&time=soon",
        "query_range?query=timestamp(up)&start=0&end=10&step=1",
        "query_range?query=up&start=0&end=10&step=0",
        "query_range?query=up&start=0&end=99999&step=1",
        "query_range?query=up&start=10&end=0&step=1",
        "series",
    ],
)
def test_what_is_refused_comes_in_the_envelope(cluster: RunningSandbox, path: str) -> None:
    code, _, body = cluster.request("GET", f"{API}/{path}")
    assert code == 400 and body["status"] == "error" and body["errorType"] == "bad_data" and body["error"]


def test_spoilt_answers(cluster: RunningSandbox) -> None:
    cluster.faults("prometheus", answer="empty")
    assert values(cluster, "up") == []
    cluster.faults("prometheus", answer="error")
    code, _, body = cluster.request("GET", f"{API}/query?query=up")
    assert code == 503 and body["errorType"] == "timeout"
    cluster.faults("prometheus", answer="html")
    code, headers, _ = cluster.request("GET", f"{API}/query?query=up")
    assert headers["content-type"].startswith("text/html")
    cluster.faults("prometheus", answer="refused")
    assert cluster.request("GET", f"{API}/query?query=up")[0] == 503
    assert cluster.faults("prometheus", answer="loud")[0] == 400
    assert cluster.faults("prometheus", honor_labels="yes")[0] == 400


def test_series_end_when_their_exporter_is_gone_and_come_back(cluster: RunningSandbox) -> None:
    cluster.faults("exporters_gone", vendor="amd")
    until("no AMD series", lambda: not values(cluster, "gpu_gfx_activity"))
    assert cluster.request("GET", "/apis/apps/v1/namespaces/kube-amd-gpu/daemonsets")[2]["items"] == []
    assert values(cluster, UTIL)
    cluster.clear_faults()
    until("AMD series", lambda: values(cluster, "gpu_gfx_activity"))
