"""What is in a cluster besides what Pilothouse installed: its nodes, and what is free on them."""

from __future__ import annotations

from django.db import models

from deployments.models.clusters import Cluster


class ClusterNode(models.Model):
    """One node as it was last seen.

    ``data`` is the trimmed Node object (labels, capacity, allocatable, taints, conditions, info).
    ``requested`` sums what the pods on it ask for, ours and everybody's, in the units of the
    scheduler: CPU in millicores, memory and storage in bytes, anything else as a count. Pods of others
    are kept as these sums only. It is None where the pods of the whole cluster may not be listed.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="nodes")
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    data = models.JSONField()
    resource_version = models.CharField(max_length=64)
    changed_at = models.DateTimeField()
    requested = models.JSONField(null=True)
    pods = models.PositiveIntegerField(default=0)
    summed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["cluster", "name"], name="node_once")]

    def __str__(self) -> str:
        return self.name
