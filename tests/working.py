"""Work off operations in the test's own thread, as workers and the timekeeper would."""

from __future__ import annotations

import time
from datetime import timedelta

from django.utils import timezone

from deployments.domain.states import ACTIVE, OperationState, Queue
from deployments.models import Operation
from deployments.workflows.engine import run_operation
from deployments.workflows.plans import PLANS


def work_off(
    operation: Operation, *, seconds: float = 90.0, until: OperationState | None = None
) -> Operation:
    """Run whatever is due, of any operation, until ``operation`` has ended. Fails after ``seconds``.

    Parked rows are woken at once where they wait for something in the cluster, so that a test takes
    as long as the cluster does and no longer.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        operation.refresh_from_db()
        if OperationState(operation.state).terminal or operation.state == until:
            return operation
        due = Operation.objects.filter(state=OperationState.QUEUED).order_by("pk")
        soon = timezone.now() + timedelta(seconds=3)
        due.filter(wake_at__lte=soon).update(wake_at=None)
        ran = False
        for pk, queue in list(due.filter(wake_at=None).values_list("pk", "queue")):
            run_operation(pk, "test", Queue(queue), PLANS)
            ran = True
        # A condition in the cluster is asked for again at most ten times a second.
        time.sleep(0.02 if ran else 0.1)
    states = list(Operation.objects.filter(state__in=ACTIVE).values_list("title", "state", "waiting_for"))
    raise AssertionError(f"{operation.title} did not end within {seconds} s: {states}")
