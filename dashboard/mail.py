"""Letters that Pilothouse sends, where mail is set up."""

from __future__ import annotations

import logging
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import send_mail
from django.template.loader import render_to_string
from django.utils.translation import gettext as _

from deployments.models import Invitation

log = logging.getLogger(__name__)


def send_invitation(invitation: Invitation, link: str, *, by: str) -> bool:
    """Send an invitation's link. False where mail is not set up or the server refused; the page shows
    the link in either case."""
    words = {"invitation": invitation, "link": link, "by": by}
    subject = _("%(by)s invites you to %(team)s") % {"by": by, "team": invitation.team or "Pilothouse"}
    return send(subject, render_to_string("mail/invitation.txt", words), [invitation.email])


def send(subject: str, text: str, to: list[str]) -> bool:
    """Send one letter; a mail server that fails is logged, never the reader's problem."""
    if not settings.MAIL_CONFIGURED:
        return False
    try:
        # A subject is one line, whatever names it holds.
        send_mail(" ".join(subject.split()), text, None, to)
    except (SMTPException, OSError) as error:
        log.warning("a letter to %s was not sent: %s", ", ".join(to), error)
        return False
    return True
