"""GPU exporters in a cluster: finding their pods, and asking each through the API server's pod proxy.

The pods, not their Service: a Service answers for one node, whichever it picks. NVIDIA/gpu-operator
assets/state-dcgm-exporter and NVIDIA/dcgm-exporter deployment/ (labels, port 9400);
ROCm/device-metrics-exporter helm-charts (label, port 5000).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deployments.domain.errors import ClusterForbids, ServerFault
from deployments.domain.gpus import SourceKind
from deployments.gateways.kubernetes import ClusterClient, ResourceKind, proxy_path
from deployments.gateways.metrics.exposition import parse
from deployments.gateways.metrics.readings import WANTED, GpuReading, clean, host_of, readings

POD = ResourceKind("v1", "Pod")
SELECTORS = ("app=nvidia-dcgm-exporter", "app.kubernetes.io/name in (dcgm-exporter, metrics-exporter)")
USUAL_NAMESPACES = (
    "gpu-operator",
    "gpu-operator-resources",
    "nvidia-gpu-operator",
    "kube-amd-gpu",
    "monitoring",
    "kube-system",
)
PORTS = {SourceKind.DCGM: 9400, SourceKind.AMD: 5000}
MAX_PODS = 5000
MAX_PAGE = 8 * 1024 * 1024
ANSWER_WITHIN = 5.0  # seconds


@dataclass(frozen=True)
class ExporterPod:
    """A pod that measures the GPUs of its node. ``owner`` is the DaemonSet or whatever made it;
    ``running`` is False while it cannot be asked."""

    kind: SourceKind
    namespace: str
    name: str
    node: str
    port: int
    running: bool
    owner: str = ""


def find_exporters(client: ClusterClient) -> list[ExporterPod]:
    """The exporters' pods in the whole cluster, one for each node and kind.

    Where pods may not be listed cluster-wide, the namespaces that the operators' guides use are looked
    into. Raises :class:`ClusterForbids` where none of those may be listed either.
    """
    try:
        found = _listed(client, None)
    except ClusterForbids as refused:
        found, allowed = {}, False
        for namespace in USUAL_NAMESPACES:
            try:
                found |= _listed(client, namespace)
                allowed = True
            except ClusterForbids:
                continue
        if not allowed:
            raise refused from None
    return one_of_each_node(found.values())


def one_of_each_node(pods: Iterable[ExporterPod]) -> list[ExporterPod]:
    """One exporter for each node and kind, by namespace and name.

    Two sets of them on the same nodes measure the same devices. The running one of the set with most
    pods counts: that is the one which was installed for the cluster, whatever somebody who may only make
    pods in a namespace of his own calls his.
    """
    pods = list(pods)
    sizes = Counter((pod.kind, pod.namespace, pod.owner or pod.name) for pod in pods)

    def rank(pod: ExporterPod) -> tuple[bool, int, bool, str, str]:
        size = sizes[pod.kind, pod.namespace, pod.owner or pod.name]
        return not pod.running, -size, pod.namespace not in USUAL_NAMESPACES, pod.namespace, pod.name

    best: dict[tuple[SourceKind, str], ExporterPod] = {}
    for pod in sorted(pods, key=rank):
        best.setdefault((pod.kind, pod.node or f"{pod.namespace}/{pod.name}"), pod)
    return sorted(best.values(), key=lambda pod: (pod.namespace, pod.name))


def _listed(client: ClusterClient, namespace: str | None) -> dict[tuple[str, str], ExporterPod]:
    found: dict[tuple[str, str], ExporterPod] = {}
    for selector in SELECTORS:
        for page in client.list_pages(POD, namespace, selector):
            for item in page.items:
                pod = _pod(item)
                if pod is not None and len(found) < MAX_PODS:
                    found[pod.namespace, pod.name] = pod
    return found


def _pod(item: dict[str, Any]) -> ExporterPod | None:
    """None for a pod that carries a label like an exporter's and is none of GPUs."""
    meta, spec, status = (_map(item.get(key)) for key in ("metadata", "spec", "status"))
    labels = _map(meta.get("labels"))
    name = labels.get("app.kubernetes.io/name")
    nvidia = labels.get("app") == "nvidia-dcgm-exporter" or name == "dcgm-exporter"
    containers = [c for c in spec.get("containers") or [] if isinstance(c, dict)]
    ports = [port for c in containers for port in c.get("ports") or [] if isinstance(port, dict)]
    if (
        not nvidia
        and not any(port.get("containerPort") == 5000 for port in ports)
        and not any("device-metrics-exporter" in str(c.get("image")) for c in containers)
    ):
        return None
    kind = SourceKind.DCGM if nvidia else SourceKind.AMD
    owners = meta.get("ownerReferences") or []
    named = [p.get("containerPort") for p in ports if p.get("name") in ("metrics", "gpu-metrics", "http")]
    port = next((p for p in named if isinstance(p, int) and 0 < p < 65536), PORTS[kind])
    return ExporterPod(
        kind=kind,
        namespace=str(meta.get("namespace") or ""),
        name=str(meta.get("name") or ""),
        node=clean(str(spec.get("nodeName") or ""), 253),
        port=port,
        running=status.get("phase") == "Running" and "deletionTimestamp" not in meta,
        owner=next((str(o.get("name")) for o in owners if isinstance(o, dict) and o.get("name")), ""),
    )


@dataclass(frozen=True)
class Told:
    """What an exporter said. ``whole`` is False where its page was cut or had lines that are none: then
    a device that is not in it may be there all the same."""

    readings: list[GpuReading]
    whole: bool


def ask_exporter(client: ClusterClient, pod: ExporterPod, *, within: float = ANSWER_WITHIN) -> Told:
    """What the exporter of one node says now; no readings where it measures no GPU.

    Its node is the one that the pod runs on, whatever host its page names. Raises a ClusterError, also
    for an answer that is no page of metrics; ``answered`` holds its first words.
    """
    tried = f"read the metrics of {pod.namespace}/{pod.name}"
    status, body = _get(client, pod, "http", within)
    if status == 400 and b"HTTPS server" in body:
        # Go's server says so; the exporter's web configuration has a certificate.
        status, body = _get(client, pod, "https", within)
    if status != 200:
        raise ServerFault(
            "The GPU exporter does not give its metrics.",
            tried=tried,
            answered=f"HTTP {status}: {clean(body[:200].decode('utf-8', 'replace'), 200)}",
            status=status,
        )
    page = parse(body, WANTED)
    if not page.series and not body.lstrip().startswith((b"#", b"DCGM", b"dcgm", b"gpu")) and body.strip():
        raise ServerFault(
            "What answered is not a GPU exporter.",
            tried=tried,
            answered=clean(body[:200].decode("utf-8", "replace"), 200),
            retryable=False,
        )
    found = readings(page.series, node_of=(lambda _: pod.node) if pod.node else host_of)
    return Told(found, whole=not page.cut and not page.odd)


def _get(client: ClusterClient, pod: ExporterPod, scheme: str, within: float) -> tuple[int, bytes]:
    path = proxy_path(pod.namespace, "pods", pod.name, scheme, pod.port, "metrics")
    return client.request_through("GET", path, limit=MAX_PAGE, read_timeout=within, total=within)


def _map(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
