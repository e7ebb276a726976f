"""Registries of models and images, asked from Pilothouse's own network without any credential."""

from __future__ import annotations

from deployments.gateways.registry.fetch import CannotTell
from deployments.gateways.registry.images import RegistryAnswers, probe_image, registry_host
from deployments.gateways.registry.models import NoSuchModel, RegistryManifest, model_size

__all__ = [
    "CannotTell",
    "NoSuchModel",
    "RegistryAnswers",
    "RegistryManifest",
    "model_size",
    "probe_image",
    "registry_host",
]
