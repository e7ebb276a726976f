"""Agreeing to what somebody else asked for, or not; and what becomes of it then."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from deployments.commands.base import checked_reason, command
from deployments.commands.subjects import of_operation
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.quota import of_stored
from deployments.domain.states import Approver, OperationKind, OperationState, Outcome, Role, SiteRole
from deployments.gateways.mail import send
from deployments.ledger import audit, transitions
from deployments.models import Approval, Deployment, Operation, User
from deployments.policies import Action, may_approve
from deployments.selectors import lookup
from deployments.sentences import said


@command(Action.APPROVE)
def decide(actor: Actor, *, approval_id: int, approve: bool, reason: str = "") -> Approval:
    """Agree or refuse. A refusal ends the operation and puts back what it had reserved.

    Nobody decides about his own request. Raises :class:`NotFound`, :class:`Denied`, :class:`Conflict`
    where it was decided or has run out, and :class:`InvalidInput` at ``reason`` for a refusal without
    one.
    """
    reason = checked_reason(reason)
    approval = (
        Approval.objects.select_for_update(of=("self",))
        .select_related("operation__team", "release")
        .filter(pk=approval_id)
        .first()
    )
    if approval is None:
        raise NotFound("There is no such request.")
    operation = lookup.operation(actor, approval.operation_id)
    if operation.actor_id is not None and operation.actor_id == actor.user_id:
        raise Denied(
            "Nobody agrees to his own request.",
            remedy="Ask somebody else who may.",
            about=of_operation(operation),
        )
    if not may_approve(actor, Approver(approval.approver), operation.team_id):
        raise Denied(
            "This needs a site admin."
            if approval.approver == Approver.ADMIN
            else "This needs an owner of the team, or a site admin.",
            about=of_operation(operation),
        )
    now = timezone.now()
    if approval.decided_at is not None or operation.state != OperationState.AWAITING_APPROVAL:
        raise Conflict("It was decided already.")
    if approval.expires_at <= now:
        raise Conflict("The request has run out.", remedy="Whoever wants it asks anew.")
    if not approve and not reason:
        raise InvalidInput("Say why, so that it can be asked for better.", field="reason")
    _close(approval, approve, actor, reason, now)
    if approve:
        if not transitions.approved(operation.pk, f"agreed to by {actor.name}"):
            raise Conflict("It was cancelled meanwhile.")
    else:
        transitions.cancel_queued(operation.pk, f"refused by {actor.name}: {reason}")
        put_back(operation)
    audit.record(
        actor,
        Action.APPROVE if approve else "operation.refuse",
        of_operation(operation),
        operation_id=operation.pk,
        reason=reason,
        after={"requested_by": operation.actor_name, "release": approval.release.number},
        manifest_digest=approval.digest,
    )
    _tell(operation, approve, actor.name, reason)
    return approval


def withdraw(operation: Operation) -> None:
    """Close the request of an operation that was cancelled while it waited for a yes."""
    with transaction.atomic():
        approval = Approval.objects.select_for_update().filter(operation=operation, decided_at=None).first()
        if approval is not None:
            _close(approval, False, PILOTHOUSE, "cancelled", timezone.now())
            put_back(operation)


def expire(now: datetime) -> int:
    """End the requests that nobody decided about in time; returns how many."""
    ended = 0
    due = Approval.objects.filter(decided_at=None, expires_at__lte=now).select_related("operation")
    for approval in due[:100]:
        with transaction.atomic():
            if not Approval.objects.filter(pk=approval.pk, decided_at=None).update(
                decided_at=now, approved=False, reason="nobody decided in time"
            ):
                continue
            operation = approval.operation
            if transitions.cancel_queued(operation.pk, "nobody agreed to it in time"):
                put_back(operation)
                audit.record(
                    PILOTHOUSE,
                    "approval.expire",
                    of_operation(operation),
                    operation_id=operation.pk,
                    outcome=Outcome.DENIED,
                    manifest_digest=approval.digest,
                )
                _tell(operation, False, "", "nobody decided in time")
            ended += 1
    return ended


def put_back(operation: Operation) -> None:
    """Undo what a request that came to nothing had set: the deployment stands again at what was last
    applied, and where nothing ever was its name and its share of the quota are free. Where an earlier try
    left objects on the cluster it stays, and counts, until somebody uninstalls it."""
    deployment = operation.deployment
    if deployment is None:
        return
    applied = deployment.releases.exclude(applied_at=None).first()
    rows = Deployment.objects.filter(pk=deployment.pk)
    if applied is not None:
        rows.update(
            revision_id=applied.revision_id,
            demand=of_stored(applied.spec).to_json(),
            version=F("version") + 1,
        )
    elif operation.kind == OperationKind.INSTALL and not deployment.owned.filter(gone_at=None).exists():
        rows.update(removed_at=timezone.now(), version=F("version") + 1)


def tell_approvers(approval: Approval) -> None:
    """Write to those who may decide, once the request is committed."""
    operation = approval.operation
    people = User.objects.filter(is_active=True).exclude(pk=operation.actor_id or 0).exclude(email="")
    admins = people.filter(site_role=SiteRole.ADMIN) | people.filter(is_superuser=True)
    chosen = set(admins.values_list("language", "email"))
    if approval.approver == Approver.OWNER:
        owners = people.filter(memberships__team_id=operation.team_id or 0, memberships__role=Role.OWNER)
        chosen = set(owners.values_list("language", "email")) or chosen
    for language in sorted({language for language, _address in chosen}):
        with translation.override(language or settings.LANGUAGE_CODE):
            words = {"who": operation.actor_name, "title": said(operation.title)}
            subject = _("To agree to: %(title)s") % words
            lines = [_("%(who)s asks: %(title)s.") % words, *_reason(operation.reason)]
        to = sorted(address for spoken, address in chosen if spoken == language)
        _write(to, subject, lines, f"approvals/{approval.pk}")


def _close(approval: Approval, approved: bool, actor: Actor, reason: str, now: datetime) -> None:
    approval.decided_at, approval.approved, approval.reason = now, approved, reason
    approval.decided_by_id, approval.decided_by_name = actor.user_id, actor.name[:150]
    approval.save()


def _tell(operation: Operation, approved: bool, by: str, reason: str) -> None:
    asked = User.objects.filter(pk=operation.actor_id, is_active=True).first() if operation.actor_id else None
    if asked is None or not asked.email:
        return
    with translation.override(asked.language or settings.LANGUAGE_CODE):
        words = {"title": said(operation.title), "by": by or "Pilothouse"}
        if approved:
            subject = _("%(title)s: agreed to") % words
            answer = _("%(by)s agreed to “%(title)s”.") % words
        else:
            subject = _("%(title)s: refused") % words
            answer = _("%(by)s refused “%(title)s”.") % words
        lines = [answer, *_reason(said(reason) if not by else reason)]
    _write([asked.email], subject, lines, f"operations/{operation.pk}")


def _reason(given: str) -> list[str]:
    return [_("Reason: %(reason)s") % {"reason": given}] if given else []


def _write(to: list[str], subject: str, lines: list[str], page: str) -> None:
    """One letter for each, once the change is committed; ``page`` is where its reader goes on."""
    text = "\n".join([*lines, "", f"{settings.PUBLIC_URL}/{page}/", ""])
    transaction.on_commit(lambda: send(subject, text, to))
