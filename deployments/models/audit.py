"""The audit: append-only rows, chained by hashes. Written by ``deployments.ledger.audit`` alone.

No foreign keys on purpose: an entry outlives the account, the team and the object it speaks of.
"""

from __future__ import annotations

from django.db import models

from deployments.domain.states import Outcome
from deployments.models.choices import choices


class AuditEntry(models.Model):
    """Who did what on what, from where, with which outcome and why."""

    sequence = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=150)
    source = models.CharField(max_length=200, blank=True)  # an address, or "command line", "worker"
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    team_id = models.BigIntegerField(null=True)
    cluster_id = models.BigIntegerField(null=True)
    operation_id = models.BigIntegerField(null=True)
    outcome = models.CharField(max_length=10, choices=choices(Outcome))
    reason = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    manifest_digest = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-sequence"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-sequence"]),
            models.Index(fields=["team_id", "-sequence"]),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.actor_name} {self.action} {self.object_name}"


class AuditHead(models.Model):
    """The end of the chain: one row, advanced in the transaction of the entry."""

    singleton = models.BooleanField(primary_key=True, default=True)
    sequence = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(singleton=True), name="audit_head_one")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.hash}"
