"""A round's figures into the database: the devices as they are now, and a few bytes for each series.

Two thousand devices a round leave no time for two thousand statements through the ORM, nor for reading
two thousand blobs to write each anew: known rows are updated with one prepared statement each, all in
one transaction, and the database itself appends to the blobs. How bytes are joined is the one thing that
SQLite and PostgreSQL write differently.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection

from deployments.domain.gpu_series import (
    HEADER,
    MarkKind,
    pack_mark,
    pack_sample,
    period_of,
)
from deployments.domain.gpus import Resolution, SourceKind
from deployments.gateways.metrics import GpuReading
from deployments.models import ClusterNode, GpuDevice, GpuSeries, ObservedObject
from deployments.workflows import gpu_pods

MANY = 500
Values = dict[str, Any]
"""A device's changing columns, by name."""


@dataclass(frozen=True)
class Known:
    """What is stored of a device and matters for its series, and for whether it is still there."""

    pk: int
    error: str
    vendor: str
    node: str
    source: str
    sampled_at: datetime
    gone: str


def known_devices(cluster_id: int) -> dict[str, Known]:
    rows = GpuDevice.objects.filter(cluster_id=cluster_id).order_by()
    columns = ("pk", "error", "vendor", "node", "source", "sampled_at", "gone")
    return {key: Known(*values) for key, *values in rows.values_list("key", *columns)}


def deployments_of(cluster_id: int, found: Iterable[GpuReading]) -> dict[tuple[str, str], int]:
    """(namespace, pod) -> the deployment that it belongs to, of the pods that hold devices.

    A pod holds devices of its own node only. Whoever says otherwise is not believed, where the names of
    nodes are the cluster's: an exporter is a pod too, and anybody's may say anything of anybody's.
    """
    nodes: dict[tuple[str, str], set[str]] = {}
    for reading in found:
        for holder in reading.holders:
            nodes.setdefault(holder, set()).add(reading.node)
    names = sorted({name for _, name in nodes})
    own = set(ClusterNode.objects.filter(cluster_id=cluster_id).values_list("name", flat=True))
    owned: dict[tuple[str, str], int] = {}
    for start in range(0, len(names), MANY):
        rows = ObservedObject.objects.filter(
            cluster_id=cluster_id, kind="Pod", name__in=names[start : start + MANY], deployment__isnull=False
        )
        columns = ("namespace", "name", "deployment_id", "data__node")
        for namespace, name, deployment_id, node in rows.values_list(*columns):
            told = nodes.get((namespace, name))
            if told and (node in told or not node or not told <= own):
                owned[namespace, name] = deployment_id
    return owned


def distinct(found: Iterable[GpuReading], known: Mapping[str, Known] | None = None) -> dict[str, GpuReading]:
    """Readings by key. Of several nodes that claim one device (a cloned machine, or somebody who made it
    up) the one that had it before has its key, the others one each with their node's name."""
    known = known or {}
    claims: dict[str, dict[str, GpuReading]] = {}
    for reading in found:
        claims.setdefault(reading.key, {})[reading.node] = reading
    by_key: dict[str, GpuReading] = {}
    for key, nodes in claims.items():
        before = known[key].node if key in known else ""
        owner = before if before in nodes else next(iter(nodes))
        for node, reading in nodes.items():
            twin = f"{node}/{key}"[:120]
            by_key[twin if node != owner or twin in known else key[:120]] = reading
    return by_key


def write(
    cluster_id: int,
    found: dict[str, GpuReading],
    source: SourceKind | None,
    known: dict[str, Known],
    owned: dict[tuple[str, str], int],
    at: datetime,
    slot: datetime,
) -> None:
    """Store a round, inside the caller's transaction. ``at`` is when it was taken, ``slot`` the time
    that its points have in the series. ``source`` None takes each reading's vendor's exporter."""
    kinds = {"nvidia": SourceKind.DCGM, "amd": SourceKind.AMD}
    values = {
        key: _values(reading, source or kinds[reading.vendor], owned, at - timedelta(seconds=reading.age))
        for key, reading in found.items()
    }
    _update([(known[key].pk, of_device) for key, of_device in values.items() if key in known])
    new = [
        GpuDevice(cluster_id=cluster_id, key=key, first_seen_at=at, **of_device)
        for key, of_device in values.items()
        if key not in known
    ]
    ids = {key: known[key].pk for key in found if key in known}
    ids |= {device.key: device.pk for device in GpuDevice.objects.bulk_create(new)}
    errors = {device.pk: device.error for device in known.values()}
    _append_samples(found, ids, errors, slot)
    gpu_pods.note(cluster_id, {ids[key]: reading for key, reading in found.items()}, owned, slot)


def _values(
    reading: GpuReading, source: SourceKind, owned: dict[tuple[str, str], int], at: datetime
) -> Values:
    """Of several pods that share a device one of ours comes first."""
    holders = sorted(reading.holders, key=lambda holder: holder not in owned)
    namespace, pod = holders[0] if holders else ("", "")
    return {
        "node": reading.node,
        "index": reading.index,
        "vendor": reading.vendor,
        "product": reading.product,
        "driver": reading.driver,
        "instance": reading.instance,
        "memory_total": reading.memory_total,
        "memory_used": reading.memory_used,
        "utilisation": reading.utilisation,
        "temperature": reading.temperature,
        "power": reading.power,
        "error": reading.error,
        "source": str(source),
        "pod_namespace": namespace,
        "pod_name": pod,
        "shared_with": [f"{other}/{name}" for other, name in holders[1:]],
        "deployment_id": owned.get((namespace, pod)),
        "sampled_at": at,
        "gone": "",
    }


def _update(rows: Sequence[tuple[int, Values]]) -> None:
    if not rows:
        return
    quote = connection.ops.quote_name
    columns = ", ".join(f"{quote(column)} = %s" for column in rows[0][1])
    statement = f"UPDATE {quote(GpuDevice._meta.db_table)} SET {columns} WHERE id = %s"  # noqa: S608  (names of our own)
    prepared = [
        (
            *(
                {
                    **values,
                    "shared_with": json.dumps(values["shared_with"]),
                    "sampled_at": connection.ops.adapt_datetimefield_value(values["sampled_at"]),
                }
            ).values(),
            pk,
        )
        for pk, values in rows
    ]
    with connection.cursor() as cursor:
        cursor.executemany(statement, prepared)


def _append_samples(
    found: dict[str, GpuReading], ids: dict[str, int], errors: dict[int, str], slot: datetime
) -> None:
    """``ids`` are the devices by key, ``errors`` what they reported in the last round."""
    start = period_of(Resolution.RAW, slot)
    second = int((slot - start).total_seconds())
    began = series_of([ids[key] for key in found], Resolution.RAW, start)
    growing: list[tuple[int, bytes]] = []
    new: list[GpuSeries] = []
    for key, reading in found.items():
        device = ids[key]
        first = device not in began
        packed = pack_sample(
            second, reading.utilisation, reading.temperature, reading.power, reading.memory_used
        )
        if reading.error != errors.get(device, "") or (first and reading.error):
            packed = pack_mark(second, MarkKind.ERROR, reading.error) + packed
        if first:
            new.append(
                GpuSeries(device_id=device, resolution=Resolution.RAW, start=start, packed=HEADER + packed)
            )
        else:
            growing.append((began[device], packed))
    append(growing)
    GpuSeries.objects.bulk_create(new)


def series_of(device_ids: Sequence[int], resolution: Resolution, start: datetime) -> dict[int, int]:
    """Device -> its series of a period, where it has begun."""
    rows = GpuSeries.objects.filter(resolution=resolution, start=start)
    if len(device_ids) < MANY:
        rows = rows.filter(device_id__in=device_ids)
    return dict(rows.values_list("device_id", "pk"))


def append(growing: Sequence[tuple[int, bytes]]) -> None:
    """Append bytes to series, as (series' id, bytes)."""
    if not growing:
        return
    table = connection.ops.quote_name(GpuSeries._meta.db_table)
    # SQLite's || makes text of two blobs, with the same bytes.
    joined = "packed || %s" if connection.vendor == "postgresql" else "CAST(packed || %s AS BLOB)"
    statement = f"UPDATE {table} SET packed = {joined} WHERE id = %s"  # noqa: S608  (names of our own)
    with connection.cursor() as cursor:
        cursor.executemany(statement, [(packed, pk) for pk, packed in growing])
