"""Profiles and their immutable revisions."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from deployments.domain.states import ShareLevel
from deployments.models.choices import choices, one_of
from deployments.models.teams import Team, User


class Profile(models.Model):
    """A reusable description of a stack, owned by a team. Its content is its latest revision."""

    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="profiles")
    name = models.CharField(max_length=80)
    description = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    archived_at = models.DateTimeField(null=True)
    version = models.PositiveBigIntegerField(default=1)
    # Where it was copied from; a revision stays as long as something came from it.
    origin = models.ForeignKey("Revision", null=True, on_delete=models.PROTECT, related_name="clones")
    # In the catalog every team may use it. An owner asks, a site admin publishes.
    catalog_asked_at = models.DateTimeField(null=True)
    catalog_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                "team", Lower("name"), condition=models.Q(archived_at=None), name="profile_name_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ProfileShare(models.Model):
    """Another team may use a profile, or edit it too."""

    profile = models.ForeignKey(Profile, on_delete=models.CASCADE, related_name="shares")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="shared_profiles")
    level = models.CharField(max_length=10, choices=choices(ShareLevel))
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["profile", "team"], name="profile_shared_once"),
            models.CheckConstraint(
                condition=models.Q(level__in=one_of(ShareLevel)), name="profile_share_level_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.profile} for {self.team}"


class Revision(models.Model):
    """One saved state of a profile; never changed afterwards.

    ``spec`` is ``spec_to_json`` of a StackSpec; ``secrets`` the encrypted JSON of its Secrets, empty
    where there are none.
    """

    profile = models.ForeignKey(Profile, on_delete=models.PROTECT, related_name="revisions")
    number = models.PositiveIntegerField()
    spec = models.JSONField()
    secrets = models.BinaryField(default=b"", blank=True)
    digest = models.CharField(max_length=64)
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["profile", "number"], name="revision_number_once")]

    def __str__(self) -> str:
        return f"{self.profile} revision {self.number}"
