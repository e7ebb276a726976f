"""Several operations that somebody began with one click, followed together."""

from __future__ import annotations

from django.db import models

from deployments.models.operations import Operation
from deployments.models.profiles import Revision
from deployments.models.teams import User


class Batch(models.Model):
    """A revision applied to several deployments at once.

    ``left_out`` lists those for which no operation could begin, as {"deployment": id, "name": …,
    "why": sentence}; the others are its operations.
    """

    revision = models.ForeignKey(Revision, on_delete=models.PROTECT, related_name="batches")
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    actor_name = models.CharField(max_length=150, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    left_out = models.JSONField(default=list)
    operations = models.ManyToManyField(Operation, related_name="batches")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.revision} for several"
