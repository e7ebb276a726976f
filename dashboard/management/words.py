"""Domain errors and operations in a terminal: sentences on stderr, the final state on stdout."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.core.management.base import CommandError

from deployments.domain.actors import Actor
from deployments.domain.errors import ManyInvalid, PilothouseError
from deployments.domain.states import OperationState
from deployments.models import Operation, Team
from deployments.selectors import lookup, scope

POLL = 0.5  # seconds between two looks at the row
FAILED, TIMED_OUT = 1, 3  # exit codes; 2 is argparse's own


def as_command_error(error: PilothouseError) -> CommandError:
    """The sentence, the field where there is one, and the way out."""
    if isinstance(error, ManyInvalid):
        lines = [_line(one) for one in error.errors]
    else:
        lines = [_line(error)]
        if error.answered:
            lines.append(f"Answer: {error.answered}")
    return CommandError("\n".join(lines), returncode=FAILED)


def _line(error: PilothouseError) -> str:
    field = getattr(error, "field", "")
    where = f"{field}: " if field else ""
    return f"{where}{error.sentence} {error.remedy}".strip()


def team_named(actor: Actor, name: str | None) -> Team:
    """The team of that name or slug; without one the only team there is."""
    teams = list(scope.teams(actor))
    if name:
        found = [team for team in teams if name.lower() in (team.name.lower(), team.slug)]
        if not found:
            raise CommandError(f"There is no team {name}. Known: {', '.join(t.name for t in teams)}.")
        return found[0]
    if len(teams) != 1:
        raise CommandError(f"Say which team with --team: {', '.join(t.name for t in teams)}.")
    return teams[0]


def follow(actor: Actor, pk: int, timeout: float, say: Callable[[str], None]) -> Operation:
    """Say each step as it goes on until the operation ends; :class:`CommandError` with exit code 3 when
    ``timeout`` seconds have passed. The work itself goes on in the workers."""
    told: set[tuple[str, str, str]] = set()
    until = time.monotonic() + timeout
    while True:
        operation = lookup.operation(actor, pk)
        for step in operation.steps.all():
            line = (step.name, step.state, step.detail)
            if step.state != "todo" and line not in told:
                told.add(line)
                say(f"{step.name:<10} {step.state:<8} {step.detail}".rstrip())
        waiting = ("", operation.state, operation.waiting_for)
        if operation.waiting_for and waiting not in told:
            told.add(waiting)
            say(f"waits for {operation.waiting_for}")
        if OperationState(operation.state).terminal:
            return operation
        if time.monotonic() >= until:
            raise CommandError(
                f"Operation {pk} is still {operation.state} after {timeout:g} s. It goes on without this command.",
                returncode=TIMED_OUT,
            )
        time.sleep(POLL)


def ended(operation: Operation) -> dict[str, Any]:
    """The final state as JSON-ready values."""
    return {
        "operation": operation.pk,
        "kind": operation.kind,
        "state": operation.state,
        "deployment": str(operation.deployment) if operation.deployment else None,
        "cluster": operation.cluster.name if operation.cluster else None,
        "failure": {
            "sentence": operation.failure,
            "tried": operation.failure_tried,
            "answered": operation.failure_answered,
            "remedy": operation.failure_remedy,
            "retryable": operation.failure_retryable,
        }
        if operation.failure
        else None,
        "steps": [
            {"name": step.name, "state": step.state, "detail": step.detail} for step in operation.steps.all()
        ],
        "result": {key: value for key, value in operation.result.items() if key != "objects"},
    }


def require_success(operation: Operation) -> None:
    """:class:`CommandError` with exit code 1 for anything but SUCCEEDED."""
    if operation.state == OperationState.SUCCEEDED:
        return
    lines = [f"Operation {operation.pk} ended as {operation.state}. {operation.failure}".strip()]
    lines += [line for line in (operation.failure_answered, operation.failure_remedy) if line]
    raise CommandError("\n".join(lines), returncode=FAILED)
