"""Accounts as site admins look after them: site roles, disabling, links for a new password.

An account is never deleted: what its person did stays attributed to it.
"""

from __future__ import annotations

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_user
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, NotFound
from deployments.domain.states import SiteRole
from deployments.ledger import audit
from deployments.models import User
from deployments.policies import Action, require


@command(Action.MANAGE_USERS)
def set_site_role(actor: Actor, *, user_id: int, site_role: SiteRole, reason: str = "") -> User:
    """Make somebody a site admin, an auditor or neither. The last admin stays one."""
    user = managed(actor, user_id)
    reason = checked_reason(reason)
    before = _site_role(user)
    if before is site_role:
        return user
    if before is SiteRole.ADMIN:
        _require_another_admin(user)
    # A superuser is an admin whatever his site role says, so both go together.
    user.site_role, user.is_superuser, user.is_staff = site_role, site_role is SiteRole.ADMIN, False
    user.save(update_fields=["site_role", "is_superuser", "is_staff"])
    audit.record(
        actor,
        "user.set_site_role",
        of_user(user),
        before={"site_role": before},
        after={"site_role": site_role},
        reason=reason,
    )
    return user


@command(Action.MANAGE_USERS)
def disable_user(actor: Actor, *, user_id: int, reason: str = "") -> User:
    """Let nobody sign in with this account any more; open sessions and streams end within seconds.
    Memberships and history stay. Raises :class:`Conflict` for the last admin."""
    user = managed(actor, user_id)
    reason = checked_reason(reason)
    if not user.is_active:
        return user
    if _site_role(user) is SiteRole.ADMIN:
        _require_another_admin(user)
    User.objects.filter(pk=user.pk).update(is_active=False)
    audit.record(actor, "user.disable", of_user(user), reason=reason)
    user.refresh_from_db()
    return user


@command(Action.MANAGE_USERS)
def enable_user(actor: Actor, *, user_id: int, reason: str = "") -> User:
    """Let a disabled account sign in again, with the roles that it had."""
    user = managed(actor, user_id)
    reason = checked_reason(reason)
    if user.is_active:
        return user
    User.objects.filter(pk=user.pk).update(is_active=True)
    audit.record(actor, "user.enable", of_user(user), reason=reason)
    user.refresh_from_db()
    return user


@command(Action.MANAGE_USERS)
def allow_new_password(actor: Actor, *, user_id: int) -> User:
    """Note that an admin hands out a link with which the person sets a new password; the caller makes
    the link. Raises :class:`Conflict` for a disabled account."""
    user = managed(actor, user_id)
    if not user.is_active:
        raise Conflict(f"{user} is disabled.", remedy="Enable the account first.")
    audit.record(actor, "user.allow_new_password", of_user(user))
    return user


def managed(actor: Actor, user_id: int) -> User:
    """The account that a site admin is about to change, locked. Raises :class:`NotFound`."""
    user = User.objects.select_for_update().filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such account.")
    require(actor, Action.MANAGE_USERS, of_user(user))
    return user


def _site_role(user: User) -> SiteRole:
    return SiteRole.ADMIN if user.is_superuser else SiteRole(user.site_role)


def _require_another_admin(user: User) -> None:
    # Locked together: of two admins who disable each other at once, one is refused.
    admins = User.objects.select_for_update().filter(is_active=True).order_by("pk")
    if not any(_site_role(other) is SiteRole.ADMIN for other in admins if other.pk != user.pk):
        raise Conflict(f"{user} is the only site admin.", remedy="Make somebody else an admin first.")
