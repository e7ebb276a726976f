"""Reading one figure of a series gives what reading all of its rows gives."""

from __future__ import annotations

import pytest

from deployments.domain.gpu_rollup import roll_up
from deployments.domain.gpu_series import (
    FIGURES,
    HEADER,
    Mark,
    MarkKind,
    Rolled,
    Sample,
    Unpackable,
    Value,
    pack_mark,
    pack_rolled,
    pack_sample,
    unpack,
    values,
)
from deployments.domain.gpus import Figure, Resolution


def blob(resolution: Resolution) -> bytes:
    """Rows with and without each figure, with marks before, between and after them."""
    packed = HEADER + pack_mark(0, MarkKind.HOLDER, "llm/r1-server-0")
    for at in range(0, 3000, 15):
        known = [float(at % 97), 41.0 + at % 50, 100.5 + at / 7, float((at % 40) * 2**30)]
        row: list[float | None] = [None if at % (7 + n) == 0 else value for n, value in enumerate(known)]
        if resolution is Resolution.RAW:
            packed += pack_sample(at, *row)
        else:
            rolled = roll_up(at % 288, [Sample(at, *row), Sample(at, *known)])
            assert rolled is not None
            packed += pack_rolled(rolled)
        if at % 450 == 0:
            packed += pack_mark(at, MarkKind.ERROR, "XID 31 " * (at // 450))
    return packed


def slowly(resolution: Resolution, packed: bytes, figure: Figure) -> list[Value]:
    found: list[Value] = []
    for row in unpack(resolution, packed):
        if isinstance(row, Sample):
            value = (row.utilisation, row.temperature, row.power, row.memory_used)[FIGURES.index(figure)]
            if value is not None:
                found.append((row.at, 1, value, value, value))
        elif isinstance(row, Rolled):
            spread = row.spreads[FIGURES.index(figure)]
            if spread is not None:
                found.append((row.at, row.samples, spread.low, spread.mean, spread.high))
        else:
            assert isinstance(row, Mark)
    return found


@pytest.mark.parametrize("figure", Figure)
@pytest.mark.parametrize("resolution", Resolution)
def test_one_figure_is_read_as_all_are(resolution: Resolution, figure: Figure) -> None:
    packed = blob(resolution)
    found = list(values(resolution, packed, figure))
    assert len(found) > 90
    assert found == slowly(resolution, packed, figure)


@pytest.mark.parametrize("resolution", Resolution)
def test_a_cut_series_gives_its_whole_rows(resolution: Resolution) -> None:
    packed = blob(resolution)[:-3]
    found: list[Value] = []
    with pytest.raises(Unpackable):
        for value in values(resolution, packed, Figure.UTILISATION):
            found.append(value)
    assert len(found) > 90
    with pytest.raises(Unpackable):
        list(values(resolution, b"\x09" + packed[1:], Figure.UTILISATION))
