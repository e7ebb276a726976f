"""The preflight against a live API server: every check that needs one, and the gate before an apply."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from deployments.commands.install import install, upgrade
from deployments.commands.operations import cancel, retry
from deployments.commands.profiles import create_profile
from deployments.commands.questions import preflight, preflight_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Denied
from deployments.domain.spec import (
    AutoscalingSpec,
    GpuVendor,
    ModelSpec,
    ResourceSpec,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
)
from deployments.domain.states import OperationState, Queue, Role
from deployments.models import AuditEntry, Cluster, ClusterGrant, Operation, Team
from deployments.workflows.engine import run_operation
from deployments.workflows.plans import PLANS
from tests.core.conftest import connected, member
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)

LIMITED = "limited-token"
MERGE = {"Content-Type": "application/merge-patch+json"}
GPU = "nvidia.com/gpu"
DRIVER = {"nvidia.com/cuda.driver-version.full": "550.54.15", "nvidia.com/cuda.runtime-version.full": "12.4"}
STANDARD = {
    "metadata": {"name": "standard", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "ebs.csi.aws.com",
    "volumeBindingMode": "WaitForFirstConsumer",
}


class Plot:
    """An API server on which a test lays what it needs; all of it goes afterwards."""

    def __init__(self, sandbox: RunningSandbox) -> None:
        self.sandbox = sandbox
        self.laid: list[str] = []

    def lay(self, path: str, body: dict[str, Any], status: dict[str, Any] | None = None) -> None:
        code, _headers, said = self.sandbox.request("POST", path, body)
        assert code == 201, said
        one = f"{path}/{body['metadata']['name']}"
        self.laid.append(one)
        if status is not None:
            code, _headers, said = self.sandbox.request("PATCH", f"{one}/status", {"status": status}, MERGE)
            assert code == 200, said

    def node(
        self,
        name: str,
        *,
        taints: Any = None,
        labels: Any = None,
        cordoned: bool = False,
        broken: bool = False,
        **has: Any,
    ) -> None:
        amounts = {"cpu": "32", "memory": "128Gi", "pods": "110"}
        amounts |= {key.replace("gpu", GPU): str(value) for key, value in has.items()}
        body = {"metadata": {"name": name, "labels": labels or {}}}
        body["spec"] = {"unschedulable": cordoned}
        ready = [{"type": "Ready", "status": "True"}]
        offered = {**amounts, GPU: "0"} if broken else amounts
        self.lay("/api/v1/nodes", body, {"capacity": amounts, "allocatable": offered, "conditions": ready})
        # Admission taints a new node as not ready, and nobody here takes that away.
        self.sandbox.request("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": taints}}, MERGE)

    def pod(
        self, node: str, *, phase: str = "Running", labels: Any = None, space: str = "default", **asks: Any
    ) -> None:
        requests = {key.replace("gpu", GPU): str(value) for key, value in asks.items()}
        limits = {key: value for key, value in requests.items() if "/" in key}
        container = {"name": "c", "image": "x", "resources": {"requests": requests, "limits": limits}}
        body = {"metadata": {"name": f"p-{uuid.uuid4().hex[:8]}", "labels": labels or {}}}
        body["spec"] = {"nodeName": node, "containers": [container]}
        self.lay(f"/api/v1/namespaces/{space}/pods", body, {"phase": phase})

    def namespace(self, **labels: str) -> str:
        name = f"p-{uuid.uuid4().hex[:8]}"
        self.lay("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        return name

    def clear(self) -> None:
        for one in reversed(self.laid):
            options = {"gracePeriodSeconds": 0} if "/pods/" in one else None
            self.sandbox.request("DELETE", one, options)


@pytest.fixture(scope="module")
def server() -> Iterator[RunningSandbox]:
    with running_sandbox(tokens={LIMITED: ("limited", ())}) as sandbox:
        sandbox.request("POST", "/apis/storage.k8s.io/v1/storageclasses", STANDARD)
        yield sandbox


@pytest.fixture
def plot(server: RunningSandbox) -> Iterator[Plot]:
    laid = Plot(server)
    yield laid
    laid.clear()


@pytest.fixture
def cluster(admin: Actor, team: Team, server: RunningSandbox) -> Cluster:
    return connected(admin, team, server)


Ask = Callable[..., dict[str, dict[str, Any]]]


@pytest.fixture
def ask(owner: Actor, team: Team, cluster: Cluster) -> Ask:
    """Preflight of a spec: findings by check, with the operation's result under "result"."""

    def asked(spec: StackSpec, space: str = "", on: Cluster = cluster) -> dict[str, Any]:
        name = f"profile-{uuid.uuid4().hex[:6]}"
        revision = create_profile(owner, team_id=team.pk, name=name, spec=spec)
        space = space or f"p-{uuid.uuid4().hex[:8]}"
        operation = preflight(owner, revision_id=revision.pk, cluster_id=on.pk, namespace=space, name="one")
        work_off(operation)
        assert operation.state == OperationState.SUCCEEDED, operation.failure
        found = {finding["check"]: finding for finding in operation.result["findings"]}
        return {**found, "result": operation.result}

    return asked


def gpus(count: int = 1, replicas: int = 1, **more: Any) -> StackSpec:
    server = ServerSpec(gpu_vendor=GpuVendor.NVIDIA, gpu_count=count, replicas=replicas, **more)
    return replace(StackSpec(), server=server)


def row(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(row for row in found["result"]["fit"]["rows"] if row["name"] == name)


# -- room -----------------------------------------------------------------------------------------------


def test_each_replica_takes_its_share_of_what_others_left(plot: Plot, ask: Ask) -> None:
    plot.node("full", gpu=4, labels=DRIVER)
    plot.pod("full", gpu=3, cpu="500m")
    plot.pod("full", gpu=4, phase="Succeeded")
    plot.node("free", gpu=2, labels=DRIVER)
    plot.node("plain")
    found = ask(gpus(1, replicas=3))
    assert found["fit"]["level"] == "pass", found["result"]["fit"]["rows"]
    assert {name: row(found, name)["takes"] for name in ("full", "free", "plain")} == {
        "full": 1,
        "free": 2,
        "plain": 0,
    }
    assert row(found, "full")["gpus"] == {"held": 3, "new": 1, "free": 0, "broken": 0}
    assert row(found, "plain")["reasons"] == [f"needs 1 {GPU}, has none"]

    found = ask(gpus(1, replicas=4))
    assert found["fit"]["level"] == "fail"
    assert found["fit"]["title"] == "1 of 4 server pods finds no node"
    assert f"2 with too little {GPU} free" in found["fit"]["evidence"]
    assert f"1 with too little {GPU};" in found["fit"]["evidence"]
    assert found["result"]["fit"]["rows"][0]["name"] == "plain", "worst first"


def test_replicas_that_would_stand_on_one_node_are_a_warning(plot: Plot, ask: Ask) -> None:
    plot.node("only", gpu=4, labels=DRIVER)
    found = ask(gpus(1, replicas=2))
    assert (found["fit"]["level"], found["spread"]["level"]) == ("pass", "warn")
    assert "only" in found["spread"]["title"]


def test_taints_and_cordons_are_named_with_their_way_out(plot: Plot, ask: Ask) -> None:
    plot.node("tainted", gpu=4, taints=[{"key": "example.com/team", "value": "x", "effect": "NoSchedule"}])
    assert ask(gpus())["fit"]["remedy"] == "Add the toleration in the profile, or take the taint away."
    plot.node("cordoned", gpu=4, cordoned=True)
    found = ask(gpus())
    assert found["fit"]["level"] == "fail"
    assert "kubectl uncordon cordoned" in found["fit"]["remedy"]
    assert row(found, "tainted")["reasons"] == ["taint example.com/team=x:NoSchedule is not tolerated"]
    assert row(found, "tainted")["never"] and not row(found, "cordoned")["never"]
    # What the cluster says of itself ends with its cause.
    plot.node("short", gpu=4, taints=[{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}])
    found = ask(gpus())
    assert row(found, "short")["reasons"] == ["the node has run short of disk"]
    assert not row(found, "short")["never"]
    assert "4 of 12" not in found["gpus"]["title"] and "on 3 nodes" in found["gpus"]["title"]
    # The one that GPU nodes usually carry is tolerated.
    usual = {"key": GPU, "value": "present", "effect": "NoSchedule"}
    plot.node("usual", gpu=1, taints=[usual], labels=DRIVER)
    assert row(ask(gpus()), "usual")["takes"] == 1


def test_a_device_plugin_that_finds_every_card_broken_is_not_to_be_installed_anew(
    plot: Plot, ask: Ask
) -> None:
    plot.node("a", gpu=4, broken=True)
    found = ask(gpus())["device_plugin"]
    assert "no device is healthy" in found["evidence"]
    assert found["remedy"] == "Look at the device plugin's pods and at the driver on these nodes."


def test_pods_that_the_apply_replaces_make_room_for_their_successors(
    plot: Plot, owner: Actor, team: Team, cluster: Cluster
) -> None:
    plot.node("a", gpu=4, labels=DRIVER)
    revision = create_profile(owner, team_id=team.pk, name="big", spec=gpus(4))
    operation = install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace="default", name="big"
    )
    assert operation.deployment is not None
    labels = {"pilothouse.io/deployment": str(operation.deployment.uid)}
    plot.pod("a", gpu=4, labels={**labels, "app.kubernetes.io/component": "server"})
    run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
    step = operation.steps.get(name="preflight")
    assert step.state == "done", step.detail


def test_an_autoscaler_makes_a_no_a_perhaps(plot: Plot, ask: Ask) -> None:
    plot.node("a", gpu=1, labels=DRIVER)
    body = {"metadata": {"name": "cluster-autoscaler-status"}}
    plot.lay("/api/v1/namespaces/kube-system/configmaps", body)
    found = ask(gpus(2))
    assert found["fit"]["level"] == "cannot_tell"
    assert "the cluster autoscaler may add a node" in found["fit"]["evidence"]


def test_a_volume_in_another_zone_keeps_the_server_off_the_free_gpus(plot: Plot, ask: Ask) -> None:
    space = plot.namespace()
    plot.node("far", gpu=4, labels={**DRIVER, "zone": "one"})
    plot.node("near", labels={"zone": "two"})
    terms = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["two"]}]}]
    volume = {
        "metadata": {"name": f"v-{space}"},
        "spec": {
            "capacity": {"storage": "50Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/x"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
        },
    }
    plot.lay("/api/v1/persistentvolumes", volume)
    claim = {
        "metadata": {"name": "cache"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "50Gi"}},
            "volumeName": f"v-{space}",
        },
    }
    bound = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "50Gi"}}
    plot.lay(f"/api/v1/namespaces/{space}/persistentvolumeclaims", claim, bound)
    spec = replace(gpus(), storage=StorageSpec(StorageMode.EXISTING, claim_name="cache"))
    found = ask(spec, space)
    assert found["storage"]["level"] == "pass"
    assert found["fit"]["level"] == "fail"
    assert row(found, "far")["reasons"] == ["the volume cannot be reached from this node"]


def test_a_claim_that_another_pod_holds_is_named_with_its_node(plot: Plot, ask: Ask) -> None:
    space = plot.namespace()
    plot.node("a")
    claim = {"metadata": {"name": "cache"}}
    claim["spec"] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "500Mi"}}}
    bound = {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "500Mi"}}
    plot.lay(f"/api/v1/namespaces/{space}/persistentvolumeclaims", claim, bound)
    pod = {"metadata": {"name": "other"}}
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "cache"}}]
    pod["spec"] = {"nodeName": "a", "containers": [{"name": "c", "image": "x"}], "volumes": volumes}
    plot.lay(f"/api/v1/namespaces/{space}/pods", pod, {"phase": "Running"})
    storage = StorageSpec(StorageMode.EXISTING, claim_name="cache")
    found = ask(replace(StackSpec(), storage=storage), space)
    assert found["claim_held"]["level"] == "warn"
    assert "other on a, access modes ReadWriteOnce" in found["claim_held"]["evidence"]
    assert found["claim_size"]["level"] == "warn", "500 MiB are less than the model"
    said_shared = replace(storage, claim_read_write_many=True)
    twice = ask(replace(StackSpec(), storage=said_shared, server=ServerSpec(replicas=2)), space)
    assert twice["storage"]["level"] == "fail"
    assert "one node only, and 2 replicas want it" in twice["storage"]["title"]


def test_growing_and_zones_are_warned_of(plot: Plot, ask: Ask) -> None:
    at_once = {"metadata": {"name": "at-once"}, "provisioner": "example.com/disks"}
    plot.lay("/apis/storage.k8s.io/v1/storageclasses", at_once)
    for zone in ("one", "two"):
        plot.node(zone, gpu=1, labels={**DRIVER, "topology.kubernetes.io/zone": zone})
    spec = gpus(autoscaling=AutoscalingSpec(enabled=True, min_replicas=2, max_replicas=5))
    found = ask(replace(spec, storage=StorageSpec(storage_class="at-once")))
    assert (found["fit"]["level"], found["fit_scaled"]["level"]) == ("pass", "warn")
    assert found["fit_scaled"]["title"] == "Autoscaling ends at 2 of 5 server pods"
    assert found["storage_zone"]["level"] == "warn"


def test_without_the_right_to_look_nobody_can_tell(
    plot: Plot, ask: Ask, admin: Actor, team: Team, server: RunningSandbox
) -> None:
    plot.node("a", gpu=4, labels=DRIVER)
    known = json.loads(json.dumps(server.kubeconfig))
    known["users"][0]["user"] = {"token": LIMITED}
    before = server.kubeconfig_path.read_text()
    server.kubeconfig_path.write_text(json.dumps(known))
    try:
        limited = connected(admin, team, server, name="limited")
    finally:
        server.kubeconfig_path.write_text(before)
    found = ask(gpus(), on=limited)
    assert found["fit"]["level"] == "cannot_tell"
    assert "nodes" in found["fit"]["evidence"]

    role = {"metadata": {"name": f"look-{uuid.uuid4().hex[:6]}"}}
    role["rules"] = [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]
    base = "/apis/rbac.authorization.k8s.io/v1"
    plot.lay(f"{base}/clusterroles", role)
    reference = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole",
        "name": role["metadata"]["name"],
    }
    binding = {"metadata": role["metadata"], "roleRef": reference}
    binding["subjects"] = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "limited"}]
    plot.lay(f"{base}/clusterrolebindings", binding)
    found = ask(gpus(), on=limited)
    assert found["fit"]["level"] == "cannot_tell"
    assert "pods" in found["fit"]["evidence"]
    assert found["gpus"]["level"] == "cannot_tell"
    found = ask(gpus(8), on=limited)
    assert found["fit"]["level"] == "fail", "too small is too small whatever stands on it"


# -- GPUs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        ({}, "none of 1 nodes has"),
        ({"feature.node.kubernetes.io/pci-10de.present": "true"}, "a card is in the node"),
    ],
)
def test_a_missing_device_plugin_names_the_operator(
    labels: dict[str, str], words: str, plot: Plot, ask: Ask
) -> None:
    plot.node("a", labels=labels)
    found = ask(gpus())
    assert found["device_plugin"]["level"] == "fail"
    assert words in found["device_plugin"]["evidence"]
    assert "NVIDIA GPU operator" in found["device_plugin"]["remedy"]
    assert "fit" not in found, "one sentence for one cause"


def test_an_old_driver_is_a_problem_and_an_unknown_one_is_not(plot: Plot, ask: Ask) -> None:
    old = {**DRIVER, "nvidia.com/cuda.driver-version.full": "535.54.03"}
    plot.node("old", gpu=4, labels=old)
    found = ask(gpus())
    assert found["driver"]["level"] == "fail"
    assert "old: driver 535.54.03 is older than 535.86.05" in found["driver"]["evidence"]
    plot.node("new", gpu=4, labels=DRIVER)
    assert ask(gpus())["driver"]["level"] == "warn"
    plot.clear()
    plot.laid.clear()
    plot.node("silent", gpu=4)
    found = ask(gpus())
    assert found["driver"]["level"] == "cannot_tell"
    assert "nvidia-smi --query-gpu=driver_version --format=csv" in found["driver"]["remedy"]
    assert "nvcc --version" in found["driver"]["remedy"]


# -- what the team's grant allows ---------------------------------------------------------------------


def test_the_teams_quota_is_told_wherever_a_preflight_is_asked(
    plot: Plot, ask: Ask, owner: Actor, team: Team, cluster: Cluster
) -> None:
    plot.node("a", gpu=8, labels=DRIVER)
    ClusterGrant.objects.update(quota={"gpus": 3}, image_registries=["registry.example.com"])
    found = ask(gpus(4))
    assert found["team_quota"]["level"] == "fail"
    assert found["team_quota"]["evidence"] == "GPUs: asks for 4, 0 of 3 used, 3 left, 1 too much"
    assert found["team_registries"]["level"] == "fail"

    asked = preflight_cluster(owner, cluster_id=cluster.pk, spec=gpus(2), servers=2)
    work_off(asked)
    said = {finding["check"]: finding for finding in asked.result["findings"]}
    assert said["team_quota"]["evidence"] == "GPUs: asks for 4, 0 of 3 used, 3 left, 1 too much"
    assert said["team_quota"]["source"] == "the team's grant in Pilothouse"


def test_a_quota_that_was_lowered_meanwhile_stops_the_apply(
    plot: Plot, owner: Actor, team: Team, cluster: Cluster
) -> None:
    plot.node("a", gpu=8, labels=DRIVER)
    revision = create_profile(owner, team_id=team.pk, name="four", spec=gpus(4))
    operation = install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace="default", name="four"
    )
    ClusterGrant.objects.update(quota={"gpus": 3})
    run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
    operation.refresh_from_db()
    assert operation.state == OperationState.FAILED
    assert "leaves too little" in operation.failure
    assert "0 of 3 used, 3 left, 1 too much" in operation.failure_answered


# -- the namespace, storage, version ------------------------------------------------------------------


def test_the_namespaces_quota_limits_and_security_are_read(plot: Plot, ask: Ask) -> None:
    plot.node("a")
    space = plot.namespace(**{"pod-security.kubernetes.io/enforce": "restricted"})
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "4Gi", "pods": "50"}}}
    used = {"hard": quota["spec"]["hard"], "used": {"requests.memory": "1Gi", "pods": "0"}}
    plot.lay(f"/api/v1/namespaces/{space}/resourcequotas", quota, used)
    limits = {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}}
    plot.lay(f"/api/v1/namespaces/{space}/limitranges", limits)
    found = ask(StackSpec(), space)
    assert found["quota"]["level"] == "fail"
    assert "requests.memory: 9Gi more wanted, 0 of 4Gi used (small)" in found["quota"]["evidence"]
    assert found["limit_range"]["level"] == "fail"
    assert "container ollama may have 1 cpu, 4 is wanted" in found["limit_range"]["evidence"]
    assert found["pod_security"]["level"] == "fail"
    assert "ollama may run as root" in found["pod_security"]["evidence"]
    sound = replace(StackSpec(), server=ServerSpec(run_as_user=1000))
    assert ask(sound, space)["pod_security"]["level"] == "pass"


def test_a_claim_that_is_there_is_not_asked_of_the_quota_again(plot: Plot, ask: Ask) -> None:
    """An uninstall that keeps the models leaves claims behind, which the next install of that name takes over."""
    plot.node("a")
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    quota = {"metadata": {"name": "small"}, "spec": {"hard": {"requests.storage": "10Gi"}}}
    sized = replace(StackSpec(), storage=StorageSpec(size="10Gi"))
    two = replace(sized, server=ServerSpec(replicas=2))
    for claim, wanted, level in (
        ("models-one-server-0", sized, "pass"),
        ("models-one-server-0", two, "fail"),
        ("somebody-elses", sized, "fail"),
    ):
        space = plot.namespace()
        plot.lay(
            f"/api/v1/namespaces/{space}/persistentvolumeclaims", {"metadata": {"name": claim}, "spec": spec}
        )
        plot.lay(f"/api/v1/namespaces/{space}/resourcequotas", quota)
        assert ask(wanted, space)["quota"]["level"] == level, claim


def test_claims_are_held_against_the_model_and_the_class(plot: Plot, ask: Ask) -> None:
    plot.node("a", memory="1Ti", cpu=64)
    big = replace(StackSpec(), model=ModelSpec(tag="32b"))
    found = ask(replace(big, storage=StorageSpec(size="15Gi")))
    assert found["claim_size"]["level"] == "fail"
    assert "Ask for 25Gi" in found["claim_size"]["remedy"]
    found = ask(big)
    assert found["claim_size"]["level"] == "pass"
    assert (found["version"]["level"], found["registry"]["level"]) == ("pass", "cannot_tell")
    shared = ask(replace(StackSpec(), storage=StorageSpec(StorageMode.SHARED)))
    assert (shared["storage"]["level"], shared["storage"]["field"]) == ("fail", "storage_class")
    assert "ebs.csi.aws.com" in shared["storage"]["evidence"]


def test_registries_are_asked_from_here_and_say_so(plot: Plot, ask: Ask, cluster: Cluster) -> None:
    """A private address is not asked from Pilothouse's network, so nobody has to answer for this test."""
    plot.node("a", memory="1Ti", cpu=64)
    Cluster.objects.update(simulated=False)
    spec = StackSpec(
        model=ModelSpec(registry="localhost:5000/library"),
        server=ServerSpec(image="localhost:5000/ollama/ollama:0.9.6"),
    )
    spec = replace(spec, chat=replace(spec.chat, image="localhost:5001/nextchat:v2"))
    cluster.refresh_from_db()
    found = ask(spec, on=cluster)
    assert found["model_registry"]["level"] == "cannot_tell"
    assert found["model_registry"]["source"] == "asked from Pilothouse, not from the cluster"
    assert "private address" in found["model_registry"]["evidence"]
    images = [one for one in found["result"]["findings"] if one["check"] == "image_registry"]
    assert [one["level"] for one in images] == ["cannot_tell", "cannot_tell"]
    assert "registry" not in found, "that is for the practice cluster"


def test_a_runtime_class_adds_its_overhead_or_is_missed(plot: Plot, ask: Ask) -> None:
    plot.node("a", cpu=4, memory="16Gi")
    spec = replace(
        StackSpec(),
        server=ServerSpec(runtime_class="kata", resources=ResourceSpec("2", "2", "8Gi", "8Gi")),
        chat=replace(StackSpec().chat, enabled=False),
    )
    found = ask(spec)
    assert (found["runtime_class"]["level"], found["fit"]["level"]) == ("fail", "pass")
    runtime = {"metadata": {"name": "kata"}, "handler": "kata", "overhead": {"podFixed": {"memory": "9Gi"}}}
    plot.lay("/apis/node.k8s.io/v1/runtimeclasses", runtime)
    found = ask(spec)
    assert (found["runtime_class"]["level"], found["fit"]["level"]) == ("pass", "fail")
    assert row(found, "a")["reasons"] == ["needs 17 GiB memory, has 16 GiB in all"]


# -- a cluster by itself ------------------------------------------------------------------------------


def test_a_cluster_is_asked_for_a_size(plot: Plot, owner: Actor, team: Team, cluster: Cluster) -> None:
    plot.node("a", gpu=2, labels=DRIVER)
    operation = work_off(preflight_cluster(owner, cluster_id=cluster.pk, spec=gpus(), servers=3))
    levels = {finding["check"]: finding["level"] for finding in operation.result["findings"]}
    assert levels["fit"] == "fail"
    assert operation.result["fit"]["found"] == 2
    assert not levels.keys() & {"namespace", "names", "quota"}
    with pytest.raises(Denied):
        preflight_cluster(member(team, Role.VIEWER), cluster_id=cluster.pk, spec=gpus())


# -- the gate before an apply -------------------------------------------------------------------------


def test_an_install_without_room_writes_nothing_and_keeps_its_findings(
    plot: Plot, owner: Actor, team: Team, cluster: Cluster, server: RunningSandbox
) -> None:
    plot.node("a")
    space = f"p-{uuid.uuid4().hex[:8]}"
    revision = create_profile(owner, team_id=team.pk, name="gated", spec=gpus())
    wanted = {"revision_id": revision.pk, "cluster_id": cluster.pk, "namespace": space, "name": "one"}
    operation = work_off(install(owner, **wanted))
    assert operation.state == OperationState.FAILED
    assert operation.failure == f"No node offers {GPU}."
    assert "GPU operator" in operation.failure_remedy
    assert "device_plugin" in {finding["check"] for finding in operation.result["findings"]}
    assert operation.release is None
    assert server.request("GET", f"/api/v1/namespaces/{space}")[0] == 404

    again = retry(owner, operation_id=operation.pk, anyway=True)
    _until_applied(again)
    assert again.result["fit"]["answer"] == "does_not_fit"
    assert again.log.filter(warning=True, text__contains="gone on anyway").exists()
    entry = AuditEntry.objects.filter(operation_id=again.pk, after__anyway=True)
    assert entry.exists(), list(AuditEntry.objects.values_list("action", "after"))


def test_what_no_waiting_can_mend_stops_an_install_all_the_same(
    plot: Plot, owner: Actor, team: Team, cluster: Cluster
) -> None:
    plot.node("a")
    spec = replace(StackSpec(), storage=StorageSpec(storage_class="nowhere"))
    revision = create_profile(owner, team_id=team.pk, name="nowhere", spec=spec)
    operation = install(
        owner, revision_id=revision.pk, cluster_id=cluster.pk, namespace="default", name="x", anyway=True
    )
    work_off(operation)
    assert operation.state == OperationState.FAILED
    assert "no storage class nowhere" in operation.failure


def test_where_a_running_server_keeps_its_models_stays_as_it_is(
    plot: Plot, owner: Actor, team: Team, cluster: Cluster
) -> None:
    """A StatefulSet's claim templates are immutable: an apply would write half of its objects and be refused."""
    plot.node("a")
    space = plot.namespace()
    first = create_profile(owner, team_id=team.pk, name="each", spec=StackSpec())
    operation = install(
        owner, revision_id=first.pk, cluster_id=cluster.pk, namespace=space, name="kept", anyway=True
    )
    _until_applied(operation)
    cancel(owner, operation_id=operation.pk)
    operation.refresh_from_db()
    assert operation.deployment_id is not None
    shared = replace(StackSpec(), storage=StorageSpec(StorageMode.SHARED, storage_class="standard"))
    second = create_profile(owner, team_id=team.pk, name="shared", spec=shared)
    change = work_off(
        upgrade(owner, deployment_id=operation.deployment_id, revision_id=second.pk, anyway=True)
    )
    assert change.state == OperationState.FAILED
    found = {finding["check"]: finding for finding in change.result["findings"]}
    assert found["storage_kept"]["level"] == "fail"
    assert "a claim for each replica, the profile wants one for all" in found["storage_kept"]["evidence"]
    claims = plot.sandbox.request("GET", f"/api/v1/namespaces/{space}/persistentvolumeclaims")[2]["items"]
    assert claims == [], "nothing of it was written"


def _until_applied(operation: Operation) -> None:
    for _ in range(10):
        operation.refresh_from_db()
        if operation.release_id and operation.release.applied_at:
            return
        Operation.objects.filter(pk=operation.pk).update(wake_at=None)
        run_operation(operation.pk, "test", Queue.CONTROL, PLANS)
    raise AssertionError(f"not applied: {operation.failure} {operation.failure_answered}")
