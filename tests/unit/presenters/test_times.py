"""Points in time: relative in view, exact beside it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from dashboard.presenters import times

NOW = datetime(2026, 11, 23, 9, 42, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "shown"),
    [
        (timedelta(0), "now"),
        (timedelta(seconds=6), "6 s ago"),
        (timedelta(seconds=59.9), "59 s ago"),
        (timedelta(minutes=22), "22 min ago"),
        (timedelta(hours=18, minutes=50), "18 h ago"),
        (timedelta(hours=25), "1 d ago"),
        (timedelta(days=41), "41 d ago"),
        (timedelta(seconds=-18), "in 18 s"),
    ],
)
def test_relative_time(before: timedelta, shown: str) -> None:
    assert times.ago(NOW - before, NOW).replace("\u00a0", " ") == shown


def test_exact_time_is_utc_whatever_the_zone() -> None:
    tokyo = datetime(2026, 11, 23, 18, 41, 54, tzinfo=timezone(timedelta(hours=9)))
    assert times.exact(tokyo) == "2026-11-23 09:41:54 UTC"
    assert times.machine(tokyo) == "2026-11-23T09:41:54Z"
    assert times.clock(tokyo) == "09:41:54"
