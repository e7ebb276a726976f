"""Prometheus in a cluster: finding the one that knows GPUs, and asking it for the newest figures.

Prometheus documentation, "HTTP API": POST /api/v1/query with the query in a form. An instant query
answers with samples up to five minutes old as if they were of now; when one was taken is asked for with
``timestamp()``. Which labels name what depends on how it scrapes: with ``honorLabels: false``, as NVIDIA's
ServiceMonitors have it, the exporter's ``pod`` becomes ``exported_pod`` and ``pod`` is the exporter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import orjson

from deployments.domain.errors import ClusterForbids, ServerFault
from deployments.gateways.kubernetes import ClusterClient, ResourceKind, proxy_path
from deployments.gateways.metrics.exporters import ExporterPod
from deployments.gateways.metrics.exposition import MAX_LABELS, Series
from deployments.gateways.metrics.readings import (
    NAMES_PATTERN,
    GpuReading,
    Holder,
    clean,
    direct_holder,
    host_of,
    readings,
)

SERVICE = ResourceKind("v1", "Service")
LABELS = (
    "app.kubernetes.io/name=prometheus",
    "app in (prometheus, kube-prometheus-stack-prometheus)",
    "operated-prometheus=true",
)
NAMES = ("prometheus-k8s", "prometheus-server", "prometheus-operated", "prometheus")
MAX_SERVICES = 8
MAX_ANSWER = 48 * 1024 * 1024
MAX_SERIES = 200_000
MAX_LABEL = 2048
MAX_DEVICES = 20_000
ANSWER_WITHIN = 10.0  # seconds
PROBED_WITHIN = 4.0  # seconds
OLDEST = 120.0  # seconds: what was scraped before that is not of now
_MEMORY = "DCGM_FI_DEV_FB_USED|dcgm_fb_used|(.+_)?gpu_used_vram"
_IDENTITY = ("UUID", "uuid", "GPU_I_ID", "gpu", "gpu_uuid", "gpu_id", "gpu_partition_id", "instance")
_NAMESPACE = re.compile("monitoring|prometheus|observability")
_EXPORTERS = ("dcgm-exporter", "metrics-exporter")


Timed = tuple[Series, float]
"""A series with the time, in Unix seconds, that an answer is of."""


@dataclass(frozen=True)
class PrometheusService:
    namespace: str
    name: str
    port: int
    scheme: str


def find_prometheus(client: ClusterClient) -> list[PrometheusService]:
    """Services that are Prometheus by their usual labels or names, whether or not they answer, likely
    ones first. Raises :class:`ClusterForbids` where services may not be listed."""
    found: dict[tuple[str, str], PrometheusService] = {}
    wanted = [("", f"metadata.name={name}") for name in NAMES] + [(label, "") for label in LABELS]
    for label, field in wanted:
        for page in client.list_pages(SERVICE, None, label, field):
            for item in page.items:
                service = _service(item)
                if service is not None:
                    found.setdefault((service.namespace, service.name), service)
    # Where people keep it comes first: anybody may call a Service of his own so.
    likely = sorted(found.values(), key=lambda service: not _NAMESPACE.search(service.namespace))
    return likely[:MAX_SERVICES]


def knows_gpus(client: ClusterClient, service: PrometheusService) -> bool:
    """Whether it holds series of GPUs now. Raises a ClusterError where it does not answer."""
    return bool(_query(client, service, f'{{__name__=~"{_MEMORY}"}}', PROBED_WITHIN))


def ask_prometheus(
    client: ClusterClient,
    service: PrometheusService,
    exporters: Sequence[ExporterPod] = (),
    nodes: Collection[str] = (),
) -> list[GpuReading]:
    """What each GPU of the cluster showed last; samples older than two minutes do not count.

    ``exporters`` and ``nodes`` are what is known of the cluster: an exporter's own pod is never taken
    for one that uses a GPU, and a host that is really an exporter's pod is turned into its node.
    Raises a ClusterError.
    """
    # By Prometheus' own clock: the value of timestamp() is when a sample was taken, its time is now.
    ages = {
        _device(one.labels): max(0.0, now - one.value)
        for one, now in _query(client, service, f'timestamp({{__name__=~"{_MEMORY}"}})')
        if math.isfinite(one.value)
    }
    series = [
        Series(one.name, one.labels, one.value, ages.get(_device(one.labels)))
        for one, _ in _query(client, service, f'{{__name__=~"{NAMES_PATTERN}"}}')
    ]
    layout = Layout(series, exporters, nodes)
    found = readings(series, node_of=layout.node, holder_of=layout.holder, most=MAX_DEVICES)
    return of_this_cluster(
        [reading for reading in found if reading.age <= OLDEST], {*nodes, *(pod.node for pod in exporters)}
    )


def of_this_cluster(found: list[GpuReading], nodes: Collection[str]) -> list[GpuReading]:
    """Without the devices of other clusters, which a Prometheus that gathers from several holds too: as
    soon as some hosts are known nodes, the others are somebody else's. Where none is, hosts and nodes
    have different names, and nothing is left out."""
    own = [reading for reading in found if reading.node in nodes]
    return own or found


def _device(labels: Mapping[str, str]) -> tuple[str | None, ...]:
    """What all series of one device have in common."""
    return tuple(map(labels.get, _IDENTITY))


class Layout:
    """Which labels of an answer name the pod that uses a device, and which its node. Each job is
    scraped in its own way: NVIDIA's and AMD's differ by default."""

    def __init__(
        self, series: Sequence[Series], exporters: Sequence[ExporterPod], nodes: Collection[str]
    ) -> None:
        self._exported = {_job(one.labels) for one in series if "exported_pod" in one.labels}
        self._old = {_job(one.labels) for one in series if "pod_name" in one.labels}
        self._own = {(pod.namespace, pod.name): pod.node for pod in exporters}
        self._by_name = {pod.name: pod.node for pod in exporters}
        self._nodes = set(nodes)

    def holder(self, labels: Mapping[str, str]) -> Holder | None:
        if _job(labels) in self._exported:
            # An idle device has no exported_pod here, but does have the exporter's pod.
            name = labels.get("exported_pod", "")
            return (clean(labels.get("exported_namespace", ""), 63), clean(name, 253)) if name else None
        if _job(labels) in self._old:
            name = labels.get("pod_name", "")
            return (clean(labels.get("pod_namespace", ""), 63), clean(name, 253)) if name else None
        found = direct_holder(labels)
        if found is None or found in self._own or _is_exporter(labels, found[1]):
            return None
        return found

    def node(self, labels: Mapping[str, str]) -> str:
        scraped = self._own.get((labels.get("namespace", ""), labels.get("pod", "")))
        if scraped:
            return scraped
        host = host_of(labels)
        if host in self._nodes:
            return host
        return self._by_name.get(host) or next(
            (labels[key] for key in ("node", "kubernetes_node") if labels.get(key) in self._nodes), host
        )


def _job(labels: Mapping[str, str]) -> str:
    return labels.get("job", "")


def _is_exporter(labels: Mapping[str, str], pod: str) -> bool:
    """For exporters that were not found, where pods may not be listed: by what their pods are called."""
    container = labels.get("container") or labels.get("container_name") or ""
    return any(name in pod or name in container for name in _EXPORTERS)


def _service(item: dict[str, Any]) -> PrometheusService | None:
    meta, spec = item.get("metadata"), item.get("spec")
    if not isinstance(meta, dict) or not isinstance(spec, dict) or spec.get("type") == "ExternalName":
        return None
    ports = [
        port
        for port in spec.get("ports") or []
        if isinstance(port, dict) and isinstance(port.get("port"), int) and 0 < port["port"] < 65536
    ]
    if not ports:
        return None
    # The charts call the port web, http or http-web; prometheus-server listens on 80.
    best = min(
        ports, key=lambda p: (p["port"] != 9090, p.get("name") not in ("web", "http", "http-web"), p["port"])
    )
    secure = str(best.get("appProtocol") or best.get("name") or "").startswith("https")
    return PrometheusService(
        str(meta.get("namespace") or ""),
        str(meta.get("name") or ""),
        best["port"],
        "https" if secure else "http",
    )


def _query(
    client: ClusterClient, service: PrometheusService, query: str, within: float = ANSWER_WITHIN
) -> list[Timed]:
    """One query, by POST; where only reading through the proxy is allowed, by GET."""
    path = proxy_path(
        service.namespace, "services", service.name, service.scheme, service.port, "api/v1/query"
    )
    try:
        return _send(client, service, "POST", path, query, within)
    except ClusterForbids:
        return _send(client, service, "GET", path, query, within)


def _send(
    client: ClusterClient, service: PrometheusService, method: str, path: str, query: str, within: float
) -> list[Timed]:
    tried = f"ask Prometheus {service.namespace}/{service.name}"
    form = {"query": query, "timeout": f"{within:.0f}s"}
    post = method == "POST"
    with client.open_proxy(
        method,
        path,
        params=None if post else form,
        content=urlencode(form).encode() if post else None,
        headers={"Content-Type": "application/x-www-form-urlencoded"} if post else None,
        read_timeout=within,
        total=within,
    ) as got:
        return _series(got.status, got.read(MAX_ANSWER), tried)


def _series(status: int, body: bytes, tried: str) -> list[Timed]:
    """The vector in Prometheus' envelope. Raises :class:`ServerFault` for anything else."""
    try:
        envelope = orjson.loads(body)
    except orjson.JSONDecodeError:
        envelope = None
    if not isinstance(envelope, dict) or envelope.get("status") not in ("success", "error"):
        raise ServerFault(
            "What answered is not Prometheus.",
            tried=tried,
            answered=f"HTTP {status}: {clean(body[:200].decode('utf-8', 'replace'), 200)}",
            status=status,
        )
    if envelope["status"] == "error":
        words = f"{envelope.get('errorType') or ''}: {envelope.get('error') or ''}"
        raise ServerFault(
            "Prometheus did not answer the query.", tried=tried, answered=clean(words, 300), status=status
        )
    data = envelope.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    if not isinstance(result, list):
        raise ServerFault("Prometheus' answer has no result.", tried=tried, status=status)
    return [one for one in map(_one, result[:MAX_SERIES]) if one is not None]


def _one(item: object) -> Timed | None:
    """One element of a vector."""
    if not isinstance(item, dict) or not isinstance(item.get("metric"), dict):
        return None
    sample = item.get("value")
    if not isinstance(sample, list) or len(sample) != 2 or not isinstance(sample[0], int | float):
        return None
    try:
        value = float(sample[1])
    except (TypeError, ValueError):
        return None
    labels = item["metric"]
    values = labels.values()
    if len(labels) > MAX_LABELS or not set(map(type, values)) <= {str}:
        return None
    if max(map(len, values), default=0) > MAX_LABEL:
        return None
    return Series(labels.pop("__name__", ""), labels, value), float(sample[0])
