"""Rows of GPUs for the tests of pages: devices with figures as a sampler would have written them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django.utils import timezone

from deployments.domain.gpu_rollup import roll_up
from deployments.domain.gpu_series import (
    HEADER,
    Sample,
    pack_rolled,
    pack_sample,
    period_of,
    when,
)
from deployments.domain.gpus import NoData, Resolution, SourceKind
from deployments.models import (
    Cluster,
    ClusterNode,
    Deployment,
    GpuDevice,
    GpuHolding,
    GpuPod,
    GpuSampling,
    GpuSeries,
    MetricsSource,
)

GIB = 2**30
Busy = Callable[[int], float | None]  # seconds ago -> percent, None for a gap


def sampling(
    cluster: Cluster, no_data: NoData | None = None, answered: str = "", **values: Any
) -> GpuSampling:
    now = timezone.now()
    sampled = None if no_data and not no_data.partial else now - timedelta(seconds=4)
    MetricsSource.objects.get_or_create(
        cluster=cluster,
        kind=SourceKind.DCGM,
        namespace="gpu-operator",
        name="nvidia-dcgm-exporter",
        defaults={"chosen": True, "found_at": now, "sampled_at": sampled, "detail": {"there": True}},
    )
    defaults = {"due_at": now, "sampled_at": sampled, "no_data": no_data or "", "answered": answered}
    return GpuSampling.objects.create(cluster=cluster, **{**defaults, **values})


def device(cluster: Cluster, node: str, index: int = 0, **values: Any) -> GpuDevice:
    now = timezone.now()
    defaults: dict[str, Any] = {
        "key": f"GPU-{cluster.pk}-{node}-{index}",
        "vendor": "nvidia",
        "product": "NVIDIA L40S",
        "driver": "550.54.15",
        "memory_total": 48 * GIB,
        "memory_used": 46 * GIB,
        "utilisation": 81.0,
        "temperature": 71.0,
        "power": 298.4,
        "source": SourceKind.DCGM,
        "sampled_at": now - timedelta(seconds=4),
        "first_seen_at": now - timedelta(days=40),
    }
    return GpuDevice.objects.create(cluster=cluster, node=node, index=str(index), **{**defaults, **values})


def node(cluster: Cluster, name: str, gpus: int = 4, requested: int | None = 0, **data: Any) -> ClusterNode:
    amounts = {"nvidia.com/gpu": str(gpus), "cpu": "64", "memory": "527951876Ki", "pods": "110"}
    labels = {
        "nvidia.com/gpu.product": "NVIDIA-L40S",
        "nvidia.com/cuda.driver-version.full": "550.54.15",
        "nvidia.com/cuda.runtime-version.full": "12.4",
        "node.kubernetes.io/instance-type": "gpu-large",
    }
    given = {
        "labels": labels,
        "capacity": amounts,
        "allocatable": amounts,
        "taints": [],
        "conditions": [{"type": "Ready", "status": "True"}],
        "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.33.2"},
    }
    now = timezone.now()
    asked = {"nvidia.com/gpu": requested or 0, "cpu": 24_000, "memory": 180 * GIB}
    return ClusterNode.objects.create(
        cluster=cluster,
        name=name,
        uid=str(uuid4()),
        data={**given, **data},
        resource_version="1",
        changed_at=now,
        requested=None if requested is None else asked,
        pods=12,
        summed_at=now,
    )


def holding(
    device: GpuDevice,
    pod: str,
    since: int,
    until: int | None = None,
    deployment: Deployment | None = None,
    now: datetime | None = None,
) -> GpuHolding:
    """``pod`` ("namespace/name") held a device from so many seconds ago until so many, None for still."""
    namespace, _, name = pod.partition("/")
    row, _ = GpuPod.objects.get_or_create(
        cluster=device.cluster, namespace=namespace, name=name, deployment=deployment
    )
    now = now or timezone.now()
    return GpuHolding.objects.create(
        pod=row,
        device=device,
        since=now - timedelta(seconds=since),
        until=None if until is None else now - timedelta(seconds=until),
    )


def series(devices: Iterable[GpuDevice], busy: Busy, hours: float = 1.0, step: int = 15) -> None:
    """Figures of the last hours, sampled and rolled up; where ``busy`` gives None there is a gap."""
    now = timezone.now()
    samples: list[tuple[datetime, Sample]] = []
    for ago in range(int(hours * 3600), 0, -step):
        at, value = now - timedelta(seconds=ago), busy(ago)
        if value is not None:
            figures = (value, 40 + value * 0.4, 60 + value * 3, GIB * (4 + value * 0.45))
            samples.append((at, Sample(when(Resolution.RAW, at), *figures)))
    blobs: dict[tuple[Resolution, datetime], bytes] = {}
    for at, one in samples:
        key = (Resolution.RAW, period_of(Resolution.RAW, at))
        row = pack_sample(one.at, one.utilisation, one.temperature, one.power, one.memory_used)
        blobs[key] = blobs.get(key, HEADER) + row
    for resolution in (Resolution.FIVE_MINUTES, Resolution.HOUR):
        spans: dict[tuple[datetime, int], list[Sample]] = {}
        for at, one in samples:
            spans.setdefault((period_of(resolution, at), when(resolution, at)), []).append(one)
        for (start, place), found in spans.items():
            rolled = roll_up(place, found)
            assert rolled is not None
            key = (resolution, start)
            blobs[key] = blobs.get(key, HEADER) + pack_rolled(rolled)
    GpuSeries.objects.bulk_create(
        GpuSeries(device=device, resolution=resolution, start=start, packed=packed)
        for device in devices
        for (resolution, start), packed in blobs.items()
    )
