"""Which labels mean what in an answer of Prometheus, and what is made of an answer that is none."""

from __future__ import annotations

import pytest

from deployments.domain.errors import ServerFault
from deployments.domain.gpus import SourceKind
from deployments.gateways.metrics.exporters import ExporterPod
from deployments.gateways.metrics.exposition import Series
from deployments.gateways.metrics.prometheus import Layout, _series, _service, of_this_cluster
from deployments.gateways.metrics.readings import GpuReading

EXPORTER = ExporterPod(SourceKind.DCGM, "gpu-operator", "nvidia-dcgm-exporter-x1", "node-1", 9400, True)


def layout(*labels: dict[str, str], exporters: tuple[ExporterPod, ...] = (EXPORTER,)) -> Layout:
    return Layout(
        [Series("DCGM_FI_DEV_GPU_UTIL", one, 1.0) for one in labels], exporters, ["node-1", "node-2"]
    )


def test_where_labels_collided_the_exporters_pod_is_nobody() -> None:
    target = {"job": "dcgm", "namespace": "gpu-operator", "pod": EXPORTER.name}
    busy = {**target, "exported_pod": "r1-server-0", "exported_namespace": "llm"}
    found = layout(busy, target)
    assert found.holder(busy) == ("llm", "r1-server-0")
    assert found.holder(target) is None


@pytest.mark.parametrize("known", [(EXPORTER,), ()])
def test_where_labels_are_honoured_the_exporters_pod_is_nobody_either(known: tuple[ExporterPod, ...]) -> None:
    idle = {"job": "dcgm", "namespace": "gpu-operator", "pod": EXPORTER.name}
    busy = {"job": "dcgm", "namespace": "llm", "pod": "r1-server-0", "container": "ollama"}
    found = layout(idle, busy, exporters=known)
    assert found.holder(busy) == ("llm", "r1-server-0")
    assert found.holder(idle) is None


def test_the_labels_of_the_old_namespace() -> None:
    busy = {"job": "dcgm", "pod": EXPORTER.name, "pod_name": "r1-server-0", "pod_namespace": "llm"}
    idle = {**busy, "pod_name": "", "pod_namespace": ""}
    found = layout(busy, idle)
    assert (found.holder(busy), found.holder(idle)) == (("llm", "r1-server-0"), None)


def test_two_jobs_may_be_scraped_in_two_ways() -> None:
    nvidia = {"job": "dcgm", "pod": EXPORTER.name, "exported_pod": "a", "exported_namespace": "n"}
    amd = {"job": "amd", "namespace": "llm", "pod": "b"}
    found = layout(nvidia, amd)
    assert (found.holder(nvidia), found.holder(amd)) == (("n", "a"), ("llm", "b"))


@pytest.mark.parametrize(
    ("labels", "node"),
    [
        ({"Hostname": "node-2"}, "node-2"),
        ({"hostname": "node-2"}, "node-2"),
        ({"Hostname": EXPORTER.name}, "node-1"),
        ({"namespace": "gpu-operator", "pod": EXPORTER.name, "Hostname": "whatever"}, "node-1"),
        ({"Hostname": "10.0.0.7", "node": "node-2"}, "node-2"),
        ({"Hostname": "10.0.0.7"}, "10.0.0.7"),
    ],
)
def test_the_node_of_a_series(labels: dict[str, str], node: str) -> None:
    assert layout(labels).node(labels) == node


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b"<html>sign in</html>", "HTTP 200: <html>"),
        (200, b'{"status":"success"}', ""),
        (200, b'{"status":"success","data":{"result":{}}}', ""),
        (422, b'{"status":"error","errorType":"execution","error":"too many samples"}', "too many samples"),
        (503, b"", "HTTP 503"),
    ],
)
def test_an_answer_that_is_none_says_what_it_is(status: int, body: bytes, words: str) -> None:
    with pytest.raises(ServerFault) as caught:
        _series(status, body, "ask")
    assert words in caught.value.answered


def test_devices_of_other_clusters_are_left_out() -> None:
    mine, foreign = (
        GpuReading(key=node, vendor="nvidia", node=node, index="0") for node in ("node-1", "far")
    )
    assert of_this_cluster([mine, foreign], {"node-1", "node-2"}) == [mine]
    assert of_this_cluster([foreign], {"node-1"}) == [foreign], "the hosts have other names than the nodes"


def test_odd_elements_are_left_out() -> None:
    body = (
        b'{"status":"success","data":{"resultType":"vector","result":[1,{"metric":[]},'
        b'{"metric":{"a":"b"},"value":[1,"x"]},{"metric":{"a":"b"},"value":"5"},'
        b'{"metric":{"a":"b","c":7},"value":[1,"5"]},'
        b'{"metric":{"__name__":"n","a":"b"},"value":[1712345678.5,"NaN"]}]}}'
    )
    ((one, at),) = _series(200, body, "ask")
    assert (one.name, dict(one.labels), at) == ("n", {"a": "b"}, 1712345678.5) and one.value != one.value


@pytest.mark.parametrize(
    ("ports", "port", "scheme"),
    [
        ([{"name": "web", "port": 9090}, {"name": "reloader-web", "port": 8080}], 9090, "http"),
        ([{"name": "http", "port": 80, "targetPort": 9090}], 80, "http"),
        ([{"name": "grpc", "port": 10901}, {"name": "http-web", "port": 9091}], 9091, "http"),
        ([{"name": "https", "port": 443}], 443, "https"),
    ],
)
def test_the_port_of_a_service(ports: list[dict[str, object]], port: int, scheme: str) -> None:
    found = _service({"metadata": {"namespace": "m", "name": "p"}, "spec": {"ports": ports}})
    assert found is not None and (found.port, found.scheme) == (port, scheme)
