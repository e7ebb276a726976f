"""Installed stacks: the deployment, what was applied for it, and what of the cluster is its own."""

from __future__ import annotations

import secrets
import uuid

from django.db import models

from deployments.domain.states import Health
from deployments.models.choices import choices, one_of
from deployments.models.clusters import Cluster
from deployments.models.profiles import Revision
from deployments.models.teams import Team, User


def new_public_id() -> str:
    """A DNS label for the chat's host: 10 characters that start with a letter."""
    return "d" + "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(9))


class Deployment(models.Model):
    """One stack: team x cluster x namespace x name, at a revision.

    ``health`` and its words are the last assessment, written by the observer; ``version`` rises with
    every change that a page shows.
    """

    uid = models.UUIDField(default=uuid.uuid4, unique=True)
    public_id = models.CharField(max_length=16, default=new_public_id, unique=True)
    team = models.ForeignKey(Team, on_delete=models.PROTECT, related_name="deployments")
    cluster = models.ForeignKey(Cluster, on_delete=models.PROTECT, related_name="deployments")
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=63)
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="deployments")
    made_namespace = models.BooleanField(default=False)
    namespace_uid = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    removed_at = models.DateTimeField(null=True)
    # What it may come to take of the cluster (``domain.quota``), as it was asked for last.
    demand = models.JSONField(default=dict)

    health = models.CharField(max_length=16, choices=choices(Health), default=Health.UNKNOWN)
    health_sentence = models.CharField(max_length=500, blank=True)
    health_evidence = models.JSONField(default=list)
    health_remedy = models.CharField(max_length=500, blank=True)
    health_since = models.DateTimeField(null=True)
    observed_at = models.DateTimeField(null=True)
    probes = models.JSONField(default=dict)  # what asking Ollama and chat last said, with times
    probe_due_at = models.DateTimeField(null=True)  # None: nothing is applied yet, so nobody to ask
    version = models.PositiveBigIntegerField(default=1)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                fields=["cluster", "namespace", "name"],
                condition=models.Q(removed_at=None),
                name="deployment_place_once",
            ),
            models.CheckConstraint(
                condition=models.Q(health__in=one_of(Health)), name="deployment_health_known"
            ),
        ]
        indexes = [
            models.Index(fields=["team", "removed_at"]),
            models.Index(fields=["probe_due_at"], condition=models.Q(removed_at=None), name="probe_due"),
        ]

    def __str__(self) -> str:
        return f"{self.cluster.name}/{self.namespace}/{self.name}"


class Release(models.Model):
    """What was applied once. ``manifests`` are the objects in apply order with secrets masked,
    ``sealed`` the encrypted originals of the masked ones, ``digest`` that of the originals."""

    deployment = models.ForeignKey(Deployment, on_delete=models.PROTECT, related_name="releases")
    number = models.PositiveIntegerField()
    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="releases")
    spec = models.JSONField()
    manifests = models.JSONField()
    sealed = models.BinaryField(default=b"", blank=True)
    digest = models.CharField(max_length=64)
    cause = models.CharField(max_length=20)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    applied_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-number"]
        constraints = [models.UniqueConstraint(fields=["deployment", "number"], name="release_number_once")]

    def __str__(self) -> str:
        return f"{self.deployment} release {self.number}"


class OwnedObject(models.Model):
    """An object on the cluster that exists because of a deployment, with the uid first seen.

    Deleting and pruning touch only what stands here, and only under its uid. ``by_controller`` marks
    claims that a StatefulSet's controller made from our template.
    """

    deployment = models.ForeignKey(Deployment, on_delete=models.CASCADE, related_name="owned")
    api_version = models.CharField(max_length=80)
    kind = models.CharField(max_length=80)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    by_controller = models.BooleanField(default=False)
    seen_at = models.DateTimeField(auto_now_add=True)
    gone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["deployment", "kind", "namespace", "name", "uid"], name="owned_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
