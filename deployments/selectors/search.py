"""Finding an object by a part of its name."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.domain.actors import Actor
from deployments.selectors import scope

PER_KIND = 8


@dataclass(frozen=True)
class Found:
    """``kind`` is deployment, profile or cluster."""

    kind: str
    pk: int
    name: str
    context: str


def search_everything(actor: Actor, text: str) -> list[Found]:
    """At most eight of each kind, by name; three queries."""
    deployments = (
        scope.deployments(actor)
        .filter(removed_at=None, name__icontains=text)
        .select_related("cluster")[:PER_KIND]
    )
    profiles = (
        scope.profiles(actor).filter(archived_at=None, name__icontains=text).select_related("team")[:PER_KIND]
    )
    clusters = scope.clusters(actor).filter(name__icontains=text)[:PER_KIND]
    return [
        *(Found("deployment", d.pk, d.name, f"{d.cluster.name} / {d.namespace}") for d in deployments),
        *(Found("profile", p.pk, p.name, p.team.name) for p in profiles),
        *(Found("cluster", c.pk, c.name, c.server) for c in clusters),
    ]
