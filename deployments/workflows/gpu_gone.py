"""Devices that are no longer there, told apart from those of which nobody says anything.

A device is gone where its node left the cluster, or where what measures its node answers and tells of
it no more: it was taken out, split into instances, or is dead. Where the exporter is silent the device
is silent too, and stays among the living without figures.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

from deployments.domain.gpus import Gone, SourceKind
from deployments.models import ClusterNode, GpuDevice
from deployments.workflows import gpu_pods
from deployments.workflows.gpu_rows import Known

MISSED_FOR = timedelta(minutes=2)
"""An exporter that starts tells of its devices one after another; one round without is not gone."""

Heard = tuple[str, str]
"""What measures a vendor's devices of a node, as (vendor, node)."""


def gone(
    cluster_id: int,
    known: Mapping[str, Known],
    found: Collection[str],
    heard: Collection[Heard],
    now: datetime,
) -> dict[Gone, list[int]]:
    """Those of the known devices that are gone now and were not before. ``found`` are the keys of the
    round's, ``heard`` what answered in it."""
    missed = [
        each
        for key, each in known.items()
        if not each.gone and key not in found and each.sampled_at < now - MISSED_FOR
    ]
    if not missed:
        return {}
    nodes = set(ClusterNode.objects.filter(cluster_id=cluster_id).values_list("name", flat=True))
    # A Prometheus may call nodes by other names than the cluster does.
    same_names = any(each.node in nodes for each in known.values())
    told: dict[Gone, list[int]] = {}
    for each in missed:
        is_node = same_names or each.source != SourceKind.PROMETHEUS
        if nodes and is_node and each.node not in nodes:
            told.setdefault(Gone.NODE, []).append(each.pk)
        elif (each.vendor, each.node) in heard:
            told.setdefault(Gone.REPORT, []).append(each.pk)
    return told


def write(told: Mapping[Gone, Iterable[int]]) -> None:
    """Note it, inside the caller's transaction."""
    for why, devices in told.items():
        GpuDevice.objects.filter(pk__in=list(devices)).update(gone=why)
        gpu_pods.end_of(devices)
