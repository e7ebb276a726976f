"""Rows as the subjects of refusals and audit entries."""

from __future__ import annotations

from deployments.domain.subjects import Subject
from deployments.models import Cluster, Deployment, Invitation, Operation, Profile, Team, User


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


def of_team(team: Team) -> Subject:
    return Subject("team", str(team.pk), team.name, team.pk)


def of_user(user: User) -> Subject:
    return Subject("user", str(user.pk), user.get_username())


def of_invitation(invitation: Invitation) -> Subject:
    return Subject("invitation", str(invitation.pk), invitation.email, invitation.team_id)
