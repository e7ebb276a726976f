"""Rows of a whole fleet, as the observer and the sampler leave them, written straight into the database.

The objects are those of a large practice cluster that is never started, trimmed by the observer's own
reader. Pages can so be measured at any size within seconds, and without a cluster.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from deployments.domain.gpu_series import HEADER, Rolled, Spread, pack_rolled, pack_sample, period_of, when
from deployments.domain.gpus import Resolution, SourceKind
from deployments.domain.states import Health, OperationKind, OperationState
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
    ObservedObject,
    Operation,
    Revision,
    WatchState,
)
from deployments.observer.reading import DEPLOYMENT, NODE, POD, STATEFUL_SET, read
from sandbox.scale import ScaleWorld, Size
from sandbox.scale.backends import reading
from sandbox.store import Store

Object = dict[str, Any]

MANY = 500
MIB = 1024 * 1024
# What is stored of each device's past: what the pages of a day ask for.
HOURS, DAYS = 3, 2
PATTERNS = 8
_HEALTH = (
    *((Health.HEALTHY, "It answers, and the model is there.") for _ in range(17)),
    (Health.DEGRADED, "1 of 2 pods is not ready."),
    (Health.PROGRESSING, "The model is being pulled."),
    (Health.FAILED, "The server's container is killed for want of memory."),
)


def fill(cluster: Cluster, revision: Revision, size: Size, prefix: str = "") -> list[Deployment]:
    """Everything of a fleet on one cluster. prefix: begins the names of its deployments."""
    store = Store(seed=size.seed)
    for namespace in ("default", "kube-node-lease"):
        store.create("Namespace", {"metadata": {"name": namespace}})
    world = ScaleWorld(store, size)
    asyncio.run(_make(world))
    now = timezone.now()
    made = _deployments(cluster, revision, world, now, prefix)
    _nodes(cluster, store, now)
    owners = {str(row.uid): row for row in made}
    _objects(cluster, store, owners, now)
    _devices(cluster, world, owners, now)
    _state(cluster, now)
    return made


async def _make(world: ScaleWorld) -> None:
    world.churn.rate = 0.0
    await world.start()
    await world.stop()


def _deployments(
    cluster: Cluster, revision: Revision, world: ScaleWorld, now: datetime, prefix: str
) -> list[Deployment]:
    rows = []
    for stack, (health, sentence) in zip(world.fleet.stacks, itertools.cycle(_HEALTH)):
        rows.append(
            Deployment(
                uid=stack.uid,
                team=revision.profile.team,
                cluster=cluster,
                namespace=stack.namespace,
                name=f"{prefix}{stack.name}",
                revision=revision,
                health=health,
                health_sentence=sentence,
                health_since=now - timedelta(hours=1),
                observed_at=now,
            )
        )
    made = Deployment.objects.bulk_create(rows, batch_size=MANY)
    Operation.objects.bulk_create(
        (
            Operation(
                kind=OperationKind.INSTALL,
                state=OperationState.SUCCEEDED,
                team=row.team,
                cluster=cluster,
                deployment=row,
                title=f"Install {row.name}",
                actor_name="bench",
                started_at=now - timedelta(hours=2),
                finished_at=now - timedelta(hours=1),
            )
            for row in made
        ),
        batch_size=MANY,
    )
    return made


def _nodes(cluster: Cluster, store: Store, now: datetime) -> None:
    asked: dict[str, Counter[str]] = {}
    pods: Counter[str] = Counter()
    for pod in store.each("Pod"):
        node = pod["spec"].get("nodeName", "")
        pods[node] += 1
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        sums = asked.setdefault(node, Counter())
        sums.update({"cpu": 500, "memory": 1024 * MIB, "pods": 1})
        sums["nvidia.com/gpu"] += int(limits.get("nvidia.com/gpu", 0))
    rows = []
    for obj in store.each("Node"):
        seen = read(NODE, obj)
        assert seen is not None
        rows.append(
            ClusterNode(
                cluster=cluster,
                name=seen.name,
                uid=seen.uid,
                data=seen.data,
                resource_version=seen.resource_version,
                changed_at=now,
                requested=dict(asked.get(seen.name, {})),
                pods=pods[seen.name],
                summed_at=now,
            )
        )
    ClusterNode.objects.bulk_create(rows, batch_size=MANY)


def _objects(cluster: Cluster, store: Store, owners: dict[str, Deployment], now: datetime) -> None:
    rows = []
    for kind in (POD, STATEFUL_SET, DEPLOYMENT):
        for obj in store.each(kind.kind):
            owner = owners.get((obj["metadata"].get("labels") or {}).get("pilothouse.io/deployment", ""))
            seen = read(kind, obj) if owner is not None else None
            if seen is not None:
                rows.append(
                    ObservedObject(
                        cluster=cluster,
                        deployment=owner,
                        kind=seen.kind,
                        namespace=seen.namespace,
                        name=seen.name,
                        uid=seen.uid,
                        data=seen.data,
                        resource_version=seen.resource_version,
                        changed_at=now,
                    )
                )
    ObservedObject.objects.bulk_create(rows, batch_size=MANY)


def _devices(cluster: Cluster, world: ScaleWorld, owners: dict[str, Deployment], now: datetime) -> None:
    holders = {
        (pod["metadata"]["namespace"], pod["metadata"]["name"]): owners.get(
            (pod["metadata"].get("labels") or {}).get("pilothouse.io/deployment", "")
        )
        for pod in world.store.each("Pod")
    }
    rows = []
    for device in itertools.chain.from_iterable(world.devices.nodes.values()):
        figures = reading(device, 1000.0)
        namespace, pod, _ = device.pod or ("", "", "")
        rows.append(
            GpuDevice(
                cluster=cluster,
                key=device.uuid,
                node=device.node,
                index=str(device.index),
                vendor="nvidia",
                product=device.model.product,
                driver="550.90.07",
                memory_total=device.model.memory * MIB,
                memory_used=figures.used * MIB,
                utilisation=float(figures.utilisation),
                temperature=float(figures.temperature),
                power=figures.power,
                source=SourceKind.DCGM,
                pod_namespace=namespace,
                pod_name=pod,
                deployment=holders.get((namespace, pod)),
                sampled_at=now,
                first_seen_at=now - timedelta(days=DAYS),
            )
        )
    made = GpuDevice.objects.bulk_create(rows, batch_size=MANY)
    _holdings(cluster, made, now)
    add_series(made, now)


def _holdings(cluster: Cluster, devices: list[GpuDevice], now: datetime) -> None:
    """Each pod has held its devices for some hours."""
    owners = {(d.pod_namespace, d.pod_name): d.deployment_id for d in devices if d.pod_name}
    made = GpuPod.objects.bulk_create(
        [
            GpuPod(cluster=cluster, namespace=namespace, name=name, deployment_id=owner)
            for (namespace, name), owner in owners.items()
        ],
        batch_size=MANY,
    )
    pods = {(pod.namespace, pod.name): pod for pod in made}
    GpuHolding.objects.bulk_create(
        [
            GpuHolding(pod=pods[d.pod_namespace, d.pod_name], device=d, since=now - timedelta(hours=4))
            for d in devices
            if d.pod_name
        ],
        batch_size=MANY,
    )


def add_series(devices: list[GpuDevice], now: datetime, hours: int = HOURS, days: int = DAYS) -> None:
    """Samples of the last hours and five-minute roll-ups of the last days; devices share a few patterns."""
    blobs = [
        (resolution, start, [_blob(resolution, start, now, turn) for turn in range(PATTERNS)])
        for resolution, start in _periods(now, hours, days)
    ]
    GpuSeries.objects.bulk_create(
        (
            GpuSeries(device=device, resolution=resolution, start=start, packed=packed[number % PATTERNS])
            for number, device in enumerate(devices)
            for resolution, start, packed in blobs
        ),
        batch_size=MANY,
    )


def _periods(now: datetime, hours: int, days: int) -> list[tuple[Resolution, datetime]]:
    hour, day = period_of(Resolution.RAW, now), period_of(Resolution.FIVE_MINUTES, now)
    return [
        *((Resolution.RAW, hour - timedelta(hours=back)) for back in range(hours)),
        *((Resolution.FIVE_MINUTES, day - timedelta(days=back)) for back in range(days)),
    ]


def _blob(resolution: Resolution, start: datetime, now: datetime, turn: int) -> bytes:
    raw = resolution is Resolution.RAW
    step = timedelta(seconds=15) if raw else timedelta(minutes=5)
    noise = random.Random(f"{turn}/{start}")
    parts, at = [HEADER], start
    while at < min(now, start + (timedelta(hours=1) if raw else timedelta(days=1))):
        load = noise.randrange(101)
        place = when(resolution, at)
        if raw:
            parts.append(pack_sample(place, load, 40, 100 + load, load * 512 * MIB))
        else:
            spread = (Spread(load / 2, load, load), Spread(35, 40, 45), Spread(90, 120, 300), None)
            parts.append(pack_rolled(Rolled(place, 20, spread)))
        at += step
    return b"".join(parts)


def _state(cluster: Cluster, now: datetime) -> None:
    """Everything was seen just now."""
    for kind in ("Pod", "StatefulSet", "Deployment", "PersistentVolumeClaim", "Event", "Node"):
        WatchState.objects.update_or_create(
            cluster=cluster, kind=kind, defaults={"listed_at": now, "confirmed_at": now}
        )
    Cluster.objects.filter(pk=cluster.pk).update(last_seen_at=now, kubernetes_version="v1.36.2")
    GpuSampling.objects.update_or_create(
        cluster=cluster,
        defaults={"due_at": now, "sampled_at": now, "tried_at": now, "looked_at": now, "devices": 1},
    )
    MetricsSource.objects.get_or_create(
        cluster=cluster,
        kind=SourceKind.DCGM,
        namespace="gpu-operator",
        name="nvidia-dcgm-exporter",
        defaults={"chosen": True, "found_at": now, "confirmed_at": now, "sampled_at": now},
    )
