"""Celery's entrances: an id comes in, a workflow is called."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.db import close_old_connections

from deployments.domain.states import Queue
from deployments.ledger.queue import RUN_TASK
from deployments.workflows.engine import run_operation
from deployments.workflows.keeper import keeper
from deployments.workflows.plans import PLANS


@shared_task(name=RUN_TASK, bind=True)
def run(task: Task, operation_id: int) -> None:
    """Carry an operation as far as it goes on this queue."""
    queue = Queue(task.request.delivery_info.get("routing_key") or Queue.CONTROL)
    close_old_connections()
    try:
        run_operation(operation_id, _worker_name(), queue, PLANS)
    finally:
        close_old_connections()


@worker_shutting_down.connect
def _give_back(**_: Any) -> None:
    keeper.stop()


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 10000}"
