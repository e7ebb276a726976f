"""The pods of a deployment, one pod in full, and the events, all from the database."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.domain.states import Role
from deployments.models import Deployment, Team, WatchState
from deployments.observer.health import reassess
from tests.factories import make_team
from tests.web import gpu_rows, rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployment() -> Deployment:
    team = Team.objects.get(slug="default")
    row = rows.deployment(rows.revision(team), rows.cluster())
    for kind in ("Pod", "Event"):
        WatchState.objects.create(cluster=row.cluster, kind=kind, confirmed_at=timezone.now())
    return row


@pytest.fixture
def viewer(client: Client) -> Client:
    client.force_login(rows.person("vera", Team.objects.get(slug="default"), Role.VIEWER))
    return client


def html(client: Client, address: str, status: int = 200, **headers: str) -> str:
    answer = client.get(address, headers=headers)
    assert answer.status_code == status, answer.content.decode()[-2000:]
    return answer.content.decode()


def text(page: str) -> str:
    """What a reader sees, on one line."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page)).replace("&#x27;", "'")


def pod_data(**more: Any) -> dict[str, Any]:
    return {
        "labels": {"app.kubernetes.io/component": "server"},
        "createdAt": "2026-01-31T12:00:00Z",
        "phase": "Running",
        "node": "node-7",
        "podIP": "10.1.2.3",
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-31T12:01:00Z"}],
        "containers": [
            {"name": "ollama", "requests": {"cpu": "500m", "memory": "8Gi"}, "limits": {"memory": "10Gi"}}
        ],
        "containerStatuses": [{"name": "ollama", "ready": True, "restartCount": 0, "state": {"running": {}}}],
        **more,
    }


def crashed(code: int = 137, reason: str = "OOMKilled") -> dict[str, Any]:
    return pod_data(
        conditions=[{"type": "Ready", "status": "False", "reason": "ContainersNotReady"}],
        containerStatuses=[
            {
                "name": "ollama",
                "image": "ollama/ollama:0.9.6",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                "lastState": {
                    "terminated": {
                        "reason": reason,
                        "exitCode": code,
                        "startedAt": "2026-01-31T12:00:00Z",
                        "finishedAt": "2026-01-31T12:03:20Z",
                    }
                },
            }
        ],
    )


def event(deployment: Deployment, name: str, minutes: int, **more: Any) -> None:
    seen = (timezone.now() - timedelta(minutes=minutes)).isoformat()
    about = {"kind": "Pod", "namespace": "llm", "name": "r1-server-0"}
    data = {"type": "Normal", "reason": name, "message": f"said {name}", "lastSeen": seen, "involved": about}
    rows.seen(deployment, "Event", f"e-{name}", {**data, **more})


# The list -----------------------------------------------------------------------------------------
def test_the_list_tells_resources_and_the_last_end(viewer: Client, deployment: Deployment) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", crashed())
    rows.seen(
        deployment,
        "Pod",
        "r1-server-1",
        pod_data(containers=[{"name": "ollama", "limits": {"nvidia.com/gpu": "2", "cpu": "4"}}]),
    )
    page = html(viewer, f"/deployments/{deployment.pk}/?tab=pods")
    said = text(page)
    assert "0.5" in said and "8 GiB" in said and "up to 10 GiB" in said and "OOMKilled" in said
    assert f'href="/deployments/{deployment.pk}/pods/r1-server-0/"' in page
    assert f"/deployments/{deployment.pk}/logs/?of=r1-server-0/ollama&amp;run=previous" in page
    assert "r1-server-1/ollama&amp;run=previous" not in page
    assert re.search(r'data-l="GPUs">2<', page) and "no request" in said


SORTED = {
    "state": "ill",
    "-state": "big",
    "-name": "well",
    "-restarts": "ill",
    "-memory": "big",
    "-cpu": "big",
    "-gpus": "big",
    "node": "big",
    "-age": "old",
    "nonsense": "ill",
}


def test_the_list_sorts(viewer: Client, deployment: Deployment) -> None:
    asks = {"cpu": "9", "memory": "99Gi", "nvidia.com/gpu": "8"}
    rows.seen(deployment, "Pod", "big", pod_data(node="a", containers=[{"name": "x", "requests": asks}]))
    rows.seen(deployment, "Pod", "ill", crashed())
    rows.seen(deployment, "Pod", "old", pod_data(createdAt="2020-01-01T00:00:00Z"))
    rows.seen(deployment, "Pod", "well", pod_data())
    for sort, first in SORTED.items():
        address = f"/deployments/{deployment.pk}/?part=section&tab=pods&sort={sort}"
        page = html(viewer, address, **{"X-Fragment": "1"})
        found = re.findall(rf"/deployments/{deployment.pk}/pods/(\w+)/", page)
        assert found[0] == first, sort
        assert f"part=section&amp;tab=pods&amp;sort={sort}" in page


def test_a_fragment_leads_to_pages(viewer: Client, deployment: Deployment) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", pod_data())
    page = html(
        viewer, f"/deployments/{deployment.pk}/?part=section&tab=pods&sort=-age", **{"X-Fragment": "1"}
    )
    assert 'aria-sort="descending"' in page
    assert not re.search(r'href="\?[^"]*part=', page)


# One pod ------------------------------------------------------------------------------------------
def test_a_crashing_pod_says_why_and_what_to_do(viewer: Client, deployment: Deployment) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", crashed())
    event(deployment, "BackOff", 1, type="Warning", count=7)
    event(deployment, "Elsewhere", 1, involved={"kind": "Pod", "name": "r1-server-1"})
    said = text(html(viewer, f"/deployments/{deployment.pk}/pods/r1-server-0/"))
    for words in (
        "r1-server-0/ollama was killed: it used more memory than its limit.",
        "Raise the memory limit",
        "exit code 137: it used more memory than its limit",
        "after 3 min 20 s",
        "4 restarts",
        "back-off 40s",
        "said BackOff",
        "Log of that run",
    ):
        assert words in said, words
    assert "said Elsewhere" not in said


def test_a_pod_that_its_node_cannot_start_says_what_its_deployment_says(
    viewer: Client, deployment: Deployment
) -> None:
    waits = {"name": "ollama", "state": {"waiting": {"reason": "ContainerCreating"}}}
    rows.seen(
        deployment,
        "Pod",
        "r1-server-0",
        pod_data(phase="Pending", conditions=[], containerStatuses=[waits]),
    )
    why = "failed to get sandbox runtime: no runtime of that name is configured"
    event(deployment, "FailedCreatePodSandBox", 0, type="Warning", message=why)
    said = text(html(viewer, f"/deployments/{deployment.pk}/pods/r1-server-0/"))
    assert "The node cannot set up the pod's network or runtime." in said and why in said
    assert "Check the network plugin and the runtime class." in said and "it is on its way" not in said


def test_what_a_silent_node_last_told_is_not_shown_as_so(viewer: Client, deployment: Deployment) -> None:
    """The containers of its pods stay as they were; the control plane takes back readiness alone."""
    ready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-31T12:01:00Z"}
    rows.seen(deployment, "Pod", "r1-server-0", pod_data(conditions=[ready]))
    for address in (
        f"/deployments/{deployment.pk}/?tab=pods",
        f"/deployments/{deployment.pk}/pods/r1-server-0/",
    ):
        page = text(html(viewer, address))
        assert "Running when last heard of" in page and "1 of 1" not in page and "Not ready yet" not in page
    assert "Node does not answer" in text(html(viewer, f"/deployments/{deployment.pk}/?tab=pods"))


def test_a_pod_in_full(viewer: Client, deployment: Deployment) -> None:
    rows.seen(
        deployment,
        "Pod",
        "r1-server-0",
        pod_data(
            qosClass="Burstable",
            owner={"kind": "StatefulSet", "name": "r1-server"},
            tolerations=[
                {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule", "seconds": None}
            ],
            nodeSelector={"gpu": "l40s"},
            claims=["models-r1-server-0"],
            volumes=[{"name": "models", "kind": "persistentVolumeClaim", "source": "models-r1-server-0"}],
            setups=[
                {"name": "fix", "image": "busybox:1.36", "init": True},
                {
                    "name": "ollama",
                    "image": "ollama/ollama:0.9.6",
                    "requests": {"cpu": "500m", "nvidia.com/gpu": "1"},
                    "limits": {"memory": "10Gi"},
                    "env": ["OLLAMA_HOST"],
                    "envFrom": ["pull-secret"],
                    "mounts": [{"name": "models", "path": "/root/.ollama", "readOnly": True}],
                },
            ],
            initContainerStatuses=[
                {"name": "fix", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
            ],
        ),
    )
    claim = {"phase": "Bound", "capacity": "40Gi", "storageClassName": "fast"}
    rows.seen(deployment, "PersistentVolumeClaim", "models-r1-server-0", claim)
    said = text(html(viewer, f"/deployments/{deployment.pk}/pods/r1-server-0/"))
    for words in (
        "r1-server-0 runs and is ready.",
        "StatefulSet r1-server",
        "Burstable",
        "nvidia.com/gpu:NoSchedule",
        "gpu=l40s",
        "Bound · fast",
        "40 GiB",
        "ollama: /root/.ollama (read only)",
        "OLLAMA_HOST",
        "pull-secret",
        "runs before the others",
        "it ended by itself, without an error",
        "10.1.2.3",
        "It takes requests",
    ):
        assert words in said, words


STATES: list[tuple[dict[str, Any], str]] = [
    ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, "is being started"),
    (pod_data(deletedAt="2999-01-31T12:00:00Z"), "is being ended"),
    (pod_data(deletedAt="2026-01-31T12:00:00Z"), "and is still there"),
    (pod_data(phase="Succeeded", conditions=[]), "has done its work"),
    (pod_data(conditions=[]), "runs but is not ready yet"),
    (pod_data(phase="Odd", conditions=[], containers=[]), "was not told"),
    (crashed(139, "Error"), "check the GPU driver"),
    (pod_data(phase="Failed", reason="Evicted", message="The node was low on memory"), "was evicted"),
]


def test_a_pod_in_any_state_has_its_sentence(viewer: Client, deployment: Deployment) -> None:
    for number, (data, words) in enumerate(STATES):
        rows.seen(deployment, "Pod", f"p{number}", data)
        assert words in text(html(viewer, f"/deployments/{deployment.pk}/pods/p{number}/"))
        html(viewer, f"/deployments/{deployment.pk}/logs/?of=p{number}/x")
    html(viewer, f"/deployments/{deployment.pk}/?tab=pods")


def test_taints_that_the_scheduler_does_not_name_are_read_from_the_nodes(
    viewer: Client, deployment: Deployment
) -> None:
    """Kubernetes 1.36 and later: the words count nodes with "untolerated taint(s)" and say no more."""
    said = (
        "0/2 nodes are available: 2 node(s) had untolerated taint(s). preemption: 0/2 nodes are available: 2 "
    )
    waits = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
    waits["message"] = f"{said}Preemption is not helpful for scheduling."
    tolerated = {"key": "nvidia.com/gpu", "operator": "Exists", "value": "", "effect": "NoSchedule"}
    data = pod_data(
        phase="Pending", node="", conditions=[waits], containerStatuses=[], tolerations=[tolerated]
    )
    rows.seen(deployment, "Pod", "r1-server-0", data)
    full = {"key": "node.kubernetes.io/disk-pressure", "value": "", "effect": "NoSchedule"}
    usual = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    preferred = {"key": "example.com/spare", "value": "", "effect": "PreferNoSchedule"}
    for name in ("a", "b"):
        gpu_rows.node(deployment.cluster, name, taints=[preferred, usual, full])
    cordon = {"key": "node.kubernetes.io/unschedulable", "value": "", "effect": "NoSchedule"}
    gpu_rows.node(deployment.cluster, "shut", taints=[cordon, full], unschedulable=True)
    shown = text(html(viewer, f"/deployments/{deployment.pk}/pods/r1-server-0/"))
    assert "The nodes have run short of disk, so r1-server-0 cannot start." in shown
    assert "Taints of the nodes: 2 × node.kubernetes.io/disk-pressure." in shown
    for kind in ("StatefulSet", "Deployment", "PersistentVolumeClaim"):
        WatchState.objects.create(cluster=deployment.cluster, kind=kind, confirmed_at=timezone.now())
    reassess(deployment.pk, timezone.now())
    deployment.refresh_from_db()
    assert deployment.health_sentence.startswith("The nodes have run short of disk"), (
        deployment.health_sentence
    )


def test_what_was_seen_long_ago_is_not_shown_as_fresh(viewer: Client, deployment: Deployment) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", pod_data())
    WatchState.objects.update(confirmed_at=timezone.now() - timedelta(hours=1))
    said = text(html(viewer, f"/deployments/{deployment.pk}/pods/r1-server-0/"))
    assert "has not reported for a while" in said and "runs and is ready" not in said


def test_a_pod_that_goes_while_its_page_is_open(viewer: Client, deployment: Deployment) -> None:
    path = f"/deployments/{deployment.pk}/pods/r1-server-0/"
    assert "Pods come and go" in html(viewer, path, status=404)
    fragment = html(viewer, path, **{"X-Fragment": "1"})
    assert (
        fragment.strip().startswith('<div id="pod" data-live="deployment:') and "This pod is gone" in fragment
    )


def test_what_a_cluster_wrote_is_text(viewer: Client, deployment: Deployment) -> None:
    evil = "<script>alert(1)</script>"
    data = crashed(1, evil)
    data["containerStatuses"][0]["image"] = data["node"] = data["owner"] = evil
    data |= {"owner": {"kind": evil, "name": evil}, "volumes": [{"name": evil, "kind": evil}]}
    data |= {"setups": [{"name": "ollama", "env": [evil]}], "nodeSelector": {evil: evil}}
    rows.seen(deployment, "Pod", "r1-server-0", data)
    event(deployment, "Evil", 1, message=evil, reason=evil, source=evil)
    for path in ("pods/r1-server-0/", "?tab=pods", "?tab=events", "logs/"):
        assert evil not in html(viewer, f"/deployments/{deployment.pk}/{path}")


@pytest.mark.parametrize("path", ["pods/r1-server-0/", "logs/", "?tab=pods"])
def test_another_team_finds_nothing(client: Client, deployment: Deployment, path: str) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", pod_data())
    client.force_login(rows.person("stranger", make_team("Other")))
    html(client, f"/deployments/{deployment.pk}/{path}", status=404)


def test_the_number_of_queries_does_not_grow(
    viewer: Client, deployment: Deployment, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    def fill(numbers: range) -> None:
        for number in numbers:
            rows.seen(deployment, "Pod", f"p-{number}", pod_data(claims=["c"]))
            event(deployment, f"r{number}", number, involved={"kind": "Pod", "name": f"p-{number}"})

    fill(range(2))
    paths = [
        f"/deployments/{deployment.pk}/{path}" for path in ("?tab=pods", "?tab=events", "pods/p-0/", "logs/")
    ]
    few = []
    for path in paths:
        with django_assert_max_num_queries(24) as counted:
            html(viewer, path)
        few.append(len(counted.captured_queries))
    fill(range(2, 60))
    for path, most in zip(paths, few, strict=True):
        with django_assert_max_num_queries(most):
            html(viewer, path)


def test_events_of_an_earlier_pod_of_the_name_are_not_its_own(viewer: Client, deployment: Deployment) -> None:
    pod = rows.seen(deployment, "Pod", "r1-server-0", pod_data())
    about = {"kind": "Pod", "namespace": "llm", "name": pod.name}
    event(deployment, "Earlier", 2, involved={**about, "uid": "another"})
    event(deployment, "Own", 1, involved={**about, "uid": pod.uid})
    event(deployment, "Untold", 1)
    page = html(viewer, f"/deployments/{deployment.pk}/pods/{pod.name}/")
    assert "said Own" in page and "said Untold" in page
    assert "said Earlier" not in page


# Events -------------------------------------------------------------------------------------------
def test_events_are_newest_first_by_the_clusters_time_and_paged(
    viewer: Client, deployment: Deployment
) -> None:
    rows.seen(deployment, "Pod", "r1-server-0", pod_data())
    for minutes in range(30):
        event(deployment, f"E{minutes:02}", minutes, count=minutes + 1, source="kubelet")
    page = html(viewer, f"/deployments/{deployment.pk}/?tab=events")
    assert re.findall(r"said (E\d\d)", page) == [f"E{minutes:02}" for minutes in range(25)]
    assert f'href="/deployments/{deployment.pk}/pods/r1-server-0/"' in page and "kubelet" in page
    assert "1 to 25 of 30" in text(page)
    page = html(viewer, f"/deployments/{deployment.pk}/?tab=events&page=2")
    assert re.findall(r"said (E\d\d)", page) == [f"E{minutes:02}" for minutes in range(25, 30)]
    assert "part=section&amp;tab=events&amp;page=2" in page


def test_warnings_alone(viewer: Client, deployment: Deployment) -> None:
    assert "The cluster reported nothing" in html(viewer, f"/deployments/{deployment.pk}/?tab=events")
    event(deployment, "Fine", 1)
    page = html(viewer, f"/deployments/{deployment.pk}/?tab=events&type=warning")
    assert "No warnings" in page and "said Fine" not in page
    event(deployment, "Ill", 2, type="Warning", involved={"kind": "Job", "name": "gone"})
    page = html(viewer, f"/deployments/{deployment.pk}/?tab=events&type=warning")
    assert "said Ill" in page and "said Fine" not in page
