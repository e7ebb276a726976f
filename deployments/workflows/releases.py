"""What an operation applies, kept as a release: rendered from a revision, or derived from an earlier one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from django.db import transaction
from django.db.models import F, Max

from deployments.commands.subjects import of_deployment
from deployments.domain.errors import PilothouseError
from deployments.domain.spec import StackSpec, StorageMode, spec_from_json, spec_to_json
from deployments.domain.states import OperationKind
from deployments.ledger import audit, transitions, vault
from deployments.manifests.derive import with_replicas, with_restart
from deployments.manifests.labels import CHAT, SERVER
from deployments.manifests.masking import digest, mask_secrets
from deployments.models import Deployment, Release, Revision
from deployments.workflows.engine import Run, on_behalf_of
from deployments.workflows.stack import Stack, build, digest_key, stored


def stack_of(run: Run) -> Stack:
    """What the operation applies. Once its release is written it is exactly that, however often and by
    whatever version of Pilothouse a step is repeated."""
    if run.operation.release is not None:
        return stored(run.operation.release, run.deployment)
    return _source(run)[0]


def spec_of(run: Run) -> StackSpec:
    """The sized spec of what the operation applies."""
    release = run.operation.release
    return spec_from_json(release.spec) if release else stack_of(run).spec


def release_of(run: Run) -> Release:
    """The release of this operation: written once, found again when a step is repeated.

    The deployment stands at its revision from then on.
    """
    if run.operation.release is not None:
        return run.operation.release
    deployment, operation = run.deployment, run.operation
    stack, revision_id = _source(run)
    key = digest_key()
    masked = [mask_secrets(manifest, key) for manifest in stack.manifests]
    clear = [manifest for manifest in stack.manifests if manifest["kind"] == "Secret"]
    with transaction.atomic():
        highest = deployment.releases.aggregate(highest=Max("number"))["highest"] or 0
        release = Release.objects.create(
            deployment=deployment,
            number=highest + 1,
            revision_id=revision_id,
            spec=spec_to_json(stack.spec),
            manifests=masked,
            sealed=vault.seal(clear) if clear else b"",
            digest=digest(masked),
            cause=operation.kind,
            reason=operation.reason,
            created_by_id=operation.actor_id,
        )
        transitions.update_held(run.claim, release=release)
        Deployment.objects.filter(pk=deployment.pk).exclude(revision_id=revision_id).update(
            revision_id=revision_id, version=F("version") + 1
        )
        audit.record(
            on_behalf_of(operation),
            "release.make",
            of_deployment(deployment),
            operation_id=operation.pk,
            reason=operation.reason,
            after={"release": release.number, "objects": len(masked)},
            manifest_digest=release.digest,
        )
    operation.release = release
    return release


def asks_for_more(run: Run) -> bool:
    """Whether the cluster may lack what the operation needs: not where pods only go."""
    if run.operation.kind != OperationKind.SCALE:
        return True
    asked, spec = run.operation.request, spec_from_json(_last_applied(run).spec)
    return bool(asked.get("server", 0) > spec.server.replicas or asked.get("chat", 0) > spec.chat.replicas)


# -- where the objects come from ----------------------------------------------------------------------


def _source(run: Run) -> tuple[Stack, int]:
    """The objects, and the revision that they stand for."""
    return _SOURCES[OperationKind(run.operation.kind)](run)


def _rendered(run: Run) -> tuple[Stack, int]:
    deployment = run.deployment
    revision = Revision.objects.get(pk=run.operation.request["revision"])
    stack = build(
        revision,
        namespace=deployment.namespace,
        name=deployment.name,
        create_namespace=bool(run.operation.request.get("create_namespace")),
        deployment=deployment,
        template=_claim_template(deployment),
    )
    return stack, revision.pk


def _scaled(run: Run) -> tuple[Stack, int]:
    last = _last_applied(run)
    stack, asked = stored(last, run.deployment), run.operation.request
    spec, manifests = stack.spec, stack.manifests
    if "server" in asked:
        manifests = with_replicas(manifests, SERVER, asked["server"])
        spec = replace(spec, server=replace(spec.server, replicas=asked["server"]))
    if "chat" in asked:
        manifests = with_replicas(manifests, CHAT, asked["chat"])
        spec = replace(spec, chat=replace(spec.chat, replicas=asked["chat"]))
    return replace(stack, spec=spec, manifests=manifests), last.revision_id


def _restarted(run: Run) -> tuple[Stack, int]:
    last = _last_applied(run)
    stack = stored(last, run.deployment)
    stamp = run.operation.created_at.isoformat(timespec="seconds")
    components = tuple(run.operation.request["components"])
    return replace(stack, manifests=with_restart(stack.manifests, stamp, components=components)), (
        last.revision_id
    )


def _as_before(run: Run) -> tuple[Stack, int]:
    release = run.deployment.releases.get(number=run.operation.request["release"])
    return stored(release, run.deployment), release.revision_id


_SOURCES: dict[OperationKind, Callable[[Run], tuple[Stack, int]]] = {
    OperationKind.INSTALL: _rendered,
    OperationKind.UPGRADE: _rendered,
    OperationKind.SCALE: _scaled,
    OperationKind.RESTART: _restarted,
    OperationKind.ROLL_BACK: _as_before,
}


def _last_applied(run: Run) -> Release:
    last = run.deployment.releases.exclude(applied_at=None).first()
    if last is None:
        raise PilothouseError(
            "Nothing was applied yet that could be changed.",
            tried=run.operation.title,
            remedy="Install it first.",
            retryable=False,
        )
    return last


def _claim_template(deployment: Deployment) -> tuple[str, str] | None:
    """(size, class) of the claim template that an earlier release made: it can never change."""
    earlier = deployment.releases.exclude(applied_at=None).order_by("number").first()
    if earlier is None:
        return None
    storage = spec_from_json(earlier.spec).storage
    return (storage.size, storage.storage_class) if storage.mode is StorageMode.TEMPLATE else None
