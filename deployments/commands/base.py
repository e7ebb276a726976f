"""What every command shares: one transaction, and an audit entry for whoever is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.db import transaction

from deployments.domain.actors import Actor
from deployments.domain.errors import Denied, InvalidInput
from deployments.domain.states import Outcome
from deployments.ledger import audit
from deployments.policies import Action

P = ParamSpec("P")
R = TypeVar("R")
MAX_REASON = 500


def command(
    action: Action,
) -> Callable[[Callable[Concatenate[Actor, P], R]], Callable[Concatenate[Actor, P], R]]:
    """Run a command in one transaction. A refusal rolls it back and is then audited by itself, so
    that the attempt stays on record although nothing was changed."""

    def wrap(function: Callable[Concatenate[Actor, P], R]) -> Callable[Concatenate[Actor, P], R]:
        @wraps(function)
        def run(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                with transaction.atomic():
                    return function(actor, *args, **kwargs)
            except Denied as refusal:
                audit.record(
                    actor,
                    action,
                    refusal.about,
                    outcome=Outcome.DENIED,
                    reason=refusal.sentence,
                )
                raise

        return run

    return wrap


def checked_reason(reason: str) -> str:
    """The reason a person gave, trimmed. Raises :class:`InvalidInput` where it is too long."""
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"The reason is longer than {MAX_REASON} characters.", field="reason")
    return reason
