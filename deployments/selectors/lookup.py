"""One object for the caller, or :class:`NotFound`: what he may not see does not exist for him."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.models import Cluster, Deployment, Operation, Profile, Revision, Team
from deployments.selectors import scope

M = TypeVar("M", bound=Model)


def one(rows: QuerySet[M], what: str, **by: object) -> M:
    found = rows.filter(**by).first()
    if found is None:
        raise NotFound(f"There is no such {what}.")
    return found


def team(actor: Actor, pk: int) -> Team:
    return one(scope.teams(actor), "team", pk=pk)


def cluster(actor: Actor, pk: int) -> Cluster:
    return one(scope.clusters(actor), "cluster", pk=pk)


def profile(actor: Actor, pk: int) -> Profile:
    return one(scope.profiles(actor).select_related("team", "origin__profile"), "profile", pk=pk)


def revision(actor: Actor, pk: int) -> Revision:
    return one(scope.revisions(actor).select_related("profile__team", "created_by"), "revision", pk=pk)


def deployment(actor: Actor, pk: int) -> Deployment:
    rows = scope.deployments(actor).select_related("team", "cluster", "revision__profile")
    return one(rows, "deployment", pk=pk)


def operation(actor: Actor, pk: int) -> Operation:
    rows = scope.operations(actor).select_related("team", "cluster", "deployment", "release", "approval")
    return one(rows, "operation", pk=pk)
