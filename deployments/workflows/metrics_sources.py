"""What measures the GPUs of a cluster: looked for every few minutes, remembered between rounds.

A cluster's exporters are kept as one :class:`MetricsSource` for each set of pods, with the pods in its
``detail``; a Prometheus as one. Prometheus is chosen where one holds series of GPUs, else the exporters.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from deployments.domain.errors import ClusterError, ClusterForbids
from deployments.domain.gpus import SourceKind
from deployments.gateways.kubernetes import ClusterClient
from deployments.gateways.metrics import (
    ExporterPod,
    PrometheusService,
    find_exporters,
    find_prometheus,
    knows_gpus,
)
from deployments.models import MetricsSource

LOOK_EVERY = timedelta(minutes=5)
# Where there are no figures, what was just installed is found within a minute.
LOOK_AGAIN = timedelta(minutes=1)
FORGET_AFTER = timedelta(days=1)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What a cluster has. ``prometheus`` are those that hold series of GPUs; ``empty`` says that there
    is a Prometheus which holds none, ``refused`` why exporters could not be looked for."""

    exporters: list[ExporterPod]
    prometheus: list[PrometheusService]
    empty: bool = False
    refused: ClusterForbids | None = None


def known(cluster_id: int) -> Sources:
    """What the last look found."""
    exporters: list[ExporterPod] = []
    prometheus: list[PrometheusService] = []
    empty = False
    for row in MetricsSource.objects.filter(cluster_id=cluster_id).order_by("-chosen", "pk"):
        detail: dict[str, Any] = row.detail if isinstance(row.detail, dict) else {}
        if not detail.get("there"):
            continue
        if row.kind == SourceKind.PROMETHEUS:
            if detail.get("gpus"):
                prometheus.append(PrometheusService(row.namespace, row.name, int(row.port), row.scheme))
            empty |= not detail.get("gpus") and bool(detail.get("answers"))
        else:
            exporters += [ExporterPod(**{**pod, "kind": SourceKind(row.kind)}) for pod in detail["pods"]]
    return Sources(exporters, prometheus, empty)


def look(client: ClusterClient, cluster_id: int, now: datetime) -> Sources:
    """Look for sources and remember them. Raises a ClusterError where the cluster does not answer;
    what it forbids to look for is not there."""
    refused: ClusterForbids | None = None
    exporters: list[ExporterPod] = []
    services: list[PrometheusService] = []
    try:
        exporters = find_exporters(client)
    except ClusterForbids as error:
        refused = error
    try:
        services = find_prometheus(client)
    except ClusterForbids as error:
        log.info("cluster %s: Prometheus is not looked for: %s", cluster_id, error.sentence)
    chosen = set(
        MetricsSource.objects.filter(
            cluster_id=cluster_id, kind=SourceKind.PROMETHEUS, chosen=True
        ).values_list("namespace", "name")
    )
    # What was asked before stays the first: nobody takes its place by a name that is found earlier.
    services.sort(key=lambda service: (service.namespace, service.name) not in chosen)
    asked = [(service, *_probe(client, service)) for service in services]
    with transaction.atomic():
        _remember(cluster_id, exporters, asked, now)
    good = [service for service, gpus, _ in asked if gpus]
    empty = any(not gpus and error is None for _, gpus, error in asked)
    return Sources(exporters, good, empty=empty and not good, refused=refused)


def _probe(client: ClusterClient, service: PrometheusService) -> tuple[bool, ClusterError | None]:
    try:
        return knows_gpus(client, service), None
    except ClusterError as error:
        log.info("Prometheus %s/%s: %s", service.namespace, service.name, error.sentence)
        return False, error


Asked = tuple[PrometheusService, bool, ClusterError | None]


def _remember(
    cluster_id: int, exporters: Iterable[ExporterPod], asked: Iterable[Asked], now: datetime
) -> None:
    sets: dict[tuple[SourceKind, str, str, int], list[ExporterPod]] = {}
    for pod in exporters:
        sets.setdefault((pod.kind, pod.namespace, pod.owner or pod.name, pod.port), []).append(pod)
    rows: dict[tuple[str, str, str], MetricsSource] = {}
    for (kind, namespace, name, port), pods in sets.items():
        rows[kind, namespace, name] = MetricsSource(
            kind=kind,
            port=str(port),
            detail={"there": True, "pods": [{**asdict(pod), "kind": str(kind)} for pod in pods]},
        )
    for service, gpus, error in asked:
        rows[SourceKind.PROMETHEUS, service.namespace, service.name] = MetricsSource(
            kind=SourceKind.PROMETHEUS,
            port=str(service.port),
            scheme=service.scheme,
            detail={"there": True, "gpus": gpus, "answers": error is None},
            error=error.sentence[:500] if error else "" if gpus else "It holds no figures of GPUs.",
            remedy=error.remedy[:500] if error else "" if gpus else "Let it scrape the GPU exporters.",
        )
    for (_, namespace, name), row in rows.items():
        row.cluster_id, row.namespace, row.name = cluster_id, namespace, name
        row.found_at = row.confirmed_at = now
    of_cluster = MetricsSource.objects.filter(cluster_id=cluster_id)
    of_cluster.filter(confirmed_at__lt=now - FORGET_AFTER).delete()
    of_cluster.update(detail={"there": False})
    MetricsSource.objects.bulk_create(
        rows.values(),
        update_conflicts=True,
        unique_fields=["cluster", "kind", "namespace", "name"],
        update_fields=["port", "scheme", "detail", "confirmed_at", "error", "remedy"],
    )


def choose(
    cluster_id: int, kinds: Collection[SourceKind], service: PrometheusService | None, now: datetime
) -> None:
    """Note what this round's figures came from: one Prometheus, or all exporters of some kinds."""
    rows = MetricsSource.objects.filter(cluster_id=cluster_id)
    mine = rows.filter(kind__in=kinds)
    if service is not None:
        mine = mine.filter(namespace=service.namespace, name=service.name)
    chosen = list(mine.values_list("pk", flat=True))
    rows.filter(chosen=True).exclude(pk__in=chosen).update(chosen=False)
    rows.filter(pk__in=chosen).update(chosen=True, sampled_at=now, error="", remedy="")
