"""Faults, switched through the running server and seen where they strike; the clock."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from sandbox.world.faults import NAMES
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.unit.sandbox.world.harness import container, ollama, workload

Object = dict[str, Any]
T = TypeVar("T")
MODEL = "deepseek-r1:1.5b"
PODS = "/api/v1/namespaces/default/pods"


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


_number = iter(range(1000))


def pod(cluster: RunningSandbox, *containers: Object, running: bool = True, **more: Any) -> str:
    """A pod under a name of its own; running: wait until its container runs."""
    name = f"p{next(_number)}"
    spec = {"containers": list(containers) or [container()], **more}
    code, _, body = cluster.request("POST", PODS, {"metadata": {"name": name}, "spec": spec})
    assert code == 201, body
    if running:
        until("running container", lambda: "running" in state(cluster, name))
    return name


def server(cluster: RunningSandbox) -> str:
    return pod(cluster, ollama(), volumes=[{"name": "models", "emptyDir": {}}])


def state(cluster: RunningSandbox, name: str) -> Object:
    found = cluster.request("GET", f"{PODS}/{name}")[2]["status"].get("containerStatuses") or [{"state": {}}]
    return dict(found[0]["state"])


def pull(cluster: RunningSandbox, name: str) -> list[Object]:
    _, _, text = cluster.request("POST", f"{PODS}/{name}:11434/proxy/api/pull", {"model": MODEL})
    return [json.loads(line) for line in text.splitlines()]


# ---- the switches


def test_switching(cluster: RunningSandbox) -> None:
    assert cluster.request("GET", "/sandbox/faults")[2] == {"faults": {}, "names": list(NAMES)}
    assert cluster.faults("slow", seconds=0.01)[2] == {
        "name": "slow",
        "on": True,
        "parameters": {"seconds": 0.01},
    }
    assert cluster.request("GET", "/sandbox/faults")[2]["faults"] == {"slow": {"seconds": 0.01}}
    assert cluster.clear_faults("slow")[2]["on"] is False
    assert cluster.request("PUT", "/sandbox/faults/nothing", {})[0] == 404
    assert cluster.request("PUT", "/sandbox/faults/slow", {"seconds": "x"})[0] == 400
    assert cluster.request("PUT", "/sandbox/faults/slow", b"[")[0] == 400
    assert cluster.request("PUT", "/sandbox/faults/slow", {"times": 0})[0] == 400
    assert cluster.request("GET", "/sandbox/faults", token="")[0] == 403


def test_clock(cluster: RunningSandbox) -> None:
    before = cluster.request("GET", "/sandbox/clock")[2]
    assert before["speed"] == 200
    assert cluster.request("PUT", "/sandbox/clock", {"speed": 300})[2]["speed"] == 300
    assert cluster.request("PUT", "/sandbox/clock", {"speed": 200})[2]["elapsed"] >= before["elapsed"]
    for wrong in (0, -1, "x", True, None):
        assert cluster.request("PUT", "/sandbox/clock", {"speed": wrong})[0] == 400


# ---- requests


def test_answers(cluster: RunningSandbox) -> None:
    """Each refusal for the requests that it is scoped to, as often as it is told."""
    cluster.faults("http_429", path="/api/v1/nodes", times=2, retry_after=7)
    for _ in range(2):
        code, headers, body = cluster.request("GET", "/api/v1/nodes")
        assert (code, headers["retry-after"], body) == (
            429,
            "7",
            "Too many requests, please try again later.\n",
        )
        assert cluster.request("GET", PODS)[0] == 200
    assert cluster.request("GET", "/api/v1/nodes")[0] == 200
    cluster.faults("http_5xx", code=503, verb="list")
    code, _, body = cluster.request("GET", "/api/v1/nodes")
    assert code == 503 and body["reason"] == "ServiceUnavailable"
    cluster.clear_faults()
    cluster.faults("html_answer")
    code, headers, body = cluster.request("GET", PODS)
    assert code == 502 and headers["content-type"] == "text/html" and "<h1>502 Bad Gateway</h1>" in body
    cluster.clear_faults()
    cluster.faults("unauthorized")
    assert cluster.request("GET", PODS)[0] == 401
    cluster.clear_faults()
    cluster.faults("gone_410", resource="pods")
    code, _, body = cluster.request("GET", PODS)
    assert (code, body["reason"]) == (410, "Expired")


def test_slow_and_dropped(cluster: RunningSandbox) -> None:
    cluster.faults("slow", seconds=0.3, path=f"{PODS}*")
    began = time.monotonic()
    assert cluster.request("GET", PODS)[0] == 200
    assert time.monotonic() - began >= 0.3
    cluster.clear_faults()
    cluster.faults("drop", path=PODS)
    with pytest.raises((http.client.HTTPException, OSError)):
        cluster.request("GET", PODS)


def test_dropped_in_the_middle(cluster: RunningSandbox) -> None:
    name = server(cluster)
    cluster.faults("drop", pod=name, after_bytes=40)
    with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)):
        cluster.request("POST", f"{PODS}/{name}:11434/proxy/api/pull", {"model": MODEL})


def test_watches(cluster: RunningSandbox) -> None:
    """Stalled, closed, expired."""
    path = f"{PODS}?watch=true&resourceVersion=0&timeoutSeconds=20"
    with cluster.stream(path, seconds=10) as answer:
        answer.readline()
        cluster.faults("watch_close")
        while answer.readline():
            pass
    cluster.clear_faults()
    with cluster.stream(path, seconds=10) as answer:
        answer.readline()
        cluster.faults("gone_410", resource="pods")
        *_, last = iter(answer.readline, b"")
    event = json.loads(last)
    assert event["type"] == "ERROR" and event["object"]["code"] == 410
    with cluster.stream(path, seconds=10) as answer:
        assert json.loads(answer.readline())["object"]["code"] == 410
    cluster.clear_faults()
    cluster.faults("watch_stall")
    with cluster.stream(path, seconds=0.5) as answer:
        assert answer.status == 200
        with pytest.raises(TimeoutError):
            answer.readline()


# ---- pods and nodes


def test_image_pull_error(cluster: RunningSandbox) -> None:
    cluster.faults("image_pull_error", image="*broken*", text="registry is on fire")
    name = pod(cluster, container(image="example/broken:1"), running=False)
    waiting = until(
        "back-off", lambda: (state(cluster, name).get("waiting") or {}).get("reason") == "ImagePullBackOff"
    )
    assert waiting and "registry is on fire" in state(cluster, name)["waiting"]["message"]
    cluster.clear_faults()
    until("running", lambda: "running" in state(cluster, name))


@pytest.mark.parametrize(("fault", "reason", "code"), [("crash_loop", "Error", 7), ("oom", "OOMKilled", 137)])
def test_containers_that_die(cluster: RunningSandbox, fault: str, reason: str, code: int) -> None:
    name = pod(cluster)
    cluster.faults(fault, pod=name, code=code)
    until("back-off", lambda: (state(cluster, name).get("waiting") or {}).get("reason") == "CrashLoopBackOff")
    [shown] = cluster.request("GET", f"{PODS}/{name}")[2]["status"]["containerStatuses"]
    last = shown["lastState"]["terminated"]
    assert (last["reason"], last["exitCode"]) == (reason, code) and shown["restartCount"] >= 1


def test_no_gpu(cluster: RunningSandbox) -> None:
    cluster.faults("no_gpu")
    node = cluster.request("GET", "/api/v1/nodes/practice-gpu-1")[2]
    assert (
        node["status"]["allocatable"]["nvidia.com/gpu"],
        node["status"]["capacity"]["nvidia.com/gpu"],
    ) == ("0", "4")
    name = pod(cluster, container(resources={"limits": {"nvidia.com/gpu": "1"}}), running=False)

    def scheduled() -> Object:
        found = cluster.request("GET", f"{PODS}/{name}")[2]["status"].get("conditions") or [{}]
        return dict(found[-1])

    until("verdict", lambda: "Insufficient nvidia.com/gpu" in scheduled().get("message", ""))
    cluster.clear_faults()
    until("running", lambda: "running" in state(cluster, name))
    cluster.request("DELETE", f"{PODS}/{name}")


def test_node_not_ready(cluster: RunningSandbox) -> None:
    name = server(cluster)
    node = cluster.request("GET", f"{PODS}/{name}")[2]["spec"]["nodeName"]
    cluster.faults("node_not_ready", node=node)
    ready = cluster.request("GET", f"/api/v1/nodes/{node}")[2]["status"]["conditions"][-1]
    assert (ready["status"], ready["reason"]) == ("Unknown", "NodeStatusUnknown")
    until("taint", lambda: cluster.request("GET", f"/api/v1/nodes/{node}")[2]["spec"].get("taints"))
    assert cluster.request("GET", f"{PODS}/{name}:11434/proxy/")[0] == 503
    code, _, body = cluster.request("GET", f"{PODS}/{name}/log")
    assert code == 500 and "i/o timeout" in body["message"]
    cluster.clear_faults()
    until("node", lambda: not cluster.request("GET", f"/api/v1/nodes/{node}")[2]["spec"].get("taints"))


def test_taint_and_quota(cluster: RunningSandbox) -> None:
    cluster.faults("taint", node="practice-*", key="k", effect="NoSchedule")
    taints = cluster.request("GET", "/api/v1/nodes/practice-cpu-1")[2]["spec"]["taints"]
    assert [(taint["key"], taint["effect"]) for taint in taints] == [("k", "NoSchedule")]
    cluster.clear_faults()
    assert not cluster.request("GET", "/api/v1/nodes/practice-cpu-1")[2]["spec"].get("taints")
    cluster.faults("quota", namespace="default", hard={"count/configmaps": "0"})
    code, _, body = cluster.request(
        "POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "full"}}
    )
    assert code == 403 and "exceeded quota: sandbox-fault" in body["message"]
    cluster.clear_faults()
    code, _, _ = cluster.request(
        "POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "full"}}
    )
    assert code == 201


def test_unbound_claims(cluster: RunningSandbox) -> None:
    cluster.faults("unbound_claims")
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    resources = {"requests": {"storage": "1Gi"}}
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "shared", "resources": resources}
    cluster.request("POST", path, {"metadata": {"name": "held"}, "spec": spec})
    annotation = "volume.kubernetes.io/storage-provisioner"
    until(
        "request",
        lambda: (
            annotation in (cluster.request("GET", f"{path}/held")[2]["metadata"].get("annotations") or {})
        ),
    )
    elapsed = cluster.request("GET", "/sandbox/clock")[2]["elapsed"]
    until("time", lambda: cluster.request("GET", "/sandbox/clock")[2]["elapsed"] > elapsed + 30)
    assert cluster.request("GET", f"{path}/held")[2]["status"]["phase"] == "Pending"
    cluster.clear_faults()
    until("bound claim", lambda: cluster.request("GET", f"{path}/held")[2]["status"]["phase"] == "Bound")


# ---- models


def test_stalled_pull(cluster: RunningSandbox) -> None:
    """Lines go on, the figure does not; the log says so; it ends when the fault does."""
    name = server(cluster)
    cluster.faults("stalled_pull", pod=name, at=0.5)
    host = cluster.url.removeprefix("https://")
    connection = http.client.HTTPSConnection(host, timeout=10, context=cluster.ssl_context())
    headers = {"Authorization": f"Bearer {cluster.token}", "Content-Type": "application/json"}
    connection.request("POST", f"{PODS}/{name}:11434/proxy/api/pull", json.dumps({"model": MODEL}), headers)
    answer = connection.getresponse()
    seen: list[int] = []
    while len(seen) < 4 or len(set(seen[-4:])) > 1:
        seen.append(json.loads(answer.readline()).get("completed", 0))
    assert 0.49 < seen[-1] / 1117320512 < 0.52
    until("line in the log", lambda: "stalled; retrying" in cluster.request("GET", f"{PODS}/{name}/log")[2])
    cluster.clear_faults()
    assert json.loads(answer.read().splitlines()[-1]) == {"status": "success"}
    connection.close()


def test_pulls_that_go_wrong(cluster: RunningSandbox) -> None:
    name = server(cluster)
    cluster.faults("pull_error", pod=name, text="pull model manifest: 500: on fire")
    assert pull(cluster, name)[-1] == {"error": "pull model manifest: 500: on fire"}
    cluster.clear_faults()
    cluster.faults("disk_full", pod=name)
    assert pull(cluster, name)[-1]["error"].endswith("no space left on device")
    cluster.clear_faults()
    # So slowly that a busy machine sees at least one of the falls between two lines.
    cluster.request("PUT", "/sandbox/clock", {"speed": 5})
    cluster.faults("failing_pull_part", pod=name, at=0.6, times=3)
    lines = pull(cluster, name)
    cluster.request("PUT", "/sandbox/clock", {"speed": 200})
    done = [line["completed"] for line in lines if line.get("total") == 1117320512 and "completed" in line]
    assert done != sorted(done) and lines[-1] == {"status": "success"}


def test_lost_model(cluster: RunningSandbox) -> None:
    name = server(cluster)
    assert pull(cluster, name)[-1] == {"status": "success"}
    tags = f"{PODS}/{name}:11434/proxy/api/tags"
    assert len(cluster.request("GET", tags)[2]["models"]) == 1
    cluster.faults("lost_model", pod=name, model="deepseek*")
    cluster.clear_faults()
    assert cluster.request("GET", tags)[2] == {"models": []}


def test_a_workload_through_the_server(cluster: RunningSandbox) -> None:
    """The whole way once: a deployment, its service, the service proxy."""
    base = "/apis/apps/v1/namespaces/default/deployments"
    own = container(ports=[{"name": "http", "containerPort": 8080}])
    assert (
        cluster.request("POST", base, {"metadata": {"name": "web"}, "spec": workload("web", own)})[0] == 201
    )
    service = {
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    assert cluster.request("POST", "/api/v1/namespaces/default/services", service)[0] == 201
    until(
        "available", lambda: cluster.request("GET", f"{base}/web")[2]["status"].get("availableReplicas") == 1
    )
    code, _, body = cluster.request("GET", "/api/v1/namespaces/default/services/web:80/proxy/x")
    assert code == 200 and "SIMULATED example/app:1: GET /x" in body
