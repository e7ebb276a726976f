"""What Ollama answers, as plain values. Sizes are bytes, times seconds, digests as Ollama writes them."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any

# Ollama writes nanoseconds; Python reads at most six fraction digits.
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True)
class InstalledModel:
    """One entry of ``/api/tags``. ``digest`` is sha256 of its manifest, hex; ``modified_at`` None
    where Ollama gave nothing readable."""

    name: str
    digest: str
    size: int
    modified_at: dt.datetime | None
    family: str = ""
    parameter_size: str = ""
    quantization: str = ""


@dataclass(frozen=True)
class LoadedModel:
    """One entry of ``/api/ps``: a model in memory. ``context_length`` is 0 before Ollama 0.10."""

    name: str
    size: int
    size_vram: int
    expires_at: dt.datetime | None
    context_length: int = 0

    @property
    def gpu_share(self) -> float:
        """0.0 (all on the CPU) to 1.0 (all on the GPU)."""
        return min(1.0, max(0.0, self.size_vram / self.size)) if self.size > 0 else 0.0

    @property
    def placement(self) -> str:
        """ "on GPU", "on CPU", or "split 60:40" with the GPU's percentage first."""
        if self.size > 0 and self.size_vram >= self.size:
            return "on GPU"
        if self.size_vram <= 0:
            return "on CPU"
        percent = min(99, max(1, round(self.gpu_share * 100)))
        return f"split {percent}:{100 - percent}"


@dataclass(frozen=True)
class Timing:
    """How a generation went. ``latency`` is what the caller waited; the others are Ollama's own."""

    latency: float
    total: float
    load: float
    prompt_tokens: int
    tokens: int
    eval: float
    text: str = ""

    @property
    def tokens_per_second(self) -> float | None:
        """None where Ollama measured nothing."""
        return self.tokens / self.eval if self.tokens and self.eval > 0 else None


@dataclass(frozen=True)
class PullEvent:
    """One line of ``/api/pull``; ``digest`` "" where the line is not about a layer.

    An event with ``idle`` says only that time has passed without a line.
    """

    status: str = ""
    digest: str = ""
    total: int = 0
    completed: int = 0
    idle: bool = False


IDLE = PullEvent(idle=True)


def when(value: object) -> dt.datetime | None:
    """An RFC 3339 time of Ollama's, or None."""
    if not isinstance(value, str):
        return None
    try:
        return dt.datetime.fromisoformat(_FRACTION.sub(r"\1", value))
    except ValueError:
        return None


def number(value: object) -> int:
    """A count of bytes, tokens or nanoseconds that is 0 when it is absent or nonsense."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def installed(entry: dict[str, Any]) -> InstalledModel:
    details = entry.get("details")
    details = details if isinstance(details, dict) else {}
    return InstalledModel(
        name=str(entry.get("name") or entry.get("model") or ""),
        digest=str(entry.get("digest") or ""),
        size=number(entry.get("size")),
        modified_at=when(entry.get("modified_at")),
        family=str(details.get("family") or ""),
        parameter_size=str(details.get("parameter_size") or ""),
        quantization=str(details.get("quantization_level") or ""),
    )


def loaded(entry: dict[str, Any]) -> LoadedModel:
    return LoadedModel(
        name=str(entry.get("name") or entry.get("model") or ""),
        size=number(entry.get("size")),
        size_vram=number(entry.get("size_vram")),
        expires_at=when(entry.get("expires_at")),
        context_length=number(entry.get("context_length")),
    )


def timing(latency: float, answer: dict[str, Any]) -> Timing:
    """Durations come as integer nanoseconds, each of them left out when it is 0."""
    return Timing(
        latency=latency,
        total=number(answer.get("total_duration")) / 1e9,
        load=number(answer.get("load_duration")) / 1e9,
        prompt_tokens=number(answer.get("prompt_eval_count")),
        tokens=number(answer.get("eval_count")),
        eval=number(answer.get("eval_duration")) / 1e9,
        text=str(answer.get("response") or answer.get("thinking") or ""),
    )
