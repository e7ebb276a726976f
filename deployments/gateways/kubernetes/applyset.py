"""Which objects belong to a deployment, and which of them may be pruned.

Follows kubectl's ApplySets (KEP-3659; kubectl pkg/cmd/apply/applyset.go): a parent object carries an
id and the kinds of its members, every member a label with that id. kubectl's names are used, since
its own tools then see what belongs together. Written by hand because kubectl is not a library here.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deployments.domain.errors import ForeignObject, ObjectMissing
from deployments.gateways.kubernetes.client import FIELD_MANAGER, ClusterClient
from deployments.gateways.kubernetes.objects import ObjectRef, ResourceKind

ID_LABEL = "applyset.kubernetes.io/id"
PART_OF_LABEL = "applyset.kubernetes.io/part-of"
TOOLING = "applyset.kubernetes.io/tooling"
GROUP_KINDS = "applyset.kubernetes.io/contains-group-kinds"
INSTALLATION = "pilothouse.io/installation"
DEPLOYMENT = "pilothouse.io/deployment"
TOOL = "pilothouse"
TOOL_VERSION = "v1"

# Never pruned, whatever they are labelled: they hold data, or everything else.
NEVER_PRUNED = frozenset({("", "PersistentVolumeClaim"), ("", "Namespace"), ("", "PersistentVolume")})


@dataclass(frozen=True)
class ApplySet:
    """The set of one deployment. ``installation`` names this installation of Pilothouse, ``deployment``
    is the deployment's id. The parent is a ConfigMap ``name`` in ``namespace``: it holds nothing secret."""

    name: str
    namespace: str
    installation: str
    deployment: str

    @property
    def parent(self) -> ObjectRef:
        return ObjectRef("v1", "ConfigMap", self.name, self.namespace)

    @property
    def id(self) -> str:
        return applyset_id(self.name, self.namespace, "ConfigMap", "")


def applyset_id(name: str, namespace: str, kind: str, group: str) -> str:
    """``applyset-<base64url(sha256("name.namespace.Kind.group"))>-v1``, without padding."""
    digest = hashlib.sha256(f"{name}.{namespace}.{kind}.{group}".encode()).digest()
    return f"applyset-{base64.urlsafe_b64encode(digest).decode().rstrip('=')}-v1"


def group_kind(kind: ResourceKind) -> str:
    """ "Deployment.apps", "Service"."""
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def parent_object(applyset: ApplySet, kinds: Iterable[ResourceKind]) -> dict[str, Any]:
    """The parent as it is applied: before the members with the kinds of old and new, after pruning
    with the kinds that are left, so that a crash in between never loses sight of a member."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": applyset.name,
            "namespace": applyset.namespace,
            "labels": {
                ID_LABEL: applyset.id,
                "app.kubernetes.io/managed-by": TOOL,
            },
            "annotations": {
                TOOLING: f"{TOOL}/{TOOL_VERSION}",
                GROUP_KINDS: ",".join(sorted({group_kind(kind) for kind in kinds})),
                INSTALLATION: applyset.installation,
                DEPLOYMENT: applyset.deployment,
            },
        },
    }


def check_parent(applyset: ApplySet, live: Mapping[str, Any] | None) -> None:
    """Raise :class:`ForeignObject` where the parent that is there is not this deployment's.

    Foreign is another tool's set, another installation's, another deployment's, and a ConfigMap of
    that name which is no parent at all.
    """
    if live is None:
        return
    meta = live.get("metadata") or {}
    labels, notes = meta.get("labels") or {}, meta.get("annotations") or {}
    where = f"ConfigMap {applyset.namespace}/{applyset.name}"
    remedy = "Choose another name or namespace, or remove what is there with the tool that made it."
    tool = str(notes.get(TOOLING, ""))
    if labels.get(ID_LABEL) != applyset.id or tool.rpartition("/")[0] != TOOL:
        owner = tool.rpartition("/")[0] or "somebody else"
        raise ForeignObject(f"{where} is there already and belongs to {owner[:60]}.", remedy=remedy)
    if notes.get(INSTALLATION) != applyset.installation:
        raise ForeignObject(f"{where} belongs to another installation of Pilothouse.", remedy=remedy)
    if notes.get(DEPLOYMENT) != applyset.deployment:
        raise ForeignObject(f"{where} belongs to another deployment.", remedy=remedy)


def labelled(applyset: ApplySet, obj: dict[str, Any]) -> dict[str, Any]:
    """A copy of a manifest with the member label on its own metadata, never on a template below it."""
    meta = obj.get("metadata") or {}
    return {**obj, "metadata": {**meta, "labels": {**(meta.get("labels") or {}), PART_OF_LABEL: applyset.id}}}


def managed_by_us(live: Mapping[str, Any], field_manager: str = FIELD_MANAGER) -> bool:
    """Whether a live object has an entry of our server-side apply."""
    entries = (live.get("metadata") or {}).get("managedFields") or []
    return any(
        entry.get("manager") == field_manager and entry.get("operation") == "Apply" for entry in entries
    )


def prunable(
    applyset: ApplySet, kind: ResourceKind, live: Mapping[str, Any], recorded_uids: frozenset[str]
) -> bool:
    """Whether a live object that left the manifests may be deleted: the label, our managed fields and
    a uid that was recorded when we applied it, all three; and never a claim or a namespace."""
    meta = live.get("metadata") or {}
    return (
        (kind.group, kind.kind) not in NEVER_PRUNED
        and (meta.get("labels") or {}).get(PART_OF_LABEL) == applyset.id
        and managed_by_us(live)
        and meta.get("uid") in recorded_uids
    )


def read_parent(client: ClusterClient, applyset: ApplySet) -> dict[str, Any] | None:
    """The parent, None where there is none yet. Raises :class:`ForeignObject` for another's."""
    try:
        live = client.get(applyset.parent)
    except ObjectMissing as missing:
        if missing.reason == "NotFound":
            return None
        raise
    check_parent(applyset, live)
    return live


def prune_candidates(
    client: ClusterClient,
    applyset: ApplySet,
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
        for page in client.list_pages(
            kind, applyset.namespace, label_selector=f"{PART_OF_LABEL}={applyset.id}"
        ):
            for item in page.items:
                uid = item["metadata"]["uid"]
                if uid not in keep and prunable(applyset, kind, item, recorded_uids):
                    name = item["metadata"]["name"]
                    found.append((ObjectRef(kind.api_version, kind.kind, name, applyset.namespace), uid))
    return found
