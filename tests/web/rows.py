"""Rows for the tests of pages: written directly, as if workers and the observer had been there."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.utils import timezone

from deployments.commands.plans import STEPS
from deployments.domain.spec import StackSpec, spec_to_json
from deployments.domain.states import Health, OperationKind, OperationState, Role, SiteRole, StepState
from deployments.models import (
    Cluster,
    Deployment,
    Membership,
    ObservedObject,
    Operation,
    OperationStep,
    Profile,
    PullProgress,
    PullWaiter,
    Release,
    Revision,
    Team,
    User,
)


def person(name: str, team: Team | None = None, role: Role = Role.OWNER, site: str = SiteRole.NONE) -> User:
    user = User.objects.create_user(name, password="not-a-real-password", site_role=site)
    if team is not None:
        Membership.objects.create(team=team, user=user, role=role)
    return user


def cluster(name: str = "practice", **values: Any) -> Cluster:
    return Cluster.objects.create(
        name=name, server="https://127.0.0.1:6443", credential=b"", credential_kind="token", **values
    )


def revision(team: Team, name: str = "small", spec: StackSpec | None = None) -> Revision:
    profile, _ = Profile.objects.get_or_create(team=team, name=name)
    number = profile.revisions.count() + 1
    return Revision.objects.create(
        profile=profile, number=number, spec=spec_to_json(spec or StackSpec()), digest="0" * 64
    )


def deployment(revision: Revision, cluster: Cluster, name: str = "r1", **values: Any) -> Deployment:
    defaults: dict[str, Any] = {
        "namespace": "llm",
        "health": Health.HEALTHY,
        "health_sentence": "It answers.",
    }
    return Deployment.objects.create(
        cluster=cluster,
        name=name,
        revision=revision,
        **{"team": revision.profile.team, **defaults, **values},
    )


def operation(
    deployment: Deployment,
    kind: OperationKind = OperationKind.INSTALL,
    state: OperationState = OperationState.RUNNING,
    at: str = "",
    **values: Any,
) -> Operation:
    """An operation that began a minute ago and stands at the step named ``at``, or the first one."""
    now = timezone.now()
    here = STEPS[kind].index(at) if at else 0
    row = Operation.objects.create(
        kind=kind,
        state=state,
        team=deployment.team,
        cluster=deployment.cluster,
        deployment=deployment,
        title=f"{kind} {deployment.name}",
        actor_name="somebody",
        started_at=now - timedelta(minutes=1),
        finished_at=now if state.terminal else None,
        step=here,
        **values,
    )
    for position, name in enumerate(STEPS[kind]):
        done = position < here or state is OperationState.SUCCEEDED
        step = StepState.DONE if done else StepState.RUNNING if position == here else StepState.TODO
        OperationStep.objects.create(operation=row, position=position, name=name, state=step)
    return row


def pull(waiter: Operation, completed: int, total: int, **values: Any) -> PullProgress:
    """A running pull that an operation waits for."""
    assert waiter.deployment is not None
    row = operation(waiter.deployment, OperationKind.PULL, request={"model": "deepseek-r1:1.5b"})
    PullWaiter.objects.create(pull=row, operation=waiter)
    defaults = {"phase": "downloading", "attempt": 1, "pod": f"r1-server-{row.pk}"}
    return PullProgress.objects.create(
        operation=row,
        cluster=waiter.deployment.cluster,
        namespace="llm",
        volume=f"claim:{row.pk}",
        model="deepseek-r1:1.5b",
        completed=completed,
        total=total,
        expected=total,
        **{**defaults, **values},
    )


def release(deployment: Deployment, number: int, manifests: list[dict[str, Any]]) -> Release:
    return Release.objects.create(
        deployment=deployment,
        number=number,
        revision=deployment.revision,
        spec=deployment.revision.spec,
        manifests=manifests,
        digest=str(number) * 64,
        cause="install",
        applied_at=timezone.now(),
    )


def seen(deployment: Deployment, kind: str, name: str, data: dict[str, Any]) -> ObservedObject:
    return ObservedObject.objects.create(
        cluster=deployment.cluster,
        deployment=deployment,
        kind=kind,
        namespace="llm",
        name=name,
        uid=f"{kind}-{name}",
        data=data,
        resource_version="1",
        changed_at=timezone.now(),
    )
