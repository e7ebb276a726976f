"""What clusters last said about the objects that Pilothouse installed, and when."""

from __future__ import annotations

from django.db import models

from deployments.models.clusters import Cluster
from deployments.models.deployments import Deployment


class ObservedObject(models.Model):
    """One object as it was last seen. ``data`` holds what the pages and the health function read,
    not the whole object; ``resource_version`` is an opaque string of the API server."""

    # Rows are found by the unique place and by (deployment, kind), which begin with these: indexes of their
    # own would be written with each of thousands of rows and never be read.
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="observed", db_index=False)
    deployment = models.ForeignKey(
        Deployment, null=True, on_delete=models.CASCADE, related_name="observed", db_index=False
    )
    kind = models.CharField(max_length=40)
    namespace = models.CharField(max_length=63, blank=True)
    name = models.CharField(max_length=253)
    uid = models.CharField(max_length=64)
    data = models.JSONField()
    resource_version = models.CharField(max_length=64)
    changed_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "kind", "namespace", "name"], name="observed_once")
        ]
        indexes = [models.Index(fields=["deployment", "kind"])]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class WatchState(models.Model):
    """How current the observations of one kind on one cluster are.

    ``confirmed_at`` is when the server last said anything on this watch (an event, a bookmark, a
    list): what is older than a few minutes is not shown as fresh. ``cluster_wide`` is False where
    only the granted namespaces may be listed: then there are no sums of what others use.
    ``clock_ahead`` is by how many seconds the server's clock was ahead of ours, None while not known.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="watches")
    kind = models.CharField(max_length=40)
    resource_version = models.CharField(max_length=64, blank=True)
    listed_at = models.DateTimeField(null=True)
    confirmed_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    cluster_wide = models.BooleanField(default=True)
    clock_ahead = models.FloatField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["cluster", "kind"], name="watch_once")]

    def __str__(self) -> str:
        return f"{self.kind} on {self.cluster_id}"
