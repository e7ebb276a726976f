"""The step at which somebody else may have to agree, before anything is written to the cluster."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from deployments.commands.approvals import tell_approvers
from deployments.commands.subjects import of_deployment
from deployments.domain.errors import PilothouseError
from deployments.domain.quota import of_spec
from deployments.domain.states import Approver
from deployments.ledger import audit
from deployments.manifests.masking import digest, mask_secrets
from deployments.models import Approval, ClusterGrant
from deployments.workflows.engine import Ask, Done, Run, on_behalf_of
from deployments.workflows.releases import asks_for_more, release_of, spec_of, stack_of
from deployments.workflows.stack import digest_key

LASTS = timedelta(days=7)
WORDS = {Approver.OWNER: "another owner of the team", Approver.ADMIN: "a site admin"}


def approval(run: Run) -> Done | Ask:
    """Go on where nobody has to agree or somebody has; else write down what would be applied and ask.

    The release is written here already, so that whoever agrees sees the very objects, and after the yes
    the digests are compared, here and right before the apply. Raises :class:`PilothouseError` where they
    differ.
    """
    found = Approval.objects.filter(operation=run.operation).first()
    if found is None:
        approver = _approver(run)
        if approver is Approver.NOBODY:
            return Done()
        _ask(run, approver)
        return Ask(f"{WORDS[approver]} to agree")
    if not found.approved:
        return Ask(f"{WORDS[Approver(found.approver)]} to agree")
    require_agreed(run)
    return Done(f"agreed to by {found.decided_by_name}, digest {found.digest[:8]}")


def require_agreed(run: Run) -> None:
    """Raise :class:`PilothouseError` where somebody had to agree and the objects that would be sent now are
    not those that he saw. Their digest is worked out anew, from what would be sent: what a row says of
    itself is no proof. Nothing where nobody had to agree."""
    found = Approval.objects.filter(operation=run.operation).first()
    if found is None:
        return
    release, key = release_of(run), digest_key()
    now = digest([mask_secrets(manifest, key) for manifest in stack_of(run).manifests])
    if not found.approved or found.release_id != release.pk or now != found.digest:
        raise PilothouseError(
            "What would be applied is not what was agreed to.",
            tried=f"compare release {release.number} with the approval",
            answered=f"{now[:12]} instead of {found.digest[:12]}",
            remedy="Ask anew.",
            retryable=False,
        )


def _approver(run: Run) -> Approver:
    """Who has to agree to this operation, by the team's grant on the cluster as it is now."""
    deployment = run.deployment
    grant = ClusterGrant.objects.filter(team_id=deployment.team_id, cluster_id=deployment.cluster_id).first()
    if grant is None or not asks_for_more(run):
        return Approver.NOBODY
    # What would be applied decides, and not what was counted for it at some time.
    most = grant.approve_over_gpus
    if most is not None and (of_spec(spec_of(run)).gpus or 0) <= most:
        return Approver.NOBODY
    return Approver(grant.approver)


def _ask(run: Run, approver: Approver) -> None:
    now = timezone.now()
    with transaction.atomic():
        release = release_of(run)
        made = Approval.objects.create(
            operation=run.operation,
            release=release,
            digest=release.digest,
            approver=approver,
            asked_at=now,
            expires_at=now + LASTS,
        )
        audit.record(
            on_behalf_of(run.operation),
            "approval.ask",
            of_deployment(run.deployment),
            operation_id=run.operation.pk,
            reason=run.operation.reason,
            after={"approver": approver, "release": release.number},
            manifest_digest=release.digest,
        )
        tell_approvers(made)
