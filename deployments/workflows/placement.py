"""Where a pod's loaded models sit: on its GPUs, on its CPU, or split between them."""

from __future__ import annotations

import logging
from typing import Any

from deployments.domain.errors import ClusterError, ModelError
from deployments.gateways.ollama import OllamaClient

MOST_MODELS = 32  # of one pod

log = logging.getLogger(__name__)


def loaded_in(server: OllamaClient, timeout: float) -> dict[str, Any]:
    """{"loaded": [...]} by Ollama's own word (docs/api.md, "List Running Models": ``size_vram`` is the
    part of ``size`` that is in a GPU's memory); {} where it did not say. Nothing is loaded by asking."""
    try:
        models = server.ps(timeout=timeout)
    except (ClusterError, ModelError) as error:
        log.debug("Ollama did not say what it has loaded: %s", error.sentence)
        return {}
    loaded = [
        {
            "model": model.name[:300],
            "placement": model.placement,
            "share": round(model.gpu_share, 3),
            "size": model.size,
            "size_vram": model.size_vram,
        }
        for model in models[:MOST_MODELS]
        if model.size > 0
    ]
    return {"loaded": loaded}
