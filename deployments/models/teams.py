"""People and the teams they work in."""

from __future__ import annotations

from django.contrib.auth.models import AbstractUser
from django.db import models

from deployments.domain.states import Role, SiteRole
from deployments.models.choices import choices, one_of


class User(AbstractUser):
    """Somebody who can sign in. ``site_role`` stands beside the roles in his teams; ``language`` is the one
    that pages and letters come in ("zh-hans"), "" for that of his browser."""

    site_role = models.CharField(max_length=16, choices=choices(SiteRole), default=SiteRole.NONE, blank=True)
    language = models.CharField(max_length=16, default="", blank=True)

    class Meta(AbstractUser.Meta):
        constraints = [
            models.CheckConstraint(
                condition=models.Q(site_role__in=one_of(SiteRole)), name="user_site_role_known"
            )
        ]


class Team(models.Model):
    """People who own profiles and deployments together.

    ``skeleton`` is the name with look-alike letters made one (see ``domain.team_names``), so that no
    two teams can be mistaken for each other.
    """

    name = models.CharField(max_length=80, unique=True)
    skeleton = models.CharField(max_length=320, unique=True)
    slug = models.SlugField(max_length=80, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One person's role in one team."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=choices(Role))
    # True where the identity provider's claims made it: then only they change it.
    from_claims = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="membership_once"),
            models.CheckConstraint(condition=models.Q(role__in=one_of(Role)), name="membership_role_known"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team}: {self.role}"


class Invitation(models.Model):
    """A link by which one person, known by e-mail address, gets an account or a place in a team.

    Only the digest of the link's token is kept. Without a team it makes an account with a site role or
    none. It ends by being accepted, by being taken back, or by its time.
    """

    team = models.ForeignKey(Team, null=True, on_delete=models.CASCADE, related_name="invitations")
    email = models.EmailField()
    role = models.CharField(max_length=16, choices=choices(Role), blank=True)
    site_role = models.CharField(max_length=16, choices=choices(SiteRole), default=SiteRole.NONE, blank=True)
    token_digest = models.CharField(max_length=64, unique=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True)
    accepted_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    revoked_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(role__in=["", *one_of(Role)]), name="invitation_role_known"
            )
        ]

    def __str__(self) -> str:
        return f"{self.email} to {self.team or 'the site'}"
