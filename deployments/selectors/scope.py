"""The filter that every list starts with: the teams of the caller."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from deployments.domain.actors import Actor
from deployments.models import Cluster, Deployment, Operation, Profile, ProfileShare, Release, Revision, Team


def teams(actor: Actor) -> QuerySet[Team]:
    if actor.sees_everything:
        return Team.objects.all()
    return Team.objects.filter(pk__in=actor.roles)


def clusters(actor: Actor) -> QuerySet[Cluster]:
    """Clusters that are connected now and that one of the caller's teams may use."""
    present = Cluster.objects.filter(removed_at=None)
    if actor.sees_everything:
        return present
    return present.filter(grants__team_id__in=actor.roles).distinct()


def profiles(actor: Actor) -> QuerySet[Profile]:
    """Profiles of the caller's teams, shared with them, in the catalog, or running for them."""
    if actor.sees_everything:
        return Profile.objects.all()
    # Asked once for all profiles, not for each of them.
    shared = ProfileShare.objects.filter(team_id__in=actor.roles).values("profile")
    # What a team runs stays readable for it, also after the sharing ended.
    running = Deployment.objects.filter(removed_at=None, team_id__in=actor.roles).values("revision__profile")
    return Profile.objects.filter(
        Q(team_id__in=actor.roles) | Q(catalog_at__isnull=False) | Q(pk__in=shared) | Q(pk__in=running)
    )


def revisions(actor: Actor) -> QuerySet[Revision]:
    """Revisions of the profiles of the caller's teams, shared with them or in the catalog. Of a profile that
    only runs for them still, those that run: what was saved after a sharing ended is not theirs to read."""
    if actor.sees_everything:
        return Revision.objects.all()
    shared = ProfileShare.objects.filter(team_id__in=actor.roles).values("profile")
    running = Deployment.objects.filter(removed_at=None, team_id__in=actor.roles).values("revision")
    applied = Release.objects.filter(
        deployment__removed_at=None, deployment__team_id__in=actor.roles, applied_at__isnull=False
    ).values("revision")
    return Revision.objects.filter(
        Q(profile__team_id__in=actor.roles)
        | Q(profile__catalog_at__isnull=False)
        | Q(profile__in=shared)
        | Q(pk__in=running)
        | Q(pk__in=applied)
    )


def deployments(actor: Actor) -> QuerySet[Deployment]:
    if actor.sees_everything:
        return Deployment.objects.all()
    return Deployment.objects.filter(team_id__in=actor.roles)


def operations(actor: Actor) -> QuerySet[Operation]:
    """Operations of the caller's teams; those without a team are the site admins', or his own."""
    if actor.sees_everything:
        return Operation.objects.all()
    return Operation.objects.filter(Q(team_id__in=actor.roles) | Q(team_id=None, actor_id=actor.user_id))
