"""How a device's figures over time are packed into bytes.

A series is one blob for a period of a :class:`Resolution`: an hour of samples, a day of five-minute
roll-ups, a month of hourly ones, all in UTC. It only ever grows at its end, so that a round of
sampling appends some bytes to each blob and reads none. All numbers are little endian.

    byte 0      version, 1
    then rows, in the order of their time; each starts with 2 bytes, "when":
      bit 15 = 0   figures: the seconds since the period's start (samples), or which five minutes or
                   which hour of the period it is (roll-ups)
      bit 15 = 1   a mark, valid from then on; bits 0-14 as above

    sample   8 bytes   when:2  utilisation:1  temperature:1  power:2  memory:2
    roll-up 21 bytes   when:2  samples:1, then smallest, mean and largest of each:
                       utilisation:1+1+1  temperature:1+1+1  power:2+2+2  memory:2+2+2
    mark    4 + n      when:2  kind:1  length:1  then so many bytes, UTF-8 but for parts

Units: utilisation in half percents, temperature in degrees Celsius, power in tenths of a watt, memory
in steps of 16 MiB. The largest value of a field (255 or 65535) means that there is no figure; what is
larger than fits counts as the largest that does. Kinds of marks: 1, who uses the device
("namespace/pod"), which is read and no longer written; 2, the error that it reports (empty for none),
which a blob also says at its start where there is one, so that it can be read without the one before
it; 3, a part. A time without a row is a gap.

    part       31 bytes   a mark with pod:8 and a roll-up without its "when": of the roll-up of the same
                          "when", which follows, so much was while that pod (the id of its row) held the
                          device. Of no sample, where it held the device, but was not measured then.

Parts are written for pods that held a device for some of a roll-up's samples only. Who held it for all
of them has no part: the roll-up itself is his.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache
from typing import Any

from deployments.domain.gpus import Figure, Resolution

VERSION = 1
HEADER = bytes([VERSION])
_STEPS = {
    Resolution.RAW: timedelta(seconds=1),
    Resolution.FIVE_MINUTES: timedelta(minutes=5),
    Resolution.HOUR: timedelta(hours=1),
}
MEMORY_STEP = 16 * 1024 * 1024
MARK_BIT = 0x8000
_SAMPLE = struct.Struct("<HBBHH")
_ROLLED = struct.Struct("<HB3B3B3H3H")
_MARK = struct.Struct("<HBB")
_WHEN = struct.Struct("<H")
_POD = struct.Struct("<Q")
_PART_SIZE = _POD.size + _ROLLED.size - _WHEN.size
_NONE = {1: 0xFF, 2: 0xFFFF}
_MARKED = re.compile(rb"[\x80-\xff]")

FIGURES = (Figure.UTILISATION, Figure.TEMPERATURE, Figure.POWER, Figure.MEMORY)
"""The figures in the order of their fields."""
_FIELDS = ((2.0, 1), (1.0, 1), (10.0, 2), (1 / MEMORY_STEP, 2))  # scale and bytes of each
SCALES = {figure: scale for figure, (scale, _size) in zip(FIGURES, _FIELDS, strict=True)}
"""What stored whole numbers are divided by."""


class Unpackable(ValueError):
    """A blob that this version cannot read: of another version, or cut."""


class MarkKind(IntEnum):
    HOLDER = 1
    ERROR = 2
    PART = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """The figures of one moment, None where there is none. ``at`` is as in the blob: see above."""

    at: int
    utilisation: float | None
    temperature: float | None
    power: float | None
    memory_used: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Smallest, mean and largest of a figure in one roll-up."""

    low: float
    mean: float
    high: float


@dataclass(frozen=True, slots=True)
class Rolled:
    """One roll-up: of how many samples, and the spread of each figure in the order of FIGURES."""

    at: int
    samples: int
    spreads: tuple[Spread | None, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    at: int
    kind: MarkKind
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """What of a roll-up was while one pod held the device: ``row.at`` is that of the roll-up."""

    pod: int
    row: Rolled


Row = Sample | Rolled | Mark | Part


def period_of(resolution: Resolution, at: datetime) -> datetime:
    """The start of the period that a time belongs to."""
    at = at.astimezone(UTC)
    if resolution is Resolution.RAW:
        return at.replace(minute=0, second=0, microsecond=0)
    if resolution is Resolution.FIVE_MINUTES:
        return at.replace(hour=0, minute=0, second=0, microsecond=0)
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def step_of(resolution: Resolution) -> timedelta:
    """What one unit of "when" is."""
    return _STEPS[resolution]


def when(resolution: Resolution, at: datetime) -> int:
    """The place of a time in its period."""
    return int((at - period_of(resolution, at)) / step_of(resolution))


def _whole(value: float | None, scale: float, size: int) -> int:
    if value is None:
        return _NONE[size]
    return min(_NONE[size] - 1, max(0, round(value * scale)))


def _figure(whole: int, scale: float, size: int) -> float | None:
    return None if whole == _NONE[size] else whole / scale


def pack_sample(
    at: int,
    utilisation: float | None,
    temperature: float | None,
    power: float | None,
    memory_used: float | None,
) -> bytes:
    """One row of an hour of samples; ``at`` in seconds since its start."""
    return _SAMPLE.pack(
        at,
        0xFF if utilisation is None else min(0xFE, max(0, round(utilisation * 2))),
        0xFF if temperature is None else min(0xFE, max(0, round(temperature))),
        0xFFFF if power is None else min(0xFFFE, max(0, round(power * 10))),
        0xFFFF if memory_used is None else min(0xFFFE, max(0, round(memory_used / MEMORY_STEP))),
    )


def pack_rolled(row: Rolled) -> bytes:
    """One row of roll-ups."""
    wholes: list[int] = []
    for spread, (scale, size) in zip(row.spreads, _FIELDS, strict=True):
        for value in (spread.low, spread.mean, spread.high) if spread else (None, None, None):
            wholes.append(_whole(value, scale, size))
    return _ROLLED.pack(row.at, min(255, row.samples), *wholes)


def pack_mark(at: int, kind: MarkKind, text: str) -> bytes:
    """A mark; its text is cut at 255 bytes, between two characters."""
    raw = text.encode("utf-8", "replace")[:255].decode("utf-8", "ignore").encode()
    return _MARK.pack(MARK_BIT | at, kind, len(raw)) + raw


def pack_part(part: Part) -> bytes:
    """What of a roll-up belongs to one pod."""
    raw = _POD.pack(part.pod) + pack_rolled(part.row)[_WHEN.size :]
    return _MARK.pack(MARK_BIT | part.row.at, MarkKind.PART, len(raw)) + raw


def unpack(resolution: Resolution, packed: bytes | memoryview) -> Iterator[Row]:
    """The rows of a blob, in order. Raises :class:`Unpackable`, where it is cut after its whole rows."""
    data = _known(packed)
    rolled = resolution is not Resolution.RAW
    size = _ROLLED.size if rolled else _SAMPLE.size
    place, end = 1, len(data)
    try:
        while place < end:
            if data[place + 1] & 0x80:
                at, kind, length = _MARK.unpack_from(data, place)
                place += _MARK.size
                if place + length > end:
                    raise Unpackable("a series ends within a mark")
                if kind == MarkKind.PART:
                    yield _part(at & ~MARK_BIT, data[place : place + length])
                else:
                    yield Mark(at & ~MARK_BIT, MarkKind(kind), data[place : place + length].decode())
                place += length
            else:
                yield _rolled(data, place) if rolled else _sample(data, place)
                place += size
    except (struct.error, IndexError) as error:
        raise Unpackable("a series ends within a row") from error


Value = tuple[int, int, float, float, float]
"""(at, samples, smallest, mean, largest) of one figure in one row."""

Stored = tuple[int, int, int, int, int]
"""The same in the whole numbers of the blob: figures are these divided by a scale."""


Parts = dict[int, dict[int, Stored | None]]
"""Where a roll-up is ("at") -> pod -> its part of one figure, None where it has none."""


@dataclass(frozen=True, slots=True)
class StoredValues:
    """One figure of a blob. ``cut`` says why it ends early, "" where it does not."""

    rows: list[Stored]
    scale: float
    cut: str
    parts: Parts


@cache
def _field(resolution: Resolution, figure: Figure) -> tuple[struct.Struct, float, int]:
    """How "when", samples and one figure lie in a row, its scale, and the number for no figure."""
    field = FIGURES.index(figure)
    scale, size = _FIELDS[field]
    rolled = resolution is not Resolution.RAW
    many, whole = (3, _ROLLED.size) if rolled else (1, _SAMPLE.size)
    head = "<HB" if rolled else "<H"
    before = sum(each for _scale, each in _FIELDS[:field]) * many
    body = f"{head}{before}x{many}{'B' if size == 1 else 'H'}"
    return struct.Struct(f"{body}{whole - struct.calcsize(body)}x"), scale, _NONE[size]


def _from(data: bytes, place: int, until: int, size: int, first: int) -> int:
    """Where in a run of rows, which are in order, those begin whose "when" is ``first`` or later."""
    if not first or until == place:
        return place
    count = (until - place) // size
    return place + size * bisect_left(
        range(count), first, key=lambda row: _WHEN.unpack_from(data, place + row * size)[0]
    )


def stored_values(
    resolution: Resolution, packed: bytes | memoryview, figure: Figure, first: int = 0
) -> StoredValues:
    """One figure of the rows of a blob from ``first`` on, in order; rows that do not have it are left out.

    Rows between two marks are read in one go, and no float is made: the strips of one page are ten
    thousand rows. Raises :class:`Unpackable` for a version that is not known.
    """
    data = _known(packed)
    row, scale, none = _field(resolution, figure)
    size, rolled = row.size, resolution is not Resolution.RAW
    found: list[Stored] = []
    parts: Parts = {}
    end = len(HEADER)
    for place, end, marked in _pieces(data, size):
        if marked:
            at, kind, length = _MARK.unpack_from(data, place)
            if kind == MarkKind.PART and rolled and length == _PART_SIZE and end <= len(data):
                pod, part = _stored_part(at, data[end - length : end], row, none)
                parts.setdefault(at & ~MARK_BIT, {})[pod] = part
            continue
        rows = row.iter_unpack(data[_from(data, place, end, size, first) : end])
        if rolled:
            found += [each for each in rows if each[2] != none and each[3] != none and each[4] != none]
        else:
            found += [(at, 1, value, value, value) for at, value in rows if value != none]
    return StoredValues(found, scale, "" if end == len(data) else "a series ends within a row", parts)


def _known(packed: bytes | memoryview) -> bytes:
    """A blob of this version. Raises :class:`Unpackable` for another one."""
    data = bytes(packed)
    if data[:1] != HEADER:
        raise Unpackable(f"version {data[0] if data else 'none'} of a series is not known")
    return data


def _pieces(data: bytes, size: int) -> Iterator[tuple[int, int, bool]]:
    """Where each mark and each run of rows of a blob begins and ends, and whether it is a mark, which may end
    behind the blob where that is cut. Less than a row that is left at its end is in none of them."""
    place, end = len(HEADER), len(data)
    while place + _MARK.size <= end:
        marked = bool(data[place + 1] & 0x80)
        if marked:
            until = place + _MARK.size + data[place + 3]
        else:
            # The high byte of each row's "when" from here on: the first with bit 7 belongs to a mark.
            mark = _MARKED.search(data[place + 1 :: size])
            until = place + mark.start() * size if mark else end - (end - place) % size
            if until == place:
                return
        yield place, until, marked
        place = until


@cache
def _high_field(resolution: Resolution, figure: Figure) -> tuple[struct.Struct, int]:
    """How "when" and the largest value of one figure lie in a row, and the number for no figure."""
    field = FIGURES.index(figure)
    size = _FIELDS[field][1]
    rolled = resolution is not Resolution.RAW
    many, whole = (3, _ROLLED.size) if rolled else (1, _SAMPLE.size)
    before = sum(each for _scale, each in _FIELDS[:field]) * many + (1 + 2 * size if rolled else 0)
    body = f"<H{before}x{'B' if size == 1 else 'H'}"
    return struct.Struct(f"{body}{whole - struct.calcsize(body)}x"), _NONE[size]


def highest(
    resolution: Resolution, packed: bytes | memoryview, figure: Figure, first: int = 0
) -> tuple[list[tuple[int, int]], int]:
    """(at, largest) of one figure in every row of a blob from ``first`` on, in its whole numbers, and the number that means
    none. What is cut at the end is left out. Raises :class:`Unpackable` for a version that is not known."""
    row, none = _high_field(resolution, figure)
    found: list[tuple[int, int]] = []
    _read(packed, row, first, found)
    return found, none


@cache
def _mean_field(figure: Figure) -> tuple[struct.Struct, int]:
    """How "when", samples and the mean of one figure lie in a roll-up, and the number for no figure."""
    field = FIGURES.index(figure)
    size = _FIELDS[field][1]
    before = sum(each for _scale, each in _FIELDS[:field]) * 3 + size
    body = f"<HB{before}x{'B' if size == 1 else 'H'}"
    return struct.Struct(f"{body}{_ROLLED.size - struct.calcsize(body)}x"), _NONE[size]


def means(
    packed: bytes | memoryview, figure: Figure, first: int = 0
) -> tuple[list[tuple[int, int, int]], int, bool]:
    """(at, samples, mean) of one figure in every roll-up of a blob from ``first`` on, in its whole numbers; the
    number that means none; and whether there are parts of some of them. What is cut at the end is left
    out. Raises :class:`Unpackable` for a version that is not known."""
    row, none = _mean_field(figure)
    found: list[tuple[int, int, int]] = []
    parted = _read(packed, row, first, found)
    return found, none, parted


def _read(packed: bytes | memoryview, row: struct.Struct, first: int, into: list[Any]) -> bool:
    """Every row from ``first`` on; whether there is a part among the marks."""
    data, parted = _known(packed), False
    for place, end, marked in _pieces(data, row.size):
        if marked:
            parted = parted or data[place + 2] == MarkKind.PART
        else:
            into += row.iter_unpack(data[_from(data, place, end, row.size, first) : end])
    return parted


def values(resolution: Resolution, packed: bytes | memoryview, figure: Figure) -> Iterator[Value]:
    """:func:`stored_values` as figures. Raises :class:`Unpackable`, where the blob is cut after its
    whole rows."""
    stored = stored_values(resolution, packed, figure)
    for at, samples, low, mean, high in stored.rows:
        yield at, samples, low / stored.scale, mean / stored.scale, high / stored.scale
    if stored.cut:
        raise Unpackable(stored.cut)


def _stored_part(at: int, raw: bytes, row: struct.Struct, none: int) -> tuple[int, Stored | None]:
    """The pod of a part, and one figure of it."""
    (pod,) = _POD.unpack_from(raw)
    stored: Stored = row.unpack(_WHEN.pack(at & ~MARK_BIT) + raw[_POD.size :])
    return pod, None if none in stored[2:] or not stored[1] else stored


def _part(at: int, raw: bytes) -> Part:
    (pod,) = _POD.unpack_from(raw)
    return Part(pod, _rolled(_WHEN.pack(at) + raw[_POD.size :], 0))


def _sample(data: bytes, place: int) -> Sample:
    at, utilisation, temperature, power, memory = _SAMPLE.unpack_from(data, place)
    return Sample(
        at,
        None if utilisation == 0xFF else utilisation / 2,
        None if temperature == 0xFF else float(temperature),
        None if power == 0xFFFF else power / 10,
        None if memory == 0xFFFF else float(memory * MEMORY_STEP),
    )


def _rolled(data: bytes, place: int) -> Rolled:
    at, samples, *wholes = _ROLLED.unpack_from(data, place)
    spreads: list[Spread | None] = []
    for n, (scale, size) in enumerate(_FIELDS):
        low, mean, high = (_figure(whole, scale, size) for whole in wholes[3 * n : 3 * n + 3])
        spreads.append(None if low is None or mean is None or high is None else Spread(low, mean, high))
    return Rolled(at, samples, tuple(spreads))
