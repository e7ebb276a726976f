"""Drawings made of attributes: steps of the ramp, rectangles of a strip, lines of a sparkline."""

from __future__ import annotations

import pytest

from dashboard.presenters import charts


@pytest.mark.parametrize(
    ("busy", "step"),
    [(0, "0"), (4.9, "0"), (5, "1"), (39.9, "2"), (60, "4"), (80, "5"), (100, "5"), (None, "n")],
)
def test_busy_is_a_step_of_the_ramp(busy: float | None, step: str) -> None:
    assert charts.heat(busy) == step


def test_equal_cells_side_by_side_are_one_rectangle_and_unknown_ones_none() -> None:
    assert charts.runs(["5", "5", "n", "n", "f", "5"]) == [
        ("s5", "M0 0h2v1h-2zM5 0h1v1h-1z"),
        ("sf", "M4 0h1v1h-1z"),
    ]
    assert charts.runs([]) == [] and charts.runs(["n"] * 60) == []


def test_a_sparkline_is_not_drawn_across_a_gap() -> None:
    first, second = charts.spark_lines([0, 100, None, None, 50])
    assert first == "0.0,19.0 24.0,1.0"
    assert second == "96.0,10.0 108.0,10.0"  # a lone value is a short line
    assert charts.spark_lines([]) == [] and charts.spark_lines([None, None]) == []
    [flat] = charts.spark_lines([250, -5])
    assert flat == "0.0,1.0 96.0,19.0"
