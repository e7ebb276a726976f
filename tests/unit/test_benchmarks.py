"""What benchmarks compute from what they measure."""

from __future__ import annotations

import os

import pytest

from benchmarks.machine import memory, percentile, processor


@pytest.mark.parametrize(
    "values, share, expected",
    [([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), (range(1, 101), 0.99, 99), (range(1, 101), 0.95, 95),
     ([7], 0.99, 7), ([5, 1], 0.0, 1), ([5, 1], 1.0, 5)],
)  # fmt: skip
def test_percentiles_are_by_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert percentile(list(values), share) == expected


def test_what_a_process_has_used() -> None:
    assert 0 < memory(os.getpid()) <= memory(os.getpid(), peak=True)
    assert processor(os.getpid()) > 0
