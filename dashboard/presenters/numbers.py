"""Figures with their units, as a reader writes them.

Every function takes None for a figure that nobody knows and then says so in words: 0 is a figure.
A non-breaking space stands before a unit, so that "61 %" never falls apart at the end of a line.
"""

from __future__ import annotations

from django.utils.formats import number_format
from django.utils.translation import gettext as _

NBSP = "\u00a0"
DECIMAL_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
BINARY_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
MINUTE, HOUR, DAY = 60, 3600, 86400


def cannot_tell() -> str:
    """The words in place of a figure that is not known."""
    return _("cannot tell")


def unit_of(size: float, step: int) -> int:
    """The power of ``step`` (1000 or 1024) whose unit leaves ``size`` below one step."""
    power = 0
    while size >= step and power < len(DECIMAL_UNITS) - 1:
        size /= step
        power += 1
    return power


def scaled(size: float, step: int, power: int, *, trim: bool) -> str:
    """``size`` in the given power: one decimal below 100, none from there on and for plain bytes."""
    value = size / step**power
    decimals = 0 if power == 0 or value >= 99.95 else 1
    if trim and decimals and round(value, 1) == int(round(value, 1)):
        decimals = 0
    if not decimals and 0 <= value < 999:
        return str(round(value))  # as in any language
    return number_format(round(value, decimals), decimals)


def data(size: float | None) -> str:
    """Bytes that travel or lie in a registry, in decimal units as Ollama counts them: ``42.5 GB``."""
    if size is None:
        return cannot_tell()
    power = unit_of(size, 1000)
    return f"{scaled(size, 1000, power, trim=False)}{NBSP}{DECIMAL_UNITS[power]}"


def data_of(done: float | None, total: float | None) -> str:
    """How much of a download is here, both in the unit of the whole: ``42.1 of 85.0 GB``."""
    if done is None:
        return cannot_tell()
    if not total:
        return data(done)
    power = unit_of(total, 1000)
    return _("%(done)s of %(total)s") % {
        "done": scaled(done, 1000, power, trim=False),
        "total": f"{scaled(total, 1000, power, trim=False)}{NBSP}{DECIMAL_UNITS[power]}",
    }


def rate(bytes_per_second: float | None) -> str:
    """The speed of a download: ``84 MB/s``; one decimal below ten."""
    if bytes_per_second is None:
        return cannot_tell()
    power = unit_of(bytes_per_second, 1000)
    value = bytes_per_second / 1000**power
    decimals = 1 if value < 9.95 and power else 0
    return f"{number_format(round(value, decimals), decimals)}{NBSP}{DECIMAL_UNITS[power]}/s"


def tokens_per_second(value: float | None) -> str:
    """How fast a model answers: ``256 tokens/s``; one decimal below a hundred."""
    if value is None:
        return cannot_tell()
    return _("%(n)s tokens/s") % {"n": number_format(round(value, 1), 1) if value < 99.95 else f"{value:.0f}"}


def memory(size: float | None) -> str:
    """Bytes of memory or of a volume, in binary units as Kubernetes counts them: ``160 GiB``."""
    if size is None:
        return cannot_tell()
    power = unit_of(size, 1024)
    return f"{scaled(size, 1024, power, trim=True)}{NBSP}{BINARY_UNITS[power]}"


def finer(size: float) -> str:
    """The same in the unit below: ``1,986 GiB`` for what :func:`memory` calls ``1.9 TiB``."""
    power = max(0, unit_of(size, 1024) - 1)
    return f"{scaled(size, 1024, power, trim=True)}{NBSP}{BINARY_UNITS[power]}"


def percent(value: float | None) -> str:
    """``value`` between 0 and 100, rounded down, so that only the whole is 100 %."""
    if value is None:
        return cannot_tell()
    whole = int(value)
    # Below a thousand no language writes a whole number otherwise; a table has hundreds of them.
    return f"{whole if 0 <= whole < 1000 else number_format(whole, 0)}{NBSP}%"


def share(done: float | None, total: float | None) -> float | None:
    """How many of a hundred parts are done, between 0 and 100; None where the whole is not known."""
    if done is None or not total:
        return None
    return min(100.0, max(0.0, 100.0 * done / total))


def count(value: int | None) -> str:
    """A whole number with its thousands marked: ``48,219``."""
    return cannot_tell() if value is None else number_format(value, 0, use_l10n=True, force_grouping=True)


def duration(seconds: float | None) -> str:
    """A length of time, two units at most: ``0.2 s``, ``37 s``, ``3 min 20 s``, ``2 h 5 min``."""
    if seconds is None:
        return cannot_tell()
    seconds = max(0.0, float(seconds))
    if seconds < 9.95:
        tenths = round(seconds, 1)
        return in_seconds(number_format(tenths, 0 if tenths == int(tenths) else 1))
    whole = round(seconds)
    if whole < MINUTE:
        return in_seconds(number_format(whole, 0))
    if whole < HOUR:
        minutes, rest = divmod(whole, MINUTE)
        return join(in_minutes(minutes), in_seconds(str(rest)) if rest else "")
    if whole < DAY:
        hours, rest = divmod(whole // MINUTE, 60)
        return join(in_hours(hours), in_minutes(rest) if rest else "")
    days, rest = divmod(whole // HOUR, 24)
    return join(in_days(days), in_hours(rest) if rest else "")


def join(first: str, second: str) -> str:
    return f"{first} {second}" if second else first


# The blanks here do not break either; xgettext does not know them as an escape.
def in_seconds(value: str) -> str:
    return _("%(count)s s") % {"count": value}


def in_minutes(value: int) -> str:
    return _("%(count)s min") % {"count": value}


def in_hours(value: int) -> str:
    return _("%(count)s h") % {"count": value}


def in_days(value: int) -> str:
    return _("%(count)s d") % {"count": number_format(value, 0)}
