"""Who may do what: one table of role and action, and the functions that read it.

A stranger to an object gets :class:`NotFound`, somebody who may see it but not do this :class:`Denied`
with the role that would be needed.
"""

from __future__ import annotations

import fnmatch
from enum import StrEnum

from deployments.domain.actors import Actor
from deployments.domain.errors import Denied, InvalidInput, NotFound
from deployments.domain.states import Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.models import Cluster, ClusterGrant


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
    UNINSTALL = "deployment.uninstall"
    DELETE_MODEL = "model.delete"
    UNINSTALL_WITH_DATA = "deployment.uninstall_with_data"
    FORCE_CONFLICTS = "deployment.force_conflicts"
    MANAGE_TEAM = "team.manage"
    MANAGE_CLUSTERS = "cluster.manage"
    VERIFY_AUDIT = "audit.verify"
    EXPORT_AUDIT = "audit.export"
    KEEP_AUDIT = "audit.retention"
    MANAGE_TEAMS = "team.create"
    MANAGE_USERS = "user.manage"


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
    Action.UNINSTALL: Role.MAINTAINER,
    Action.DELETE_MODEL: Role.MAINTAINER,
    Action.UNINSTALL_WITH_DATA: Role.OWNER,
    Action.FORCE_CONFLICTS: Role.OWNER,
    Action.MANAGE_TEAM: Role.OWNER,
}

# What belongs to the site and to no team: the role it needs beside the admin's, who may everything.
SITE: dict[Action, SiteRole] = {
    Action.MANAGE_CLUSTERS: SiteRole.ADMIN,
    Action.VERIFY_AUDIT: SiteRole.AUDITOR,
    Action.EXPORT_AUDIT: SiteRole.AUDITOR,
    Action.KEEP_AUDIT: SiteRole.ADMIN,
    Action.MANAGE_TEAMS: SiteRole.ADMIN,
    Action.MANAGE_USERS: SiteRole.ADMIN,
}


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
