"""Pods on simulated nodes: images, configuration, probes, restarts, the end. Texts: kubelet."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import status
from sandbox.world import images
from tests.unit.sandbox.world.harness import NS, Life, claim_template, container, living, read, workload

Object = dict[str, Any]


def state(life: Life, name: str) -> Object:
    """The state of the first container of a pod."""
    found = (life.get("Pod", name) or {}).get("status", {}).get("containerStatuses") or [{"state": {}}]
    return dict(found[0]["state"])


def waiting(life: Life, name: str) -> str:
    return str((state(life, name).get("waiting") or {}).get("reason", ""))


@living()
async def test_a_pod_becomes_ready(life: Life) -> None:
    """Kubernetes documentation, pod lifecycle: events in order, status fields, address of its node's range."""
    life.add("Pod", "p", {"containers": [container(resources={"limits": {"cpu": "1", "memory": "1Gi"}})]})
    pod = await life.pod("p")
    told = [e["reason"] for e in sorted(life.said("p"), key=lambda e: int(e["metadata"]["resourceVersion"]))]
    assert told == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]
    assert [entry["type"] for entry in pod["status"]["conditions"]] == [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
        "PodScheduled",
    ]
    assert pod["status"]["qosClass"] == "Guaranteed" and pod["status"]["podIP"].startswith("10.244.")
    [shown] = pod["status"]["containerStatuses"]
    assert (
        shown["image"] == "docker.io/example/app:1"
        and shown["started"] is True
        and shown["restartCount"] == 0
    )
    life.store.delete("Pod", NS, "p")
    await life.until("end", lambda: life.get("Pod", "p") is None)
    assert life.said("p", "Killing")[0]["message"] == "Stopping container main"


@pytest.mark.parametrize(
    ("image", "reason", "words"),
    [
        ("example/no-such-image:1", "ImagePullBackOff", "pull access denied"),
        ("ollama/ollama:99", "ImagePullBackOff", "not found"),
        ("unreachable.example/a/b:1", "ImagePullBackOff", "no such host"),
        ("private.example/a/b:1", "ImagePullBackOff", "401 Unauthorized"),
        ("Not/An/Image", "InvalidImageName", "repository name must be lowercase"),
    ],
)
def test_images_that_cannot_be_pulled(image: str, reason: str, words: str) -> None:
    """ErrImagePull, then ImagePullBackOff with the cause in its message."""

    @living()
    async def body(life: Life) -> None:
        life.add("Pod", "p", {"containers": [container(image=image)]})
        await life.until(reason, lambda: waiting(life, "p") == reason)
        message = state(life, "p")["waiting"]["message"]
        assert words in message
        assert (life.get("Pod", "p") or {})["status"]["phase"] == "Pending"
        if reason == "ImagePullBackOff":
            assert message.startswith(f'Back-off pulling image "{image}": ErrImagePull: ')
            assert {e["message"] for e in life.said("p", "Failed")} >= {
                "Error: ErrImagePull",
                "Error: ImagePullBackOff",
            }
        lines = life.logs("p")
        with pytest.raises(status.ApiError) as caught:
            await anext(lines)
        assert caught.value.code == 400 and 'container "main" in pod "p" is waiting to start' in str(
            caught.value
        )

    body()


@living()
async def test_a_pull_secret_helps(life: Life) -> None:
    life.add("Secret", "pull", type="kubernetes.io/dockerconfigjson", data={".dockerconfigjson": "e30="})
    spec = {"containers": [container(image="private.example/a/b:1")], "imagePullSecrets": [{"name": "pull"}]}
    life.add("Pod", "p", spec)
    await life.pod("p")


@living()
async def test_missing_configuration(life: Life) -> None:
    """CreateContainerConfigError names the object; FailedMount keeps the container creating; both heal."""
    key = {"secretKeyRef": {"name": "s", "key": "k"}}
    life.add("Pod", "env", {"containers": [container(env=[{"name": "A", "valueFrom": key}])]})
    life.add(
        "Pod", "mount", {"containers": [container()], "volumes": [{"name": "v", "configMap": {"name": "c"}}]}
    )
    life.add("Pod", "root", {"containers": [container(securityContext={"runAsNonRoot": True})]})
    for name, text in (
        ("env", 'secret "s" not found'),
        ("root", "container has runAsNonRoot and image will run as root"),
    ):
        await life.until(name, lambda name=name: waiting(life, name) == "CreateContainerConfigError")
        assert state(life, name)["waiting"]["message"].startswith(text)
    text = 'MountVolume.SetUp failed for volume "v" : configmap "c" not found'
    await life.until(text, lambda: text in [e["message"] for e in life.said("mount", "FailedMount")])
    assert waiting(life, "mount") == "ContainerCreating"
    life.add("ConfigMap", "c", data={})
    life.add("Secret", "s", data={"other": "eA=="})
    await life.pod("mount")
    words = f"couldn't find key k in Secret {NS}/s"
    await life.until(words, lambda: (state(life, "env").get("waiting") or {}).get("message") == words)
    life.change("Secret", "s", lambda obj: obj["data"].update(k="eA=="))
    await life.pod("env")


@living(speed=400.0)
async def test_crash_loop(life: Life) -> None:
    """The first restart is immediate, later ones wait in CrashLoopBackOff; the last life's log stays."""
    life.add(
        "Pod", "p", {"containers": [container(image="busybox:1", command=["sh", "-c", "echo no; exit 3"])]}
    )
    await life.until("CrashLoopBackOff", lambda: waiting(life, "p") == "CrashLoopBackOff")
    pod = life.get("Pod", "p") or {}
    [shown] = pod["status"]["containerStatuses"]
    assert shown["restartCount"] >= 1 and shown["lastState"]["terminated"]["exitCode"] == 3
    uid = pod["metadata"]["uid"]
    assert (
        shown["state"]["waiting"]["message"]
        == f"back-off 10s restarting failed container=main pod=p_{NS}({uid})"
    )
    assert pod["status"]["phase"] == "Running"
    assert (
        life.said("p", "BackOff")[0]["message"]
        == f"Back-off restarting failed container main in pod p_{NS}({uid})"
    )
    lines = life.logs("p", previous=True, tail_lines=1)
    assert b"SIMULATED" in await anext(lines)


@living()
async def test_pods_that_end(life: Life) -> None:
    """Init containers go first; Never and OnFailure end as Succeeded or Failed."""
    shell = {"image": "busybox:1"}
    done = container(command=["true"], **shell)
    life.add(
        "Pod",
        "ok",
        {
            "restartPolicy": "Never",
            "initContainers": [container("init", command=["true"], **shell)],
            "containers": [done],
        },
    )
    life.add("Pod", "bad", {"restartPolicy": "Never", "containers": [container(command=["false"], **shell)]})
    for name, phase in (("ok", "Succeeded"), ("bad", "Failed")):
        await life.until(
            phase, lambda name=name, phase=phase: (life.get("Pod", name) or {})["status"]["phase"] == phase
        )
    [init] = (life.get("Pod", "ok") or {})["status"]["initContainerStatuses"]
    assert init["state"]["terminated"]["reason"] == "Completed"


@living(speed=400.0)
async def test_probes(life: Life) -> None:
    """Readiness takes a pod out, liveness restarts it, startup comes first."""
    nobody = {"tcpSocket": {"port": 81}, "periodSeconds": 1, "failureThreshold": 2}
    port = [{"containerPort": 80}]
    good = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
    life.add("Pod", "unready", {"containers": [container(ports=port, readinessProbe=nobody)]})
    life.add("Pod", "dying", {"containers": [container(ports=port, livenessProbe=nobody)]})
    life.add(
        "Pod",
        "well",
        {"containers": [container(ports=port, startupProbe=good, readinessProbe=good, livenessProbe=good)]},
    )
    await life.pod("well")
    await life.pod("unready", ready=False)
    text = await life.until("probe event", lambda: [e["message"] for e in life.said("unready", "Unhealthy")])
    assert text[0].startswith("Readiness probe failed: dial tcp 10.244.") and text[0].endswith(
        "connection refused"
    )
    killing = "Container main failed liveness probe, will be restarted"
    await life.until(killing, lambda: killing in [e["message"] for e in life.said("dying", "Killing")])
    await life.until(
        "restart",
        lambda: (life.get("Pod", "dying") or {})["status"]["containerStatuses"][0]["restartCount"] >= 1,
    )


@living()
async def test_a_gpu_taken_twice(life: Life) -> None:
    """nodeName goes past the scheduler: UnexpectedAdmissionError."""
    spec = {
        "nodeName": "practice-gpu-1",
        "containers": [container(resources={"limits": {"nvidia.com/gpu": "3"}})],
    }
    life.add("Pod", "one", spec)
    await life.pod("one")
    life.add("Pod", "two", spec)
    await life.until("failure", lambda: (life.get("Pod", "two") or {})["status"]["phase"] == "Failed")
    found = (life.get("Pod", "two") or {})["status"]
    assert found["reason"] == "UnexpectedAdmissionError"
    assert found["message"].endswith("Requested: 3, Available: 1, which is unexpected")


@living("cpu")
async def test_a_disk_on_another_node(life: Life) -> None:
    """ReadWriteOnce is not looked at by the scheduler: FailedAttachVolume until the other pod is gone."""
    spec = workload("db", container(), serviceName="db", volumeClaimTemplates=[claim_template()])
    spec["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "practice-cpu-1"}
    life.add("StatefulSet", "db", spec)
    await life.pod("db-0")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data-db-0"}}
    life.add("Pod", "p", {"nodeName": "practice-cpu-2", "containers": [container()], "volumes": [volume]})
    [event] = await life.until("event", lambda: life.said("p", "FailedAttachVolume"))
    assert event["message"].startswith("Multi-Attach error for volume") and event["message"].endswith(
        "pod(s) db-0"
    )
    life.store.delete("StatefulSet", NS, "db")
    await life.pod("p")


@living()
async def test_logs(life: Life) -> None:
    """Kubernetes API reference, PodLogOptions: tail, bytes, time stamps, following until the end."""
    life.add("Pod", "p", {"containers": [container()]})
    pod = await life.pod("p")
    worker = life.world.kubelet.worker(pod)
    assert worker is not None
    log = worker.log_of("main", previous=False)
    assert log is not None
    for number in range(3):
        log.write(f"line {number}")

    async def lines(**more: Any) -> list[bytes]:
        return [line async for line in life.logs("p", **more)]

    assert await lines(tail_lines=2) == [b"line 1\n", b"line 2\n"]
    assert await lines(tail_lines=2, limit_bytes=9) == [b"line 1\n", b"li"]
    assert (await lines(tail_lines=1, timestamps=True))[0].split()[1:] == [b"line", b"2"]
    following = life.logs("p", follow=True, tail_lines=1)
    assert await anext(following) == b"line 2\n"
    log.write("later")
    assert await anext(following) == b"later\n"
    life.store.delete("Pod", NS, "p")
    assert [line async for line in following] == []
    life.add("Pod", "q", {"containers": [container()]})
    await life.pod("q")
    with pytest.raises(status.ApiError, match="previous terminated container"):
        await anext(life.logs("q", previous=True))


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("ollama/ollama:0.9.6", "docker.io/ollama/ollama:0.9.6"),
        ("mirror.example:5000/ollama/ollama:0.9.6", "mirror.example:5000/ollama/ollama:0.9.6"),
        ("localhost/a:b", "localhost/a:b"),
        ("a@sha256:" + "0" * 64, "docker.io/library/a@sha256:" + "0" * 64),
        ("https://a/b", None),
        ("a b", None),
        ("a:", None),
        ("A/b", "A/b:latest"),
        ("a/B", None),
        ("", None),
    ],
)
def test_image_references(text: str, full: str | None) -> None:
    """distribution/reference grammar."""
    found = images.parse(text)
    assert (found.full if found else None) == full


@living()
async def test_an_unknown_image_answers_on_its_ports(life: Life) -> None:
    life.add("Pod", "p", {"containers": [container(ports=[{"containerPort": 8080}])]})
    await life.pod("p")
    assert b"SIMULATED" in await read(await life.ask("p", 8080, "GET", "/"))
    assert life.world.backend(life.get("Pod", "p") or {}, 8081) is None
