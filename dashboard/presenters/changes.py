"""Audited acts as lines of a feed: who did what, on what, with what to know about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.presenters.states import Words
from deployments.domain.states import Outcome
from deployments.models import AuditEntry
from deployments.sentences import said

# action -> (icon, what was done, what was refused)
ACTS: Mapping[str, tuple[str, Words, Words]] = {
    "deployment.install": ("deployments", gettext_lazy("began to install"), gettext_lazy("install")),
    "deployment.upgrade": ("deployments", gettext_lazy("began to upgrade"), gettext_lazy("upgrade")),
    "deployment.uninstall": ("x", gettext_lazy("began to uninstall"), gettext_lazy("uninstall")),
    "deployment.uninstall_with_data": (
        "x",
        gettext_lazy("began to uninstall, with the model data,"),
        gettext_lazy("uninstall with the model data"),
    ),
    "deployment.force_conflicts": (
        "deployments",
        gettext_lazy("took fields of others in"),
        gettext_lazy("take fields of others in"),
    ),
    "deployment.scale": ("up-down", gettext_lazy("began to scale"), gettext_lazy("scale")),
    "deployment.restart": ("again", gettext_lazy("began to restart"), gettext_lazy("restart")),
    "deployment.roll_back": ("again", gettext_lazy("began to roll back"), gettext_lazy("roll back")),
    "model.delete": (
        "x",
        gettext_lazy("began to delete a model from"),
        gettext_lazy("delete a model from"),
    ),
    "model.pull": ("pull", gettext_lazy("began to pull a model for"), gettext_lazy("pull a model for")),
    "operation.cancel": ("stop", gettext_lazy("cancelled"), gettext_lazy("cancel")),
    "operation.retry": ("again", gettext_lazy("began again"), gettext_lazy("begin again")),
    "check.run": ("chat", gettext_lazy("began to check"), gettext_lazy("check")),
    "cluster.connect": ("clusters", gettext_lazy("connected"), gettext_lazy("connect")),
    "cluster.grant": ("clusters", gettext_lazy("granted"), gettext_lazy("grant")),
    "cluster.revoke": ("clusters", gettext_lazy("took back"), gettext_lazy("take back")),
    "cluster.manage": ("clusters", gettext_lazy("changed"), gettext_lazy("change")),
    "cluster.remove": ("clusters", gettext_lazy("removed"), gettext_lazy("remove")),
    "cluster.replace_credential": (
        "lock",
        gettext_lazy("replaced the credential of"),
        gettext_lazy("replace the credential of"),
    ),
    "profile.create": ("profiles", gettext_lazy("made the profile"), gettext_lazy("make a profile")),
    "profile.save": ("profiles", gettext_lazy("saved the profile"), gettext_lazy("save the profile")),
    "profile.write": ("profiles", gettext_lazy("saved the profile"), gettext_lazy("save the profile")),
    "profile.rename": ("profiles", gettext_lazy("renamed"), gettext_lazy("rename")),
    "profile.archive": ("profiles", gettext_lazy("archived"), gettext_lazy("archive")),
    "user.create": ("user", gettext_lazy("made the account"), gettext_lazy("make an account")),
}


# The end of an operation -> (icon, what was done, what failed)
ENDS: Mapping[str, tuple[str, Words, Words]] = {
    "install": ("deployments", gettext_lazy("installed"), gettext_lazy("install")),
    "upgrade": ("deployments", gettext_lazy("upgraded"), gettext_lazy("upgrade")),
    "uninstall": ("x", gettext_lazy("uninstalled"), gettext_lazy("uninstall")),
    "scale": ("up-down", gettext_lazy("scaled"), gettext_lazy("scale")),
    "restart": ("again", gettext_lazy("restarted"), gettext_lazy("restart")),
    "roll_back": ("again", gettext_lazy("rolled back"), gettext_lazy("roll back")),
    "delete_model": (
        "x",
        gettext_lazy("deleted a model from"),
        gettext_lazy("delete a model from"),
    ),
    "pull": ("pull", gettext_lazy("pulled a model for"), gettext_lazy("pull a model for")),
    "check_chat": ("chat", gettext_lazy("got an answer from"), gettext_lazy("get an answer from")),
}
ALL = {**ACTS, **{f"operation.{kind}": words for kind, words in ENDS.items()}}


def feed_item(entry: AuditEntry) -> dict[str, Any]:
    """A line for ``components/feed.html``."""
    icon, did, refused = ALL.get(entry.action, ("audit", entry.action, entry.action))
    place, _slash, name = entry.object_name.rpartition("/")
    if entry.object_type == "operation":
        place, name = "", said(entry.object_name)
    text: Words = did
    if entry.outcome == Outcome.DENIED:
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
