"""How far back a chart or a strip looks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext_lazy as _

from dashboard.presenters.parts import Link
from dashboard.presenters.states import Words


@dataclass(frozen=True)
class Range:
    """``cells`` and ``points`` are how many a strip and a chart have at most: they divide the length
    into spans of a minute, of a roll-up, or of whole hours and days."""

    key: str
    label: Words
    last: Words
    length: timedelta
    cells: int
    points: int

    def start(self, now: datetime) -> datetime:
        return now - self.length


RANGES: Mapping[str, Range] = {
    each.key: each
    for each in (
        Range("1h", _("1 h"), _("last hour"), timedelta(hours=1), 60, 120),
        Range("6h", _("6 h"), _("last 6 hours"), timedelta(hours=6), 72, 72),
        Range("24h", _("24 h"), _("last 24 hours"), timedelta(hours=24), 48, 288),
        Range("7d", _("7 d"), _("last 7 days"), timedelta(days=7), 56, 168),
        Range("30d", _("30 d"), _("last 30 days"), timedelta(days=30), 60, 360),
        Range("1y", _("1 y"), _("last year"), timedelta(days=365), 53, 366),
    )
}
DEFAULT = RANGES["1h"]


def chosen(asked: str) -> Range:
    """The range of that key, the last hour for anything else."""
    return RANGES.get(asked, DEFAULT)


def links(current: Range, address: Callable[[str], str]) -> list[Link]:
    """A way to each range; ``address`` makes one from a range's key."""
    return [Link(each.label, address(each.key), each is current) for each in RANGES.values()]
