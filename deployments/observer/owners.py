"""Which deployment an observed object belongs to, and which claims are a deployment's own."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final, Literal

from django.db.models import Exists, OuterRef, Q

from deployments.domain.names import CLAIM_TEMPLATE, ObjectNames
from deployments.models import Deployment, ObservedObject, OwnedObject
from deployments.observer.reading import INVENTORY, Kept
from deployments.selectors import system


class Nobody(Enum):
    """What is no deployment's: an object that is not kept, and one that tells about the cluster."""

    NOBODYS = "nobody's"
    CLUSTERS_OWN = "the cluster's own"


NOBODYS: Final = Nobody.NOBODYS
CLUSTERS_OWN: Final = Nobody.CLUSTERS_OWN
Owner = int | Literal[Nobody.NOBODYS, Nobody.CLUSTERS_OWN]

FEW = 100
_INVENTORY = frozenset(kind.kind for kind in INVENTORY)


class Owners:
    """Answers for one batch of objects of one cluster, with two queries in all."""

    def __init__(self, cluster_id: int, batch: Iterable[Kept]) -> None:
        batch = list(batch)
        labels = {seen.deployment for seen in batch if seen.deployment is not None}
        self._by_label = system.by_label(cluster_id, labels) if labels else {}
        namespaces = {seen.namespace for seen in batch if seen.kind == "Event" and not _of_node(seen)}
        self._places: dict[tuple[str, str], int] = {}
        if namespaces:
            rows = system.installed_on(cluster_id).filter(namespace__in=namespaces)
            for pk, namespace, name in rows.values_list("pk", "namespace", "name"):
                names = ObjectNames(name)
                for prefix in (
                    names.server,
                    names.chat,
                    names.shared_claim,
                    f"{CLAIM_TEMPLATE}-{names.server}",
                ):
                    self._places[namespace, prefix] = pk

    def of(self, seen: Kept) -> Owner:
        """A labelled object counts only in the deployment's own namespace; an event goes by the name of
        what it is about, the longest match first."""
        if seen.kind == "Event":
            return CLUSTERS_OWN if _of_node(seen) else self._of_event(seen)
        if seen.kind in _INVENTORY:
            return CLUSTERS_OWN
        if seen.deployment is not None:
            return self._by_label.get((seen.deployment, seen.namespace), NOBODYS)
        return CLUSTERS_OWN if seen.exporter else NOBODYS

    def _of_event(self, seen: Kept) -> Owner:
        about = seen.about or {}
        if not about or about["namespace"] not in ("", seen.namespace):
            return NOBODYS
        name = about["name"]
        while name:
            found = self._places.get((seen.namespace, name))
            if found is not None:
                return found
            name = name.rpartition("-")[0]
        return NOBODYS


def _of_node(seen: Kept) -> bool:
    return seen.about is not None and seen.about["kind"] == "Node"


def record_claims(cluster_id: int, deployments: set[int]) -> None:
    """Note the claims that a StatefulSet's controller made for these deployments, by uid.

    A claim counts where it carries the deployment's label, has the name that the controller gives
    (template, set and ordinal), and the set is one that Pilothouse applied and has not removed.
    """
    # While a list comes in they are hundreds, and a cluster's claims are asked for faster than theirs.
    among = Q(deployment_id__in=deployments) if len(deployments) <= FEW else Q(deployment__isnull=False)
    noted = OwnedObject.objects.filter(deployment_id=OuterRef("deployment_id"), uid=OuterRef("uid"))
    rows = list(
        ObservedObject.objects.filter(
            ~Exists(noted), among, cluster_id=cluster_id, kind="PersistentVolumeClaim"
        ).defer("data")
    )
    if not rows:
        return
    names = dict(
        Deployment.objects.filter(pk__in={row.deployment_id for row in rows}).values_list("pk", "name")
    )
    with_set = set(
        OwnedObject.objects.filter(deployment_id__in=names, kind="StatefulSet", gone_at=None).values_list(
            "deployment_id", "name"
        )
    )
    OwnedObject.objects.bulk_create(
        (
            OwnedObject(
                deployment_id=row.deployment_id,
                api_version="v1",
                kind="PersistentVolumeClaim",
                namespace=row.namespace,
                name=row.name,
                uid=row.uid,
                by_controller=True,
            )
            for row in rows
            if row.deployment_id in names
            and (row.deployment_id, ObjectNames(names[row.deployment_id]).server) in with_set
            and _made_by_controller(row.name, names[row.deployment_id])
        ),
        ignore_conflicts=True,
    )


def _made_by_controller(claim: str, deployment: str) -> bool:
    prefix = f"{CLAIM_TEMPLATE}-{ObjectNames(deployment).server}-"
    return claim.startswith(prefix) and claim[len(prefix) :].isdecimal()
