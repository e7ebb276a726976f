"""Audited acts as lines of a feed: who did what, on what, with what to know about it."""

from __future__ import annotations

from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _

from dashboard.presenters.change_words import ALL
from dashboard.presenters.states import Words
from deployments.domain.states import Outcome
from deployments.models import AuditEntry
from deployments.sentences import said


def feed_item(entry: AuditEntry) -> dict[str, Any]:
    """A line for ``components/feed.html``."""
    icon, did, refused = ALL.get(entry.action, ("audit", entry.action, entry.action))
    place, _slash, name = entry.object_name.rpartition("/")
    if entry.object_type == "operation":
        place, name = "", said(entry.object_name)
    text: Words = did
    if entry.action == "approval.expire":
        pass  # its end is a refusal, but nobody refused it
    elif entry.outcome == Outcome.DENIED:
        icon, text = "lock", _("was refused: %(act)s") % {"act": refused}
    elif entry.outcome == Outcome.FAILED:
        icon, text = "failed", _("failed to %(act)s") % {"act": refused}
    notes = [place.replace("/", " / "), _detail(entry), _quoted(entry)]
    return {
        "icon": icon,
        "who": entry.actor_name or _("Somebody"),
        "text": text,
        "name": name,
        "href": _href(entry),
        "note": " · ".join(note for note in notes if note),
        "when": entry.at,
    }


def _detail(entry: AuditEntry) -> str:
    after = entry.after if isinstance(entry.after, dict) else {}
    if after.get("profile") and after.get("revision"):
        return _("%(profile)s revision %(number)s") % {
            "profile": after["profile"],
            "number": after["revision"],
        }
    if entry.action in ("cluster.grant", "cluster.revoke"):
        return _grant(after or entry.before)
    if entry.action.startswith("profile.") and after.get("team"):
        return _("with %(team)s") % {"team": after["team"]}
    if entry.action in ("team.add_member", "team.change_role", "team.remove_member"):
        before = entry.before if isinstance(entry.before, dict) else {}
        return str(after.get("member") or before.get("member") or "")
    return str(after["model"]) if after.get("model") else ""


def _grant(words: Any) -> str:
    namespaces = words.get("namespaces") if isinstance(words, dict) else None
    if not isinstance(namespaces, list):
        return ""
    return _("%(team)s in %(namespaces)s") % {
        "team": words.get("team", ""),
        "namespaces": ", ".join(map(str, namespaces)),
    }


def _quoted(entry: AuditEntry) -> str:
    if not entry.reason:
        return ""
    # What a person gave stays as it was given; Pilothouse itself is translated.
    given = entry.reason if entry.actor_id else said(entry.reason)
    return f"“{given}”" if entry.outcome == Outcome.DONE else said(entry.reason)


def _href(entry: AuditEntry) -> str:
    """Where the object lives; an operation is the better place where there is one and it is no page."""
    if entry.object_type not in ("deployment", "operation", "cluster", "profile"):
        return ""
    if not entry.object_id.isdigit():
        return ""
    try:
        return reverse(entry.object_type, args=[int(entry.object_id)])
    except NoReverseMatch:
        return ""
