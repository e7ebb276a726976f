"""Reads for the pages of shared profiles and of batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Prefetch

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.models import Batch, Operation, Profile, ProfileShare
from deployments.policies import Action, may
from deployments.selectors import lookup, scope


@dataclass(frozen=True)
class SharePage:
    """Who may use a profile beside its own team. ``shares`` only for those who may change them."""

    profile: Profile
    shares: Sequence[ProfileShare]
    may_share: bool
    may_share_for_editing: bool
    may_ask: bool
    may_publish: bool


def share_page(actor: Actor, pk: int) -> SharePage:
    profile = lookup.profile(actor, pk)
    may_share = may(actor, Action.SHARE_PROFILE, profile.team_id)
    return SharePage(
        profile=profile,
        shares=list(profile.shares.select_related("team").order_by("team__name")) if may_share else [],
        may_share=may_share,
        may_share_for_editing=may(actor, Action.SHARE_FOR_EDITING, profile.team_id),
        may_ask=may(actor, Action.ASK_FOR_CATALOG, profile.team_id),
        may_publish=may(actor, Action.PUBLISH_PROFILE),
    )


def batch(actor: Actor, pk: int) -> Batch:
    """A batch with those of its operations, and of what was left out, that the caller sees. Raises
    :class:`NotFound` where he sees none of the operations and did not begin it."""
    visible = scope.operations(actor).select_related("deployment__cluster", "team").order_by("pk")
    found = (
        Batch.objects.select_related("revision__profile", "actor")
        .prefetch_related(Prefetch("operations", visible, to_attr="seen"))
        .filter(pk=pk)
        .first()
    )
    if found is None or not (found.seen or found.actor_id == actor.user_id or actor.sees_everything):
        raise NotFound("There is no such batch.")
    if not actor.sees_everything:
        left_out = [entry["deployment"] for entry in found.left_out]
        mine = set(scope.deployments(actor).filter(pk__in=left_out).values_list("pk", flat=True))
        found.left_out = [entry for entry in found.left_out if entry["deployment"] in mine]
    return found


def operations_of(found: Batch) -> Sequence[Operation]:
    """The operations that :func:`batch` fetched."""
    seen: Sequence[Operation] = found.seen  # type: ignore[attr-defined]
    return seen
