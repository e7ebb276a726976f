"""Sending work to workers: by the task's name, with nothing but the operation's id.

The row in the database is the outbox. A message that cannot be sent is logged and sent again by the
timekeeper; it never fails the request that caused it.
"""

from __future__ import annotations

import logging

from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError

from deployments.domain.states import Queue

RUN_TASK = "deployments.run_operation"
PROBE_TASK = "deployments.probe"
SAMPLE_TASK = "deployments.sample_gpus"
ROLL_UP_TASK = "deployments.roll_up_gpus"
FORGET_SERIES_TASK = "deployments.forget_gpu_series"
VERIFY_AUDIT_TASK = "deployments.verify_audit"
PRUNE_AUDIT_TASK = "deployments.prune_audit"

log = logging.getLogger(__name__)


def send_on_commit(operation_id: int, queue: Queue) -> None:
    """Send once the current transaction is committed (at once where there is none)."""
    transaction.on_commit(lambda: send(operation_id, queue))


def send(operation_id: int, queue: Queue) -> bool:
    """Send now. Returns False, and logs, where the broker did not take it."""
    return _send(RUN_TASK, operation_id, queue)


def send_probe(deployment_id: int) -> bool:
    """Ask a worker to ask a deployment how it is. Nothing is lost with the message: the next turn comes."""
    return _send(PROBE_TASK, deployment_id, Queue.SAMPLE)


def send_sample(cluster_id: int, expires: float) -> bool:
    """Ask a worker to sample a cluster's GPUs; where none does within ``expires`` seconds, the next
    round comes instead."""
    return _send(SAMPLE_TASK, cluster_id, Queue.SAMPLE, expires)


def send_roll_up() -> bool:
    """Ask a worker to roll up the GPUs' figures."""
    return _send(ROLL_UP_TASK, 0, Queue.SAMPLE, 300)


def send_forget_series() -> bool:
    """Ask a worker to delete figures of GPUs that are older than they are kept for."""
    return _send(FORGET_SERIES_TASK, 0, Queue.SAMPLE, 3600)


def send_verification(verification_id: int) -> bool:
    """Ask a worker to walk the audit's chain; the timekeeper asks again where it does not begin."""
    return _send(VERIFY_AUDIT_TASK, verification_id, Queue.SAMPLE)


def send_pruning() -> bool:
    """Ask a worker to delete audit entries that are older than they are kept for."""
    return _send(PRUNE_AUDIT_TASK, 0, Queue.SAMPLE)


def _send(task: str, identity: int, queue: Queue, expires: float | None = None) -> bool:
    try:
        current_app.send_task(task, args=[identity], queue=str(queue), retry=False, expires=expires)
    except (OperationalError, OSError) as error:
        log.warning("%s(%s) was not sent: %s", task, identity, error)
        return False
    return True
