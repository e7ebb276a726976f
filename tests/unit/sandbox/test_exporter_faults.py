"""The variants of exporter text that the fault `gpu_exporter` switches on, as NVIDIA/dcgm-exporter's releases print them."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.scale import ScaleWorld, Size
from tests.sandbox_server import RunningSandbox, running_sandbox

SMALL = Size(nodes=2, pods=12, gpus=8, changes=0, seed=1, labelled=1.0)
LINE = re.compile(r'^[A-Za-z_]+\{([a-zA-Z_]+="[^"]*",?)+\} (NaN|[+-]Inf|[0-9.]+)$')


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(world=lambda store: ScaleWorld(store, SMALL)) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: RunningSandbox) -> Iterator[RunningSandbox]:
    yield shared
    shared.clear_faults()


def exporter(cluster: RunningSandbox) -> str:
    items = cluster.request("GET", "/api/v1/pods?labelSelector=app=nvidia-dcgm-exporter")[2]["items"]
    return str(items[0]["metadata"]["name"])


def page(cluster: RunningSandbox) -> tuple[int, str]:
    path = f"/api/v1/namespaces/gpu-operator/pods/{exporter(cluster)}:9400/proxy/metrics"
    code, _, body = cluster.request("GET", path)
    return code, str(body)


def shown(cluster: RunningSandbox, *variants: str, **more: Any) -> list[str]:
    """The lines of the page that carry values."""
    assert cluster.faults("gpu_exporter", variant=list(variants), **more)[0] == 200
    code, text = page(cluster)
    assert code == 200
    return [line for line in text.splitlines() if not line.startswith("#")]


def of(lines: list[str], name: str) -> list[str]:
    return [line for line in lines if line.startswith(name + "{")]


def test_an_untouched_page_is_well_formed(cluster: RunningSandbox) -> None:
    code, text = page(cluster)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert code == 200 and all(LINE.match(line) for line in lines)
    assert len(of(lines, "DCGM_FI_DEV_GPU_UTIL")) == 8
    idle = [line for line in of(lines, "DCGM_FI_DEV_FB_USED") if "pod=" not in line]
    assert 0 < len(idle) < 8


def test_host_labels(cluster: RunningSandbox) -> None:
    assert all('hostname="scale-gpu-0000"' in line for line in shown(cluster, "hostname"))
    name = exporter(cluster)
    assert all(f'Hostname="{name}"' in line for line in shown(cluster, "pod_hostname"))


def test_names_of_the_first_releases(cluster: RunningSandbox) -> None:
    lines = shown(cluster, "old_names")
    assert len(of(lines, "dcgm_gpu_utilization")) == 8 and not of(lines, "DCGM_FI_DEV_GPU_UTIL")
    assert all('uuid="GPU-' in line for line in lines)
    assert any('pod_name="model-' in line and 'pod_namespace="models-' in line for line in lines)


def test_cards_without_profiling(cluster: RunningSandbox) -> None:
    lines = shown(cluster, "no_profiling")
    assert of(lines, "DCGM_FI_DEV_GPU_UTIL") and not [line for line in lines if "_PROF_" in line]


def test_empty_labels_of_idle_gpus(cluster: RunningSandbox) -> None:
    lines = of(shown(cluster, "empty_labels"), "DCGM_FI_DEV_GPU_UTIL")
    assert [line for line in lines if 'container="",namespace="",pod=""' in line]
    assert all("pod=" in line for line in lines)


def test_blanks_and_what_is_no_number(cluster: RunningSandbox) -> None:
    lines = shown(cluster, "sentinels")
    assert of(lines, "DCGM_FI_DEV_GPU_UTIL")[0].endswith(" 9223372036854775792")
    assert of(lines, "DCGM_FI_DEV_MEMORY_TEMP")[0].endswith(" 2147483632")
    assert of(shown(cluster, "nan"), "DCGM_FI_DEV_GPU_UTIL")[0].endswith(" NaN")


def test_an_error_of_the_first_gpu(cluster: RunningSandbox) -> None:
    lines = of(shown(cluster, "xid"), "DCGM_FI_DEV_XID_ERRORS")
    assert [line.rpartition(" ")[2] for line in lines] == ["79"] + ["0"] * 7
    assert 'err_code="79",err_msg="GPU has fallen off the bus"' in lines[0]


def test_spoilt_pages(cluster: RunningSandbox) -> None:
    whole = page(cluster)[1]
    assert len(shown(cluster, "duplicated")) == 2 * len(
        [line for line in whole.splitlines() if not line.startswith("#")]
    )
    cluster.faults("gpu_exporter", variant="truncated")
    cut = page(cluster)[1]
    assert not cut.endswith("\n") and len(cut) < len(whole) * 0.7
    assert sum(map(len, shown(cluster, "huge", megabytes=1))) > 900_000
    cluster.faults("gpu_exporter", variant="error")
    assert page(cluster)[0] == 500
    cluster.faults("gpu_exporter", variant="html")
    assert page(cluster)[0] == 502
    cluster.faults("gpu_exporter", variant="refused")
    code, text = page(cluster)
    assert code == 503 and "connection refused" in text


def test_an_exporter_that_never_answers(cluster: RunningSandbox) -> None:
    cluster.faults("gpu_exporter", variant="hanging")
    path = f"/api/v1/namespaces/gpu-operator/pods/{exporter(cluster)}:9400/proxy/metrics"
    with pytest.raises((TimeoutError, http.client.HTTPException)), cluster.stream(path, seconds=0.5):
        pass


def test_only_the_exporters_in_scope(cluster: RunningSandbox) -> None:
    cluster.faults("gpu_exporter", variant="error", node="another-*")
    assert page(cluster)[0] == 200
    cluster.faults("gpu_exporter", variant="error", node="scale-gpu-*", times=1)
    assert [page(cluster)[0], page(cluster)[0]] == [500, 200]


@pytest.mark.parametrize("wrong", [None, "", "louder", ["nan", "louder"], [], 3])
def test_a_variant_that_does_not_exist(cluster: RunningSandbox, wrong: Any) -> None:
    code, _, body = cluster.faults("gpu_exporter", variant=wrong)
    assert code == 400 and "variant must be one or a list of: hostname" in body["error"]
