"""What many signed-in people may do now, in two queries: for streams that stay open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from deployments.domain.states import Role, SiteRole
from deployments.models import Membership, User


@dataclass(frozen=True)
class Standing:
    """``session_hash`` changes with the password, which ends all other sessions of the account."""

    site_role: SiteRole
    session_hash: str
    roles: dict[int, Role] = field(default_factory=dict)


def standings(user_ids: Iterable[int]) -> dict[int, Standing]:
    """By user id; disabled and deleted accounts are left out."""
    found = {
        user.pk: Standing(
            SiteRole.ADMIN if user.is_superuser else SiteRole(user.site_role),
            user.get_session_auth_hash(),
        )
        for user in User.objects.filter(pk__in=set(user_ids), is_active=True)
    }
    for user_id, team_id, role in Membership.objects.filter(user_id__in=found).values_list(
        "user_id", "team_id", "role"
    ):
        found[user_id].roles[team_id] = Role(role)
    return found
