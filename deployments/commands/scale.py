"""Change how many pods a stack has, without another revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from deployments.commands.applied import applied
from deployments.commands.base import command
from deployments.commands.begin import begin
from deployments.commands.quotas import reserve
from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.domain.states import OperationKind
from deployments.domain.validation import validate_spec
from deployments.ledger import audit
from deployments.models import Operation
from deployments.policies import Action

FIELDS = {"server.replicas": "server", "chat.replicas": "chat"}


@command(Action.SCALE)
def scale(
    actor: Actor,
    *,
    deployment_id: int,
    server: int | None = None,
    chat: int | None = None,
    reason: str = "",
) -> Operation:
    """Give the model servers or the chat another number of pods; 0 stops them and keeps the model data.

    None leaves a number as it is. Raises :class:`InvalidInput` at ``server`` or ``chat``, and
    :class:`Conflict` where an autoscaler decides or both numbers are as they were.
    """
    deployment, release = applied(actor, deployment_id, Action.SCALE)
    now = spec_from_json(release.spec)
    asked = _asked(now, server, chat)
    if not asked:
        raise Conflict("It has these numbers of pods already.")
    _refuse(now, asked)
    reserve(deployment, scaled(now, asked))
    before = {"server": now.server.replicas, "chat": now.chat.replicas}
    words = " and ".join(
        f"{count} {'chat' if part == 'chat' else 'server'} pods" for part, count in asked.items()
    )
    operation = begin(
        actor,
        OperationKind.SCALE,
        deployment,
        f"Scale {deployment.name} to {words}",
        request=dict(asked),
        reason=reason,
    )
    audit.record(
        actor,
        Action.SCALE,
        of_deployment(deployment),
        operation_id=operation.pk,
        reason=operation.reason,
        before={part: before[part] for part in asked},
        after=dict(asked),
    )
    return operation


def _asked(now: StackSpec, server: int | None, chat: int | None) -> dict[str, int]:
    """The numbers that would change."""
    asked = {}
    if server is not None and server != now.server.replicas:
        asked["server"] = server
    if chat is not None and chat != now.chat.replicas:
        asked["chat"] = chat
    return asked


def _refuse(now: StackSpec, asked: dict[str, int]) -> None:
    """What a revision with these numbers would be refused for, and what an autoscaler would undo."""
    if "chat" in asked and not now.chat.enabled:
        raise InvalidInput("There is no chat in this stack.", field="chat")
    for part, scaler in (("server", now.server.autoscaling), ("chat", now.chat.autoscaling)):
        if part in asked and scaler.enabled:
            raise Conflict(
                f"An autoscaler decides how many {part} pods there are, "
                f"from {scaler.min_replicas} to {scaler.max_replicas}.",
                remedy="Change its bounds in the profile and apply the revision, or turn it off there.",
            )
    for fault in validate_spec(scaled(now, asked)):
        field = FIELDS.get(fault.field)
        if field in asked:
            raise InvalidInput(fault.sentence, field=field or "", remedy=fault.remedy)


def scaled(now: StackSpec, asked: Mapping[str, int]) -> StackSpec:
    """The spec with the numbers of pods in ``asked``, "server" and "chat"; others as they are."""
    return replace(
        now,
        server=replace(now.server, replicas=asked.get("server", now.server.replicas)),
        chat=replace(now.chat, replicas=asked.get("chat", now.chat.replicas)),
    )
