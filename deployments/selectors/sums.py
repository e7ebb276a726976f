"""Sums over the whole site for a monitor: numbers only, so that they need no caller."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Count, Min, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from deployments.domain.states import OperationState
from deployments.models import Cluster, Operation

SILENT_AFTER = timedelta(minutes=2)


def operation_counts() -> dict[str, int]:
    """How many operations there are in each state, also where there are none."""
    found = dict(Operation.objects.values_list("state").annotate(n=Count("pk")).order_by())
    return {str(state): found.get(str(state), 0) for state in OperationState}


def oldest_queued_seconds() -> float:
    """How long the oldest operation that could run has waited for a worker; 0 where none does."""
    now = timezone.now()
    due = Operation.objects.filter(Q(wake_at=None) | Q(wake_at__lte=now), state=OperationState.QUEUED)
    since = due.aggregate(since=Min(Coalesce("wake_at", "created_at")))["since"]
    return max(0.0, (now - since).total_seconds()) if since else 0.0


def silent_clusters() -> int:
    """How many connected clusters were not seen lately, or never."""
    before = timezone.now() - SILENT_AFTER
    return Cluster.objects.filter(removed_at=None).exclude(last_seen_at__gte=before).count()
