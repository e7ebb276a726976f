"""Wishes that somebody else has to agree to before they are carried out."""

from __future__ import annotations

from django.db import models

from deployments.domain.states import Approver
from deployments.models.choices import choices
from deployments.models.deployments import Release
from deployments.models.operations import Operation
from deployments.models.teams import User


class Approval(models.Model):
    """One operation that waits for a yes, or got its answer.

    ``release`` holds the very objects that will be applied and ``digest`` is theirs: whatever else
    changes meanwhile, nothing but these is carried out after a yes.
    """

    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="approval")
    release = models.ForeignKey(Release, on_delete=models.PROTECT, related_name="+")
    digest = models.CharField(max_length=64)
    approver = models.CharField(max_length=10, choices=choices(Approver))
    asked_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    decided_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    decided_by_name = models.CharField(max_length=150, blank=True)
    approved = models.BooleanField(null=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-asked_at"]
        indexes = [models.Index(fields=["decided_at", "expires_at"])]

    def __str__(self) -> str:
        return f"{self.operation}: {self.approved}"
