"""One deployment through one trouble after another: its page says each, and that all is well again."""

from __future__ import annotations

from typing import Any

import pytest

from deployments.domain.actors import Actor
from deployments.domain.spec import StackSpec
from deployments.domain.states import OperationState
from deployments.models import Cluster, Team
from tests.faults.conftest import switched
from tests.faults.pages import Page, begin, says
from tests.sandbox_server import RunningSandbox
from tests.working import work_off

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.long, pytest.mark.timeout(300)]

NAMESPACE = "chain"
SERVER = {"namespace": NAMESPACE, "pod": "r1-server-*"}
WORDS = (
    "0/3 nodes are available: 3 Too many pods. no new claims to deallocate, preemption: "
    "0/3 nodes are available: 3 No preemption victims found for incoming pod."
)
# Fault, its parameters, whether the pod has to begin anew to meet it, the sentence on the page.
CHAIN: list[tuple[str, dict[str, Any], bool, str]] = [
    ("probe_failure", {**SERVER, "kind": "readiness"}, False, "fails its readiness probe"),
    ("crash_loop", {**SERVER, "code": 3}, True, "ends with exit code 3 again and again"),
    ("oom", SERVER, True, "it used more memory than its limit"),
    ("container_error", SERVER, True, "The node's runtime refused to start r1-server-0"),
    ("pod_start_error", {**SERVER, "reason": "FailedMount"}, True, "A volume cannot be mounted."),
    ("unschedulable", {**SERVER, "text": WORDS}, True, "The nodes hold as many pods as they may"),
    ("cordon", {"node": "*"}, True, "The nodes are cordoned"),
    ("node_pressure", {"node": "*", "type": "DiskPressure"}, True, "short of disk"),
    ("node_not_ready", {"node": "*"}, False, "does not answer any more"),
    # A volume that is lost stays lost: the last one.
    (
        "lost_claims",
        {"namespace": NAMESPACE},
        False,
        "The volume behind the claim models-r1-server-0 is gone.",
    ),
]


def test_one_deployment_through_one_trouble_after_another(
    actor: Actor, team: Team, cluster: Cluster, observer: None, world: RunningSandbox, page: Page
) -> None:
    operation = work_off(begin(actor, team, cluster, StackSpec(), NAMESPACE), seconds=60)
    assert operation.state == OperationState.SUCCEEDED, operation.failure
    for fault, params, anew, words in CHAIN:
        says(page, operation, "Healthy")
        switched(world, fault, params)
        if anew:
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/r1-server-0"
            world.request("DELETE", path, {"gracePeriodSeconds": 0})
        says(page, operation, words)
        world.clear_faults()
