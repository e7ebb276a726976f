"""Audit entries for people: what was done in words, where it leads, what was different before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.presenters.parts import CodeLine, Fact
from dashboard.presenters.states import AUDIT, DEEDS, Words
from dashboard.presenters.times import exact
from deployments.domain.actors import Actor
from deployments.domain.audit import EntryClass
from deployments.domain.diffing import line_diff, to_yaml_lines
from deployments.domain.states import OperationKind, Outcome
from deployments.ledger.audit_values import MASKED
from deployments.models import AuditEntry
from deployments.selectors import audit as selector
from deployments.selectors import scope
from deployments.selectors.audit import EntryFilter, EntryPage
from deployments.sentences import said

# What was asked for, by the verb that the audit keeps. Ends of operations are added below.
LABELS: dict[str, Words] = {
    "approval.ask": gettext_lazy("Ask for approval"),
    "approval.expire": gettext_lazy("Approval ran out"),
    "audit.checkpoint": gettext_lazy("Sign a checkpoint"),
    "audit.export": gettext_lazy("Export the audit"),
    "audit.prune": gettext_lazy("Delete old entries"),
    "audit.retention": gettext_lazy("Change how long entries are kept"),
    "audit.verify": gettext_lazy("Verify the audit"),
    "check.run": gettext_lazy("Check chat"),
    "cluster.change_grant": gettext_lazy("Change grant"),
    "cluster.connect": gettext_lazy("Connect"),
    "cluster.grant": gettext_lazy("Grant"),
    "cluster.manage": gettext_lazy("Change a cluster"),
    "cluster.remove": gettext_lazy("Remove"),
    "cluster.replace_credential": gettext_lazy("Replace credential"),
    "cluster.require_reasons": gettext_lazy("Ask for reasons"),
    "cluster.revoke": gettext_lazy("Revoke grant"),
    "deployment.force_conflicts": gettext_lazy("Take fields of others"),
    "deployment.install": gettext_lazy("Install"),
    "deployment.restart": gettext_lazy("Restart"),
    "deployment.roll_back": gettext_lazy("Roll back"),
    "deployment.scale": gettext_lazy("Scale"),
    "deployment.uninstall": gettext_lazy("Uninstall"),
    "deployment.uninstall_with_data": gettext_lazy("Uninstall with model data"),
    "deployment.upgrade": gettext_lazy("Upgrade"),
    "invitation.revoke": gettext_lazy("Take back invitation"),
    "keys.rotate": gettext_lazy("Rotate keys"),
    "log.download": gettext_lazy("Download log"),
    "model.delete": gettext_lazy("Delete model"),
    "model.pull": gettext_lazy("Pull"),
    "operation.cancel": gettext_lazy("Cancel"),
    "operation.retry": gettext_lazy("Begin again"),
    "profile.apply_to_many": gettext_lazy("Apply to several"),
    "profile.archive": gettext_lazy("Archive"),
    "profile.ask_for_catalog": gettext_lazy("Ask for the catalog"),
    "profile.create": gettext_lazy("Make profile"),
    "profile.publish": gettext_lazy("Publish to the catalog"),
    "profile.refuse_for_catalog": gettext_lazy("Refuse for the catalog"),
    "profile.rename": gettext_lazy("Rename profile"),
    "profile.save": gettext_lazy("Save revision"),
    "profile.share": gettext_lazy("Share"),
    "profile.share_for_editing": gettext_lazy("Share for editing"),
    "profile.withdraw_from_catalog": gettext_lazy("Withdraw from the catalog"),
    "profile.withdraw_share": gettext_lazy("Withdraw share"),
    "profile.write": gettext_lazy("Save profile"),
    "release.make": gettext_lazy("Make release"),
    "session.begin": gettext_lazy("Sign in"),
    "session.end": gettext_lazy("Sign out"),
    "team.add_member": gettext_lazy("Add member"),
    "team.change_role": gettext_lazy("Change role"),
    "team.create": gettext_lazy("Make team"),
    "team.invite": gettext_lazy("Invite"),
    "team.join": gettext_lazy("Join"),
    "team.leave": gettext_lazy("Leave"),
    "team.manage": gettext_lazy("Change a team"),
    "team.remove_member": gettext_lazy("Remove member"),
    "team.rename": gettext_lazy("Rename team"),
    "user.allow_new_password": gettext_lazy("Allow a new password"),
    "user.apply_claims": gettext_lazy("Apply claims of the identity provider"),
    "user.confirm_address": gettext_lazy("Confirm an e-mail address"),
    "user.create": gettext_lazy("Make account"),
    "user.disable": gettext_lazy("Disable account"),
    "user.enable": gettext_lazy("Enable account"),
    "user.invite": gettext_lazy("Invite to the site"),
    "user.lose_address": gettext_lazy("Lose an unconfirmed e-mail address"),
    "user.manage": gettext_lazy("Change an account"),
    "user.set_address": gettext_lazy("Change an e-mail address"),
    "user.set_site_role": gettext_lazy("Change site role"),
}
ENDED = gettext_lazy("%(act)s, ended")

OBJECTS: Mapping[str, Words] = {
    "audit": gettext_lazy("audit"),
    "cluster": gettext_lazy("cluster"),
    "deployment": gettext_lazy("deployment"),
    "operation": gettext_lazy("operation"),
    "profile": gettext_lazy("profile"),
    "team": gettext_lazy("team"),
    "user": gettext_lazy("account"),
}
CLASSES: Mapping[EntryClass, Words] = {
    EntryClass.AUDIT: gettext_lazy("What concerns the audit itself"),
    EntryClass.REFUSED: gettext_lazy("Refusals"),
    EntryClass.SESSION: gettext_lazy("Sign-ins"),
    EntryClass.CHANGE: gettext_lazy("Changes"),
}
PAGES = ("deployment", "operation", "cluster", "profile")


@dataclass(frozen=True)
class Line:
    """An entry as a row of the list. ``why`` is what the person gave; ``cause`` what Pilothouse says."""

    entry: AuditEntry
    label: Words
    object: str
    place: str
    why: str
    cause: str


def label(action: str) -> Words:
    """What an action is called; a verb without a name of its own is shown as it is written."""
    if action in LABELS:
        return LABELS[action]
    kind = action.removeprefix("operation.")
    if kind != action and kind in set(OperationKind):
        return ENDED % {"act": DEEDS[OperationKind(kind)].label}
    return action.replace(".", ": ").replace("_", " ").capitalize()


def actions() -> list[tuple[str, Words]]:
    """(action, label) in the order of the labels."""
    ends = [f"operation.{kind.value}" for kind in OperationKind]
    return sorted(((name, label(name)) for name in {*LABELS, *ends}), key=lambda pair: str(pair[1]).lower())


def line(entry: AuditEntry, clusters: Mapping[int, str]) -> Line:
    # The audit has no kinds of its own to tell apart.
    kind = "" if entry.object_type == "audit" else OBJECTS.get(entry.object_type, entry.object_type)
    done = entry.outcome == Outcome.DONE
    return Line(
        entry,
        label(entry.action),
        f"{kind} {object_name(entry.object_type, entry.object_name)}".strip(),
        clusters.get(entry.cluster_id, "") if entry.cluster_id else "",
        (entry.reason if entry.actor_id else said(entry.reason)) if done else "",
        "" if done else said(entry.reason),
    )


def object_name(kind: str, name: str) -> str:
    """What an object is called; an operation's name is a sentence of the core."""
    return said(name) if kind == "operation" else name


def href(entry: AuditEntry) -> str:
    """Where the object lives, "" where it has no page."""
    if entry.object_type not in PAGES or not entry.object_id.isdecimal():
        return ""
    try:
        return reverse(entry.object_type, args=[int(entry.object_id)])
    except NoReverseMatch:
        return ""


def difference(entry: AuditEntry) -> list[CodeLine]:
    """Before against after, line by line; none where neither was kept."""
    before, after = entry.before, entry.after
    if isinstance(before, dict) and isinstance(after, dict):
        # The same order on both sides, so that equal fields stand beside each other.
        after = {
            key: after[key]
            for key in [*(k for k in before if k in after), *(k for k in after if k not in before)]
        }
    lines: list[CodeLine] = []
    for item in line_diff(to_yaml_lines(before), to_yaml_lines(after)):
        if item.kind == "fold":
            words = ngettext("%(n)s equal line", "%(n)s equal lines", item.folded) % {"n": item.folded}
            lines.append(CodeLine(words, "h"))
        else:
            lines.append(
                CodeLine(item.text, {"add": "+", "del": "-"}.get(item.kind, ""), item.after or item.before)
            )
    if not lines and (before is not None or after is not None):
        lines = [CodeLine(text, number=at) for at, text in enumerate(to_yaml_lines(after), start=1)]
    return lines


def masked(entry: AuditEntry) -> bool:
    """Whether the difference holds a secret that is not shown."""
    return MASKED in str(entry.before) or MASKED in str(entry.after)


def facts(page: EntryPage) -> list[Fact]:
    """The rest of an entry, without its proof."""
    entry = page.entry
    who = (
        _("the account is gone")
        if page.actor_gone
        else _("account %(id)s") % {"id": entry.actor_id}
        if entry.actor_id
        else ""
    )
    found = [
        Fact(_("When"), exact(entry.at)),
        Fact(_("Who"), entry.actor_name or _("Somebody"), who),
        Fact(_("From"), entry.source or _("not told")),
    ]
    if entry.team_id:
        found.append(Fact(_("Team"), page.team.name if page.team else f"{entry.team_id}"))
    if entry.cluster_id:
        removed = page.cluster is not None and page.cluster.removed_at is not None
        name = page.cluster.name if page.cluster else f"{entry.cluster_id}"
        found.append(Fact(_("Cluster"), name, _("removed since") if removed else ""))
    return found


def short(digest: str) -> str:
    """A digest to be recognised by."""
    return f"{digest[:8]}…{digest[-4:]}" if len(digest) > 16 else digest


def as_record(entry: AuditEntry, values: Mapping[str, Any]) -> dict[str, Any]:
    """The entry as an export writes it."""
    return {
        "record": "entry",
        "sequence": entry.sequence,
        **values,
        "digest": entry.digest,
        "previous": entry.previous,
        "hash": entry.hash,
    }


def filter_words(who: Actor, wanted: EntryFilter) -> list[Fact]:
    """What a list is narrowed to, in words; none where it is not."""
    clusters = dict(selector.clusters(who))
    kind, pk = wanted.object_parts
    found = [
        (_("From"), exact(wanted.since) if wanted.since else ""),
        (_("Before"), exact(wanted.until) if wanted.until else ""),
        (_("Who"), wanted.who),
        (
            _("Team"),
            next((row.name for row in scope.teams(who).filter(pk=wanted.team)), "") if wanted.team else "",
        ),
        (_("Action"), str(label(wanted.action)) if wanted.action else ""),
        (
            _("Object"),
            f"{OBJECTS.get(kind, kind)} {object_name(kind, selector.object_name(who, kind, pk))}"
            if kind
            else "",
        ),
        (_("Cluster"), clusters.get(wanted.cluster, "") if wanted.cluster else ""),
        (_("Outcome"), str(AUDIT[Outcome(wanted.outcome)].label) if wanted.outcome else ""),
        (_("Text"), wanted.text),
    ]
    return [Fact(name, value) for name, value in found if value]
