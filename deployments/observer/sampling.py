"""When GPUs are sampled, rolled up and forgotten: what is due goes to the workers by name.

A cluster's rounds lie on a grid of 15 seconds, whatever moment the timekeeper looks at it, so that the
points of a series are equally far apart. A round that no worker took is not caught up with: its message
expires, and the next one is as good.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta

from deployments.domain.gpus import SAMPLE_EVERY
from deployments.ledger import queue
from deployments.models import GpuSampling
from deployments.selectors import system

SENDING = 2.0  # seconds of one turn
ROLL_UP_EVERY = timedelta(minutes=5)
FORGET_EVERY = timedelta(hours=1)


def sample_due(now: datetime) -> int:
    """Have workers sample the clusters whose turn it is; the turn is moved on first, so that two
    observers which both think they keep the time ask once. Returns how many were sent."""
    sent = 0
    enough = time.monotonic() + SENDING
    begin_new(now)
    due = GpuSampling.objects.filter(due_at__lte=now, cluster__in=system.watched_clusters())
    for cluster_id in due.order_by("due_at").values_list("cluster_id", flat=True)[: system.LIMIT]:
        if time.monotonic() > enough:
            break
        if GpuSampling.objects.filter(cluster_id=cluster_id, due_at__lte=now).update(due_at=next_turn(now)):
            sent += queue.send_sample(cluster_id, SAMPLE_EVERY.total_seconds())
    return sent


def begin_new(now: datetime) -> None:
    """Give clusters that were connected meanwhile their first turn, at once."""
    missing = system.watched_clusters().filter(gpu_sampling=None).values_list("pk", flat=True)
    new = [GpuSampling(cluster_id=pk, due_at=now) for pk in missing]
    if new:
        GpuSampling.objects.bulk_create(new, ignore_conflicts=True)


def next_turn(now: datetime) -> datetime:
    """The next point of the grid."""
    seconds = SAMPLE_EVERY.total_seconds()
    return datetime.fromtimestamp((now.timestamp() // seconds + 1) * seconds, now.tzinfo)


def roll_up_due(now: datetime) -> bool:
    """Have a worker roll up what has come in since the last time; safe to ask for twice."""
    return queue.send_roll_up()


def forget_series_due(now: datetime) -> bool:
    """Have a worker delete series that are older than they are kept for."""
    return queue.send_forget_series()
