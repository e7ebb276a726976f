"""GPUs for pages: the devices with their newest figures, what uses them, and why there is nothing.

A member sees the devices of the clusters that his teams may use, and by name only those pods that
belong to his teams' deployments; of the others only that somebody uses a device. Figures over time
are in ``deployments.selectors.gpu_charts``, what nodes have free in ``gpu_nodes``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Q, QuerySet

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.gpus import STALE_AFTER, Gone, NoData, SourceKind, Why, fresh, why
from deployments.domain.spec import GpuVendor
from deployments.models import Cluster, Deployment, GpuDevice, GpuSampling, MetricsSource
from deployments.selectors import scope
from deployments.selectors.deployments import spec_of
from deployments.selectors.placements import Placement, placements_of

SHOWN_FOR = timedelta(days=1)
"""A device that was not measured for so long is listed with those that are gone, and these leave that
list after as long; figures of it are still drawn where somebody looks further back."""

# Those of NULLABLE have none where nothing is known, which comes last either way.
SORTS: dict[str, tuple[str, ...]] = {
    "node": ("cluster__name", "node", "index"),
    "utilisation": ("utilisation",),
    "memory": ("memory_used",),
    "temperature": ("temperature",),
    "power": ("power",),
    "product": ("product",),
    "user": ("pod_namespace", "pod_name"),
    "error": ("error",),
    "seen": ("sampled_at",),
}
NULLABLE = ("utilisation", "memory", "temperature", "power")
STATES = ("busy", "idle", "error", "stale", "gone")
# What :func:`rows` needs: models would decode the rest of a deployment and of a cluster for each row.
_SHOWN = (
    *("id", "cluster_id", "node", "index", "vendor", "product", "instance", "driver", "source"),
    *("utilisation", "memory_used", "memory_total", "temperature", "power", "error", "sampled_at", "gone"),
    *("pod_namespace", "pod_name", "shared_with", "deployment_id"),
    *("cluster__name", "cluster__simulated", "deployment__name", "deployment__team_id"),
)


_PLAIN = (
    *("cluster_id", "node", "index", "vendor", "product", "instance", "driver"),
    *("utilisation", "memory_used", "memory_total", "temperature", "power", "error", "sampled_at"),
)


class Use(StrEnum):
    """Who uses a device. UNKNOWN where its source does not tell."""

    IDLE = "idle"
    POD = "pod"
    OTHERS = "others"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class GpuFilter:
    """What the list is narrowed to; "" and None are everything. ``state`` is one of STATES, ``sort`` a
    key of SORTS, with "-" before it for the largest first."""

    cluster: int | None = None
    node: str = ""
    deployment: int | None = None
    vendor: str = ""
    product: str = ""
    state: str = ""
    text: str = ""
    sort: str = "node"


@dataclass(frozen=True)
class GpuRow:
    """One device as a page shows it. Utilisation in percent, memory in bytes, temperature in degrees
    Celsius, power in watts; None is unknown and never shown as 0.

    ``pods`` are "namespace/name", those first that are the caller's; empty unless ``use`` is POD.
    ``deployment_id`` and ``deployment_name`` are of the caller's deployment that uses it, else None, "".
    ``fresh`` says whether the figures may be shown as those of now; ``gone`` why the device is no longer
    there, None while it is.
    """

    id: int
    cluster_id: int
    cluster_name: str
    simulated: bool
    node: str
    index: str
    vendor: str
    product: str
    instance: str
    driver: str
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    temperature: float | None
    power: float | None
    error: str
    source: SourceKind
    sampled_at: datetime
    fresh: bool
    gone: Gone | None
    use: Use
    pods: tuple[str, ...]
    deployment_id: int | None
    deployment_name: str


@dataclass(frozen=True)
class GpuTotals:
    """Sums over a list of devices. Means and sums are of fresh figures only; None where there is none.

    ``idle`` ones are known to be free: they are measured, and no pod holds them. ``products`` are what
    the devices are, by name. ``gone`` are there no more; None where the list is narrowed to a state.
    ``measured`` tell how busy they are, and ``powered`` what they draw: some tell only a part.
    """

    devices: int
    busy: int
    idle: int
    errors: int
    stale: int
    measured: int
    utilisation: float | None
    memory_used: int | None
    memory_total: int | None
    powered: int
    power: float | None
    products: tuple[str, ...]
    gone: int | None


@dataclass(frozen=True)
class ClusterGpus:
    """How the GPUs of one cluster are known: how old the figures are, and what is missing.

    ``why`` is None where all is well; ``why.reason.partial`` where there are figures all the same.
    """

    cluster: Cluster
    devices: int
    sampled_at: datetime | None
    fresh: bool
    why: Why | None


@dataclass(frozen=True)
class DeploymentGpus:
    """A deployment's GPU section. ``silent`` are its running server pods that did not say what they
    have loaded, ``empty`` those that have nothing loaded now."""

    rows: list[GpuRow]
    placements: list[Placement]
    empty: list[str]
    silent: list[str]
    wanted: bool
    cluster: ClusterGpus


def devices(
    actor: Actor,
    wanted: GpuFilter,
    now: datetime,
    back: timedelta = SHOWN_FOR,
    within: Iterable[ClusterGpus] | None = None,
) -> QuerySet[GpuDevice]:
    """The devices that the caller may see, for a paginator; make :func:`rows` of a page of them. With
    the state "gone" those that were there within the time ``back`` and are there no more. ``within`` are
    his clusters (:func:`cluster_gpus`), where they were asked for already."""
    found = _narrowed(actor, wanted, within)
    if wanted.state == "gone":
        found = found.filter(_gone(now), sampled_at__gte=now - max(back, SHOWN_FOR))
    else:
        found = found.filter(_there(now))
    if wanted.state:
        found = found.filter(_state(wanted.state, now))
    sort, down = wanted.sort.removeprefix("-"), wanted.sort.startswith("-")
    last = True if sort in NULLABLE else None
    order = [
        F(name).desc(nulls_last=last) if down else F(name).asc(nulls_last=last)
        for name in SORTS.get(sort, SORTS["node"])
    ]
    return found.order_by(*order, "cluster__name", "node", "index", "pk")


def _narrowed(actor: Actor, wanted: GpuFilter, within: Iterable[ClusterGpus] | None) -> QuerySet[GpuDevice]:
    """By everything but their state."""
    if within is None:
        found = visible(actor)
    else:
        found = GpuDevice.objects.filter(cluster_id__in=[each.cluster.pk for each in within])
    if wanted.cluster:
        found = found.filter(cluster_id=wanted.cluster)
    if wanted.node:
        found = found.filter(node=wanted.node)
    if wanted.deployment:
        found = found.filter(deployment_id=wanted.deployment)
    if wanted.vendor:
        found = found.filter(vendor=wanted.vendor)
    if wanted.product:
        found = found.filter(product=wanted.product)
    if wanted.text:
        found = found.filter(
            Q(node__icontains=wanted.text)
            | Q(product__icontains=wanted.text)
            | Q(key__icontains=wanted.text)
            | Q(deployment__in=scope.deployments(actor).filter(name__icontains=wanted.text))
        )
    return found


def _there(now: datetime) -> Q:
    """What counts as a device of its cluster."""
    return Q(gone="", sampled_at__gte=now - SHOWN_FOR)


def _gone(now: datetime) -> Q:
    return ~Q(gone="") | Q(sampled_at__lt=now - SHOWN_FOR)


def visible(actor: Actor) -> QuerySet[GpuDevice]:
    """Devices of the clusters that the caller's teams may use."""
    return GpuDevice.objects.filter(cluster__in=scope.clusters(actor))


def device(actor: Actor, pk: int) -> GpuDevice:
    """One device, also where it was not measured for long. Raises :class:`NotFound`."""
    found = (
        visible(actor)
        .select_related("cluster", "deployment")
        .only(*_SHOWN, "key", "first_seen_at")
        .filter(pk=pk)
        .first()
    )
    if found is None:
        raise NotFound("There is no such GPU.")
    return found


def row(actor: Actor, found: GpuDevice, now: datetime) -> GpuRow:
    """:func:`device` as a page shows it; one query."""
    values = {name: getattr(found, name) for name in _SHOWN if "__" not in name}
    of_cluster, holder = found.cluster, found.deployment
    values |= {"cluster__name": of_cluster.name, "cluster__simulated": of_cluster.simulated}
    values |= {
        "deployment__name": holder.name if holder else None,
        "deployment__team_id": holder.team_id if holder else None,
    }
    mute = GpuSampling.objects.filter(cluster_id=found.cluster_id, no_data=NoData.NO_PODS).exists()
    return _row(actor, values, mute, now)


def products(actor: Actor, now: datetime) -> list[str]:
    """The products among the devices that are listed, by name; one query."""
    found = visible(actor).filter(_there(now)).exclude(product="").order_by("product")
    return list(found.values_list("product", flat=True).distinct())


def rows(
    actor: Actor, page: QuerySet[GpuDevice], now: datetime, known: Iterable[ClusterGpus] | None = None
) -> list[GpuRow]:
    """Devices as a page shows them; a query, and one for the clusters that do not tell who uses what, unless
    they are ``known``."""
    found = [dict(zip(_SHOWN, values, strict=True)) for values in page.values_list(*_SHOWN)]
    if not found:
        return []
    if known is None:
        silent = GpuSampling.objects.filter(
            cluster_id__in={device["cluster_id"] for device in found}, no_data=NoData.NO_PODS
        )
        mute = set(silent.values_list("cluster_id", flat=True))
    else:
        mute = {each.cluster.pk for each in known if each.why and each.why.reason is NoData.NO_PODS}
    return [_row(actor, device, device["cluster_id"] in mute, now) for device in found]


class _Totalled(NamedTuple):
    """Sums over the devices of one product, those with figures of now apart from the others."""

    product: str
    there: bool
    current: bool
    devices: int
    held: int
    errors: int
    measured: int
    utilisation: float | None
    used: int | None
    memory: int | None
    powered: int
    power: float | None


def totals(
    actor: Actor,
    wanted: GpuFilter,
    now: datetime,
    back: timedelta = SHOWN_FOR,
    within: Iterable[ClusterGpus] | None = None,
) -> GpuTotals:
    """Sums over :func:`devices`; one query, which also counts them for a paginator, tells what they are and
    how many are gone, since each of these takes as long as the others."""
    if wanted.state:
        found = devices(actor, wanted, now, back, within)
    else:
        found = _narrowed(actor, wanted, within).filter(sampled_at__gte=now - max(back, SHOWN_FOR))
    known = _sums(found, now)
    if wanted.state:
        known = [row._replace(there=True) for row in known]
    every = [row for row in known if row.there]
    now_known = [row for row in every if row.current]

    def whole(figures: Iterable[Any]) -> Any:
        known = [figure for figure in figures if figure is not None]
        return sum(known) if known else None

    measured, utilisation = (
        sum(row.measured for row in now_known),
        whole(row.utilisation for row in now_known),
    )
    return GpuTotals(
        devices=sum(row.devices for row in every),
        busy=sum(row.held for row in every),
        idle=sum(row.devices - row.held for row in now_known),
        errors=sum(row.errors for row in every),
        stale=sum(row.devices for row in every if not row.current),
        measured=measured,
        utilisation=utilisation / measured if measured else None,
        memory_used=whole(row.used for row in now_known),
        memory_total=whole(row.memory for row in now_known),
        powered=sum(row.powered for row in now_known),
        power=whole(row.power for row in now_known),
        products=tuple(sorted({row.product for row in every if row.product})),
        gone=None if wanted.state else sum(row.devices for row in known if not row.there),
    )


# Put together by hand: as Django's expressions the sums take longer to write down than to add up.
_SUMS = """
    SELECT product, gone = '' AND sampled_at >= %s, sampled_at >= %s, COUNT(*),
        COUNT(*) FILTER (WHERE pod_name <> ''), COUNT(*) FILTER (WHERE error <> ''),
        COUNT(utilisation), SUM(utilisation), SUM(memory_used),
        SUM(memory_total) FILTER (WHERE memory_used IS NOT NULL), COUNT(power), SUM(power)
    FROM ({devices}) AS device GROUP BY 1, 2, 3"""
_SUMMED = (
    *("product", "gone", "sampled_at", "pod_name", "error", "utilisation"),
    *("memory_used", "memory_total", "power"),
)


def _sums(found: QuerySet[GpuDevice], now: datetime) -> list[_Totalled]:
    """Sums over some devices; one query."""
    try:
        inner, narrowed = found.order_by().values_list(*_SUMMED).query.sql_with_params()
    except EmptyResultSet:  # of somebody who may use no cluster
        return []
    times = [connection.ops.adapt_datetimefield_value(now - age) for age in (SHOWN_FOR, STALE_AFTER)]
    with connection.cursor() as cursor:
        cursor.execute(_SUMS.format(devices=inner), [*times, *narrowed])
        return [_Totalled(*row) for row in cursor.fetchall()]


_OF_CLUSTER = (
    "name",
    *(f"gpu_sampling__{name}" for name in ("sampled_at", "no_data", "answered", "devices")),
)


def cluster_gpus(actor: Actor, now: datetime, cluster_id: int | None = None) -> list[ClusterGpus]:
    """The caller's clusters, each with how its GPUs are known; one query."""
    clusters = scope.clusters(actor).select_related("gpu_sampling").only(*_OF_CLUSTER).order_by("name")
    if cluster_id is not None:
        clusters = clusters.filter(pk=cluster_id)
    return [_cluster(cluster, now) for cluster in clusters]


def measured_by(known: ClusterGpus) -> dict[SourceKind, str]:
    """What measures the GPUs of a cluster, as "namespace/name": each vendor has an exporter of its own."""
    chosen = MetricsSource.objects.filter(cluster=known.cluster, chosen=True)
    return {
        SourceKind(kind): f"{namespace}/{name}"
        for kind, namespace, name in chosen.values_list("kind", "namespace", "name")
    }


def sources(actor: Actor, cluster_id: int) -> list[MetricsSource]:
    """Everything found in a cluster that measures GPUs, the chosen one first."""
    found = MetricsSource.objects.filter(cluster_id=cluster_id, cluster__in=scope.clusters(actor))
    return list(found.order_by("-chosen", "kind", "namespace", "name"))


def deployment_gpus(actor: Actor, deployment: Deployment, now: datetime) -> DeploymentGpus:
    """The GPU section of a deployment that the caller may see; five queries."""
    cluster = Cluster.objects.select_related("gpu_sampling").get(pk=deployment.cluster_id)
    placements, empty, silent = placements_of(deployment, now)
    return DeploymentGpus(
        rows=held_by(actor, deployment, now),
        placements=placements,
        empty=empty,
        silent=silent,
        wanted=_wants_gpu(deployment),
        cluster=_cluster(cluster, now),
    )


def held_by(actor: Actor, deployment: Deployment, now: datetime) -> list[GpuRow]:
    """The devices that the pods of a deployment, which the caller may see, hold now; two queries."""
    held = GpuDevice.objects.filter(_there(now), deployment=deployment)
    return rows(actor, held.order_by("node", "index", "pk"), now)


def _wants_gpu(deployment: Deployment) -> bool:
    spec = spec_of(deployment.revision.spec)
    return spec is not None and spec.server.gpu_vendor is not GpuVendor.NONE


def _state(state: str, now: datetime) -> Q:
    current = Q(sampled_at__gte=now - STALE_AFTER)
    return {
        "busy": ~Q(pod_name=""),
        "idle": Q(pod_name="") & current,
        "error": ~Q(error=""),
        "stale": ~current,
    }.get(state, Q())


def _row(actor: Actor, device: dict[str, Any], mute: bool, now: datetime) -> GpuRow:
    team, gone = device["deployment__team_id"], Gone(device["gone"]) if device["gone"] else None
    mine = team is not None and (actor.sees_everything or team in actor.roles)
    use, pods = Use.IDLE, tuple[str, ...]()
    if gone is not None:
        mine = False
    elif device["pod_name"]:
        use = Use.POD if mine or actor.sees_everything else Use.OTHERS
        if use is Use.POD:
            first = f"{device['pod_namespace']}/{device['pod_name']}"
            pods = (first, *(device["shared_with"] if actor.sees_everything else ()))
    elif mute:
        use = Use.UNKNOWN
    plain = {name: device[name] for name in _PLAIN}
    return GpuRow(
        **plain,
        id=device["id"],
        cluster_name=device["cluster__name"],
        simulated=device["cluster__simulated"],
        source=SourceKind(device["source"]),
        fresh=gone is None and fresh(device["sampled_at"], now),
        gone=gone,
        use=use,
        pods=pods,
        deployment_id=device["deployment_id"] if mine else None,
        deployment_name=device["deployment__name"] if mine else "",
    )


def _cluster(cluster: Cluster, now: datetime) -> ClusterGpus:
    state = getattr(cluster, "gpu_sampling", None)
    at = state.sampled_at if state else None
    current = fresh(at, now)
    reason = None
    if state is None or (at is None and not state.no_data):
        reason = why(NoData.NOT_YET)
    elif state.no_data:
        reason = why(NoData(state.no_data), state.answered)
    elif not current:
        reason = why(NoData.STALE, state.answered)
    return ClusterGpus(
        cluster=cluster,
        devices=state.devices if state else 0,
        sampled_at=at,
        fresh=current,
        why=reason,
    )
