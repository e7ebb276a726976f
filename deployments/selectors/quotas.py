"""What teams take of clusters, counted by what was asked for last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from deployments.domain.quota import Amounts, from_json, of_stored, total, without
from deployments.models import ClusterGrant, Deployment


def used(grant: ClusterGrant) -> Amounts:
    """What a team takes on the cluster of its grant."""
    return used_of(grant.team_id, [grant.cluster_id])[grant.cluster_id]


def used_of(team_id: int, cluster_ids: Iterable[int]) -> dict[int, Amounts]:
    """Cluster id -> what the team takes there; one query for all of them."""
    wanted = list(cluster_ids)
    rows = Deployment.objects.filter(team_id=team_id, cluster_id__in=wanted, removed_at=None)
    parts: dict[int, list[Amounts]] = defaultdict(list)
    for cluster_id, stored in rows.values_list("cluster_id", "demand"):
        parts[cluster_id].append(from_json(stored, missing=0))
    return {cluster_id: total(parts[cluster_id]) for cluster_id in wanted}


@dataclass(frozen=True)
class Standing:
    """A grant, and what its team takes on the cluster: ``own`` is what was last applied for one deployment
    that is asked about, ``others`` what all the others take."""

    grant: ClusterGrant
    others: Amounts
    own: Amounts


def standing(team_id: int | None, cluster_id: int, deployment: Deployment | None) -> Standing | None:
    """What a team may still ask for on a cluster, for ``deployment`` or for something new. None without a
    grant."""
    grant = (
        ClusterGrant.objects.select_related("team", "cluster")
        .filter(team_id=team_id or 0, cluster_id=cluster_id)
        .first()
    )
    if grant is None:
        return None
    taken, own = used(grant), Amounts()
    if deployment is not None:
        counted = from_json(
            Deployment.objects.filter(pk=deployment.pk, removed_at=None)
            .values_list("demand", flat=True)
            .first(),
            missing=0,
        )
        taken = without(taken, counted)
        applied = deployment.releases.exclude(applied_at=None).first()
        own = of_stored(applied.spec) if applied is not None else own
    return Standing(grant, taken, own)
