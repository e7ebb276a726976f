"""What teams take of clusters, counted by what was asked for last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from deployments.domain.quota import Amounts, from_json, total
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
