"""E-mail addresses of accounts: vouched for, set by a site admin, freed from whoever merely claims one."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_user
from deployments.commands.users import managed
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.ledger import audit
from deployments.models import User
from deployments.policies import Action
from deployments.selectors.addresses import holders, holds


def checked_address(email: str) -> str:
    """The address in small letters, as it is stored. Raises :class:`InvalidInput` at ``email``."""
    email = email.strip().lower()
    try:
        validate_email(email)
    except ValidationError as error:
        raise InvalidInput("This is no e-mail address.", field="email") from error
    if len(email) > 254:
        raise InvalidInput("This is no e-mail address.", field="email")
    return email


@command(Action.MANAGE_USERS)
def set_address(actor: Actor, *, user_id: int, email: str, reason: str = "") -> User:
    """Give an account another address; the site admin vouches for it. Raises :class:`InvalidInput` and
    :class:`Conflict` where it counts for another account."""
    user = managed(actor, user_id)
    email, before, reason = checked_address(email), user.email, checked_reason(reason)
    if before == email and holds(user, email):
        return user
    vouch(actor, user, email)
    audit.record(
        actor,
        "user.set_address",
        of_user(user),
        before={"email": before},
        after={"email": email},
        reason=reason,
    )
    return user


def vouch(actor: Actor, user: User, email: str) -> None:
    """Make this the account's one address, and let it count. Call it in the transaction of what vouches.
    Raises :class:`Conflict` where it counts for another account."""
    free(actor, email, but=user)
    EmailAddress.objects.filter(user=user).delete()
    try:
        with transaction.atomic():
            EmailAddress.objects.create(user=user, email=email, verified=True, primary=True)
    except IntegrityError as error:
        raise _held(email) from error
    user.email = email
    User.objects.filter(pk=user.pk).update(email=email)


def free(actor: Actor, email: str, *, but: User | None = None) -> None:
    """Take an address away from accounts that claim it and for which it does not count. Raises
    :class:`Conflict` where it counts for one."""
    others = User.objects.all() if but is None else User.objects.exclude(pk=but.pk)
    if holders(email).filter(pk__in=others).exists():
        raise _held(email)
    with transaction.atomic():
        claims = EmailAddress.objects.filter(email__iexact=email, user__in=others)
        claiming = others.filter(email__iexact=email) | others.filter(pk__in=claims.values("user"))
        for other in claiming.distinct():
            audit.record(actor, "user.lose_address", of_user(other), before={"email": email})
            User.objects.filter(pk=other.pk, email__iexact=email).update(email="")
        claims.delete()


def _held(email: str) -> Conflict:
    return Conflict(
        f"There is an account with {email} already.", remedy="Sign in with it and open the link again."
    )
