"""Inviting people by a link: made, taken back, accepted."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone

from deployments.commands.addresses import checked_address, vouch
from deployments.commands.base import command
from deployments.commands.subjects import of_invitation, of_team, of_user
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.states import Outcome, Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import Invitation, Membership, User
from deployments.policies import Action, require
from deployments.selectors import lookup
from deployments.selectors.actors import account_of
from deployments.selectors.addresses import holders, holds
from deployments.selectors.teams import open_invitations

LASTS = timedelta(days=7)
MOST_OPEN = 200  # of one team
MOST_AN_HOUR = 100  # of one team, those that were taken back too: each may be a letter to somebody


@command(Action.MANAGE_TEAM)
def invite_to_team(actor: Actor, *, team_id: int, email: str, role: Role) -> tuple[Invitation, str]:
    """Invite an e-mail address to a team. Returns the row and the link's token, which is stored
    nowhere. Raises :class:`InvalidInput` (email) and :class:`Conflict`."""
    team = lookup.team(actor, team_id)
    require(actor, Action.MANAGE_TEAM, of_team(team))
    email = checked_address(email)
    if Membership.objects.filter(team=team, user__in=holders(email)).exists():
        raise Conflict(f"{email} is a member of {team} already.", remedy="Change the role instead.")
    if open_invitations().filter(team=team).count() >= MOST_OPEN:
        raise Conflict(f"{team} has {MOST_OPEN} open invitations.", remedy="Take some of them back first.")
    lately = timezone.now() - timedelta(hours=1)
    if Invitation.objects.filter(team=team, created_at__gt=lately).count() >= MOST_AN_HOUR:
        raise Conflict(
            f"{team} has invited {MOST_AN_HOUR} times within the hour.", remedy="Go on in an hour."
        )
    # A second link for the same person replaces the first one, so that only one of them works.
    open_invitations().filter(team=team, email__iexact=email).update(revoked_at=timezone.now())
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        team=team,
        email=email,
        role=role,
        token_digest=digest(token),
        created_by_id=actor.user_id,
        expires_at=timezone.now() + LASTS,
    )
    audit.record(actor, "team.invite", of_team(team), after={"email": email, "role": role})
    return invitation, token


@command(Action.MANAGE_USERS)
def invite_to_site(actor: Actor, *, email: str, site_role: SiteRole) -> tuple[Invitation, str]:
    """Invite an e-mail address to an account without a team, say an auditor's."""
    require(actor, Action.MANAGE_USERS, Subject("invitation", name=email[:254]))
    email = checked_address(email)
    if holders(email).exists():
        raise Conflict(f"There is an account with {email} already.", remedy="Change its site role instead.")
    open_invitations().filter(team=None, email__iexact=email).update(revoked_at=timezone.now())
    token = secrets.token_urlsafe(32)
    invitation = Invitation.objects.create(
        email=email,
        site_role=site_role,
        token_digest=digest(token),
        created_by_id=actor.user_id,
        expires_at=timezone.now() + LASTS,
    )
    audit.record(
        actor, "user.invite", of_invitation(invitation), after={"email": email, "site_role": site_role}
    )
    return invitation, token


@command(Action.MANAGE_TEAM)
def revoke_invitation(actor: Actor, *, invitation_id: int) -> Invitation:
    """Take an open invitation back. Raises :class:`NotFound`."""
    invitation = open_invitations().select_related("team").filter(pk=invitation_id).first()
    if invitation is None or (invitation.team is None and not actor.admin):
        raise NotFound("There is no such open invitation.")
    require(actor, Action.MANAGE_TEAM, of_invitation(invitation))
    Invitation.objects.filter(pk=invitation.pk).update(revoked_at=timezone.now())
    audit.record(actor, "invitation.revoke", of_invitation(invitation), before={"email": invitation.email})
    return invitation


def find_invitation(token: str, *, now: datetime | None = None) -> Invitation:
    """The open invitation behind a link. Raises :class:`NotFound` for a link that was used, taken back
    or has run out, or whose maker may not invite any more, without telling which."""
    found = open_invitations(now=now).select_related("team", "created_by").filter(token_digest=digest(token))
    invitation = found.first()
    if invitation is None:
        raise NotFound(
            "This invitation does not count any more.",
            remedy="It was used, taken back, or is older than seven days, or whoever made it may not invite "
            "any more. Ask for another one.",
        )
    return invitation


def accept_as_member(actor: Actor, *, token: str) -> Invitation:
    """Accept for the signed-in account, for which the invited address must count. Raises :class:`Denied`
    where it does not, and :class:`Conflict` for a link that makes an account."""
    try:
        return _accept(actor, token)
    except Denied as refusal:
        audit.record(actor, "team.join", refusal.about, outcome=Outcome.DENIED, reason=refusal.sentence)
        raise


def _accept(actor: Actor, token: str) -> Invitation:
    with transaction.atomic():
        invitation = _claim(token, actor.user_id)
        user = account_of(actor)
        if invitation.team is None:
            raise Conflict(
                "This invitation makes an account, and you have one.",
                remedy="Sign out and open the link again, or ask a site admin to change your site role.",
            )
        if not holds(user, invitation.email):
            raise Denied(
                "This invitation is for another e-mail address than the confirmed one of your account.",
                remedy="Sign out and open the link again, or ask for an invitation to your own address.",
                about=of_invitation(invitation),
            )
        _admit(actor, user, invitation)
        return invitation


def accept_as_new(*, token: str, username: str, password: str, source: str) -> User:
    """Make the account that an invitation is for. Raises :class:`InvalidInput` (username, password)
    and :class:`NotFound` as :func:`find_invitation` does."""
    with transaction.atomic():
        invitation = _claim(token, None)
        username = username.strip()
        email = invitation.email.lower()
        user = User(username=username, email=email, site_role=invitation.site_role)
        try:
            User.username_validator(username)
        except ValidationError as error:
            raise InvalidInput(" ".join(error.messages), field="username") from error
        if not 1 <= len(username) <= 150:
            raise InvalidInput("A name has 1 to 150 characters.", field="username")
        if User.objects.filter(username__iexact=username).exists():
            raise InvalidInput("Somebody has this name already.", field="username")
        try:
            validate_password(password, user)
        except ValidationError as error:
            raise InvalidInput(" ".join(error.messages), field="password") from error
        user.set_password(password)
        try:
            with transaction.atomic():
                user.save()
        except IntegrityError as error:
            raise InvalidInput("Somebody has this name already.", field="username") from error
        Invitation.objects.filter(pk=invitation.pk).update(accepted_by=user)
        actor = Actor(user.pk, username, source)
        vouch(actor, user, email)
        audit.record(actor, "user.create", of_user(user), after={"email": user.email, "by": "invitation"})
        _admit(actor, user, invitation)
        return user


def digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def _claim(token: str, user_id: int | None) -> Invitation:
    """Use the invitation up. Of two who click at once, one finds it used."""
    invitation = find_invitation(token)
    if (
        not open_invitations()
        .filter(pk=invitation.pk)
        .update(accepted_at=timezone.now(), accepted_by=user_id)
    ):
        return find_invitation(token)
    return invitation


def _admit(actor: Actor, user: User, invitation: Invitation) -> None:
    """Put the person where the invitation says; a stronger role that he has stays."""
    if invitation.team is None:
        return
    role = Role(invitation.role)
    membership, made = Membership.objects.get_or_create(
        team=invitation.team, user=user, defaults={"role": role}
    )
    if not made and Role(membership.role).rank < role.rank:
        # From now on a person decides, and no group of the identity provider takes it back.
        membership.role, membership.from_claims = role, False
        membership.save(update_fields=["role", "from_claims"])
    audit.record(
        actor,
        "team.join",
        of_team(invitation.team),
        after={"member": user.get_username(), "role": membership.role, "invited": invitation.email},
    )
