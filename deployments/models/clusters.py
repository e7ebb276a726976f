"""Clusters that Pilothouse can reach, and which teams may use them."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Lower

from deployments.domain.states import Approver
from deployments.models.choices import choices
from deployments.models.teams import Team, User


class Cluster(models.Model):
    """A Kubernetes cluster.

    ``credential`` is the encrypted JSON of the gateway's ClusterCredential; nothing else of it is
    stored in clear but the server's address. ``uid`` is the uid of the kube-system namespace as it
    was first seen: a cluster that answers with another one is another cluster, and while it does
    ``foreign_uid`` holds that one.
    """

    name = models.CharField(max_length=63)
    server = models.CharField(max_length=500)
    credential = models.BinaryField()
    credential_kind = models.CharField(max_length=20)  # token, certificate, in-cluster
    simulated = models.BooleanField(default=False)
    reason_required = models.BooleanField(default=False)  # whoever changes something here says why
    uid = models.CharField(max_length=64, blank=True)
    foreign_uid = models.CharField(max_length=64, blank=True)
    kubernetes_version = models.CharField(max_length=64, blank=True)
    last_seen_at = models.DateTimeField(null=True)
    last_error = models.CharField(max_length=1000, blank=True)
    last_error_remedy = models.CharField(max_length=1000, blank=True)
    last_error_at = models.DateTimeField(null=True)
    version = models.PositiveBigIntegerField(default=1)
    created_at = models.DateTimeField(auto_now_add=True)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    removed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(
                Lower("name"), condition=models.Q(removed_at=None), name="cluster_name_once"
            )
        ]

    def __str__(self) -> str:
        return self.name


class ClusterGrant(models.Model):
    """A team may use a cluster, in the namespaces that match one of the patterns ("*", "llm-*"), up to a
    quota, with models and images from some registries or from any."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="grants")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="grants")
    namespaces = models.JSONField(default=list)
    # Bounds by ``domain.quota``; what is not in it has none. The lists name hosts; empty is any.
    quota = models.JSONField(default=dict)
    model_registries = models.JSONField(default=list)
    image_registries = models.JSONField(default=list)
    # Who has to agree, and to requests for more GPUs than how many; None is to every request.
    approver = models.CharField(max_length=10, choices=choices(Approver), default=Approver.NOBODY, blank=True)
    approve_over_gpus = models.PositiveIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "team"], name="grant_once")]

    def __str__(self) -> str:
        return f"{self.cluster} for {self.team}"
