"""Where Ollama's loaded models sit, as the pods last said when they were asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.models import Deployment

PLACED_FOR = timedelta(minutes=2)
"""An answer is shown as fresh for so long; the pods are asked every half minute."""


@dataclass(frozen=True)
class Placement:
    """Where a loaded model sits, by Ollama's own word: "on GPU", "on CPU", "split 60:40" (GPU first).
    Sizes in bytes, ``share`` 0.0 to 1.0 of the model on the GPU."""

    pod: str
    model: str
    placement: str
    share: float
    size: int
    size_vram: int
    at: datetime
    fresh: bool


def placements_of(deployment: Deployment, now: datetime) -> tuple[list[Placement], list[str], list[str]]:
    """What the last asking of ``/api/ps`` said of each server pod: the loaded models, the pods with
    nothing loaded, and those that did not say. No query."""
    asked = deployment.probes.get("pods") if isinstance(deployment.probes, dict) else None
    found: list[Placement] = []
    empty: list[str] = []
    silent: list[str] = []
    for pod, said in sorted(asked.items()) if isinstance(asked, dict) else ():
        loaded = said.get("loaded") if isinstance(said, dict) else None
        at = _time(said.get("at")) if isinstance(said, dict) else None
        if not isinstance(loaded, list) or at is None:
            silent.append(pod)
            continue
        if not loaded:
            empty.append(pod)
        for model in loaded:
            found.append(
                Placement(
                    pod=pod,
                    model=model["model"],
                    placement=model["placement"],
                    share=model["share"],
                    size=model["size"],
                    size_vram=model["size_vram"],
                    at=at,
                    fresh=now - at <= PLACED_FOR,
                )
            )
    return found, empty, silent


def _time(text: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return at if at.tzinfo else None
