"""The words of letters that pages send."""

from __future__ import annotations

from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from deployments.gateways.mail import send
from deployments.models import Invitation
from deployments.selectors.actors import language_of


def send_invitation(invitation: Invitation, link: str, *, by: str) -> bool:
    """Send an invitation's link. False where mail is not set up or the server refused; the page shows
    the link in either case."""
    words = {"invitation": invitation, "link": link, "by": by}
    # Whoever has no account yet most likely reads what the inviter reads.
    with translation.override(language_of(invitation.email) or translation.get_language()):
        subject = _("%(by)s invites you to %(team)s") % {"by": by, "team": invitation.team or "Pilothouse"}
        text = render_to_string("mail/invitation.txt", words)
    return send(subject, text, [invitation.email])
