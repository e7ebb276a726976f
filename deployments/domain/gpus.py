"""The vocabulary of GPU figures: where they come from, and why there are none."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

SAMPLE_EVERY = timedelta(seconds=15)
STALE_AFTER = timedelta(seconds=60)
"""Figures older than four rounds of sampling are said to be old."""


class SourceKind(StrEnum):
    """What figures of GPUs are read from."""

    PROMETHEUS = "prometheus"
    DCGM = "dcgm"
    AMD = "amd"


class Resolution(StrEnum):
    """How far apart the points of a series are: as sampled, five minutes, an hour."""

    RAW = "raw"
    FIVE_MINUTES = "5m"
    HOUR = "1h"


class Figure(StrEnum):
    """What is measured of a device: utilisation in percent, memory used in bytes, temperature in
    degrees Celsius, power in watts."""

    UTILISATION = "utilisation"
    MEMORY = "memory_used"
    TEMPERATURE = "temperature"
    POWER = "power"


class Gone(StrEnum):
    """Why a device is no longer among those of its cluster."""

    NODE = "node"
    """Its node left the cluster."""
    REPORT = "report"
    """What measures its node answers, and tells of it no more."""


class NoData(StrEnum):
    """Why there are no figures, or why they are less than they could be."""

    NOT_YET = "not_yet"
    UNREACHABLE = "unreachable"
    NO_GPUS = "no_gpus"
    NO_EXPORTER = "no_exporter"
    SILENT = "silent"
    EMPTY = "empty"
    PROMETHEUS_EMPTY = "prometheus_empty"
    MAY_NOT_LIST = "may_not_list"
    MAY_NOT_PROXY = "may_not_proxy"
    STALE = "stale"
    NO_PODS = "no_pods"
    SOME_SILENT = "some_silent"

    @property
    def partial(self) -> bool:
        """True where there are figures all the same."""
        return self in (NoData.NO_PODS, NoData.SOME_SILENT)


@dataclass(frozen=True)
class Why:
    """A reason in words: ``answered`` is what the other side said, cut, or ""."""

    reason: NoData
    sentence: str
    remedy: str
    answered: str = ""


_LIST_RULE = 'apiGroups: [""], resources: [pods], verbs: [list]'
_PROXY_RULE = 'apiGroups: [""], resources: [pods/proxy], verbs: [get]'
_WORDS: dict[NoData, tuple[str, str]] = {
    NoData.NOT_YET: ("The GPUs have not been sampled yet.", "The first figures come within half a minute."),
    NoData.UNREACHABLE: (
        "Pilothouse does not get through to the cluster.",
        "The cluster's page says why, and what to do.",
    ),
    NoData.NO_GPUS: (
        "No node of the cluster offers a GPU.",
        "If there are GPUs, install the NVIDIA GPU operator or AMD's: nodes offer GPUs through its device plugin.",
    ),
    NoData.NO_EXPORTER: (
        "The cluster has no exporter that measures GPUs.",
        "Install dcgm-exporter, which comes with the NVIDIA GPU operator, or AMD's device-metrics-exporter.",
    ),
    NoData.SILENT: (
        "The GPU exporters do not answer.",
        "Look at the log of the exporter's pods.",
    ),
    NoData.EMPTY: (
        "The GPU exporters answer, but tell nothing about any GPU.",
        "Look at the exporter's list of metrics and at its log: its metrics must have their usual names.",
    ),
    NoData.PROMETHEUS_EMPTY: (
        "Prometheus has no figures of GPUs, and no exporter was found.",
        "Install dcgm-exporter or AMD's device-metrics-exporter, and let Prometheus scrape it.",
    ),
    NoData.MAY_NOT_LIST: (
        "Pilothouse may not look for exporters on this cluster.",
        f"Bind a ClusterRole with this rule to Pilothouse's account: {_LIST_RULE}.",
    ),
    NoData.MAY_NOT_PROXY: (
        "Pilothouse may not ask the exporters on this cluster.",
        f"Bind a ClusterRole with this rule to Pilothouse's account: {_PROXY_RULE}.",
    ),
    NoData.STALE: (
        "The newest figures are more than a minute old.",
        "If this lasts, see whether Pilothouse's workers run and whether the cluster answers.",
    ),
    NoData.NO_PODS: (
        "The exporter does not say which pod uses which GPU.",
        "Set DCGM_EXPORTER_KUBERNETES=true on dcgm-exporter and mount the kubelet's pod-resources socket.",
    ),
    NoData.SOME_SILENT: (
        "Some GPU exporters do not answer.",
        "Look at the log of the exporter's pods on the nodes without figures.",
    ),
}


def why(reason: NoData, answered: str = "") -> Why:
    """A reason with its sentence and its remedy."""
    sentence, remedy = _WORDS[reason]
    return Why(reason, sentence, remedy, answered)


def fresh(sampled_at: datetime | None, now: datetime) -> bool:
    """Whether figures of then may be shown as those of now."""
    return sampled_at is not None and now - sampled_at <= STALE_AFTER


def is_gpu(resource: str) -> bool:
    """Whether an extended resource is GPUs or parts of them (NVIDIA/k8s-device-plugin and
    ROCm/k8s-device-plugin, their resource naming)."""
    return resource.startswith(("nvidia.com/gpu", "nvidia.com/mig-", "amd.com/"))
