"""The words that the browser's own scripts say, handed over as data attributes; and what stands between words."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import pgettext


def words() -> dict[str, str]:
    """Name of a data attribute -> text. ``%(count)s`` and ``%(span)s`` are filled in the browser."""
    return {
        "s": _("%(count)s s"),
        "min": _("%(count)s min"),
        "h": _("%(count)s h"),
        "d": _("%(count)s d"),
        "now": _("now"),
        "ago": _("%(span)s ago"),
        "in": _("in %(span)s"),
        "late": _("late"),
        "no-data": _("no data"),
        "newest": _("newest"),
        "live": _("Live"),
        "poll": _("Asks every 10 s"),
        "off": _("Not updated for %(span)s"),
        "signed-out": _("Signed out. Load the page again to sign in."),
        "refused": _("You may no longer see a part of this page."),
        "gone": _("A part of this page no longer exists."),
        "upgraded": _("Pilothouse was upgraded. Load the page again."),
        "letters-one": _("1 letter to go."),
        "letters": _("%(count)s letters to go."),
        "differs": _("This is another name."),
        "unsaved": _("What you typed is not saved yet."),
        "too-big": _("This file is larger than %(count)s MB."),
    }


# Languages differ in what stands between words: a blank follows in some, none in others.
def comma() -> str:
    return pgettext("punctuation", ", ")


def colon() -> str:
    return pgettext("punctuation", ": ")


def semicolon() -> str:
    return pgettext("punctuation", "; ")


def stop() -> str:
    """Between two sentences."""
    return pgettext("punctuation", ". ")


def full_stop() -> str:
    """At the end of the last one."""
    return pgettext("punctuation", ".")
