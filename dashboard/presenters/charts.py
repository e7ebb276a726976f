"""Small drawings in plain SVG: heat strips and sparklines, made of attributes alone.

A strip is one row of equally wide cells. Cells of one kind that stand side by side become one
rectangle, so that a row of sixty cells costs some dozen numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

UNKNOWN, FREE = "n", "f"
# Busy by less than so many percent is a step of the ramp; the last step has no upper end.
STEPS = (5.0, 20.0, 40.0, 60.0, 80.0)
SPARK_WIDTH, SPARK_HEIGHT = 96, 20


def heat(value: float | None) -> str:
    """The step of the heat ramp for a utilisation in percent: "0" to "5", "n" where there is none."""
    return UNKNOWN if value is None else str(bisect_right(STEPS, value))


def runs(cells: Sequence[str]) -> list[tuple[str, str]]:
    """Cells ("0" to "5", "f" for free, "n" for no data) -> (class, path) for each kind that is known.

    The path is in units of one cell, one high. What is unknown stays empty: the ground is hatched.
    """
    return _runs(tuple(cells))


@lru_cache(maxsize=1024)  # a strip moves on once in a span, and every reader sees the same
def _runs(cells: tuple[str, ...]) -> list[tuple[str, str]]:
    paths: dict[str, list[str]] = {}
    start = 0
    for kind, group in groupby(cells):
        width = sum(1 for _ in group)
        if kind != UNKNOWN:
            paths.setdefault(kind, []).append(f"M{start} 0h{width}v1h-{width}z")
        start += width
    return [(f"s{kind}", "".join(found)) for kind, found in sorted(paths.items())]


@lru_cache(maxsize=64)  # of a list, the same for each row
def cuts(count: int) -> str:
    """The lines between the cells of a row."""
    return "".join(f"M{place} 0v1" for place in range(1, count))


def spark_lines(values: Sequence[float | None], most: float = 100.0) -> list[str]:
    """The points of a sparkline's lines, one line for each stretch without a gap.

    ``values`` lie at equal distances; ``most`` is the top of the drawing. A lone value between two
    gaps becomes a short line, so that it can be seen.
    """
    if not values or most <= 0:
        return []
    distance = SPARK_WIDTH / max(1, len(values) - 1)
    lines = []
    place = 0
    for known, group in groupby(values, key=lambda value: value is not None):
        stretch = list(group)
        if known:
            points = [
                (
                    (place + n) * distance,
                    SPARK_HEIGHT - 1 - (SPARK_HEIGHT - 2) * min(1.0, max(0.0, (value or 0) / most)),
                )
                for n, value in enumerate(stretch)
            ]
            if len(points) == 1:
                points.append((points[0][0] + distance / 2, points[0][1]))
            lines.append(" ".join(f"{x:.1f},{y:.1f}" for x, y in points))
        place += len(stretch)
    return lines
