"""Which pod held which device and when: written as it changes, not every round.

A pod's figures over time are not stored beside those of devices: they are its devices' figures in the
times that it held them (see docs/decisions/0004). What a round says of a device counts for that device
alone. A pod is on one node, so that where it shows up on another one it holds nothing on the first any
more, also if that one has fallen silent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from deployments.domain.gpus import SAMPLE_EVERY
from deployments.gateways.metrics import GpuReading
from deployments.models import GpuDevice, GpuHolding, GpuPod

MANY = 500
Name = tuple[str, str]
"""A pod as (namespace, name)."""


@dataclass(frozen=True)
class _Open:
    """A holding that has not ended. ``node`` is its device's as stored."""

    pk: int
    device: int
    node: str
    pod: int
    name: Name
    deployment: int | None


def note(
    cluster_id: int,
    found: Mapping[int, GpuReading],
    owned: Mapping[Name, int],
    slot: datetime,
) -> None:
    """Begin and end holdings as a round says, inside the caller's transaction. ``found`` is by the
    devices' ids, ``owned`` gives the deployment of the pods that have one."""
    nodes = {name: reading.node for reading in found.values() for name in reading.holders}
    missing = {(device, name) for device, reading in found.items() for name in reading.holders}
    ended: list[int] = []
    adopted: dict[int, int] = {}
    for held in _open(cluster_id):
        mine = owned.get(held.name)
        if (held.device, held.name) in missing:
            if mine is None or held.deployment in (None, mine):
                missing.discard((held.device, held.name))
                if mine is not None and held.deployment is None:
                    adopted[held.pod] = mine
                continue
        elif held.device not in found and nodes.get(held.name, held.node) == held.node:
            continue  # nothing is said of it
        ended.append(held.pk)
    for start in range(0, len(ended), MANY):
        GpuHolding.objects.filter(pk__in=ended[start : start + MANY]).update(until=slot)
    for pod, deployment in adopted.items():
        GpuPod.objects.filter(pk=pod).update(deployment_id=deployment)
    if missing:
        pods = _pods(cluster_id, {name for _, name in missing}, owned)
        GpuHolding.objects.bulk_create(
            [GpuHolding(device_id=device, pod_id=pods[name], since=slot) for device, name in sorted(missing)],
            batch_size=MANY,
        )


def end_of(gone: Iterable[int]) -> None:
    """End what held devices that are gone, with their last figures."""
    for device, seen in GpuDevice.objects.filter(pk__in=list(gone)).values_list("pk", "sampled_at"):
        GpuHolding.objects.filter(device_id=device, until=None).update(until=seen + SAMPLE_EVERY)


def _open(cluster_id: int) -> list[_Open]:
    rows = GpuHolding.objects.filter(until=None, device__cluster_id=cluster_id).order_by()
    return [
        _Open(pk, device, node, pod, (namespace, name), deployment)
        for pk, device, node, pod, namespace, name, deployment in rows.values_list(
            *("pk", "device_id", "device__node", "pod_id"),
            *("pod__namespace", "pod__name", "pod__deployment_id"),
        )
    ]


def _pods(cluster_id: int, names: Collection[Name], owned: Mapping[Name, int]) -> dict[Name, int]:
    """The pods of these names, made where they were not known. Of several the newest one."""
    known: dict[Name, list[tuple[int, int | None]]] = {}
    wanted = sorted({name for _, name in names})
    for start in range(0, len(wanted), MANY):
        rows = GpuPod.objects.filter(cluster_id=cluster_id, name__in=wanted[start : start + MANY])
        for pk, namespace, name, deployment in rows.order_by("-pk").values_list(
            "pk", "namespace", "name", "deployment_id"
        ):
            known.setdefault((namespace, name), []).append((pk, deployment))
    pods: dict[Name, int] = {}
    new: list[GpuPod] = []
    for pod in sorted(names):
        mine = owned.get(pod)
        # Whose it is may not be known yet of a pod that has just come back: then it is whose it was.
        same = [pk for pk, deployment in known.get(pod, ()) if mine is None or deployment == mine]
        if same:
            pods[pod] = same[0]
        else:
            new.append(GpuPod(cluster_id=cluster_id, namespace=pod[0], name=pod[1], deployment_id=mine))
    for made in GpuPod.objects.bulk_create(new, batch_size=MANY):
        pods[made.namespace, made.name] = made.pk
    return pods
