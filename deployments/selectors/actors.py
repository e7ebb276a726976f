"""From a signed-in account to the actor that commands and selectors take."""

from __future__ import annotations

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.states import Role, SiteRole
from deployments.models import Membership, User


def actor_for(user: User, source: str) -> Actor:
    """The actor behind an account; one query. A disabled account has no rights at all."""
    if not user.is_active:
        return Actor(user_id=user.pk, name=user.get_username(), source=source)
    roles = {
        team_id: Role(role)
        for team_id, role in Membership.objects.filter(user=user).values_list("team_id", "role")
    }
    site_role = SiteRole.ADMIN if user.is_superuser else SiteRole(user.site_role)
    return Actor(user_id=user.pk, name=user.get_username(), source=source, site_role=site_role, roles=roles)


def account_of(actor: Actor) -> User:
    """The account behind an actor. Raises :class:`NotFound` where a program acts and no person."""
    user = User.objects.filter(pk=actor.user_id).first() if actor.user_id is not None else None
    if user is None:
        raise NotFound("Only somebody with an account can do this.")
    return user


def language_of(email: str) -> str:
    """The language that the account with this address chose, "" where there is none or it chose none."""
    chosen = User.objects.filter(email__iexact=email, is_active=True).values_list("language", flat=True)
    return chosen.first() or ""
