"""What the roles mean, in the words of the pages; made from the table that decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from deployments.domain.states import Role, SiteRole
from deployments.policies import NEEDS, SITE, Action

ROLE_WORDS: dict[Role, str | Promise] = {
    Role.VIEWER: _("Viewer"),
    Role.OPERATOR: _("Operator"),
    Role.MAINTAINER: _("Maintainer"),
    Role.OWNER: _("Owner"),
}
ACTION_WORDS: dict[Action, str | Promise] = {
    Action.SEE: _("See deployments, logs, GPUs, operations and profiles"),
    Action.CHAT: _("Chat"),
    Action.INSTALL: _("Install from a profile"),
    Action.UPGRADE: _("Upgrade"),
    Action.ROLL_BACK: _("Roll back"),
    Action.SCALE: _("Scale"),
    Action.RESTART: _("Restart"),
    Action.PULL: _("Pull models"),
    Action.CANCEL: _("Cancel operations"),
    Action.RETRY: _("Retry operations"),
    Action.CHECK: _("Run checks"),
    Action.WRITE_PROFILE: _("Write profiles"),
    Action.ARCHIVE_PROFILE: _("Archive profiles"),
    Action.UNINSTALL: _("Uninstall and keep the model data"),
    Action.DELETE_MODEL: _("Delete models"),
    Action.UNINSTALL_WITH_DATA: _("Uninstall with the model data"),
    Action.FORCE_CONFLICTS: _("Take over fields from another manager"),
    Action.MANAGE_TEAM: _("Manage members and invitations"),
    Action.SHARE_PROFILE: _("Share profiles for use"),
    Action.SHARE_FOR_EDITING: _("Share profiles for editing"),
    Action.ASK_FOR_CATALOG: _("Ask for a place in the catalog"),
    Action.APPROVE: _("Agree to requests of others"),
}
SITE_WORDS: dict[Action, str | Promise] = {
    Action.MANAGE_CLUSTERS: _("Connect clusters, grant them to teams, set quotas"),
    Action.MANAGE_TEAMS: _("Make teams"),
    Action.MANAGE_USERS: _("Manage accounts and site roles"),
    Action.PUBLISH_PROFILE: _("Publish profiles in the catalog"),
    Action.VERIFY_AUDIT: _("Verify the audit"),
    Action.EXPORT_AUDIT: _("Export the audit"),
    Action.KEEP_AUDIT: _("Decide how long the audit is kept"),
}


@dataclass(frozen=True)
class RoleRow:
    """One action, and for each role, weakest first, whether it may."""

    words: str | Promise
    may: Sequence[bool]


def role_table() -> list[RoleRow]:
    """Actions in the order of the role that they need."""
    ordered = sorted(NEEDS.items(), key=lambda item: item[1].rank)
    return [
        RoleRow(ACTION_WORDS.get(action, str(action)), [role.rank >= needed.rank for role in Role])
        for action, needed in ordered
    ]


def role_document() -> str:
    """The table as Markdown, for docs/roles.md."""
    names = [str(ROLE_WORDS[role]) for role in Role]
    lines = [f"| may | {' | '.join(names)} |", f"|---|{'---|' * len(names)}"]
    lines += [
        f"| {row.words} | {' | '.join('yes' if one else '-' for one in row.may)} |" for row in role_table()
    ]
    admin = [f"- {SITE_WORDS[action]}" for action in SITE]
    auditor = [f"- {SITE_WORDS[action]}" for action, role in SITE.items() if role is SiteRole.AUDITOR]
    lines += ["", "A site admin may all of that in every team, and besides:", "", *admin]
    lines += ["", "An auditor sees everything, chats with nothing, and may:", "", *auditor, ""]
    return "\n".join(lines)
