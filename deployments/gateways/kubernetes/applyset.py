"""The live side of ApplySets: which objects in a cluster may be pruned.

Ids, labels and the parent are made with the manifests; here is what has to be asked of a cluster.
Follows kubectl's ApplySets (KEP-3659; kubectl pkg/cmd/apply/applyset_pruner.go) with two conditions
more: a label can be copied onto anything, a uid that we recorded and our own managed fields cannot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from deployments.gateways.kubernetes.client import FIELD_MANAGER, ClusterClient
from deployments.gateways.kubernetes.objects import ObjectRef, ResourceKind

PART_OF_LABEL = "applyset.kubernetes.io/part-of"

# Never pruned, whatever they are labelled: they hold data, or everything else.
NEVER_PRUNED = frozenset({("", "PersistentVolumeClaim"), ("", "PersistentVolume"), ("", "Namespace")})


def managed_by_us(live: Mapping[str, Any], field_manager: str = FIELD_MANAGER) -> bool:
    """Whether a live object has an entry of our server-side apply."""
    entries = (live.get("metadata") or {}).get("managedFields") or []
    return any(
        entry.get("manager") == field_manager and entry.get("operation") == "Apply" for entry in entries
    )


def prunable(
    applyset_id: str, kind: ResourceKind, live: Mapping[str, Any], recorded_uids: frozenset[str]
) -> bool:
    """Whether a live object that left the manifests may be deleted: the label, our managed fields and
    a uid that was recorded when we applied it, all three; and never a claim or a namespace."""
    meta = live.get("metadata") or {}
    return (
        (kind.group, kind.kind) not in NEVER_PRUNED
        and (meta.get("labels") or {}).get(PART_OF_LABEL) == applyset_id
        and managed_by_us(live)
        and meta.get("uid") in recorded_uids
    )


def prune_candidates(
    client: ClusterClient,
    applyset_id: str,
    namespace: str,
    kinds: Iterable[ResourceKind],
    keep: frozenset[str],
    recorded_uids: frozenset[str],
) -> list[tuple[ObjectRef, str]]:
    """What may be pruned, as (object, uid): members of these kinds that are not in ``keep`` (uids of
    what was just applied). Delete each with its uid as the precondition."""
    found = []
    for kind in kinds:
        if (kind.group, kind.kind) in NEVER_PRUNED:
            continue
        for page in client.list_pages(kind, namespace, label_selector=f"{PART_OF_LABEL}={applyset_id}"):
            for item in page.items:
                uid = item["metadata"]["uid"]
                if uid not in keep and prunable(applyset_id, kind, item, recorded_uids):
                    found.append(
                        (ObjectRef(kind.api_version, kind.kind, item["metadata"]["name"], namespace), uid)
                    )
    return found
