"""Who asks for something: a person with his roles, or Pilothouse itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployments.domain.states import Role, SiteRole


@dataclass(frozen=True)
class Actor:
    """The caller of a command or selector.

    ``roles`` maps the id of each team he belongs to to his role there; ``source`` is an address, or
    "command line", or "worker". ``user_id`` is None for Pilothouse itself.
    """

    user_id: int | None
    name: str
    source: str = ""
    site_role: SiteRole = SiteRole.NONE
    roles: dict[int, Role] = field(default_factory=dict)

    @property
    def admin(self) -> bool:
        return self.site_role is SiteRole.ADMIN

    @property
    def sees_everything(self) -> bool:
        return self.site_role in (SiteRole.ADMIN, SiteRole.AUDITOR)


PILOTHOUSE = Actor(user_id=None, name="Pilothouse", source="worker", site_role=SiteRole.ADMIN)
