"""What a cluster has, from its API to the rows and to what its pages ask for."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.domain.states import Role
from deployments.models import Cluster, ClusterNode, Deployment, ObservedObject, Revision, Team, WatchState
from deployments.selectors.inventory import inventory, nodes
from tests.core.conftest import connected, member
from tests.core.test_observer import make_namespace, pod, wait_for
from tests.core.test_observer_trouble import LIMITED, as_limited, grant, observing
from tests.sandbox_server import RunningSandbox, running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)
__all__ = ["cluster", "world"]


@pytest.fixture(scope="module")
def world() -> Iterator[RunningSandbox]:
    with running_sandbox(tokens={LIMITED: ("limited", ())}) as sandbox:
        for body in (
            a_node("n1", gpus=4),
            a_node("n2", taints=[{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]),
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "IngressClass",
                "metadata": {"name": "nginx"},
                "spec": {"controller": "k8s.io/ingress-nginx"},
            },
        ):
            post(sandbox, body)
        yield sandbox


@pytest.fixture
def cluster(admin: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    yield connected(admin, team, world)
    world.clear_faults()


def post(sandbox: RunningSandbox, body: dict[str, Any], namespace: str = "") -> dict[str, Any]:
    group = f"/apis/{body['apiVersion']}" if "/" in body["apiVersion"] else f"/api/{body['apiVersion']}"
    plural = {"IngressClass": "ingressclasses", "Ingress": "ingresses"}.get(
        body["kind"], body["kind"].lower() + "s"
    )
    path = f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"
    status, _, answer = sandbox.request("POST", path, body)
    assert status == 201, str(answer)
    found: dict[str, Any] = answer
    return found


def a_node(name: str, *, gpus: int = 0, taints: list[dict[str, str]] | None = None) -> dict[str, Any]:
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110"} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    labels = {"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": "a"}
    if gpus:
        labels |= {
            "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
            "nvidia.com/cuda.driver-version.full": "550.54.15",
            "nvidia.com/cuda.runtime-version.full": "12.4",
            "nvidia.com/gfd.timestamp": "1767225600",
            "feature.node.kubernetes.io/cpu-cpuid.AVX2": "true",
            "feature.node.kubernetes.io/pci-10de.present": "true",
        }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": taints or []},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}],
            "nodeInfo": {"kubeletVersion": "v1.36.2", "architecture": "amd64"},
        },
    }


def theirs(name: str, namespace: str, node: str, **labels: str) -> dict[str, Any]:
    requests = {"cpu": "1500m", "memory": "4Gi", "nvidia.com/gpu": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "nodeName": node,
            "containers": [
                {
                    "name": "c",
                    "image": "example.com/x:1",
                    "resources": {"requests": requests, "limits": requests},
                    "ports": [{"name": "metrics", "containerPort": 9400}],
                }
            ],
        },
    }


def test_nodes_show_what_is_free_and_others_pods_are_sums(
    owner: Actor, cluster: Cluster, world: RunningSandbox
) -> None:
    space = f"secret-{uuid.uuid4().hex[:6]}"
    make_namespace(world, space)
    for name in ("a", "b"):
        post(world, theirs(f"hidden-{name}", space, "n1"), space)
    exporter = theirs("dcgm-x", space, "n1", app="nvidia-dcgm-exporter")
    del exporter["spec"]["containers"][0]["resources"]
    post(world, exporter, space)
    service = {"service": {"name": "x", "port": {"number": 80}}}
    path = {"path": "/", "pathType": "Prefix", "backend": service}
    ingress = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": "taken"},
        "spec": {"rules": [{"host": "chat.example.com", "http": {"paths": [path]}}]},
    }
    post(world, ingress, space)
    about = {"kind": "Node", "name": "n1", "apiVersion": "v1"}
    warning = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "n1.1", "namespace": "default"},
        "involvedObject": about,
        "type": "Warning",
        "reason": "SystemOOM",
        "message": "System OOM encountered",
    }
    post(world, warning, "default")
    with observing():
        wait_for(lambda: ClusterNode.objects.filter(name="n1", requested__isnull=False, pods=3).exists())
        wait_for(lambda: inventory(owner, cluster.pk).events)
        found = inventory(owner, cluster.pk)
        node = found.nodes[0]
        gpus, cpu = node.resource("nvidia.com/gpu"), node.resource("cpu")
        assert gpus is not None and (gpus.allocatable, gpus.requested, gpus.free) == (4, 2, 2)
        assert cpu is not None and (cpu.allocatable, cpu.requested, cpu.free) == (8000, 3000, 5000)
        assert (node.ready, node.pods, node.roles, node.zone) == (True, 3, ("worker",), "a")
        assert (node.gpu_product, node.driver, node.cuda) == ("NVIDIA-A100-SXM4-40GB", "550.54.15", "12.4")
        assert (
            set(node.data["labels"])
            & {
                "nvidia.com/gfd.timestamp",
                "feature.node.kubernetes.io/cpu-cpuid.AVX2",
            }
            == set()
        )
        assert found.nodes[1].taints[0]["key"] == "nvidia.com/gpu"
        total = found.total("nvidia.com/gpu")
        assert (total.allocatable, total.requested) == (4, 2) and found.sums_known
        assert [row.name for row in found.ingress_classes] == ["nginx"] and found.hosts == (
            "chat.example.com",
        )
        (exporters,) = found.exporters
        assert (exporters.kind, exporters.node, exporters.ports[0]["port"]) == ("dcgm", "n1", 9400)
        assert found.events[0].data["reason"] == "SystemOOM"
        assert not ObservedObject.objects.filter(name__startswith="hidden").exists()
        world.request("DELETE", f"/api/v1/namespaces/{space}/pods/hidden-a", {"gracePeriodSeconds": 0})
        wait_for(lambda: ClusterNode.objects.filter(name="n1", pods=2).exists())
        post(world, a_node("passing"))
        wait_for(lambda: ClusterNode.objects.filter(name="passing").exists())
        world.request("DELETE", "/api/v1/nodes/passing")
        wait_for(lambda: not ClusterNode.objects.filter(name="passing").exists())


def test_only_who_may_use_the_cluster_sees_its_nodes(owner: Actor, cluster: Cluster) -> None:
    other = Team.objects.create(name="Other", slug="other")
    stranger = member(other, Role.OWNER, "stranger")
    assert inventory(owner, cluster.pk).nodes == ()
    for ask in (inventory, nodes):
        with pytest.raises(NotFound):
            ask(stranger, cluster.pk)


def test_without_the_right_to_list_everywhere_nothing_is_summed(
    team: Team, owner: Actor, cluster: Cluster, revision: Revision, world: RunningSandbox
) -> None:
    space = f"granted-{uuid.uuid4().hex[:6]}"
    make_namespace(world, space)
    grant(world, space)
    deployment = Deployment.objects.create(
        team=team, cluster=cluster, namespace=space, name="r1", revision=revision
    )
    with observing("all-seeing"):
        wait_for(lambda: ClusterNode.objects.filter(requested__isnull=False).exists())
    as_limited(cluster)
    with observing():
        post(world, pod("p", space, deployment.uid), space)
        wait_for(lambda: ObservedObject.objects.filter(kind="Pod", name="p").exists())
        wait_for(lambda: WatchState.objects.filter(kind="Node", cluster_wide=False).exists())
        wait_for(lambda: WatchState.objects.filter(kind="Pod", cluster_wide=False).exists())
        wait_for(lambda: not ClusterNode.objects.exists())
        found = inventory(owner, cluster.pk)
        assert not found.sums_known and "may not" in found.seen["Node"].error
        assert not Cluster.objects.get(pk=cluster.pk).last_error


def test_a_change_of_nothing_that_is_kept_is_not_written(
    team: Team, cluster: Cluster, revision: Revision, world: RunningSandbox
) -> None:
    space = f"quiet-{uuid.uuid4().hex[:6]}"
    make_namespace(world, space)
    deployment = Deployment.objects.create(
        team=team, cluster=cluster, namespace=space, name="r1", revision=revision
    )
    with observing():
        post(world, pod("same", space, deployment.uid), space)
        before = wait_for(lambda: ObservedObject.objects.filter(name="same").first())
        patch = {"metadata": {"annotations": {"note": "of no interest"}}}
        path = f"/api/v1/namespaces/{space}/pods/same"
        headers = {"Content-Type": "application/merge-patch+json"}
        status, _, answer = world.request("PATCH", path, patch, headers=headers)
        assert status == 200 and answer["metadata"]["resourceVersion"] != before.resource_version
        post(world, pod("later", space, deployment.uid), space)
        wait_for(lambda: ObservedObject.objects.filter(name="later").exists())
        after = ObservedObject.objects.get(name="same")
        assert (after.resource_version, after.changed_at) == (before.resource_version, before.changed_at)
