"""The language that somebody reads."""

from __future__ import annotations

from django.conf import settings

from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput
from deployments.models import User
from deployments.selectors.actors import account_of


def choose_language(actor: Actor, language: str) -> None:
    """Keep the language of the actor's pages and letters; "" leaves it to his browser. It is his own affair
    and changes nothing for others, so the audit does not note it. Raises :class:`InvalidInput`."""
    if language and language not in dict(settings.LANGUAGES):
        raise InvalidInput("There is no such language.", field="language")
    user = account_of(actor)
    User.objects.filter(pk=user.pk).update(language=language)
