"""What the namespace allows: quota, limit ranges, pod security."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deployments.domain.errors import ClusterForbids, InvalidInput
from deployments.domain.findings import Finding
from deployments.domain.namespace_limits import (
    Use,
    exceeded,
    outside_range,
    quota_applies,
    restricted_faults,
    times,
    together,
    use_of_claim,
    use_of_pod,
)
from deployments.gateways.kubernetes import ClusterClient, ResourceKind
from deployments.manifests.labels import DEPLOYMENT_LABEL
from deployments.workflows.capacity import POD, UNFINISHED
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS
from deployments.workflows.stack import Stack

QUOTA = ResourceKind("v1", "ResourceQuota")
LIMIT_RANGE = ResourceKind("v1", "LimitRange")
CLAIM = ResourceKind("v1", "PersistentVolumeClaim")
ENFORCE = "pod-security.kubernetes.io/enforce"
_WORKLOADS = ("StatefulSet", "Deployment")


def limits(client: ClusterClient, stack: Stack, namespace: Mapping[str, Any]) -> Iterator[Finding]:
    """For a namespace that is there; a new one has no limits but those its cluster gives to all."""
    yield from _security(stack, namespace)
    try:
        yield from _quota(client, stack)
        yield from _ranges(client, stack)
    except ClusterForbids as error:
        yield Finding(
            "quota",
            CANNOT_TELL,
            f"The limits of namespace {stack.namespace} cannot be seen",
            error.answered,
            "Grant list on resourcequotas and limitranges (deploy/rbac.yaml). No harm in going on.",
        )
    except InvalidInput as error:
        yield Finding(
            "quota", CANNOT_TELL, f"The limits of namespace {stack.namespace} cannot be read", error.sentence
        )


def _quota(client: ClusterClient, stack: Stack) -> Iterator[Finding]:
    quotas = [item for page in client.list_pages(QUOTA, stack.namespace) for item in page.items]
    if not quotas:
        yield Finding("quota", PASS, f"Namespace {stack.namespace} has no quota")
        return
    more = _added(client, stack)
    over: list[str] = []
    unclear: list[str] = []
    for quota in quotas:
        name = (quota.get("metadata") or {}).get("name", "")
        applies = quota_applies(quota)
        if applies:
            over += [f"{clause} ({name})" for clause in exceeded(quota, more)]
        elif applies is None:
            unclear.append(str(name))
    if over:
        yield Finding(
            "quota",
            FAIL,
            f"The quota of namespace {stack.namespace} leaves too little",
            "; ".join(over[:6]),
            "Have the quota raised, ask for less in the profile, or choose another namespace.",
        )
    elif unclear:
        yield Finding(
            "quota",
            CANNOT_TELL,
            "Whether a quota with scopes counts these pods cannot be told",
            f"quotas: {', '.join(unclear[:6])}",
        )
    else:
        yield Finding("quota", PASS, f"The quota of namespace {stack.namespace} leaves enough")


def _added(client: ClusterClient, stack: Stack) -> Use:
    """What the apply adds to what is there: our pods count already, and so does every claim that is there
    under its name, one that an earlier deployment left behind among them."""
    claims = {
        item["metadata"]["name"]: item.get("spec") or {}
        for page in client.list_pages(CLAIM, stack.namespace)
        for item in page.items
    }
    wanted: list[Use] = []
    there: list[Use] = []
    for manifest in stack.manifests:
        spec, name = manifest.get("spec") or {}, manifest["metadata"]["name"]
        if manifest["kind"] == "PersistentVolumeClaim":
            wanted.append(use_of_claim(spec))
            if name in claims:
                there.append(use_of_claim(claims[name]))
        if manifest["kind"] not in _WORKLOADS:
            continue
        count = int(spec.get("replicas", 1))
        wanted.append(times(use_of_pod(spec["template"]["spec"]), count))
        for template in spec.get("volumeClaimTemplates") or []:
            made = [f"{template['metadata']['name']}-{name}-{index}" for index in range(count)]
            missing = sum(one not in claims for one in made)
            wanted.append(times(use_of_claim(template["spec"]), missing))
    ours = f"{DEPLOYMENT_LABEL}={stack.apply_set.deployment}"
    pods = client.list_pages(POD, stack.namespace, label_selector=ours, field_selector=UNFINISHED)
    there += [use_of_pod(item.get("spec") or {}) for page in pods for item in page.items]
    held = together(there)
    return {name: value - held.get(name, 0) for name, value in together(wanted).items()}


def _ranges(client: ClusterClient, stack: Stack) -> Iterator[Finding]:
    outside: list[str] = []
    for page in client.list_pages(LIMIT_RANGE, stack.namespace):
        for item in page.items:
            for manifest in stack.manifests:
                spec = manifest.get("spec") or {}
                if manifest["kind"] in _WORKLOADS:
                    claims = [template["spec"] for template in spec.get("volumeClaimTemplates") or []]
                    outside += outside_range(item, spec["template"]["spec"], claims)
                elif manifest["kind"] == "PersistentVolumeClaim":
                    outside += outside_range(item, {}, [spec])
    if outside:
        yield Finding(
            "limit_range",
            FAIL,
            f"Namespace {stack.namespace} does not allow pods or claims of this size",
            "; ".join(dict.fromkeys(outside[:6])),
            "Change the figures in the profile, or choose another namespace.",
            source="LimitRange",
        )


def _security(stack: Stack, namespace: Mapping[str, Any]) -> Iterator[Finding]:
    level = ((namespace.get("metadata") or {}).get("labels") or {}).get(ENFORCE, "")
    if level != "restricted":
        shown = f"enforces {level}" if level in ("baseline", "privileged") else "enforces no level"
        yield Finding("pod_security", PASS, f"Pod security of {stack.namespace}: {shown}")
        return
    faults = [
        fault
        for manifest in stack.manifests
        if manifest["kind"] in _WORKLOADS
        for fault in restricted_faults(manifest["spec"]["template"]["spec"])
    ]
    if faults:
        yield Finding(
            "pod_security",
            FAIL,
            f"Namespace {stack.namespace} refuses these pods: it enforces restricted pod security",
            "; ".join(faults[:6]),
            "Give a user id above 0 in the profile, under the server's settings; a cache that root owns "
            "needs another namespace.",
            source=f"label {ENFORCE}",
            field="run_as_user",
        )
    else:
        yield Finding("pod_security", PASS, f"Pod security of {stack.namespace}: fit for restricted")
