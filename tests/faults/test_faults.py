"""Each fault that the practice cluster can have, seen where a person would see it: on a page."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone

from deployments.commands.clusters import check_connection
from deployments.domain.actors import Actor
from deployments.domain.spec import GpuVendor, ServerSpec, StackSpec
from deployments.domain.states import ACTIVE, OperationKind, OperationState, Queue
from deployments.models import Cluster, Operation, Team
from deployments.observer.health import reassess
from deployments.workflows.engine import run_operation
from deployments.workflows.plans import PLANS
from deployments.workflows.probe import probe
from tests.faults.conftest import switched
from tests.faults.pages import Page, begin, says, step
from tests.sandbox_server import RunningSandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)

# What a connection check meets, and what its page says.
OF_REQUESTS = [
    ("unauthorized", {}, "stored credential"),
    ("http_5xx", {"code": 503}, "failed to answer"),
    ("html_answer", {}, "HTML"),
    ("http_429", {"retry_after": 1}, "patience"),
    ("drop", {}, "connection"),
]

# What an install meets while its pods start, and what the deployment's page says.
OF_PODS = [
    ("image_pull_error", {"text": "no such host", "pod": "r1-*"}, "image"),
    ("crash_loop", {"code": 3, "pod": "r1-server-*"}, "exit code 3"),
    ("oom", {"pod": "r1-server-*"}, "memory"),
    ("unbound_claims", {}, "claim"),
    ("quota", {"namespace": "{namespace}"}, "quota"),
    ("pod_start_error", {"reason": "FailedMount", "pod": "r1-server-*"}, "cannot be mounted"),
    ("container_error", {"pod": "r1-server-*"}, "driver not loaded"),
    (
        "unschedulable",
        {"text": "0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules.", "pod": "r1-*"},
        "keep replicas apart",
    ),
]

# What makes it impossible to place a pod that wants a GPU.
OF_NODES = [
    ("no_gpu", {}, "GPU"),
    ("taint", {"node": "*", "key": "example.com/reserved"}, "taint"),
    ("node_not_ready", {"node": "*"}, "node"),
    ("cordon", {"node": "*"}, "cordon"),
]

# What a pull meets, and what its page says.
OF_PULLS = [
    ("disk_full", {"at": 0.3}, "no space left on device"),
    ("pull_error", {"text": "pull model manifest: 403: <html>secret-body</html>"}, "403"),
]


@pytest.mark.parametrize(("fault", "params", "words"), OF_REQUESTS, ids=[case[0] for case in OF_REQUESTS])
def test_a_server_that_answers_wrongly_is_named_on_the_clusters_page(
    fault: str,
    params: dict[str, Any],
    words: str,
    actor: Actor,
    cluster: Cluster,
    world: RunningSandbox,
    page: Page,
) -> None:
    work_off(Operation.objects.get(kind=OperationKind.CHECK_CONNECTION))
    switched(world, fault, params | {"path": "/version"})
    check = work_off(check_connection(actor, cluster_id=cluster.pk))
    assert check.state == OperationState.FAILED
    text = page(reverse("cluster", args=[cluster.pk]))
    assert check.failure in text
    assert words.lower() in f"{check.failure} {check.failure_answered} {text}".lower()
    world.clear_faults()
    work_off(check_connection(actor, cluster_id=cluster.pk))
    assert check.failure not in page(reverse("cluster", args=[cluster.pk])), "an answer clears it"


def test_a_slow_server_is_waited_for(
    actor: Actor, cluster: Cluster, world: RunningSandbox, page: Page
) -> None:
    switched(world, "slow", {"seconds": 0.3, "path": "/version"})
    check = work_off(check_connection(actor, cluster_id=cluster.pk))
    assert check.state == OperationState.SUCCEEDED
    assert "v1." in page(reverse("cluster", args=[cluster.pk]))


@pytest.mark.parametrize(("fault", "params", "words"), OF_PODS, ids=[case[0] for case in OF_PODS])
def test_pods_in_trouble_are_explained_on_the_deployments_page(
    fault: str,
    params: dict[str, Any],
    words: str,
    actor: Actor,
    team: Team,
    cluster: Cluster,
    observer: None,
    world: RunningSandbox,
    page: Page,
) -> None:
    namespace = f"fault-{fault.replace('_', '-')}"
    placed = {
        key: value.replace("{namespace}", namespace) if isinstance(value, str) else value
        for key, value in params.items()
    }
    if fault == "quota":
        world.request(
            "POST",
            "/api/v1/namespaces",
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        )
    switched(world, fault, placed)
    operation = begin(actor, team, cluster, StackSpec(), namespace)
    says(page, operation, words)


@pytest.mark.parametrize(("fault", "params", "words"), OF_NODES, ids=[case[0] for case in OF_NODES])
def test_a_pod_that_fits_nowhere_is_explained(
    fault: str,
    params: dict[str, Any],
    words: str,
    actor: Actor,
    team: Team,
    cluster: Cluster,
    observer: None,
    world: RunningSandbox,
    page: Page,
) -> None:
    switched(world, fault, params)
    spec = replace(StackSpec(), server=ServerSpec(gpu_vendor=GpuVendor.NVIDIA, gpu_count=1))
    operation = begin(actor, team, cluster, spec, f"fault-{fault.replace('_', '-')}")
    says(page, operation, words)
    operation.refresh_from_db()
    failed = {item["check"]: item for item in operation.result["findings"] if item["level"] == "fail"}
    assert failed.keys() <= {"fit", "chat_fit", "device_plugin"} and failed, "the preflight knew it"
    assert words.lower() in str(failed).lower()


def test_a_driver_that_is_too_old_is_named_before_the_install(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> None:
    switched(
        world, "node_labels", {"node": "*", "labels": {"nvidia.com/cuda.driver-version.full": "470.82.01"}}
    )
    spec = replace(StackSpec(), server=ServerSpec(gpu_vendor=GpuVendor.NVIDIA, gpu_count=1))
    operation = work_off(begin(actor, team, cluster, spec, "fault-labels", anyway=False))
    assert operation.state == OperationState.FAILED
    says(page, operation, "Nothing is installed yet", operation.failure)
    # Beside the want of room that earlier tests may have left.
    text = page(reverse("operation", args=[operation.pk]))
    assert "The NVIDIA driver is too old" in text and "470.82.01" in text


@pytest.mark.parametrize(("fault", "params", "words"), OF_PULLS, ids=[case[0] for case in OF_PULLS])
def test_a_pull_that_fails_says_why(
    fault: str,
    params: dict[str, Any],
    words: str,
    actor: Actor,
    team: Team,
    cluster: Cluster,
    world: RunningSandbox,
    page: Page,
) -> None:
    switched(world, fault, params)
    operation = begin(actor, team, cluster, StackSpec(), f"fault-{fault.replace('_', '-')}")
    work_off(operation, seconds=40)
    assert operation.state == OperationState.FAILED
    text = page(reverse("operation", args=[operation.pk]))
    assert words in text
    assert "secret-body" not in text, "what a registry echoes is cut"


def test_a_failed_part_is_fetched_again(
    actor: Actor, team: Team, cluster: Cluster, world: RunningSandbox
) -> None:
    switched(world, "failing_pull_part", {"at": 0.4, "times": 1})
    operation = work_off(begin(actor, team, cluster, StackSpec(), "fault-part"), seconds=40)
    assert operation.state == OperationState.SUCCEEDED, operation.failure


def test_a_stall_is_shown_and_ends_when_bytes_come(
    actor: Actor, team: Team, cluster: Cluster, world: RunningSandbox, page: Page, settings: Any
) -> None:
    settings.PULL_STALL_SECONDS = 1
    switched(world, "stalled_pull", {"at": 0.3})
    operation = begin(actor, team, cluster, StackSpec(), "fault-stall")
    deadline = time.monotonic() + 30
    pull = None
    while time.monotonic() < deadline:
        step(operation)
        pull = Operation.objects.filter(kind=OperationKind.PULL).first()
        if pull is not None:
            run_operation(pull.pk, "test", Queue.PULL, PLANS)
            pull.refresh_from_db()
            if pull.waiting_for:
                break
    assert pull is not None
    assert "Nothing arrived" in page(reverse("operation", args=[pull.pk]))
    world.clear_faults()
    work_off(operation, seconds=40)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    pull.refresh_from_db()
    assert pull.pull.attempt >= 2, "it went on with another attempt"


def test_a_model_that_is_lost_again_and_again_is_left_to_a_person(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> None:
    operation = work_off(begin(actor, team, cluster, StackSpec(), "fault-losing"), seconds=40)
    assert operation.state == OperationState.SUCCEEDED and operation.deployment_id is not None
    switched(world, "lost_model", {"namespace": "fault-losing"})
    automatic = Operation.objects.filter(kind=OperationKind.PULL, actor=None)
    for _ in range(5):
        probe(operation.deployment_id)
        for pull in automatic.filter(state__in=ACTIVE):
            work_off(pull, seconds=40)
    assert automatic.count() == 3
    reassess(operation.deployment_id, timezone.now())
    says(page, operation, "The model deepseek-r1:1.5b is not on every server.")


def test_a_lost_model_is_said_and_pulled_again(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> None:
    operation = work_off(begin(actor, team, cluster, StackSpec(), "fault-lost"), seconds=40)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    switched(world, "lost_model", {"namespace": "fault-lost", "times": 1})
    world.clear_faults()
    assert operation.deployment_id is not None
    probe(operation.deployment_id)
    reassess(operation.deployment_id, timezone.now())
    again = Operation.objects.filter(kind=OperationKind.PULL, actor=None).get()
    assert again.actor_name == "Pilothouse"
    work_off(again, seconds=40)
    assert again.state == OperationState.SUCCEEDED
    says(page, operation, "Healthy")
