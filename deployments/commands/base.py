"""What every command shares: one transaction, a reason where the cluster asks for one, and an audit entry
for whoever is refused and for what fails."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from django.db import DatabaseError, transaction

from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound, PilothouseError
from deployments.domain.states import Outcome
from deployments.ledger import audit
from deployments.models import AuditEntry, Cluster
from deployments.policies import Action

P = ParamSpec("P")
R = TypeVar("R")
MAX_REASON = 500
# What needs a reason where the cluster asks for one: everything about what runs there.
REASONED = frozenset({"deployment", "operation"})

_inside: ContextVar[bool] = ContextVar("inside_a_command", default=False)


def command(
    action: Action,
) -> Callable[[Callable[Concatenate[Actor, P], R]], Callable[Concatenate[Actor, P], R]]:
    """Run a command in one transaction. A refusal rolls it back and is then audited by itself, so that the
    attempt stays on record although nothing was changed; so does what fails for another cause than what
    was asked for. A command that calls another one is one act with it."""

    def wrap(function: Callable[Concatenate[Actor, P], R]) -> Callable[Concatenate[Actor, P], R]:
        @wraps(function)
        def run(actor: Actor, /, *args: P.args, **kwargs: P.kwargs) -> R:
            if _inside.get():
                return function(actor, *args, **kwargs)
            token = _inside.set(True)
            try:
                with transaction.atomic(), audit.collected() as entries:
                    result = function(actor, *args, **kwargs)
                    _require_reasons(actor, entries)
                    return result
            except Denied as refusal:
                audit.record(actor, action, refusal.about, outcome=Outcome.DENIED, reason=refusal.sentence)
                refusal.recorded = True
                raise
            except (InvalidInput, NotFound, Conflict, DatabaseError):
                raise
            except PilothouseError as failure:
                audit.record(actor, action, outcome=Outcome.FAILED, reason=failure.sentence)
                raise
            except Exception:
                audit.record(actor, action, outcome=Outcome.FAILED, reason="A fault of the program.")
                raise
            finally:
                _inside.reset(token)

        return run

    return wrap


def checked_reason(reason: str) -> str:
    """The reason a person gave, trimmed. Raises :class:`InvalidInput` where it is too long."""
    reason = reason.strip()
    if len(reason) > MAX_REASON:
        raise InvalidInput(f"The reason is longer than {MAX_REASON} characters.", field="reason")
    return reason


def _require_reasons(actor: Actor, entries: Sequence[AuditEntry]) -> None:
    """Raise :class:`InvalidInput` where a cluster asks for reasons and what was done there has none.

    It looks at what goes on record and not at what was passed, so that no command can forget it.
    Pilothouse itself gives none.
    """
    if actor.user_id is None:
        return
    silent = {
        entry.cluster_id
        for entry in entries
        if entry.cluster_id
        and entry.object_type in REASONED
        and entry.outcome == Outcome.DONE
        and not entry.reason.strip()
    }
    asking = Cluster.objects.filter(pk__in=silent, reason_required=True).first() if silent else None
    if asking is not None:
        raise InvalidInput(
            f"Whoever changes something on {asking.name} says why.",
            field="reason",
            remedy="Give the reason in a few words; it is kept in the audit.",
        )
