"""Celery's entrances: an id comes in, a workflow is called."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

from celery import Task, shared_task
from celery.signals import worker_shutting_down
from django.db import close_old_connections
from django.utils import timezone

from deployments.domain.states import EPHEMERAL, OperationState, Queue
from deployments.ledger.queue import (
    FORGET_SERIES_TASK,
    PROBE_TASK,
    PRUNE_AUDIT_TASK,
    ROLL_UP_TASK,
    RUN_TASK,
    SAMPLE_TASK,
    VERIFY_AUDIT_TASK,
)
from deployments.logs import log_context
from deployments.models import Operation
from deployments.observer.health import reassess
from deployments.workflows import audit, rollup
from deployments.workflows.engine import run_operation
from deployments.workflows.keeper import keeper
from deployments.workflows.plans import PLANS
from deployments.workflows.probe import probe
from deployments.workflows.sample import sample


@shared_task(name=RUN_TASK, bind=True)
def run(task: Task[[int], None], operation_id: int) -> None:
    """Carry an operation as far as it goes on this queue."""
    queue = Queue((task.request.delivery_info or {}).get("routing_key") or Queue.CONTROL)
    close_old_connections()
    try:
        run_operation(operation_id, _worker_name(), queue, PLANS)
        _judge(operation_id)
    finally:
        close_old_connections()


@shared_task(name=PROBE_TASK)
def ask(deployment_id: int) -> None:
    """Ask a deployment's pods and chat how they are, and judge its health by the answers."""
    close_old_connections()
    try:
        with log_context(deployment=deployment_id):
            probe(deployment_id)
            reassess(deployment_id, timezone.now())
    finally:
        close_old_connections()


@shared_task(name=VERIFY_AUDIT_TASK)
def verify_audit(verification_id: int) -> None:
    """Walk the audit's chain."""
    close_old_connections()
    try:
        audit.verify(verification_id)
    finally:
        close_old_connections()


@shared_task(name=PRUNE_AUDIT_TASK)
def prune_audit(_nothing: int) -> None:
    """Delete audit entries that are older than they are kept for."""
    close_old_connections()
    try:
        audit.prune()
    finally:
        close_old_connections()


@shared_task(name=SAMPLE_TASK)
def sample_gpus(cluster_id: int) -> None:
    """Take a round of a cluster's GPUs."""
    close_old_connections()
    try:
        with log_context(cluster=cluster_id):
            sample(cluster_id)
    finally:
        close_old_connections()


@shared_task(name=ROLL_UP_TASK)
def roll_up_gpus(_nothing: int) -> None:
    """Roll up what has come in of all GPUs."""
    close_old_connections()
    try:
        rollup.roll_up_due()
    finally:
        close_old_connections()


@shared_task(name=FORGET_SERIES_TASK)
def forget_gpu_series(_nothing: int) -> None:
    """Delete figures of GPUs that are older than they are kept for."""
    close_old_connections()
    try:
        rollup.forget_old()
    finally:
        close_old_connections()


def _judge(operation_id: int) -> None:
    """After a change to a deployment: look again at once, not at the next turn."""
    operation = Operation.objects.filter(pk=operation_id).first()
    if operation is None or operation.deployment_id is None or operation.kind in EPHEMERAL:
        return
    if OperationState(operation.state).terminal:
        probe(operation.deployment_id)
    reassess(operation.deployment_id, timezone.now())


@worker_shutting_down.connect
def _give_back(**_: Any) -> None:
    keeper.stop()


def _worker_name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{threading.get_ident() % 10000}"
