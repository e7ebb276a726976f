"""Faults that bring a pod or node into each state that a person must be told about. Texts: kubelet, node controller."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.unit.sandbox.world.harness import container

Object = dict[str, Any]
T = TypeVar("T")
PODS = "/api/v1/namespaces/default/pods"
_number = itertools.count()


@pytest.fixture(scope="module")
def shared() -> Iterator[RunningSandbox]:
    with running_sandbox(world=True, scenario="small", speed=200) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: RunningSandbox) -> Iterator[RunningSandbox]:
    yield shared
    shared.clear_faults()


def until(what: str, condition: Callable[[], T | bool | None], seconds: float = 60.0) -> T:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"after {seconds} s still no {what}"
        time.sleep(0.02)
    return value  # type: ignore[return-value]


def make(cluster: RunningSandbox, running: bool = True, **more: Any) -> str:
    name = f"h{next(_number)}"
    spec = {"containers": [container(**more)]}
    assert cluster.request("POST", PODS, {"metadata": {"name": name}, "spec": spec})[0] == 201
    if running:
        until("running pod", lambda: status(cluster, name).get("phase") == "Running")
    return name


def pod(cluster: RunningSandbox, name: str) -> Object | None:
    code, _, body = cluster.request("GET", f"{PODS}/{name}")
    return body if code == 200 else None


def status(cluster: RunningSandbox, name: str) -> Object:
    found: Object = (pod(cluster, name) or {}).get("status", {})
    return found


def waiting(cluster: RunningSandbox, name: str) -> str:
    (first,) = status(cluster, name).get("containerStatuses") or [{}]
    return str(first.get("state", {}).get("waiting", {}).get("reason", ""))


def events(cluster: RunningSandbox, name: str) -> list[tuple[str, str]]:
    query = f"fieldSelector=involvedObject.name={name}"
    items = cluster.request("GET", f"/api/v1/namespaces/default/events?{query}")[2]["items"]
    return [(item["reason"], item["message"]) for item in items]


def ready(cluster: RunningSandbox, name: str) -> str:
    return ready_in(pod(cluster, name) or {})


def ready_in(found: Object) -> str:
    conditions = found.get("status", {}).get("conditions", [])
    return next((each["status"] for each in conditions if each["type"] == "Ready"), "")


def node(cluster: RunningSandbox, name: str) -> Object | None:
    code, _, body = cluster.request("GET", f"/api/v1/nodes/{name}")
    return body if code == 200 else None


def test_evicted(cluster: RunningSandbox) -> None:
    name = make(cluster)
    cluster.faults("evict", pod=name)
    found = status(cluster, name)
    assert (found["phase"], found["reason"]) == ("Failed", "Evicted")
    assert found["message"].startswith("The node was low on resource: ephemeral-storage.")
    assert ready(cluster, name) == "False"
    why = {c["type"]: c.get("reason") for c in found["conditions"]}
    assert (why["Ready"], why["DisruptionTarget"]) == ("PodFailed", "TerminationByKubelet")
    (container,) = found["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 137 and not container["ready"]
    assert "Evicted" in [reason for reason, _ in events(cluster, name)]


def test_a_node_that_ends_pods_for_another_reason(cluster: RunningSandbox) -> None:
    name = make(cluster)
    cluster.faults("evict", pod=name, reason="Terminated", text="Pod was terminated in response to shutdown.")
    found = status(cluster, name)
    assert (found["phase"], found["reason"]) == ("Failed", "Terminated")
    assert found["message"] == "Pod was terminated in response to shutdown."


def test_words_of_the_scheduler(cluster: RunningSandbox) -> None:
    text = "0/2 nodes are available: 2 node(s) had volume node affinity conflict."
    cluster.faults("unschedulable", text=text)
    name = make(cluster, running=False)

    def said() -> list[str]:
        return [c["message"] for c in status(cluster, name).get("conditions", []) if c["status"] == "False"]

    until("refusal", lambda: said() == [text])
    assert ("FailedScheduling", text) in events(cluster, name)
    cluster.clear_faults()
    until("running pod", lambda: status(cluster, name).get("phase") == "Running")


def test_claims_that_lose_their_volumes(cluster: RunningSandbox) -> None:
    claims = "/api/v1/namespaces/default/persistentvolumeclaims"
    spec = {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": "shared",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    cluster.request("POST", claims, {"metadata": {"name": "data"}, "spec": spec})

    def phase() -> str:
        return str(cluster.request("GET", f"{claims}/data")[2]["status"].get("phase"))

    until("bound claim", lambda: phase() == "Bound")
    cluster.faults("lost_claims", pod="data")
    until("lost claim", lambda: phase() == "Lost")
    assert "ClaimLost" in [reason for reason, _ in events(cluster, "data")]


@pytest.mark.parametrize(
    "reason, words",
    [
        ("FailedMount", "MountVolume.SetUp failed"),
        ("FailedAttachVolume", "Multi-Attach error"),
        ("FailedCreatePodSandBox", 'no runtime for "nvidia" is configured'),
    ],
)
def test_pods_that_cannot_be_set_up(cluster: RunningSandbox, reason: str, words: str) -> None:
    cluster.faults("pod_start_error", reason=reason)
    name = make(cluster, running=False)
    until(
        "event", lambda: [text for found, text in events(cluster, name) if found == reason and words in text]
    )
    assert waiting(cluster, name) == "ContainerCreating" and status(cluster, name)["phase"] == "Pending"
    cluster.clear_faults()
    until("running pod", lambda: status(cluster, name)["phase"] == "Running")


def test_containers_that_the_runtime_refuses(cluster: RunningSandbox) -> None:
    cluster.faults("container_error", reason="CreateContainerError", text="no such device")
    name = make(cluster, running=False)
    until("refusal", lambda: waiting(cluster, name) == "CreateContainerError")
    assert ("Failed", "Error: no such device") in events(cluster, name)
    cluster.clear_faults()
    until("running pod", lambda: status(cluster, name)["phase"] == "Running")


def test_probes_that_fail(cluster: RunningSandbox) -> None:
    probe = {"tcpSocket": {"port": 80}, "periodSeconds": 1}
    name = make(cluster, readinessProbe=probe, livenessProbe=probe, ports=[{"containerPort": 80}])
    until("readiness", lambda: ready(cluster, name) == "True")
    cluster.faults("probe_failure", pod=name)
    until("unreadiness", lambda: ready(cluster, name) == "False")
    assert ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503") in events(
        cluster, name
    )
    assert status(cluster, name)["containerStatuses"][0]["restartCount"] == 0
    cluster.faults("probe_failure", pod=name, kind="liveness")
    until("restart", lambda: status(cluster, name)["containerStatuses"][0]["restartCount"] > 0)


def test_nodes_under_pressure_and_cordoned(cluster: RunningSandbox) -> None:
    name = "practice-cpu-1"

    def taints() -> list[str]:
        return [taint["key"] for taint in (node(cluster, name) or {})["spec"].get("taints") or []]

    cluster.faults("node_pressure", node=name, type="DiskPressure")
    assert taints() == ["node.kubernetes.io/disk-pressure"]
    conditions = {c["type"]: c for c in (node(cluster, name) or {})["status"]["conditions"]}
    assert conditions["DiskPressure"]["status"] == "True"
    assert conditions["DiskPressure"]["reason"] == "KubeletHasDiskPressure"
    cluster.clear_faults()
    assert taints() == []
    cluster.faults("cordon", node=name)
    assert (node(cluster, name) or {})["spec"]["unschedulable"] is True
    assert taints() == ["node.kubernetes.io/unschedulable"]
    cluster.clear_faults()
    assert "unschedulable" not in (node(cluster, name) or {})["spec"] and taints() == []


def test_labels_of_nodes_and_broken_devices(cluster: RunningSandbox) -> None:
    name, driver = "practice-gpu-1", "nvidia.com/cuda.driver-version.full"

    def labels() -> Object:
        found: Object = (node(cluster, name) or {})["metadata"]["labels"]
        return found

    before = labels()
    cluster.faults(
        "node_labels", node=name, labels={driver: "470.10.1", "nvidia.com/gpu.product": None, "x": "1"}
    )
    now = labels()
    assert (now[driver], now["x"]) == ("470.10.1", "1") and "nvidia.com/gpu.product" not in now
    cluster.faults("node_labels", node=name, labels={"y": "2"})
    assert labels() == {**before, "y": "2"}
    cluster.clear_faults()
    assert labels() == before
    assert cluster.faults("node_labels", labels={"x": 1})[0] == 400
    cluster.faults("no_gpu", node=name, left=1)
    state = (node(cluster, name) or {})["status"]
    assert (state["capacity"]["nvidia.com/gpu"], state["allocatable"]["nvidia.com/gpu"]) == ("4", "1")
    cluster.clear_faults()
    assert (node(cluster, name) or {})["status"]["allocatable"]["nvidia.com/gpu"] == "4"


def test_names_of_amd_exporters() -> None:
    path = "/api/v1/namespaces/kube-amd-gpu/pods"
    with running_sandbox(world=True, scenario="amd", speed=200) as cluster:

        def page() -> str:
            for pod in cluster.request("GET", path)[2]["items"]:
                code, _, text = cluster.request("GET", f"{path}/{pod['metadata']['name']}:5000/proxy/metrics")
                if code == 200:
                    return str(text)
            return ""

        plain = until("AMD's page", page)
        assert "\ngpu_junction_temperature{" in plain and 'card_series="AMD Instinct MI300X OAM"' in plain
        cluster.faults("gpu_exporter", variant=["mi200", "prefixed"])
        other = page()
        assert "\namd_gpu_edge_temperature{" in other and "\namd_gpu_average_package_power{" in other
        assert "_junction_" not in other and "\ngpu_" not in other


def test_a_node_that_is_lost_and_comes_back(cluster: RunningSandbox) -> None:
    name = make(cluster)
    where = (pod(cluster, name) or {})["spec"]["nodeName"]
    address = (node(cluster, where) or {})["status"]["addresses"]
    since = cluster.request("GET", PODS)[2]["metadata"]["resourceVersion"]
    cluster.faults("node_lost", node=where)
    assert node(cluster, where) is None
    until("collected pod", lambda: pod(cluster, name) is None)
    # Asked for while it lasts, its end may come sooner than the answer.
    told = cluster.events(f"{PODS}?watch=true&resourceVersion={since}&timeoutSeconds=1")
    mine = [event for event in told if event["object"]["metadata"].get("name") == name]
    assert [ready_in(event["object"]) for event in mine if event["type"] == "MODIFIED"][-1] == "False", (
        "the node was found silent before it was deleted"
    )
    assert mine[-1]["type"] == "DELETED"
    cluster.clear_faults()
    assert (node(cluster, where) or {})["status"]["addresses"] == address
    # It came back empty: whoever begins there has to fetch his image anew.
    cluster.faults("image_pull_error", node=where)
    late = f"h{next(_number)}"
    body = {"metadata": {"name": late}, "spec": {"nodeName": where, "containers": [container()]}}
    assert cluster.request("POST", PODS, body)[0] == 201
    until("failed pull", lambda: waiting(cluster, late) in ("ErrImagePull", "ImagePullBackOff"))


@pytest.mark.parametrize(
    "name, params",
    [
        ("node_pressure", {"type": "Boredom"}),
        ("pod_start_error", {"reason": "Whatever"}),
        ("probe_failure", {"kind": "x"}),
    ],
)
def test_values_that_do_not_exist(cluster: RunningSandbox, name: str, params: Object) -> None:
    code, _, body = cluster.faults(name, **params)
    assert code == 400 and "must be one of" in body["error"]


def test_clusters_of_one_vendor_and_without_discovery() -> None:
    for scenario, label, there in (
        ("amd", "amd.com/gpu.product-name", True),
        ("bare", "nvidia.com/gpu.product", False),
    ):
        with running_sandbox(world=True, scenario=scenario, speed=200) as cluster:
            nodes = cluster.request("GET", "/api/v1/nodes")[2]["items"]
        gpus = [found for found in nodes if any("com/gpu" in name for name in found["status"]["allocatable"])]
        assert len(gpus) == 1 and (label in gpus[0]["metadata"]["labels"]) is there
