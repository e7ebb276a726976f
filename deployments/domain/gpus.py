"""The vocabulary of GPU figures, and how series of them are packed."""

from __future__ import annotations

from enum import StrEnum


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
