"""The bytes of packed series: they stay readable for a year, so they are pinned here."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from deployments.domain.gpu_rollup import roll_up
from deployments.domain.gpu_series import (
    HEADER,
    MEMORY_STEP,
    Mark,
    MarkKind,
    Part,
    Rolled,
    Sample,
    Spread,
    Unpackable,
    highest,
    means,
    pack_mark,
    pack_part,
    pack_rolled,
    pack_sample,
    period_of,
    stored_values,
    unpack,
    values,
    when,
)
from deployments.domain.gpus import Figure, Resolution

GIB = 1024**3


def test_an_hour_of_samples_byte_by_byte() -> None:
    packed = (
        HEADER
        + pack_mark(15, MarkKind.HOLDER, "llm/r1-0")
        + pack_sample(15, 41.5, 64.0, 312.4, 20 * GIB)
        + pack_sample(3599, None, None, None, None)
        + pack_mark(3599, MarkKind.ERROR, "")
    )
    assert packed.hex(" ") == (
        "01 0f 80 01 08 6c 6c 6d 2f 72 31 2d 30 0f 00 53 40 34 0c 00 05 0f 0e ff ff ff ff ff ff 0f 8e 02 00"
    )
    assert list(unpack(Resolution.RAW, packed)) == [
        Mark(15, MarkKind.HOLDER, "llm/r1-0"),
        Sample(15, 41.5, 64.0, 312.4, float(20 * GIB)),
        Sample(3599, None, None, None, None),
        Mark(3599, MarkKind.ERROR, ""),
    ]
    assert list(values(Resolution.RAW, packed, Figure.POWER)) == [(15, 1, 312.4, 312.4, 312.4)]


def test_a_roll_up_byte_by_byte() -> None:
    row = Rolled(
        287,
        20,
        (Spread(0.0, 50.5, 100.0), None, Spread(60.0, 200.1, 400.0), Spread(0.0, GIB, 80.0 * GIB)),
    )
    packed = HEADER + pack_rolled(row)
    assert packed.hex(" ") == ("01 1f 01 14 00 65 c8 ff ff ff 58 02 d1 07 a0 0f 00 00 40 00 00 14")
    assert list(unpack(Resolution.FIVE_MINUTES, packed)) == [row]
    assert list(values(Resolution.FIVE_MINUTES, packed, Figure.MEMORY)) == [
        (287, 20, 0.0, float(GIB), 80.0 * GIB)
    ]
    assert list(values(Resolution.FIVE_MINUTES, packed, Figure.TEMPERATURE)) == []


def test_a_pods_part_of_a_roll_up_byte_by_byte() -> None:
    whole = Rolled(287, 20, (Spread(0.0, 50.0, 100.0), None, None, None))
    mine = Rolled(287, 8, (Spread(0.0, 10.0, 20.0), None, None, None))
    none = Rolled(287, 0, (None, None, None, None))
    packed = HEADER + pack_part(Part(258, mine)) + pack_part(Part(7, none)) + pack_rolled(whole)
    assert packed[1:32].hex(" ") == ("1f 81 03 1b 02 01 00 00 00 00 00 00 08 00 14 28 ff ff ff" + " ff" * 12)
    assert list(unpack(Resolution.FIVE_MINUTES, packed)) == [Part(258, mine), Part(7, none), whole]
    stored = stored_values(Resolution.FIVE_MINUTES, packed, Figure.UTILISATION)
    assert stored.rows == [(287, 20, 0, 100, 200)] and not stored.cut
    assert stored.parts == {287: {258: (287, 8, 0, 20, 40), 7: None}}
    assert stored_values(Resolution.FIVE_MINUTES, packed, Figure.POWER).parts == {287: {258: None, 7: None}}
    assert highest(Resolution.FIVE_MINUTES, packed, Figure.UTILISATION) == ([(287, 200)], 0xFF)
    assert means(packed, Figure.UTILISATION) == ([(287, 20, 100)], 0xFF, True)
    assert means(packed, Figure.UTILISATION, 288) == ([], 0xFF, True)
    # Of a part that is cut nothing is read, and of one of another length nothing either.
    cut = stored_values(Resolution.FIVE_MINUTES, packed[:20], Figure.UTILISATION)
    assert (cut.rows, cut.parts) == ([], {}) and cut.cut
    odd = HEADER + pack_mark(287, MarkKind.PART, "short") + pack_rolled(whole)
    assert stored_values(Resolution.FIVE_MINUTES, odd, Figure.UTILISATION).parts == {}


@pytest.mark.parametrize("figure", Figure)
def test_the_largest_values_are_those_that_are_read_with_the_others(figure: Figure) -> None:
    packed = HEADER
    for at in range(0, 900, 15):
        if at % 300 == 0:
            packed += pack_mark(at, MarkKind.ERROR, f"XID {at}")
        packed += pack_sample(at, at / 9, None if at % 45 else 50.0, at / 3, at * MEMORY_STEP)
    found, none = highest(Resolution.RAW, packed + b"\x00\x00\x00", figure)
    rows = stored_values(Resolution.RAW, packed, figure).rows
    assert [each for each in found if each[1] != none] == [(row[0], row[4]) for row in rows]
    for first in (0, 1, 15, 299, 300, 301, 885, 886, 3599):
        late = stored_values(Resolution.RAW, packed, figure, first).rows
        assert late == [row for row in rows if row[0] >= first], first
        assert highest(Resolution.RAW, packed, figure, first)[0] == [
            each for each in highest(Resolution.RAW, packed, figure)[0] if each[0] >= first
        ], first
    rolled = roll_up(3, [Sample(0, 1.0, 2.0, 3.0, MEMORY_STEP), Sample(15, 9.0, 8.0, 7.0, 6 * MEMORY_STEP)])
    assert rolled is not None
    packed = HEADER + pack_rolled(rolled)
    stored = stored_values(Resolution.HOUR, packed, figure).rows
    assert highest(Resolution.HOUR, packed, figure)[0] == [(3, stored[0][4])]
    found, _none, parted = means(packed, figure)
    assert found == [(3, 2, stored[0][3])] and not parted
    with pytest.raises(Unpackable):
        means(b"\x02" + packed[1:], figure)


def test_what_does_not_fit_is_the_largest_that_does() -> None:
    (row,) = unpack(Resolution.RAW, HEADER + pack_sample(0, 500.0, 999.0, 1e9, 1e18))
    assert row == Sample(0, 127.0, 254.0, 6553.4, float(65534 * MEMORY_STEP))


def test_a_mark_is_cut_between_two_characters() -> None:
    (mark,) = unpack(Resolution.RAW, HEADER + pack_mark(1, MarkKind.ERROR, "a" + "é" * 200))
    assert isinstance(mark, Mark) and mark.text == "a" + "é" * 127


@pytest.mark.parametrize("packed", [b"", b"\x02", HEADER + b"\x00", HEADER + pack_sample(0, 1, 1, 1, 1)[:5]])
def test_a_blob_of_another_version_or_a_cut_one_is_refused(packed: bytes) -> None:
    with pytest.raises(Unpackable):
        list(unpack(Resolution.RAW, packed))
    with pytest.raises(Unpackable):
        list(values(Resolution.RAW, packed, Figure.POWER))


def test_roll_ups_weigh_by_samples_and_leave_gaps_alone() -> None:
    rows = [Sample(0, 10.0, None, None, None), Sample(15, 30.0, 50.0, None, None)]
    first = roll_up(0, rows)
    assert first == Rolled(0, 2, (Spread(10.0, 20.0, 30.0), Spread(50.0, 50.0, 50.0), None, None))
    assert first is not None
    other = Rolled(1, 6, (Spread(0.0, 0.0, 0.0), None, None, None))
    assert roll_up(3, [first, other]) == Rolled(
        3, 8, (Spread(0.0, 5.0, 30.0), Spread(50.0, 50.0, 50.0), None, None)
    )
    assert roll_up(0, []) is None


@pytest.mark.parametrize(
    ("resolution", "start", "place"),
    [
        (Resolution.RAW, datetime(2026, 2, 3, 4, tzinfo=UTC), 5 * 60 + 6),
        (Resolution.FIVE_MINUTES, datetime(2026, 2, 3, tzinfo=UTC), 4 * 12 + 1),
        (Resolution.HOUR, datetime(2026, 2, 1, tzinfo=UTC), 2 * 24 + 4),
    ],
)
def test_periods(resolution: Resolution, start: datetime, place: int) -> None:
    at = datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert (period_of(resolution, at), when(resolution, at)) == (start, place)
