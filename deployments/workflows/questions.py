"""Preflight and diff of a draft: answers for a page, nothing is changed."""

from __future__ import annotations

import copy
from typing import Any

from deployments.domain.diffing import yaml_diff
from deployments.domain.errors import (
    ClusterError,
    ClusterForbids,
    ClusterUnreachable,
    CredentialRefused,
    FieldConflict,
    ManifestRefused,
    ObjectMissing,
)
from deployments.domain.overlay import laid_over
from deployments.domain.spec import Secrets, StackSpec, spec_from_json
from deployments.domain.states import FindingLevel
from deployments.gateways.kubernetes import FIELD_MANAGER, ClusterClient, ObjectRef
from deployments.manifests.masking import mask_secrets
from deployments.manifests.types import Manifest
from deployments.models import Deployment, Revision
from deployments.selectors.quotas import standing
from deployments.workflows import preflight as checks
from deployments.workflows.access import client_for
from deployments.workflows.applying import made_by_others
from deployments.workflows.engine import Done, Run
from deployments.workflows.stack import Stack, build, digest_key, of_spec

# What the server adds to every object and nobody decides.
SERVER_SIDE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")


def preflight(run: Run) -> Done:
    """The findings, also when the cluster cannot be asked: that is the first of them."""
    client, request, simulated = client_for(run.cluster), run.operation.request, run.cluster.simulated
    may = standing(run.operation.team_id, run.cluster.pk, run.operation.deployment)
    try:
        if request.get("cluster_only"):
            spec = spec_from_json(request["spec"])
            report = checks.cluster_report(
                client,
                _nowhere(spec, request["namespace"]),
                simulated=simulated,
                pulse=run.hold.check,
                standing=may,
            )
        else:
            report = checks.report(
                client,
                _stack(run),
                create_namespace=True,
                simulated=simulated,
                pulse=run.hold.check,
                standing=may,
            )
    except (ClusterUnreachable, CredentialRefused) as error:
        report = checks.answered_nothing(error)
    levels = [finding.level for finding in report.findings]
    counts = {level: levels.count(level) for level in FindingLevel}
    words = (
        f"{counts[FindingLevel.FAIL]} problems, {counts[FindingLevel.WARN]} warnings, "
        f"{counts[FindingLevel.PASS]} pass"
    )
    return Done(words, result=report.to_json())


def diff(run: Run) -> Done:
    """Each object: how a dry run of its apply differs from what is there."""
    client, stack = client_for(run.cluster), _stack(run)
    namespace_exists = _namespace_exists(client, stack)
    objects = []
    for manifest in stack.manifests:
        run.hold.check()
        asked = namespace_exists or manifest["kind"] == "Namespace"
        objects.append(_one(client, manifest, run.operation.deployment, asked=asked))
    changes = sum(item["change"] != "same" for item in objects)
    return Done(
        f"{changes} of {len(objects)} objects would change",
        result={"objects": objects, "asked": namespace_exists},
    )


def _stack(run: Run) -> Stack:
    request = run.operation.request
    return build(
        Revision.objects.get(pk=request["revision"]),
        namespace=request["namespace"],
        name=request["name"],
        create_namespace=True,
        deployment=run.operation.deployment,
    )


def _nowhere(spec: StackSpec, namespace: str) -> Stack:
    """A stack to be judged by its size: its name and namespace mean nothing."""
    return of_spec(
        spec, Secrets(), namespace=namespace, name="preflight", create_namespace=False, deployment=None
    )


def _namespace_exists(client: ClusterClient, stack: Stack) -> bool:
    try:
        client.get(ObjectRef("v1", "Namespace", stack.namespace))
    except ObjectMissing:
        return False
    except ClusterForbids:
        return True  # it may be there: the dry run of what goes into it will tell
    return True


def _one(
    client: ClusterClient, manifest: Manifest, deployment: Deployment | None, *, asked: bool
) -> dict[str, Any]:
    ref = ObjectRef.of(manifest)
    item: dict[str, Any] = {
        "kind": ref.kind,
        "name": ref.name,
        "namespace": ref.namespace,
        "problem": "",
        "conflicts": [],
    }
    live: Manifest | None = None
    after: Manifest = manifest
    if asked:
        try:
            live = client.get(ref)
        except (ObjectMissing, ClusterForbids):
            live = None
        try:
            used_as_it_is = live is not None and made_by_others(manifest, live, deployment)
            after = live if live and used_as_it_is else client.apply(manifest, dry_run=True)
        except FieldConflict as error:
            item["problem"], item["conflicts"] = error.sentence, [list(pair) for pair in error.conflicts]
            after = _as_asked(live, manifest)
        except (ManifestRefused, ClusterForbids) as error:
            item["problem"] = _words(error)
            after = _as_asked(live, manifest)
        except ObjectMissing:
            pass  # its namespace is made by the same install: all of it is new
    lines = yaml_diff(_plain(live) if live else None, _plain(after))
    item["lines"] = [[line.kind, line.text, line.before, line.after, line.folded] for line in lines]
    item["added"] = sum(line.kind == "add" for line in lines)
    item["removed"] = sum(line.kind == "del" for line in lines)
    item["change"] = "new" if live is None else "changed" if item["added"] or item["removed"] else "same"
    return item


def _as_asked(live: Manifest | None, manifest: Manifest) -> Manifest:
    """What a refused apply asked for: what the server fills in and nobody asked about is no difference."""
    return laid_over(live, manifest, FIELD_MANAGER) if live else manifest


def _plain(manifest: Manifest) -> Manifest:
    """Without what the server alone decides, and without secrets."""
    shown = copy.deepcopy(mask_secrets(manifest, digest_key()))
    shown.pop("status", None)
    for key in SERVER_SIDE:
        shown.get("metadata", {}).pop(key, None)
    return shown


def _words(error: ClusterError) -> str:
    return f"{error.sentence} {error.answered}".strip()[:500]
