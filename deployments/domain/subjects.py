"""What an act is about: the object as refusals and audit entries name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subject:
    """``type`` is deployment, profile, cluster, operation, user …; the ids outlive the object."""

    type: str = ""
    id: str = ""
    name: str = ""
    team_id: int | None = None
    cluster_id: int | None = None
