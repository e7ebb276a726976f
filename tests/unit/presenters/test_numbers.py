"""Figures as a reader sees them."""

from __future__ import annotations

import pytest

from dashboard.presenters import numbers

NB = "\u00a0"


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (2600, "2.6 KB"),
        (42_520_413_916, "42.5 GB"),
        (99_960_000_000, "100 GB"),
        (160_000_000_000, "160 GB"),
        (None, None),
    ],
)
def test_downloads_are_counted_in_decimal_units(size: int | None, shown: str | None) -> None:
    assert numbers.data(size) == (shown.replace(" ", NB) if shown else "cannot tell")


def test_progress_keeps_the_unit_of_the_whole() -> None:
    assert numbers.data_of(42_100_000_000, 85_000_000_000) == f"42.1 of 85.0{NB}GB"
    assert numbers.data_of(500_000, 85_000_000_000) == f"0.0 of 85.0{NB}GB"


def test_progress_without_a_whole_says_only_what_is_here() -> None:
    assert numbers.data_of(1_200_000, None) == f"1.2{NB}MB"
    assert numbers.data_of(None, 5) == "cannot tell"


@pytest.mark.parametrize(
    ("speed", "shown"),
    [(84_000_000, "84 MB/s"), (4_560_000, "4.6 MB/s"), (0, "0 B/s"), (9_960_000, "10 MB/s")],
)
def test_rate(speed: float, shown: str) -> None:
    assert numbers.rate(speed) == shown.replace(" ", NB)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (160 * 2**30, "160 GiB"),
        (50 * 2**30, "50 GiB"),
        (int(3.1 * 2**30), "3.1 GiB"),
        (218 * 2**20, "218 MiB"),
    ],
)
def test_memory_is_counted_in_binary_units(size: int, shown: str) -> None:
    assert numbers.memory(size) == shown.replace(" ", NB)


def test_only_the_whole_is_a_hundred_percent() -> None:
    assert numbers.percent(99.99) == f"99{NB}%"
    assert numbers.percent(100) == f"100{NB}%"
    assert numbers.percent(0) == f"0{NB}%"
    assert numbers.percent(None) == "cannot tell"


def test_a_share_of_an_unknown_whole_is_unknown() -> None:
    assert numbers.share(5, None) is None
    assert numbers.share(5, 0) is None
    assert numbers.share(5, 20) == 25
    assert numbers.share(21, 20) == 100


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.24, "0.2 s"),
        (9.96, "10 s"),
        (37, "37 s"),
        (59.6, "1 min"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (7500, "2 h 5 min"),
        (100_800, "1 d 4 h"),
        (86_400 * 3, "3 d"),
        (None, None),
    ],
)
def test_durations_have_two_units_at_most(seconds: float | None, shown: str | None) -> None:
    given = numbers.duration(seconds)
    assert given.replace(NB, " ") == (shown or "cannot tell")


def test_thousands_are_marked() -> None:
    assert numbers.count(48219) == "48,219"
    assert numbers.count(0) == "0"
