"""What a person would see of an operation's deployment, and the work that goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable

from django.urls import reverse
from django.utils import timezone

from deployments.commands.install import install
from deployments.commands.profiles import create_profile
from deployments.domain.actors import Actor
from deployments.domain.spec import StackSpec
from deployments.domain.states import OperationState, Queue
from deployments.models import Cluster, Operation, Team
from deployments.observer.health import reassess
from deployments.workflows.engine import run_operation
from deployments.workflows.plans import PLANS
from deployments.workflows.probe import probe

Page = Callable[[str], str]
SECONDS = 40.0


def begin(
    actor: Actor, team: Team, cluster: Cluster, spec: StackSpec, namespace: str, *, anyway: bool = True
) -> Operation:
    """Ask for an install of ``r1``; ``anyway`` although the preflight would stop what cannot be placed."""
    revision = create_profile(actor, team_id=team.pk, name=f"for {namespace}", spec=spec)
    return install(
        actor, revision_id=revision.pk, cluster_id=cluster.pk, namespace=namespace, name="r1", anyway=anyway
    )


def step(operation: Operation) -> None:
    """Let workers do what is due of an operation, once."""
    Operation.objects.filter(pk=operation.pk, state=OperationState.QUEUED).update(wake_at=None)
    operation.refresh_from_db()
    if operation.state == OperationState.QUEUED:
        run_operation(operation.pk, "test", Queue(operation.queue), PLANS)


def look_again(operation: Operation) -> None:
    """Ask the deployment's pods, and judge its health by what is known now."""
    assert operation.deployment_id is not None
    probe(operation.deployment_id)
    reassess(operation.deployment_id, timezone.now())


def hero(text: str) -> str:
    """The health sentence of a page with its evidence and remedy, as HTML; "" without one."""
    if 'class="hero' not in text:
        return ""
    start = text[text.index('class="hero') :]
    return start[: start.index("</section>")]


def says(page: Page, operation: Operation, *words: str, seconds: float = SECONDS) -> str:
    """Work and watch until the deployment's page says all ``words`` in its health; returns all of that."""
    deadline = time.monotonic() + seconds
    shown = ""
    while time.monotonic() < deadline:
        step(operation)
        look_again(operation)
        shown = hero(page(reverse("deployment", args=[operation.deployment_id])))
        if all(part.lower() in shown.lower() for part in words):
            return shown
        time.sleep(0.1)
    operation.refresh_from_db()
    raise AssertionError(f"{words} are not in: {shown} ({operation.state}: {operation.waiting_for})")


def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)
