"""Install and upgrade: preflight, apply, start, pull, ready, check. Every step is safe to repeat."""

from __future__ import annotations

import time

from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone

from deployments.commands.pulls import ensure_pull
from deployments.commands.subjects import of_deployment
from deployments.domain.errors import (
    ClusterError,
    ManifestRefused,
    ModelError,
    ObjectMissing,
    PilothouseError,
)
from deployments.domain.findings import blocking
from deployments.domain.spec import StackSpec, StorageMode, spec_from_json, spec_to_json
from deployments.domain.states import OperationState
from deployments.gateways.kubernetes import ClusterClient, ObjectRef, ResourceKind
from deployments.gateways.kubernetes.applyset import parent_object, prune_candidates, read_parent
from deployments.ledger import audit, transitions, vault
from deployments.manifests.masking import digest, mask_secrets
from deployments.manifests.types import Manifest
from deployments.models import Deployment, Operation, OwnedObject, Release, Revision
from deployments.workflows import preflight as checks
from deployments.workflows.access import client_for
from deployments.workflows.chat import generated_token
from deployments.workflows.engine import Done, Run, Wait, age, on_behalf_of
from deployments.workflows.servers import ServerPod, describe, ollama, server_pods
from deployments.workflows.stack import Stack, build, digest_key

START_TIMEOUT = 30 * 60  # an image of several GB on a slow line
READY_TIMEOUT = 10 * 60
ENDPOINTS_TIMEOUT = 60


def preflight(run: Run) -> Done:
    """Ask the API server once more, right before the apply, and stop at anything that cannot work."""
    client, stack = _client(run), _stack(run)
    found = checks.findings(client, stack, create_namespace=run.operation.request["create_namespace"])
    problems = blocking(found)
    kept = {"findings": [finding.to_json() for finding in found]}
    if problems:
        first = problems[0]
        raise PilothouseError(
            f"{first.title}.",
            tried=f"check {stack.namespace}/{run.deployment.name} before the apply",
            answered=first.evidence,
            remedy=first.remedy,
            retryable=False,
        )
    warned = sum(finding.level in ("warn", "cannot_tell") for finding in found)
    return Done(f"{len(found) - warned} pass, {warned} to know about", result=kept)


def apply(run: Run) -> Done:
    """Write the release, then apply its objects in order and clear away what left the manifests."""
    client, stack, deployment = _client(run), _stack(run), run.deployment
    release = _release(run, stack)
    read_parent(client, stack.apply_set)  # refuses another's before anything is written
    began = time.monotonic()
    applied = _apply_all(run, client, stack, deployment)
    pruned = _prune(client, stack, deployment, applied)
    took = time.monotonic() - began
    now = timezone.now()
    Release.objects.filter(pk=release.pk, applied_at=None).update(applied_at=now)
    Deployment.objects.filter(pk=deployment.pk, probe_due_at=None).update(probe_due_at=now)
    words = f"{len(applied)} objects in {took:.1f} s, release {release.number}, digest {release.digest[:8]}"
    if pruned:
        words += f"; {len(pruned)} that left the manifests deleted: {', '.join(map(str, pruned[:4]))}"
    return Done(words, memory={"release": release.pk}, result={"release": release.number})


def start(run: Run) -> Done | Wait:
    """Wait until Ollama answers in every server pod. The pull needs no more than that."""
    client, deployment = _client(run), run.deployment
    wanted = _spec(run).server.replicas
    if wanted == 0:
        return Done("no replicas asked for")
    pods = [pod for pod in server_pods(client, deployment) if not pod.terminating]
    answering: list[ServerPod] = []
    for pod in pods:
        if pod.phase != "Running":
            continue
        try:
            version = ollama(client, deployment, pod.name).version()
        except (ClusterError, ModelError) as error:
            if not error.retryable and not isinstance(error, ObjectMissing):
                raise
            continue
        answering.append(pod)
        run.hold.check()
    if len(answering) >= wanted:
        return Done(f"{len(answering)} pod{'s' if len(answering) > 1 else ''} answer, Ollama {version}")
    return _wait_or_fail(run, describe(pods), START_TIMEOUT, "start")


def pull(run: Run) -> Done | Wait:
    """See that the model is on every volume: one pull for each, shared with whoever waits for it."""
    client, deployment, spec = _client(run), run.deployment, _spec(run)
    model = spec.model.reference
    volumes: dict[str, ServerPod] = {}
    for pod in server_pods(client, deployment):
        if not pod.terminating and pod.phase == "Running":
            volumes.setdefault(pod.volume, pod)
    if spec.server.replicas == 0:
        return Done("no replicas, so nothing to pull")
    begun: list[int] = list(run.operation.memory.get("pulls", []))
    failed = Operation.objects.filter(pk__in=begun, state=OperationState.FAILED).first()
    if failed is not None:
        raise ModelError(
            failed.failure,
            tried=failed.failure_tried,
            answered=failed.failure_answered,
            remedy=failed.failure_remedy,
            retryable=False,
        )
    cancelled = Operation.objects.filter(pk__in=begun, state=OperationState.CANCELLED).first()
    if cancelled is not None:
        raise PilothouseError(
            "The pull was cancelled.",
            tried=f"pull {model}",
            remedy="Retry: it goes on from the bytes that are already there.",
            retryable=False,
        )
    missing = 0
    for volume, pod in volumes.items():
        if ollama(client, deployment, pod.name).has(model):
            continue
        missing += 1
        operation = ensure_pull(
            on_behalf_of(run.operation),
            deployment=deployment,
            volume=volume,
            pod=pod.name,
            model=model,
            insecure=spec.model.insecure,
            waiter=run.operation,
        )
        if operation.pk not in begun:
            begun.append(operation.pk)
            run.note(f"{pod.name}: pull of {model} begun")
    if not volumes:
        return Wait(2, "the server's pods to come back")
    if missing:
        where = f" on {missing} volumes" if missing > 1 else ""
        return Wait(30, f"{model} to be pulled{where}", memory={"pulls": begun})
    if begun:
        return Done(f"{model} is on {len(volumes)} volume{'s' if len(volumes) > 1 else ''}")
    return Done(f"{model} was there already")


def ready(run: Run) -> Done | Wait:
    """Wait until every pod is Ready, server and chat."""
    client, deployment, spec = _client(run), run.deployment, _spec(run)
    pods = [pod for pod in server_pods(client, deployment) if not pod.terminating]
    up = [pod for pod in pods if pod.ready]
    if len(up) < spec.server.replicas:
        names = ", ".join(pod.name for pod in pods if not pod.ready) or "the server's pods"
        problem = next((pod.problem for pod in pods if pod.problem), "")
        words = f"{names} to be ready" + (f" ({problem})" if problem else "")
        return _wait_or_fail(run, words, READY_TIMEOUT, "ready")
    if spec.chat.enabled and spec.chat.replicas:
        stack = _stack(run)
        live = client.get(ObjectRef("apps/v1", "Deployment", stack.names.chat, deployment.namespace))
        have = int((live.get("status") or {}).get("readyReplicas") or 0)
        if have < spec.chat.replicas:
            words = f"the chat to be ready, {have} of {spec.chat.replicas}"
            return _wait_or_fail(run, words, READY_TIMEOUT, "ready")
    words = f"{len(up)} server pod{'s' if len(up) != 1 else ''} ready"
    return Done(words + (", chat ready" if spec.chat.enabled else ""))


def check(run: Run) -> Done | Wait:
    """Ask for one generated token, by the path that the chat uses."""
    spec = _spec(run)
    if spec.server.replicas == 0:
        return Done("stopped on purpose, so nothing was asked")
    try:
        proof = generated_token(_client(run), run.deployment, spec)
    except ObjectMissing:
        # The proxy path of a new Service is 404 until the endpoints controller has seen it.
        return _wait_or_fail(run, "the chat's Service to get its endpoints", ENDPOINTS_TIMEOUT, "ready")
    return Done(proof.sentence, result={"chat": proof.to_json()})


# -- inside -------------------------------------------------------------------------------------------


def _client(run: Run) -> ClusterClient:
    return client_for(run.cluster)


def _stack(run: Run) -> Stack:
    deployment = run.deployment
    revision = Revision.objects.get(pk=run.operation.request["revision"])
    return build(
        revision,
        namespace=deployment.namespace,
        name=deployment.name,
        create_namespace=bool(run.operation.request.get("create_namespace")),
        deployment=deployment,
        template=_claim_template(run, deployment),
    )


def _spec(run: Run) -> StackSpec:
    release = run.operation.release
    return spec_from_json(release.spec) if release else _stack(run).spec


def _claim_template(run: Run, deployment: Deployment) -> tuple[str, str] | None:
    """(size, class) of the claim template that an earlier release made: it can never change."""
    earlier = deployment.releases.exclude(applied_at=None).order_by("number").first()
    if earlier is None:
        return None
    storage = spec_from_json(earlier.spec).storage
    return (storage.size, storage.storage_class) if storage.mode is StorageMode.TEMPLATE else None


def _release(run: Run, stack: Stack) -> Release:
    """The release of this operation: written once, found again when the step is repeated."""
    if run.operation.release is not None:
        return run.operation.release
    deployment, operation = run.deployment, run.operation
    key = digest_key()
    masked = [mask_secrets(manifest, key) for manifest in stack.manifests]
    clear = [manifest for manifest in stack.manifests if manifest["kind"] == "Secret"]
    with transaction.atomic():
        highest = deployment.releases.aggregate(highest=Max("number"))["highest"] or 0
        release = Release.objects.create(
            deployment=deployment,
            number=highest + 1,
            revision_id=operation.request["revision"],
            spec=spec_to_json(stack.spec),
            manifests=masked,
            sealed=vault.seal(clear) if clear else b"",
            digest=digest(masked),
            cause=operation.kind,
            reason=operation.reason,
            created_by_id=operation.actor_id,
        )
        transitions.update_held(run.claim, release=release)
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


def _apply_all(run: Run, client: ClusterClient, stack: Stack, deployment: Deployment) -> dict[str, ObjectRef]:
    """Apply everything in rank order; uid -> object. What was applied is recorded as it goes, so that
    an uninstall after a failure half-way finds it."""
    applied: dict[str, ObjectRef] = {}
    force = bool(run.operation.request.get("force"))
    kinds = {ObjectRef.of(manifest).resource_kind for manifest in stack.manifests}
    rest = list(stack.manifests)
    if rest and rest[0]["kind"] == "Namespace":
        manifest = rest.pop(0)
        _own(deployment, applied, _make_namespace(client, deployment, manifest))
    before = _kinds_of(deployment)
    _own(deployment, applied, client.apply(parent_object(stack.apply_set, kinds | before), force=True))
    for manifest in rest:
        run.hold.check()
        try:
            live = client.apply(manifest, force=force)
        except ManifestRefused as error:
            raise _explained(error, manifest) from error
        _own(deployment, applied, live)
    return applied


def _make_namespace(client: ClusterClient, deployment: Deployment, manifest: Manifest) -> Manifest | None:
    """Make the namespace where it is missing. One that a person made is used and never becomes ours."""
    ref = ObjectRef.of(manifest)
    try:
        live = client.get(ref)
    except ObjectMissing:
        live = client.apply(manifest)
        Deployment.objects.filter(pk=deployment.pk).update(
            made_namespace=True, namespace_uid=live["metadata"]["uid"], version=F("version") + 1
        )
        deployment.made_namespace = True
        return live
    if deployment.made_namespace and live["metadata"]["uid"] == deployment.namespace_uid:
        return client.apply(manifest)
    return None


def _own(deployment: Deployment, applied: dict[str, ObjectRef], live: Manifest | None) -> None:
    if live is None:
        return
    ref, uid = ObjectRef.of(live), live["metadata"]["uid"]
    applied[uid] = ref
    OwnedObject.objects.update_or_create(
        deployment=deployment,
        kind=ref.kind,
        namespace=ref.namespace,
        name=ref.name,
        uid=uid,
        defaults={"api_version": ref.api_version, "gone_at": None},
    )


def _kinds_of(deployment: Deployment) -> set[ResourceKind]:
    return {
        ObjectRef(row.api_version, row.kind, row.name, row.namespace).resource_kind
        for row in deployment.owned.filter(gone_at=None, by_controller=False).exclude(kind="Namespace")
    }


def _prune(
    client: ClusterClient, stack: Stack, deployment: Deployment, applied: dict[str, ObjectRef]
) -> list[ObjectRef]:
    """Delete what earlier releases applied and this one does not have, then shrink the set's kinds."""
    recorded = frozenset(deployment.owned.filter(gone_at=None).values_list("uid", flat=True))
    kinds = _kinds_of(deployment)
    pruned: list[ObjectRef] = []
    if recorded - set(applied):
        for ref, uid in prune_candidates(client, stack.apply_set, kinds, frozenset(applied), recorded):
            if ref == stack.apply_set.parent:
                continue
            client.delete(ref, uid=uid)
            deployment.owned.filter(uid=uid).update(gone_at=timezone.now())
            pruned.append(ref)
    left = {ObjectRef.of(manifest).resource_kind for manifest in stack.manifests}
    if pruned or kinds != left:
        client.apply(parent_object(stack.apply_set, left), force=True)
    return pruned


def _explained(error: ManifestRefused, manifest: Manifest) -> ManifestRefused:
    """A refusal that names what cannot change, where that is what it is about."""
    if manifest["kind"] == "StatefulSet" and "updates to statefulset spec" in error.answered:
        return ManifestRefused(
            "The cluster does not let this part of the server change.",
            causes=error.causes,
            tried=error.tried,
            answered=error.answered,
            remedy="Keep the storage as it was installed; to change it, uninstall keeping the data and "
            "install anew.",
            retryable=False,
        )
    return error


def _wait_or_fail(run: Run, words: str, limit: float, name: str) -> Wait:
    """Wait with the cluster's own reason; fail once it took longer than is sensible."""
    row = run.operation.steps.get(position=run.operation.step)
    if row.started_at and age(row.started_at) > limit:
        raise PilothouseError(
            f"It did not {'become ready' if name == 'ready' else 'start'} within {limit // 60:.0f} minutes.",
            tried=f"wait for {words}",
            answered=words,
            remedy="Look at the deployment's health for the cause; what is installed stays. Retry when "
            "it is solved.",
            retryable=False,
        )
    return Wait(2, words)
