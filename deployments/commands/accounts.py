"""The first account of an installation."""

from __future__ import annotations

import secrets

from django.db import transaction

from deployments.domain.actors import PILOTHOUSE
from deployments.domain.errors import Conflict
from deployments.domain.states import Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import Membership, Team, User

PASSWORD_BYTES = 12  # 16 characters, 96 bits


def create_first_admin(username: str = "admin") -> tuple[User, str]:
    """Make the site's admin, owner of every team there is, with a generated password.

    The password is returned once and stored as a hash only. Raises :class:`Conflict` where an account
    exists already: from then on accounts are made by people.
    """
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    with transaction.atomic():
        if User.objects.exists():
            raise Conflict("There are accounts already.", remedy=f"Run: manage.py changepassword {username}")
        user = User.objects.create_superuser(username, password=password, site_role=SiteRole.ADMIN)
        for team in Team.objects.all():
            Membership.objects.create(team=team, user=user, role=Role.OWNER)
        audit.record(
            PILOTHOUSE,
            "user.create",
            Subject("user", str(user.pk), username),
            after={"site_role": SiteRole.ADMIN, "first": True},
        )
    return user, password
