"""Letters through the mail server of Django's settings, where there is one."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from smtplib import SMTPException

from django.conf import settings
from django.core.mail import EmailMessage, get_connection

log = logging.getLogger(__name__)


def send(subject: str, text: str, to: Iterable[str]) -> bool:
    """Send a letter to each address by itself, so that nobody sees the others. False where mail is not
    set up or the server refused; that is logged and is never in the way of what the letter is about."""
    addresses = [address for address in to if address]
    if not settings.MAIL_CONFIGURED or not addresses:
        return False
    # A subject is one line, whatever names it holds.
    line = " ".join(subject.split())[:200]
    try:
        sent = get_connection().send_messages(
            [EmailMessage(line, text, to=[address]) for address in addresses]
        )
    except (SMTPException, OSError) as error:
        log.warning("a letter (%s) was not sent: %s", line, error)
        return False
    return bool(sent)
