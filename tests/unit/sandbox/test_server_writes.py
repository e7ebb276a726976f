"""Writing and deleting beyond the recorded sequences: finalizers, grace, quotas, namespaces, ownership of names.

Recorded transcripts 13, 14, 18, 18b, 19 and 25.
"""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.status import ApiError
from sandbox.store import Store
from tests.sandbox_server import RunningSandbox

POD: dict[str, Any] = {"spec": {"containers": [{"name": "m", "image": "example/app:1"}]}}


@pytest.fixture
def store() -> Store:
    """A store of its own, with a namespace, and a clock that a test moves."""
    made = Store(clock=lambda: 1767225600.0, seed=1)
    made.create("Namespace", {"metadata": {"name": "n"}})
    made.create("ServiceAccount", {"metadata": {"name": "default", "namespace": "n"}})
    return made


def pod(name: str, node: str = "") -> dict[str, Any]:
    spec = {**POD["spec"], **({"nodeName": node} if node else {})}
    return {"metadata": {"name": name, "namespace": "n"}, "spec": spec}


def test_a_write_without_effect_makes_no_event(store: Store) -> None:
    made = store.create("ConfigMap", {"metadata": {"name": "a", "namespace": "n"}, "data": {"k": "v"}})
    seen: list[str] = []
    store.subscribe(lambda event: seen.append(event.type))
    same = store.mutate("ConfigMap", "n", "a", lambda obj: obj["data"].update(k="v"))
    assert same is made
    assert store.mutate("ConfigMap", "n", "a", lambda obj: False) is made
    assert store.mutate("ConfigMap", "n", "none", lambda obj: None) is None
    assert seen == []


def test_events_reach_subscribers_in_order_even_when_they_write(store: Store) -> None:
    seen: list[tuple[str, str]] = []

    def second(event: Any) -> None:
        if event.type == "ADDED" and event.object["metadata"]["name"] == "a":
            store.create("ConfigMap", {"metadata": {"name": "b", "namespace": "n"}})

    store.subscribe(second)
    store.subscribe(lambda event: seen.append((event.type, event.object["metadata"]["name"])))
    store.create("ConfigMap", {"metadata": {"name": "a", "namespace": "n"}})
    assert seen == [("ADDED", "a"), ("ADDED", "b")]


def test_a_failing_subscriber_does_not_undo_the_write(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    def fails(event: Any) -> None:
        raise RuntimeError("a controller's mistake")

    store.subscribe(fails)
    store.create("ConfigMap", {"metadata": {"name": "a", "namespace": "n"}})
    assert store.get("ConfigMap", "n", "a") is not None
    assert "a subscriber failed" in caplog.text


def test_a_bound_pod_waits_for_its_kubelet(store: Store) -> None:
    store.create("Pod", pod("p", "node-1"))
    deletion = store.delete("Pod", "n", "p")
    assert not deletion.gone
    metadata = deletion.object["metadata"]
    assert (metadata["deletionTimestamp"], metadata["deletionGracePeriodSeconds"]) == (
        "2026-01-01T00:00:30Z",
        30,
    )
    assert metadata["generation"] == 2
    version = metadata["resourceVersion"]
    assert store.delete("Pod", "n", "p", grace=60).object["metadata"]["resourceVersion"] == version
    shorter = store.delete("Pod", "n", "p", grace=5).object["metadata"]
    assert (shorter["deletionTimestamp"], shorter["deletionGracePeriodSeconds"]) == (
        "2026-01-01T00:00:05Z",
        5,
    )
    with pytest.raises(ApiError, match="object is being deleted"):
        store.create("Pod", pod("p"))
    assert store.delete("Pod", "n", "p", grace=0).gone
    assert store.get("Pod", "n", "p") is None


def test_an_unscheduled_pod_goes_at_once(store: Store) -> None:
    store.create("Pod", pod("p"))
    assert store.delete("Pod", "n", "p").gone


def test_policies_leave_finalizers_for_the_collector(store: Store) -> None:
    for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
        store.create("ConfigMap", {"metadata": {"name": policy.lower(), "namespace": "n"}})
        kept = store.delete("ConfigMap", "n", policy.lower(), propagation=policy)
        assert (kept.gone, kept.object["metadata"]["finalizers"]) == (False, [finalizer])
        done = store.mutate("ConfigMap", "n", policy.lower(), lambda obj: obj["metadata"].pop("finalizers"))
        assert done is not None
        assert store.get("ConfigMap", "n", policy.lower()) is None


def test_a_namespace_goes_when_its_content_is_reported_gone(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}"
    _, _, body = cluster.request("DELETE", path)
    assert body["status"]["phase"] == "Terminating"
    code, _, refused = cluster.request("POST", f"{path}/configmaps", {"metadata": {"name": "late"}})
    assert (code, refused["details"]["causes"][0]["reason"]) == (403, "NamespaceTerminating")
    _, _, body = cluster.request("GET", path)
    body["spec"] = {}
    code, _, _ = cluster.request("PUT", f"{path}/finalize", body)
    assert code == 200
    assert cluster.request("GET", path)[0] == 404


def test_a_new_namespace_gets_account_and_certificate(cluster: RunningSandbox, namespace: str) -> None:
    _, _, found = cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps/kube-root-ca.crt")
    assert found["data"]["ca.crt"] == cluster.ca_pem
    assert cluster.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")[0] == 200
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")
    assert cluster.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/default")[0] == 200


def test_a_quota_counts_at_once_and_frees_on_deletion(cluster: RunningSandbox, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    hard = {"requests.nvidia.com/gpu": "2", "pods": "5"}
    cluster.request("POST", f"{base}/resourcequotas", {"metadata": {"name": "rq"}, "spec": {"hard": hard}})

    def gpus(name: str, count: int) -> tuple[int, Any]:
        limits = {"nvidia.com/gpu": str(count)}
        body = {
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "m", "image": "x:1", "resources": {"limits": limits}}]},
        }
        code, _, answer = cluster.request("POST", f"{base}/pods", body)
        return code, answer

    assert gpus("a", 2)[0] == 201
    code, answer = gpus("b", 1)
    assert code == 403
    assert answer["message"] == (
        'pods "b" is forbidden: exceeded quota: rq, requested: requests.nvidia.com/gpu=1, '
        "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2"
    )
    _, _, quota = cluster.request("GET", f"{base}/resourcequotas/rq")
    assert quota["status"]["used"] == {"pods": "1", "requests.nvidia.com/gpu": "2"}
    cluster.request("DELETE", f"{base}/pods/a")
    assert gpus("b", 1)[0] == 201


def test_storage_class_and_priority_are_filled_in(cluster: RunningSandbox, namespace: str) -> None:
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage = "/apis/storage.k8s.io/v1/storageclasses"
    cluster.request(
        "POST", storage, {"metadata": {"name": "fast", "annotations": default}, "provisioner": "x.example/y"}
    )
    claim = {
        "metadata": {"name": "c"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    base = f"/api/v1/namespaces/{namespace}"
    _, _, made = cluster.request("POST", f"{base}/persistentvolumeclaims", claim)
    assert made["spec"]["storageClassName"] == "fast"
    assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    body = {
        **POD,
        "metadata": {"name": "p"},
        "spec": {**POD["spec"], "priorityClassName": "system-node-critical"},
    }
    _, _, made = cluster.request("POST", f"{base}/pods", body)
    assert made["spec"]["priority"] == 2000001000
    assert made["spec"]["volumes"][0]["name"].startswith("kube-api-access-")
    cluster.request("DELETE", f"{storage}/fast")


def test_node_ports_and_addresses_do_not_collide(cluster: RunningSandbox, namespace: str) -> None:
    seen: set[Any] = set()
    for name in ("a", "b", "c"):
        body = {"metadata": {"name": name}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
        _, _, made = cluster.request("POST", f"/api/v1/namespaces/{namespace}/services", body)
        seen |= {made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]}
    assert len(seen) == 6


def test_generated_names_are_five_random_letters(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    names = {
        cluster.request("POST", path, {"metadata": {"generateName": "g-"}})[2]["metadata"]["name"]
        for _ in range(5)
    }
    assert len(names) == 5
    assert all(len(name) == 7 for name in names)


def test_conflicting_updates_and_the_delete_collection(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, _, made = cluster.request("POST", path, {"metadata": {"name": "a", "labels": {"g": "1"}}})
    assert cluster.request("PUT", f"{path}/a", {**made, "data": {"k": "1"}})[0] == 200
    code, _, refused = cluster.request("PUT", f"{path}/a", {**made, "data": {"k": "2"}})
    assert (code, refused["reason"]) == (409, "Conflict")
    code, _, gone = cluster.request("DELETE", f"{path}?labelSelector=g%3D1")
    assert code == 200
    assert [item["metadata"]["name"] for item in gone["items"]] == ["a"]
    assert cluster.request("GET", f"{path}/a")[0] == 404


def test_a_pod_cannot_be_evicted_against_its_budget(cluster: RunningSandbox, namespace: str) -> None:
    base = f"/api/v1/namespaces/{namespace}"
    cluster.request("POST", f"{base}/pods", {**POD, "metadata": {"name": "p", "labels": {"x": "1"}}})
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"x": "1"}}}}
    budgets = f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets"
    cluster.request("POST", budgets, budget)
    code, headers, body = cluster.request("POST", f"{base}/pods/p/eviction", {"metadata": {"name": "p"}})
    assert (code, body["details"]["causes"][0]["reason"]) == (429, "DisruptionBudget")
    assert "retry-after" not in headers
    cluster.request("DELETE", f"{budgets}/b")
    assert cluster.request("POST", f"{base}/pods/p/eviction", {"metadata": {"name": "p"}})[0] == 201
    assert cluster.request("GET", f"{base}/pods/p")[0] == 404


def test_what_a_body_may_not_be(cluster: RunningSandbox, namespace: str) -> None:
    """Too large, with unknown members, with members written twice (recorded transcripts 06 and 08)."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    huge = b'{"metadata":{"name":"h"},"data":{"k":"' + b"x" * 3_200_000 + b'"}}'
    code, _, refused = cluster.request("POST", path, huge)
    assert (code, refused["message"]) == (413, "Request entity too large: limit is 3145728")
    twice = b'{"metadata":{"name":"w"},"data":{"a":"1"},"data":{"b":"2"},"Data":{}}'
    code, headers, made = cluster.request("POST", path, twice)
    assert (code, made["data"]) == (201, {"a": "1", "b": "2"})
    assert headers["warning"] in ('299 - "duplicate field \\"data\\""', '299 - "unknown field \\"Data\\""')
    code, _, refused = cluster.request(
        "POST", f"{path}?fieldValidation=Strict", twice.replace(b'"w"', b'"s"')
    )
    assert code == 400
    assert 'strict decoding error: duplicate field "data", unknown field "Data"' in refused["message"]


def test_events_are_forgotten_after_an_hour(cluster: RunningSandbox, namespace: str) -> None:
    event = {
        "metadata": {"name": "old"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "reason": "R",
    }
    assert cluster.request("POST", f"/api/v1/namespaces/{namespace}/events", event)[0] == 201
    system, store = cluster.cluster.system, cluster.cluster.store
    assert cluster.run(lambda _: system.forget_events()) == 0
    clock = store.clock
    try:
        store.clock = lambda: clock() + 3700
        assert cluster.run(lambda _: system.forget_events()) == 1
    finally:
        store.clock = clock
