"""Which of several exporters on a node is asked."""

from __future__ import annotations

from dataclasses import replace

from deployments.domain.gpus import SourceKind
from deployments.gateways.metrics.exporters import ExporterPod, one_of_each_node


def pods(namespace: str, owner: str, *nodes: str, running: bool = True) -> list[ExporterPod]:
    return [
        ExporterPod(SourceKind.DCGM, namespace, f"{owner}-{node}", node, 9400, running, owner)
        for node in nodes
    ]


OPERATOR = pods("gpu-operator", "nvidia-dcgm-exporter", "a", "b", "c")


def test_the_set_of_the_cluster_comes_before_somebodys_own() -> None:
    mine = pods("aaa", "dcgm-exporter", "a", "b")
    assert one_of_each_node([*mine, *OPERATOR]) == OPERATOR
    same_size = pods("aaa", "dcgm-exporter", "a", "b", "c")
    assert one_of_each_node([*same_size, *OPERATOR]) == OPERATOR


def test_where_it_does_not_run_or_is_not_another_one_serves() -> None:
    mine = pods("monitoring", "dcgm-exporter", "c", "d")
    silent = [*OPERATOR[:2], replace(OPERATOR[2], running=False)]
    assert one_of_each_node([*mine, *silent]) == [*OPERATOR[:2], *mine]


def test_two_makers_on_a_node_are_both_asked() -> None:
    amd = replace(OPERATOR[0], kind=SourceKind.AMD, name="amd", owner="amd")
    assert one_of_each_node([amd, *OPERATOR]) == [amd, *OPERATOR]


def test_pods_without_a_node_are_not_one() -> None:
    lost = [replace(pod, node="", running=False) for pod in OPERATOR]
    assert one_of_each_node(lost) == lost
