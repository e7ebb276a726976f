"""What an identity provider's groups mean in Pilothouse: roles in teams, and site roles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deployments.domain.states import Role, SiteRole

SITE = "site"
MAX_GROUPS = 1000


@dataclass(frozen=True)
class Rights:
    """``roles`` by the slug of the team; ``site_role`` None where no group decides about it."""

    roles: dict[str, Role] = field(default_factory=dict)
    site_role: SiteRole | None = None

    def __bool__(self) -> bool:
        return bool(self.roles) or self.site_role not in (None, SiteRole.NONE)


def check_mapping(mapping: Mapping[str, object]) -> None:
    """Raise :class:`ValueError` for a line that means nothing. A line is group -> "team-slug:role",
    "site:auditor" or "site:admin"; a list of them gives several."""
    for group, targets in mapping.items():
        for target in _targets(targets):
            team, _, role = target.partition(":")
            known = {SiteRole.AUDITOR, SiteRole.ADMIN} if team == SITE else set(Role)
            if not team or role not in known:
                raise ValueError(f'{group}: "{target}" is neither team:role nor site:auditor or site:admin')


def rights(claims: Mapping[str, Any], claim: str, mapping: Mapping[str, object]) -> Rights:
    """The rights that the groups in ``claim`` give; of several for one team the strongest."""
    given = claims.get(claim)
    groups = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    roles: dict[str, Role] = {}
    site_roles: list[SiteRole] = []
    for group in groups[:MAX_GROUPS]:
        for target in _targets(mapping.get(group, [])) if isinstance(group, str) else []:
            team, _, role = target.partition(":")
            if team == SITE:
                site_roles.append(SiteRole(role))
            else:
                roles[team] = max(Role(role), roles.get(team, Role.VIEWER), key=lambda one: one.rank)
    decides = any(target.startswith(f"{SITE}:") for line in mapping.values() for target in _targets(line))
    strongest = SiteRole.ADMIN if SiteRole.ADMIN in site_roles else next(iter(site_roles), SiteRole.NONE)
    return Rights(roles, strongest if decides else None)


def _targets(line: object) -> Iterable[str]:
    return [line] if isinstance(line, str) else [str(one) for one in line] if isinstance(line, list) else []
