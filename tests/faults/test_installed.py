"""What befalls a stack that is installed and healthy: its page says it, and that it is over.

A fault may strike for a moment only (a controller makes a pod anew), so the pages are looked at again and
again, as somebody does who has them open.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from deployments.commands.operations import retry
from deployments.commands.uninstall import uninstall
from deployments.domain.actors import Actor
from deployments.domain.spec import GpuVendor, ServerSpec, StackSpec
from deployments.domain.states import OperationKind, OperationState
from deployments.models import Cluster, Deployment, Operation, Team
from tests.faults.conftest import slow_motion, switched
from tests.faults.pages import Page, begin, hero, look_again, says, until
from tests.sandbox_server import RunningSandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)

NAMESPACE = "installed"
POD = f"/api/v1/namespaces/{NAMESPACE}/pods/r1-server-0"
CLAIM = f"/api/v1/namespaces/{NAMESPACE}/persistentvolumeclaims/models-r1-server-0"
SERVER = {"namespace": NAMESPACE, "pod": "r1-server-*"}
MORE_ROOM = "Free disk or memory on the node."


@pytest.fixture
def installed(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> Iterator[Operation]:
    """A healthy stack; it is uninstalled afterwards, since the practice cluster stays."""
    operation = work_off(begin(actor, team, cluster, StackSpec(), NAMESPACE), seconds=60)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    says(page, operation, "Healthy")
    yield operation
    world.clear_faults()
    assert operation.deployment_id is not None
    gone = uninstall(actor, deployment_id=operation.deployment_id, confirmation="r1", delete_data=True)
    assert work_off(gone, seconds=60).state == OperationState.SUCCEEDED


def pod_page(page: Page, operation: Operation) -> str:
    return hero(page(reverse("deployment_pod", args=[operation.deployment_id, "r1-server-0"])))


def test_an_evicted_pod_is_named_and_what_replaces_it_serves(
    installed: Operation, world: RunningSandbox, page: Page
) -> None:
    """A StatefulSet's controller makes the pod anew at once; a Deployment leaves the evicted one, which must
    not stain the stack for ever."""
    # The new pods find no node that takes them, so that the eviction does not pass at once.
    switched(world, "cordon", {"node": "*"})
    switched(world, "evict", {"namespace": NAMESPACE})
    says(
        page,
        installed,
        'class="hero failed"',
        "was evicted: its node ran short.",
        MORE_ROOM,
        "The node was low on resource: ephemeral-storage.",
    )
    world.clear_faults()
    says(page, installed, "Healthy")
    answer = world.request("GET", f"/api/v1/namespaces/{NAMESPACE}/pods")[2]
    assert [p for p in answer["items"] if p["status"].get("reason") == "Evicted"], (
        "the chat's old pod is there"
    )


def test_a_node_that_is_lost_is_named_and_its_pods_find_another(
    installed: Operation, world: RunningSandbox, page: Page
) -> None:
    node = world.request("GET", POD)[2]["spec"]["nodeName"]
    with slow_motion(world):
        switched(world, "node_lost", {"node": node})
        says(
            page,
            installed,
            'class="hero failed"',
            f"The node {node} is gone, and r1-",
            "Another node takes its pods",
        )
        assert f"The node {node} is gone, and r1-server-0 with it." in pod_page(page, installed)
    says(page, installed, "Healthy")
    assert world.request("GET", POD)[2]["spec"]["nodeName"] != node


def test_after_a_trouble_the_pods_are_asked_at_once(
    installed: Operation, world: RunningSandbox, page: Page
) -> None:
    """Else the page would say for half a minute what they answered while their node was silent."""
    rows = Deployment.objects.filter(pk=installed.deployment_id)
    switched(world, "node_not_ready", {"node": "*"})
    says(page, installed, 'class="hero failed"', "does not answer any more")
    probes = rows.get().probes
    assert probes["server"]["answers"] is False
    far = timezone.now() + timedelta(hours=1)
    rows.update(probe_due_at=far)
    world.clear_faults()
    until(lambda: rows.get().probe_due_at < far - timedelta(minutes=30), "the next turn to be moved ahead")


@pytest.mark.parametrize(
    ("kind", "anew", "health", "words", "remedy"),
    [
        (
            "readiness",
            False,
            "degraded",
            "r1-server-0 runs, but fails its readiness probe and gets no requests.",
            "Read the log: why does it not answer?",
        ),
        (
            "liveness",
            False,
            "failed",
            "r1-server-0 fails its liveness probe, and it is started again and again",
            "Read the log: why does it not answer any more?",
        ),
        (
            "startup",
            True,
            "progressing",
            "r1-server-0 has not started yet: its startup probe fails.",
            "Read the log: what does it wait for?",
        ),
    ],
    ids=["readiness", "liveness", "startup"],
)
def test_a_probe_that_fails_is_named(
    installed: Operation,
    world: RunningSandbox,
    page: Page,
    kind: str,
    anew: bool,
    health: str,
    words: str,
    remedy: str,
) -> None:
    switched(world, "probe_failure", {**SERVER, "kind": kind})
    if anew:
        world.request("DELETE", POD, {"gracePeriodSeconds": 0})
    says(page, installed, f'class="hero {health}"', words, remedy, f"{kind.capitalize()} probe failed")
    until(lambda: words in pod_page(page, installed), "the pod's page to say it too")
    world.clear_faults()
    says(page, installed, "Healthy")


def test_a_lost_volume_is_named_and_the_remedy_works(
    installed: Operation, world: RunningSandbox, page: Page
) -> None:
    """Nothing brings the data back: the claim is deleted, the set makes another, the model is pulled anew."""
    words = "The volume behind the claim models-r1-server-0 is gone."
    switched(world, "lost_claims", {"namespace": NAMESPACE})
    # The pod that has the volume mounted still serves.
    says(page, installed, 'class="hero degraded"', words, "Delete the claim and the pods that use it")
    world.request("DELETE", POD, {"gracePeriodSeconds": 0})
    says(page, installed, 'class="hero failed"', words, "bound to non-existent persistentvolume")
    world.clear_faults()
    says(page, installed, 'class="hero failed"', words)  # what is lost stays lost
    world.request("DELETE", CLAIM)
    world.request("DELETE", POD, {"gracePeriodSeconds": 0})
    until(lambda: look_again(installed) or pulls(installed), "the model to be pulled anew")
    work_off(pulls(installed)[0], seconds=60)
    says(page, installed, "Healthy")


def test_an_install_that_its_preflight_stops_says_that_nothing_is_installed(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> None:
    switched(world, "no_gpu", {})
    spec = StackSpec(server=ServerSpec(gpu_vendor=GpuVendor.NVIDIA, gpu_count=1))
    operation = work_off(begin(actor, team, cluster, spec, "nothing", anyway=False), seconds=40)
    assert operation.state == OperationState.FAILED
    text = says(page, operation, "Nothing is installed yet: “Install r1” failed.")
    assert operation.failure in text and operation.failure_remedy in text
    assert "any more" not in text
    world.clear_faults()
    again = work_off(retry(actor, operation_id=operation.pk), seconds=60)
    assert again.state == OperationState.SUCCEEDED, again.failure
    says(page, again, "Healthy")


def pulls(operation: Operation) -> list[Operation]:
    """Those that Pilothouse began by itself."""
    found = Operation.objects.filter(
        kind=OperationKind.PULL, actor=None, deployment_id=operation.deployment_id
    )
    return list(found)
