"""Words of roles, for templates."""

from __future__ import annotations

from django import template

from dashboard.forms.teams import SITE_ROLES
from dashboard.presenters.teams import ROLE_WORDS
from deployments.domain.states import Role, SiteRole

register = template.Library()


@register.filter
def role_word(role: str) -> str:
    """viewer -> Viewer, in the reader's language."""
    return str(ROLE_WORDS[Role(role)])


@register.filter
def site_role_word(role: str) -> str:
    """admin -> Site admin, in the reader's language."""
    return str(dict(SITE_ROLES)[SiteRole(role)])
