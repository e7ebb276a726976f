"""Which function carries out which step. The names are those of ``deployments.commands.plans``."""

from __future__ import annotations

from collections.abc import Callable

from deployments.commands.plans import STEPS
from deployments.domain.states import EPHEMERAL, OperationKind, Queue
from deployments.workflows import approval, chat, connection, delete_model, install, pull, questions, remove
from deployments.workflows.engine import MAX_ATTEMPTS, Ask, Done, Plan, Run, Step, Wait

_Function = Callable[[Run], Done | Wait | Ask]
_APPLY: list[_Function] = [install.apply, install.start, install.pull, install.ready, install.check]

_FUNCTIONS: dict[OperationKind, list[_Function]] = {
    OperationKind.INSTALL: [install.preflight, approval.approval, *_APPLY],
    OperationKind.UPGRADE: [install.preflight, approval.approval, *_APPLY],
    OperationKind.ROLL_BACK: [install.preflight, approval.approval, *_APPLY],
    OperationKind.SCALE: [install.preflight, approval.approval, *_APPLY],
    OperationKind.RESTART: _APPLY,
    OperationKind.UNINSTALL: [remove.stop, remove.delete, remove.data, remove.namespace],
    OperationKind.PULL: [pull.pull],
    OperationKind.DELETE_MODEL: [delete_model.delete],
    OperationKind.CHECK_CHAT: [chat.check],
    OperationKind.CHECK_CONNECTION: [connection.reach, connection.identify, connection.rights],
    OperationKind.PREFLIGHT: [questions.preflight],
    OperationKind.DIFF: [questions.diff],
}

# Somebody waits in front of the page for the answer to a question: two tries are enough.
TRIES_OF_A_QUESTION = 2

PLANS: Plan = {
    kind: [
        Step(
            name,
            function,
            Queue.PULL if kind is OperationKind.PULL else Queue.CONTROL,
            TRIES_OF_A_QUESTION if kind in EPHEMERAL else MAX_ATTEMPTS,
        )
        for name, function in zip(STEPS[kind], functions, strict=True)
    ]
    for kind, functions in _FUNCTIONS.items()
}
