"""Points in time: relative in view, exact in UTC beside it.

The same steps run in the browser (``static/js/ages.js``), which ticks what is drawn here; a change
of one is a change of both.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from dashboard.presenters.numbers import DAY, HOUR, MINUTE, in_days, in_hours, in_minutes, in_seconds


def span(when: datetime, now: datetime | None = None) -> str:
    """How long lies between ``when`` and now, in one unit and without direction: ``22 min``."""
    seconds = int(abs(((now or timezone.now()) - when).total_seconds()))
    if seconds < MINUTE:
        return in_seconds(str(seconds))
    if seconds < HOUR:
        return in_minutes(seconds // MINUTE)
    if seconds < DAY:
        return in_hours(seconds // HOUR)
    return in_days(seconds // DAY)


def ago(when: datetime, now: datetime | None = None) -> str:
    """``6 s ago``, ``now``, or ``in 18 s`` for what is still to come."""
    now = now or timezone.now()
    distance = (now - when).total_seconds()
    if abs(distance) < 1:
        return _("now")
    if distance < 0:
        return _("in %(span)s") % {"span": span(when, now)}
    return _("%(span)s ago") % {"span": span(when, now)}


def exact(when: datetime) -> str:
    """The moment for people, in UTC: ``2026-11-23 09:41:54 UTC``."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def machine(when: datetime) -> str:
    """The moment for a ``datetime`` attribute: ``2026-11-23T09:41:54Z``."""
    return f"{when.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def clock(when: datetime) -> str:
    """The time of day of a log line, in UTC: ``09:41:58``."""
    return f"{when.astimezone(UTC):%H:%M:%S}"
