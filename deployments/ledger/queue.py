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

log = logging.getLogger(__name__)


def send_on_commit(operation_id: int, queue: Queue) -> None:
    """Send once the current transaction is committed (at once where there is none)."""
    transaction.on_commit(lambda: send(operation_id, queue))


def send(operation_id: int, queue: Queue) -> bool:
    """Send now. Returns False, and logs, where the broker did not take it."""
    try:
        current_app.send_task(RUN_TASK, args=[operation_id], queue=str(queue), retry=False)
    except (OperationalError, OSError) as error:
        log.warning("operation %s is queued but its message was not sent: %s", operation_id, error)
        return False
    return True
