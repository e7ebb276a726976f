"""Samples of a GPU, or finer roll-ups of them, as one roll-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.domain.gpu_series import FIGURES, Rolled, Sample, Spread


@dataclass
class _Running:
    """Smallest, sum and largest of the figures seen so far."""

    weight: float = 0.0
    total: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def add(self, low: float, mean: float, high: float, weight: float) -> None:
        self.low = min(self.low, low) if self.weight else low
        self.high = max(self.high, high) if self.weight else high
        self.total += mean * weight
        self.weight += weight

    @property
    def spread(self) -> Spread | None:
        return Spread(self.low, self.total / self.weight, self.high) if self.weight else None


def roll_up(at: int, rows: Sequence[Sample | Rolled]) -> Rolled | None:
    """One roll-up of samples, or of finer roll-ups; None of nothing."""
    if not rows:
        return None
    running = [_Running() for _ in FIGURES]
    samples = 0
    for row in rows:
        if isinstance(row, Sample):
            samples += 1
            values = (row.utilisation, row.temperature, row.power, row.memory_used)
            for run, value in zip(running, values, strict=True):
                if value is not None:
                    run.add(value, value, value, 1)
        else:
            samples += row.samples
            for run, spread in zip(running, row.spreads, strict=True):
                if spread is not None:
                    run.add(spread.low, spread.mean, spread.high, row.samples)
    return Rolled(at, samples, tuple(run.spread for run in running))
