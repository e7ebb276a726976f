"""Ollama's HTTP API."""

from __future__ import annotations

from deployments.gateways.ollama.answers import InstalledModel, LoadedModel, PullEvent, Timing
from deployments.gateways.ollama.client import OllamaClient
from deployments.gateways.ollama.tracker import PullPhase, PullSnapshot, PullTracker
from deployments.gateways.ollama.transport import HttpTransport, Stream, Transport

__all__ = [
    "HttpTransport",
    "InstalledModel",
    "LoadedModel",
    "OllamaClient",
    "PullEvent",
    "PullPhase",
    "PullSnapshot",
    "PullTracker",
    "Stream",
    "Timing",
    "Transport",
]
