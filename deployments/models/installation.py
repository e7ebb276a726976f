"""This installation of Pilothouse itself: who it is, and which process holds which lease."""

from __future__ import annotations

import uuid

from django.db import models


class Installation(models.Model):
    """One row. ``uid`` marks what this installation owns on clusters that others use too."""

    singleton = models.BooleanField(primary_key=True, default=True)
    uid = models.UUIDField(default=uuid.uuid4)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(singleton=True), name="installation_one")]

    def __str__(self) -> str:
        return str(self.uid)


class Lease(models.Model):
    """Who does a job now ("cluster:3", "timekeeper"), and until when unless he renews.

    ``epoch`` rises with each new holder, so that a holder who slept can see that he is no longer it.
    """

    name = models.CharField(max_length=80, primary_key=True)
    holder = models.CharField(max_length=120, blank=True)
    expires_at = models.DateTimeField()
    epoch = models.PositiveBigIntegerField(default=0)
    due_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.name} held by {self.holder or 'nobody'}"
