"""What the audit's list is narrowed to, from its address, and for how long entries are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from django import forms
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext_lazy as _

from deployments.domain.states import Outcome
from deployments.selectors.audit import EntryFilter

OBJECT = re.compile(r"[a-z_]{1,40}:[A-Za-z0-9_.-]{1,64}")
EARLIEST, LATEST = 1970, 9998


def moment(text: str) -> datetime | None:
    """``2026-11-22`` or ``2026-11-22T08:30``, in UTC; None for anything else."""
    try:
        found = parse_datetime(text) or parse_date(text)
    except ValueError:  # well formed, and no such day
        return None
    if found is None or not EARLIEST <= found.year <= LATEST:
        return None
    if not isinstance(found, datetime):
        return datetime(found.year, found.month, found.day, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def number(text: str) -> int | None:
    """A positive number of at most 18 digits; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else None


def entry_filter(query: Mapping[str, str]) -> EntryFilter:
    """What the address asks for. What cannot be meant is left out: a list is never an error."""
    outcome, about = query.get("outcome", ""), query.get("object", "")
    return EntryFilter(
        since=moment(query.get("from", "")),
        until=moment(query.get("to", "")),
        who=clean(query.get("who", ""), 150),
        team=number(query.get("team", "")),
        action=clean(query.get("action", ""), 60),
        object=about if OBJECT.fullmatch(about) else "",
        cluster=number(query.get("cluster", "")),
        outcome=outcome if outcome in set(Outcome) else "",
        text=clean(query.get("q", ""), 80),
    )


def clean(text: str, most: int) -> str:
    """No database takes a NUL."""
    return text.replace("\x00", "").strip()[:most]


class RetentionForm(forms.Form):
    """Days by class, empty for ever; the fields are named after the classes."""

    change = forms.IntegerField(
        label=_("Changes"), required=False, help_text=_("Days. Empty: kept for ever.")
    )
    refused = forms.IntegerField(
        label=_("Refusals"), required=False, help_text=_("What was not allowed, failed sign-ins included.")
    )
    session = forms.IntegerField(label=_("Sign-ins"), required=False, help_text=_("Who signed in and out."))
    reason = forms.CharField(
        label=_("Reason"), required=False, max_length=500, help_text=_("Kept in the audit.")
    )
    seen = forms.IntegerField(required=False, min_value=0, widget=forms.HiddenInput)
