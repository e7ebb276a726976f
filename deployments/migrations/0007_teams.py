"""Teams that cannot be mistaken for each other, memberships by claims, and invitations."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from deployments.domain.team_names import skeleton

ROLES = ["viewer", "operator", "maintainer", "owner"]


def fill_skeletons(apps, schema_editor):
    for team in apps.get_model("deployments", "Team").objects.all():
        team.skeleton = skeleton(team.name)
        team.save(update_fields=["skeleton"])


class Migration(migrations.Migration):
    dependencies = [("deployments", "0006_audit_proof")]

    operations = [
        migrations.AddField("team", "skeleton", models.CharField(max_length=320, null=True)),
        migrations.RunPython(fill_skeletons, migrations.RunPython.noop),
        migrations.AlterField("team", "skeleton", models.CharField(max_length=320, unique=True)),
        migrations.AddField("membership", "from_claims", models.BooleanField(default=False)),
        migrations.CreateModel(
            name="Invitation",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("email", models.EmailField(max_length=254)),
                (
                    "role",
                    models.CharField(blank=True, choices=[(role, role) for role in ROLES], max_length=16),
                ),
                (
                    "site_role",
                    models.CharField(
                        blank=True,
                        choices=[("", ""), ("auditor", "auditor"), ("admin", "admin")],
                        default="",
                        max_length=16,
                    ),
                ),
                ("token_digest", models.CharField(max_length=64, unique=True)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("expires_at", models.DateTimeField()),
                ("accepted_at", models.DateTimeField(null=True)),
                ("revoked_at", models.DateTimeField(null=True)),
                (
                    "accepted_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "team",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="invitations",
                        to="deployments.team",
                    ),
                ),
            ],
            options={
                "ordering": ["-created_at"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["", *ROLES])), name="invitation_role_known"
                    )
                ],
            },
        ),
    ]
