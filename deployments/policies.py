"""Who may do what: one table of role and action, and the functions that read it.

A stranger to an object gets :class:`NotFound`, somebody who may see it but not do this :class:`Denied`
with the role that would be needed.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from django.db.models import Q

from deployments.domain.actors import Actor
from deployments.domain.errors import Denied, InvalidInput, NotFound
from deployments.domain.states import Approver, OperationKind, Role, ShareLevel, SiteRole
from deployments.domain.subjects import Subject
from deployments.models import Cluster, ClusterGrant, Profile


class Action(StrEnum):
    """What can be asked for. The value is the verb that the audit uses."""

    SEE = "see"
    CHAT = "chat"
    INSTALL = "deployment.install"
    UPGRADE = "deployment.upgrade"
    ROLL_BACK = "deployment.roll_back"
    SCALE = "deployment.scale"
    RESTART = "deployment.restart"
    PULL = "model.pull"
    CANCEL = "operation.cancel"
    RETRY = "operation.retry"
    CHECK = "check.run"
    WRITE_PROFILE = "profile.write"
    ARCHIVE_PROFILE = "profile.archive"
    SHARE_PROFILE = "profile.share"
    SHARE_FOR_EDITING = "profile.share_for_editing"
    ASK_FOR_CATALOG = "profile.ask_for_catalog"
    UNINSTALL = "deployment.uninstall"
    DELETE_MODEL = "model.delete"
    UNINSTALL_WITH_DATA = "deployment.uninstall_with_data"
    FORCE_CONFLICTS = "deployment.force_conflicts"
    MANAGE_TEAM = "team.manage"
    APPROVE = "operation.approve"
    MANAGE_CLUSTERS = "cluster.manage"
    VERIFY_AUDIT = "audit.verify"
    EXPORT_AUDIT = "audit.export"
    KEEP_AUDIT = "audit.retention"
    MANAGE_TEAMS = "team.create"
    MANAGE_USERS = "user.manage"
    PUBLISH_PROFILE = "profile.publish"


# The weakest role of a team that may do it.
NEEDS: dict[Action, Role] = {
    Action.SEE: Role.VIEWER,
    Action.CHAT: Role.VIEWER,
    Action.INSTALL: Role.OPERATOR,
    Action.UPGRADE: Role.OPERATOR,
    Action.ROLL_BACK: Role.OPERATOR,
    Action.SCALE: Role.OPERATOR,
    Action.RESTART: Role.OPERATOR,
    Action.PULL: Role.OPERATOR,
    Action.CANCEL: Role.OPERATOR,
    Action.RETRY: Role.OPERATOR,
    Action.CHECK: Role.OPERATOR,
    Action.WRITE_PROFILE: Role.MAINTAINER,
    Action.ARCHIVE_PROFILE: Role.MAINTAINER,
    Action.SHARE_PROFILE: Role.MAINTAINER,
    Action.UNINSTALL: Role.MAINTAINER,
    Action.DELETE_MODEL: Role.MAINTAINER,
    Action.UNINSTALL_WITH_DATA: Role.OWNER,
    Action.FORCE_CONFLICTS: Role.OWNER,
    Action.MANAGE_TEAM: Role.OWNER,
    Action.SHARE_FOR_EDITING: Role.OWNER,
    Action.ASK_FOR_CATALOG: Role.OWNER,
    Action.APPROVE: Role.OWNER,
}

# What belongs to the site and to no team: the role it needs beside the admin's, who may everything.
SITE: dict[Action, SiteRole] = {
    Action.MANAGE_CLUSTERS: SiteRole.ADMIN,
    Action.VERIFY_AUDIT: SiteRole.AUDITOR,
    Action.EXPORT_AUDIT: SiteRole.AUDITOR,
    Action.KEEP_AUDIT: SiteRole.ADMIN,
    Action.MANAGE_TEAMS: SiteRole.ADMIN,
    Action.MANAGE_USERS: SiteRole.ADMIN,
    Action.PUBLISH_PROFILE: SiteRole.ADMIN,
}


# What beginning a change needs, and so beginning it again does.
_CHANGES: dict[OperationKind, Action] = {
    OperationKind.INSTALL: Action.INSTALL,
    OperationKind.UPGRADE: Action.UPGRADE,
    OperationKind.ROLL_BACK: Action.ROLL_BACK,
    OperationKind.SCALE: Action.SCALE,
    OperationKind.RESTART: Action.RESTART,
    OperationKind.UNINSTALL: Action.UNINSTALL,
}


def needed_to_repeat(kind: OperationKind, request: Mapping[str, Any]) -> list[Action]:
    """Everything that somebody has to be allowed who begins this change again: another person may have been
    allowed more."""
    needed = [Action.RETRY]
    if kind in _CHANGES:
        needed.append(_CHANGES[kind])
    if request.get("force"):
        needed.append(Action.FORCE_CONFLICTS)
    if request.get("delete_data"):
        needed.append(Action.UNINSTALL_WITH_DATA)
    return needed


def may(actor: Actor, action: Action, team_id: int | None = None) -> bool:
    """Whether the actor may do this, for the team it concerns."""
    if actor.admin:
        return True
    if action in SITE:
        return SITE[action] is not SiteRole.ADMIN and actor.site_role is SITE[action]
    if action is Action.SEE and actor.site_role is SiteRole.AUDITOR:
        return True
    role = actor.roles.get(team_id) if team_id is not None else None
    return role is not None and role.rank >= NEEDS[action].rank


def require(actor: Actor, action: Action, subject: Subject) -> None:
    """Raise :class:`NotFound` for a stranger, :class:`Denied` for a member without the role.

    The subject goes onto the refusal, for the audit entry that is written of it.
    """
    team_id = subject.team_id
    if may(actor, action, team_id):
        return
    if action in SITE:
        who = "a site admin" if SITE[action] is SiteRole.ADMIN else "a site admin or an auditor"
        raise Denied(
            f"This needs {who}.", remedy="Ask an admin of this Pilothouse.", about=subject, action=action
        )
    if not may(actor, Action.SEE, team_id):
        raise NotFound(f"There is no such {subject.type or 'object'}.")
    has = actor.roles.get(team_id) if team_id is not None else None
    raise Denied(
        f"This needs the role {NEEDS[action]}; yours is {has or actor.site_role or 'none'}.",
        remedy="Ask an owner of the team.",
        about=subject,
        action=action,
    )


def may_approve(actor: Actor, approver: Approver, team_id: int | None) -> bool:
    """Whether the actor is one who may agree where ``approver`` has to; his own request is another
    matter."""
    if actor.admin:
        return True
    return approver is Approver.OWNER and may(actor, Action.APPROVE, team_id)


def require_seen(actor: Actor, action: Action, subject: Subject) -> None:
    """As :func:`require`, for an object that the caller sees although it is another team's."""
    if not may(actor, action, subject.team_id):
        raise Denied(
            f"This needs the role {NEEDS[action]} in the team that owns it.",
            remedy="Ask an owner of that team.",
            about=subject,
        )


def may_write_profile(actor: Actor, profile: Profile) -> bool:
    """Maintainers of the owning team, and of a team that it is shared with for editing."""
    if may(actor, Action.WRITE_PROFILE, profile.team_id):
        return True
    shares = profile.shares.filter(level=ShareLevel.EDIT, team_id__in=actor.roles)
    return any(may(actor, Action.WRITE_PROFILE, pk) for pk in shares.values_list("team_id", flat=True))


def require_profile_writer(actor: Actor, profile: Profile) -> None:
    """Raise :class:`Denied` for somebody who sees the profile but may not write it."""
    if not may_write_profile(actor, profile):
        raise Denied(
            "Writing this profile needs the role maintainer in a team that owns it or may edit it.",
            remedy="Ask an owner of that team, or copy it into a team of yours.",
            about=Subject("profile", str(profile.pk), profile.name, profile.team_id),
        )


def usable_by(team_id: int) -> Q:
    """Profiles that a team may install from: its own, those shared with it, the catalog's."""
    return Q(team_id=team_id) | Q(shares__team_id=team_id) | Q(catalog_at__isnull=False)


def require_usable(profile: Profile, team_id: int) -> None:
    """Raise :class:`InvalidInput` at ``revision`` where the team may not install from the profile."""
    if not Profile.objects.filter(usable_by(team_id), pk=profile.pk).exists():
        raise InvalidInput(
            "The profile is not shared with this team.",
            field="revision",
            remedy="Ask the team that owns it.",
        )


def grant_for(team_id: int, cluster: Cluster) -> ClusterGrant:
    """The team's grant on a cluster. Raises :class:`InvalidInput` at the field ``cluster``."""
    grant = ClusterGrant.objects.filter(team_id=team_id, cluster=cluster).first()
    if grant is None:
        raise InvalidInput(
            f"The team may not use cluster {cluster.name}.",
            field="cluster",
            remedy="Ask an admin to grant it.",
        )
    return grant


def require_namespace(grant: ClusterGrant, namespace: str) -> None:
    """Raise :class:`InvalidInput` at ``namespace`` where the grant does not cover it, or where it
    is granted by its exact name to another team only."""
    if not any(fnmatch.fnmatchcase(namespace, pattern) for pattern in grant.namespaces):
        allowed = ", ".join(grant.namespaces) or "none"
        raise InvalidInput(
            f"The team may not use namespace {namespace} on {grant.cluster.name}.",
            field="namespace",
            remedy=f"It may use: {allowed}.",
        )
    if namespace in grant.namespaces:
        return
    others = ClusterGrant.objects.filter(cluster=grant.cluster).exclude(pk=grant.pk)
    if any(namespace in other.namespaces for other in others):
        raise InvalidInput(
            f"Namespace {namespace} is granted to another team.",
            field="namespace",
            remedy="Choose another namespace.",
        )
