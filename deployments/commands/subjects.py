"""Rows as the subjects of refusals and audit entries."""

from __future__ import annotations

from deployments.domain.subjects import Subject
from deployments.models import Cluster, Deployment, Operation, Profile


def of_cluster(cluster: Cluster) -> Subject:
    return Subject("cluster", str(cluster.pk), cluster.name, cluster_id=cluster.pk)


def of_profile(profile: Profile) -> Subject:
    return Subject("profile", str(profile.pk), profile.name, profile.team_id)


def of_deployment(deployment: Deployment) -> Subject:
    return Subject(
        "deployment", str(deployment.pk), str(deployment), deployment.team_id, deployment.cluster_id
    )


def of_operation(operation: Operation) -> Subject:
    return Subject("operation", str(operation.pk), operation.title, operation.team_id, operation.cluster_id)
