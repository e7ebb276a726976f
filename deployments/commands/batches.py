"""A revision applied to several deployments at once, as one thing to follow."""

from __future__ import annotations

from deployments.commands.base import checked_reason
from deployments.commands.install import upgrade
from deployments.commands.subjects import of_profile
from deployments.domain.actors import Actor
from deployments.domain.errors import InvalidInput, NotFound, PilothouseError
from deployments.ledger import audit
from deployments.models import Batch, Operation
from deployments.selectors import lookup
from deployments.selectors.profiles import revision_by_id

MOST = 100


def apply_to_many(actor: Actor, *, revision_id: int, deployment_ids: list[int], reason: str = "") -> Batch:
    """Begin an upgrade of each deployment to the revision.

    What cannot begin (another operation is at work, a role is missing) is left out and says why; the
    others go on. Raises :class:`InvalidInput` where nothing or too much was chosen.
    """
    if not 1 <= len(deployment_ids) <= MOST:
        raise InvalidInput(f"Choose 1 to {MOST} deployments.", field="deployments")
    revision = revision_by_id(actor, revision_id)
    reason = checked_reason(reason)
    begun: list[Operation] = []
    left_out = []
    for pk in dict.fromkeys(deployment_ids):
        name = str(pk)
        try:
            name = str(lookup.deployment(actor, pk))
            begun.append(upgrade(actor, deployment_id=pk, revision_id=revision.pk, reason=reason))
        except NotFound:
            continue  # another team's: not even that it was left out is told
        except PilothouseError as error:
            left_out.append(
                {"deployment": pk, "name": name, "why": f"{error.sentence} {error.remedy}".strip()}
            )
    batch = Batch.objects.create(
        revision=revision,
        actor_id=actor.user_id,
        actor_name=actor.name,
        reason=reason,
        left_out=left_out,
    )
    batch.operations.set(begun)
    audit.record(
        actor,
        "profile.apply_to_many",
        of_profile(revision.profile),
        reason=reason,
        after={
            "revision": revision.number,
            "operations": [operation.pk for operation in begun],
            "left_out": [entry["name"] for entry in left_out],
        },
    )
    return batch
