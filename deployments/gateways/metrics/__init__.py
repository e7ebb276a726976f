"""The gateway to what measures GPUs: exporters and Prometheus, through the API server's proxy."""

from deployments.gateways.metrics.exporters import ExporterPod, Told, ask_exporter, find_exporters
from deployments.gateways.metrics.exposition import Page, Series, parse
from deployments.gateways.metrics.prometheus import (
    PrometheusService,
    ask_prometheus,
    find_prometheus,
    knows_gpus,
)
from deployments.gateways.metrics.readings import WANTED, GpuReading, readings

__all__ = [
    "WANTED",
    "ExporterPod",
    "GpuReading",
    "Page",
    "PrometheusService",
    "Series",
    "Told",
    "ask_exporter",
    "ask_prometheus",
    "find_exporters",
    "find_prometheus",
    "knows_gpus",
    "parse",
    "readings",
]
