"""Which deployment an observed object belongs to, and which claims are a deployment's own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from deployments.domain.names import CLAIM_TEMPLATE, ObjectNames
from deployments.models import Deployment, ObservedObject, OwnedObject
from deployments.observer.reading import Seen
from deployments.selectors import system


@dataclass(frozen=True)
class _Place:
    deployment_id: int
    prefixes: tuple[str, ...]


class Owners:
    """Answers for one batch of objects of one cluster, with two queries in all."""

    def __init__(self, cluster_id: int, batch: Iterable[Seen]) -> None:
        batch = list(batch)
        self._by_label = system.by_label(
            cluster_id, {seen.deployment for seen in batch if seen.deployment is not None}
        )
        namespaces = {seen.namespace for seen in batch if seen.kind == "Event"}
        self._places: dict[str, list[_Place]] = {}
        if namespaces:
            rows = system.installed_on(cluster_id).filter(namespace__in=namespaces)
            for pk, namespace, name in rows.values_list("pk", "namespace", "name"):
                names = ObjectNames(name)
                prefixes = (
                    names.server,
                    names.chat,
                    names.shared_claim,
                    f"{CLAIM_TEMPLATE}-{names.server}",
                )
                self._places.setdefault(namespace, []).append(_Place(pk, prefixes))

    def of(self, seen: Seen) -> int | None:
        """The deployment's primary key, or None. A labelled object counts only in the deployment's own
        namespace; an event goes by the name of what it is about, the longest match first."""
        if seen.kind != "Event":
            return None if seen.deployment is None else self._by_label.get((seen.deployment, seen.namespace))
        about = seen.data["involved"]
        if about["namespace"] not in ("", seen.namespace):
            return None
        best: tuple[int, int] | None = None
        for place in self._places.get(seen.namespace, []):
            for prefix in place.prefixes:
                if about["name"] == prefix or about["name"].startswith(prefix + "-"):
                    best = max(best or (0, 0), (len(prefix), place.deployment_id))
        return best[1] if best else None


def record_claims(rows: Iterable[ObservedObject]) -> None:
    """Note the claims that a StatefulSet's controller made, by uid.

    A claim counts where it carries the deployment's label, has the name that the controller gives
    (template, set and ordinal), and the set is one that Pilothouse applied and has not removed.
    """
    rows = [row for row in rows if row.deployment_id is not None]
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
