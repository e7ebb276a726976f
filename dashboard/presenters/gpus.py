"""GPUs in words: the answer above the list, who uses a device, why there is nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.presenters.numbers import NBSP, cannot_tell, memory, percent, scaled, unit_of
from dashboard.presenters.parts import Column, Fact
from dashboard.presenters.states import HEALTH, Look, Words
from dashboard.presenters.times import exact, machine
from deployments.domain.gpus import STALE_AFTER, Gone, SourceKind
from deployments.domain.states import Health
from deployments.models import GpuDevice, MetricsSource
from deployments.selectors.gpu_nodes import NodeGpus
from deployments.selectors.gpus import ClusterGpus, GpuRow, GpuTotals, Use
from deployments.selectors.placements import Placement
from deployments.sentences import said

SOURCES: dict[SourceKind, Words] = {
    SourceKind.PROMETHEUS: gettext_lazy("DCGM through Prometheus"),
    SourceKind.DCGM: gettext_lazy("dcgm-exporter"),
    SourceKind.AMD: gettext_lazy("AMD's exporter"),
}

STATES: tuple[tuple[str, Words], ...] = (
    ("busy", gettext_lazy("held")),
    ("idle", gettext_lazy("free")),
    ("error", gettext_lazy("with errors")),
    ("stale", gettext_lazy("without fresh figures")),
    ("gone", gettext_lazy("no longer there")),
)

COLUMNS = (
    Column(gettext_lazy("Device"), "node"),
    Column(gettext_lazy("Held by"), "user"),
    Column(gettext_lazy("Busy"), "utilisation", css="w120"),
    Column(gettext_lazy("Memory"), "memory", css="w120"),
    Column(gettext_lazy("Temp."), "temperature", numeric=True),
    Column(gettext_lazy("Power"), "power", numeric=True),
    Column(gettext_lazy("Errors"), "error"),
    Column(gettext_lazy("Measured")),
)


# Without a way to sort: the devices of one deployment are few.
PLAIN_COLUMNS = tuple(replace(column, sort="") for column in COLUMNS)


# Of an export: the names say the units, so that a program needs no translation.
CSV_COLUMNS = (
    "cluster",
    "node",
    "index",
    "instance",
    "product",
    "driver",
    "utilisation_percent",
    "memory_used_bytes",
    "memory_total_bytes",
    "temperature_celsius",
    "power_watts",
    "error",
    "use",
    "pods",
    "deployment",
    "source",
    "sampled_at",
)


@dataclass(frozen=True)
class Placed:
    """A loaded model and where it sits: ``share`` of a hundred parts on the GPU."""

    pod: str
    model: str
    look: Look
    word: str
    share: float
    sizes: str
    at: datetime


@dataclass(frozen=True)
class RoomNode:
    """A node with its GPUs as slots: "u" used, "" free, "x" broken."""

    name: str
    cluster_id: int
    product: str
    slots: list[str]
    text: str


@dataclass(frozen=True)
class Room:
    """What nodes have free, most first. ``more`` nodes with free ones are not shown, ``full`` ones have
    none, ``blind`` ones cannot tell. ``broken`` nodes offer none of the GPUs they have. ``closed`` nodes take
    no pods, with ``shut`` free ones."""

    nodes: list[RoomNode]
    sentence: str
    more: int
    full: int
    broken: int
    blind: int
    closed: int
    shut: int


@dataclass(frozen=True)
class Reason:
    """Why a cluster has no figures, or fewer than it could have."""

    cluster: str
    tone: str
    sentence: str
    remedy: str
    answered: str
    seen: datetime | None


def source(kind: str) -> Words:
    """What measures, in words."""
    return SOURCES[SourceKind(kind)]


def celsius(value: float | None) -> str:
    """``71 °C``; a figure that the source does not give is said to be missing."""
    return not_told() if value is None else f"{round(value)}{NBSP}°C"


def watts(value: float | None) -> str:
    """``298 W``."""
    return not_told() if value is None else f"{round(value)}{NBSP}W"


def not_told() -> str:
    """The words in place of a figure that this device's source does not give."""
    return _("not told")


def memory_of(row: GpuRow) -> str:
    """``46.1 of 48 GiB``, or as much of it as is known; both in the unit of the whole."""
    if row.memory_used is None:
        return memory(row.memory_total) if row.memory_total else not_told()
    if not row.memory_total:
        return memory(row.memory_used)
    power = unit_of(row.memory_total, 1024)
    used = scaled(min(row.memory_used, row.memory_total), 1024, power, trim=True)
    return _("%(used)s of %(total)s") % {"used": used, "total": memory(row.memory_total)}


def pod_of(row: GpuRow, pod: str) -> str:
    """``server-0`` of a pod ("namespace/name") that belongs to the deployment named beside it."""
    namespace, _slash, name = pod.partition("/")
    short = name.removeprefix(f"{row.deployment_name}-")
    return f"{short} · {namespace}" if row.deployment_name and short != name else pod


def name(row: GpuRow) -> str:
    """``fra-gpu-01 · 0``, with the instance where the device is split."""
    parts = [row.node or _("unknown node"), row.index, row.instance]
    return " · ".join(part for part in parts if part)


def headline(totals: GpuTotals, told: bool, filtered: bool) -> str:
    """The answer to "what is free": ``told`` says whether the sources tell who holds what, ``filtered``
    whether there may be others than were counted."""
    if not totals.devices and filtered:
        return _("No GPU is like that")
    if not totals.devices:
        return _("No GPU is measured")
    if not told:
        return ngettext("%(n)s GPU is measured", "%(n)s GPUs are measured", totals.devices) % {
            "n": totals.devices
        }
    if totals.stale == totals.devices:
        words = ngettext(
            "%(held)s of %(n)s GPU held when last measured",
            "%(held)s of %(n)s GPUs held when last measured",
            totals.devices,
        )
    elif totals.stale:
        words = ngettext(
            "%(held)s of %(n)s GPU held, %(free)s known to be free",
            "%(held)s of %(n)s GPUs held, %(free)s known to be free",
            totals.devices,
        )
    else:
        words = ngettext(
            "%(held)s of %(n)s GPU held, %(free)s free",
            "%(held)s of %(n)s GPUs held, %(free)s free",
            totals.devices,
        )
    return words % {"held": totals.busy, "n": totals.devices, "free": totals.idle}


def headline_gone(totals: GpuTotals) -> str:
    """Above the list of those that are no longer there."""
    if not totals.devices:
        return _("No GPU is missing")
    return ngettext("%(n)s GPU is gone", "%(n)s GPUs are gone", totals.devices) % {"n": totals.devices}


def summary(totals: GpuTotals) -> str:
    """How busy they are together, of how many that is known, and what is wrong with some."""
    told, fresh = [], totals.devices - totals.stale
    if totals.utilisation is not None:
        words = _("Busy %(n)s on average.")
        if totals.measured < fresh:
            words = _("Busy %(n)s on average (%(told)s of %(all)s tell it).")
        told.append(words % {"n": percent(totals.utilisation), "told": totals.measured, "all": fresh})
    if totals.memory_used is not None and totals.memory_total:
        told.append(
            _("%(used)s of %(total)s memory in use.")
            % {"used": memory(totals.memory_used), "total": memory(totals.memory_total)}
        )
    if totals.power is not None:
        words = _("They draw %(n)s kW.")
        if totals.powered < fresh:
            words = _("They draw %(n)s kW (%(told)s of %(all)s tell it).")
        told.append(words % {"n": f"{totals.power / 1000:.1f}", "told": totals.powered, "all": fresh})
    if totals.errors:
        told.append(
            ngettext("%(n)s reports an error.", "%(n)s report errors.", totals.errors) % {"n": totals.errors}
        )
    if totals.stale:
        told.append(
            ngettext("%(n)s sends no fresh figures.", "%(n)s send no fresh figures.", totals.stale)
            % {"n": totals.stale}
        )
    return " ".join(told)


class SourceState(NamedTuple):
    """How something that measures GPUs does, in a word."""

    css: str
    icon: str
    word: str


def source_state(row: MetricsSource, now: datetime) -> SourceState:
    """Whether it is there, and gives what it is asked for."""
    if not row.detail.get("there"):
        return SourceState("unknown", "unknown", _("No longer there"))
    if row.error:
        return SourceState("warn", "degraded", _("Gives nothing"))
    if row.chosen and (row.sampled_at is None or now - row.sampled_at > STALE_AFTER):
        return SourceState("warn", "degraded", _("Gives nothing new"))
    return SourceState("healthy", "healthy", _("Answers"))


def reasons(clusters: Sequence[ClusterGpus]) -> list[Reason]:
    """What is missing, cluster by cluster: those without any figures first."""
    found = [
        Reason(
            cluster=each.cluster.name,
            tone="warn" if each.why.reason.partial else "cant",
            sentence=each.why.sentence,
            remedy=each.why.remedy,
            answered=each.why.answered,
            seen=each.sampled_at,
        )
        for each in clusters
        if each.why is not None
    ]
    return sorted(found, key=lambda reason: reason.tone)


def origins(rows: Sequence[GpuRow]) -> list[tuple[str, datetime]]:
    """What measured the devices of a page, each with its newest figures; by cluster where there are several."""
    newest: dict[tuple[str, str], datetime] = {}
    for row in rows:
        key = (row.cluster_name, str(source(row.source)))
        newest[key] = max(newest.get(key, row.sampled_at), row.sampled_at)
    several = len({cluster for cluster, _kind in newest}) > 1
    return [(f"{cluster}: {kind}" if several else kind, seen) for (cluster, kind), seen in newest.items()]


def why_silent(row: GpuRow) -> str:
    """Why the figures of a device are not those of now."""
    if row.gone is Gone.NODE:
        return _("Its node, %(node)s, left the cluster.") % {"node": row.node or _("unknown node")}
    if row.gone is Gone.REPORT:
        return _("%(source)s answers on its node, but tells of it no more.") % {"source": source(row.source)}
    return _("%(source)s has said nothing new about it.") % {"source": source(row.source)}


def silence(row: GpuRow, known: ClusterGpus) -> Reason | None:
    """Why a device has no fresh figures, or why one of them is missing; None where all is well."""
    if row.gone is not None:
        remedy = _("A device that is missing may have been split, taken out or lost by its driver.")
        return Reason(
            cluster=row.cluster_name,
            tone="cant",
            sentence=why_silent(row),
            remedy=remedy if row.gone is Gone.REPORT else "",
            answered="",
            seen=row.sampled_at,
        )
    if row.fresh and (known.why is None or known.why.reason.partial):
        return None
    if known.why is not None:
        return reasons([known])[0]
    return Reason(
        cluster=row.cluster_name,
        tone="cant",
        sentence=_("Other GPUs of the cluster are measured, this one is not."),
        remedy=_("See whether the exporter runs on %(node)s, and whether the device still answers.")
        % {"node": row.node or _("its node")},
        answered="",
        seen=row.sampled_at,
    )


def room(nodes: Sequence[NodeGpus], most: int) -> Room:
    """Where the next pod would find GPUs, as the scheduler counts them."""
    told = [node for node in nodes if node.free is not None and not node.closed]
    closed = [node for node in nodes if node.free and node.closed]
    open_ = sorted(
        (node for node in told if node.free),
        key=lambda node: (-(node.free or 0), node.cluster_id, node.node),
    )
    broken = sum(node.unhealthy > 0 and not node.allocatable for node in told)
    sentence = ""
    if open_:
        sentence = _("Largest free block: %(n)s on %(node)s.") % {"n": open_[0].free, "node": open_[0].node}
    elif told:
        sentence = _("No node has a free one.")
    return Room(
        nodes=[_room_node(node) for node in open_[:most]],
        sentence=sentence,
        more=max(0, len(open_) - most),
        full=len(told) - len(open_) - broken,
        broken=broken,
        blind=sum(node.free is None for node in nodes),
        closed=len(closed),
        shut=sum(node.free or 0 for node in closed),
    )


def _room_node(node: NodeGpus) -> RoomNode:
    free = node.free or 0
    used = max(0, node.allocatable - free)
    return RoomNode(
        name=node.node,
        cluster_id=node.cluster_id,
        product=node.product or node.resource,
        slots=[*["u"] * used, *[""] * free, *["x"] * node.unhealthy],
        text=_("%(free)s of %(all)s free") % {"free": free, "all": node.capacity}
        + (_(", %(n)s broken") % {"n": node.unhealthy} if node.unhealthy else ""),
    )


def placed(placement: Placement, wanted: bool) -> Placed:
    """Where a loaded model sits: what is not on the GPU is no trouble where none was asked for."""
    if placement.share >= 1:
        health, word = Health.HEALTHY, _("On the GPU")
    elif placement.share > 0:
        health, word = Health.DEGRADED, _("Split %(ratio)s") % {"ratio": placement.placement.split()[-1]}
    else:
        health, word = (Health.FAILED if wanted else Health.STOPPED), _("On the CPU")
    if not placement.fresh:
        health = Health.UNKNOWN
    sizes = _("%(gpu)s of %(all)s in GPU memory") % {
        "gpu": memory(placement.size_vram),
        "all": memory(placement.size),
    }
    return Placed(
        placement.pod, placement.model, HEALTH[health], word, 100 * placement.share, sizes, placement.at
    )


def about(device: GpuDevice, measured_by: Mapping[SourceKind, str]) -> list[Fact]:
    """What a device is, for the side of its page; ``measured_by`` are the exporters of its cluster."""
    unknown = not_told()
    return [
        Fact(_("Product"), device.product or unknown),
        Fact(_("Memory"), memory(device.memory_total) if device.memory_total else unknown),
        Fact(_("Driver"), device.driver or unknown),
        Fact(_("Instance"), device.instance or _("the whole device")),
        Fact(_("Identity"), device.key),
        Fact(_("Measured by"), source(device.source), measured_by.get(SourceKind(device.source), "")),
        Fact(_("Seen first"), exact(device.first_seen_at)),
    ]


def facts(row: GpuRow) -> list[Fact]:
    """Six figures of one device, each with its source and its age."""
    measured, seen = source(row.source), row.sampled_at
    return [
        Fact(
            _("Busy"), not_told() if row.utilisation is None else percent(row.utilisation), "", measured, seen
        ),
        Fact(_("Memory"), memory_of(row), "", measured, seen),
        Fact(_("Temperature"), celsius(row.temperature), "", measured, seen),
        Fact(_("Power"), watts(row.power), "", measured, seen),
        Fact(_("Errors"), said(row.error) or _("none"), "", measured, seen),
        Fact(_("Held by"), holder(row), _other_pods(row), measured, seen),
    ]


def holder(row: GpuRow) -> str:
    """Who uses a device, as far as the reader may know."""
    if row.gone is not None:
        return _("nobody")
    if row.use is Use.POD:
        return row.deployment_name or row.pods[0]
    if row.use is Use.IDLE and not row.fresh:
        return cannot_tell()
    return {
        Use.OTHERS: _("another workload"),
        Use.UNKNOWN: _("not told"),
        Use.IDLE: _("free"),
    }[row.use]


def csv_row(row: GpuRow) -> list[str]:
    """A device in the order of CSV_COLUMNS; what is not known is empty."""
    figures = (row.utilisation, row.memory_used, row.memory_total, row.temperature, row.power)
    return [
        row.cluster_name,
        row.node,
        row.index,
        row.instance,
        row.product,
        row.driver,
        *(
            "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
            for value in figures
        ),
        row.error,
        str(row.use),
        " ".join(row.pods),
        row.deployment_name,
        str(row.source),
        machine(row.sampled_at),
    ]


def _other_pods(row: GpuRow) -> str:
    return ", ".join(row.pods if row.deployment_name else row.pods[1:])
