"""How accounts come to be: an admin makes them; nobody signs up by himself."""

from __future__ import annotations

import logging
from smtplib import SMTPException
from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.core import context as allauth_context
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _

from deployments.domain.actors import Actor
from deployments.domain.subjects import Subject
from deployments.ledger import audit, denials

log = logging.getLogger(__name__)


class AccountAdapter(DefaultAccountAdapter):
    """allauth's hooks: closed sign-up, and an audit entry for each sign-in, sign-out and refusal."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def post_login(self, request: HttpRequest, user: Any, **kwargs: Any) -> Any:
        who = Actor(user.pk, user.get_username(), str(request.META.get("REMOTE_ADDR", "")))
        audit.record(who, "session.begin", Subject("user", str(user.pk), who.name))
        return super().post_login(request, user, **kwargs)

    def logout(self, request: HttpRequest) -> None:
        if request.user.is_authenticated:
            name = request.user.get_username()
            who = Actor(request.user.pk, name, str(request.META.get("REMOTE_ADDR", "")))
            audit.record(who, "session.end", Subject("user", str(request.user.pk), name))
        super().logout(request)

    def confirm_email(self, request: HttpRequest, email_address: Any) -> bool:
        before = email_address.user.email
        confirmed: bool = super().confirm_email(request, email_address)
        if confirmed:
            who = Actor(
                email_address.user_id,
                email_address.user.get_username(),
                str(request.META.get("REMOTE_ADDR", "")),
            )
            subject = Subject("user", str(email_address.user_id), who.name)
            audit.record(
                who,
                "user.confirm_address",
                subject,
                before={"email": before},
                after={"email": email_address.email},
            )
        return confirmed

    def send_mail(self, template_prefix: str, email: str, context: dict[str, Any]) -> None:
        """A letter that the mail server refuses is logged and said, and is no failure of the page."""
        try:
            super().send_mail(template_prefix, email, context)
        except (SMTPException, OSError) as error:
            log.warning("a letter (%s) was not sent: %s", template_prefix, error)
            request = allauth_context.request
            if request is not None:
                messages.error(request, _("The mail server did not take the letter. Ask a site admin."))

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        given = str(credentials.get("username") or credentials.get("email") or "")[:150]
        denials.refuse(str(request.META.get("REMOTE_ADDR", "")), "session.begin", Subject("user", name=given))
