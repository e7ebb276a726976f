"""Whose e-mail address it is: only an address that somebody vouched for counts.

The invitation that made the account, a confirmed link, the identity provider and a site admin vouch. What a
person typed himself does not count until he has confirmed it.
"""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.db.models import QuerySet

from deployments.models import User


def holders(email: str) -> QuerySet[User]:
    """The account that the address counts for; none or one."""
    rows = EmailAddress.objects.filter(email__iexact=email, verified=True)
    return User.objects.filter(pk__in=rows.values("user"))


def holds(user: User, email: str) -> bool:
    """Whether the address counts for this account."""
    return holders(email).filter(pk=user.pk).exists()
