"""Pages, selectors, tables, encodings (recorded transcripts 02, 10, 11, 14 and 30)."""

from __future__ import annotations

import gzip
from typing import Any

import pytest

from sandbox import selectors, tables
from sandbox.status import ApiError
from tests.sandbox_server import RunningSandbox

TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}


def fill(cluster: RunningSandbox, namespace: str, count: int) -> None:
    def work(store: Any) -> None:
        for number in range(count):
            labels = {"odd": str(number % 2)}
            metadata = {"name": f"c{number}", "namespace": namespace, "labels": labels}
            store.create("ConfigMap", {"metadata": metadata, "data": {"k": "v"}})

    cluster.run(work)


def names(body: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in body["items"]]


def test_pages_share_one_state_and_do_not_see_later_changes(cluster: RunningSandbox, namespace: str) -> None:
    fill(cluster, namespace, 5)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, _, first = cluster.request("GET", f"{path}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 4
    cluster.request("POST", path, {"metadata": {"name": "c1a"}})
    cluster.request("DELETE", f"{path}/c3")
    cluster.request("DELETE", f"{path}/c0")
    found, token, version = names(first), first["metadata"]["continue"], first["metadata"]["resourceVersion"]
    while token:
        _, _, page = cluster.request("GET", f"{path}?limit=2&continue={token}")
        assert page["metadata"]["resourceVersion"] == version
        found += names(page)
        token = page["metadata"].get("continue", "")
    assert "remainingItemCount" not in page["metadata"]
    assert found == ["c0", "c1", "c2", "c3", "c4", "kube-root-ca.crt"]


def test_pages_of_all_namespaces_go_on_where_they_stopped(cluster: RunningSandbox, namespace: str) -> None:
    fill(cluster, namespace, 3)
    _, _, whole = cluster.request("GET", "/api/v1/configmaps")
    found: list[str] = []
    token = ""
    while True:
        _, _, page = cluster.request("GET", f"/api/v1/configmaps?limit=2&continue={token}")
        found += [item["metadata"]["uid"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
        if not token:
            break
    assert found == [item["metadata"]["uid"] for item in whole["items"]]


def test_an_exact_version_shows_the_past(cluster: RunningSandbox, namespace: str) -> None:
    fill(cluster, namespace, 2)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    _, _, before = cluster.request("GET", path)
    cluster.request("DELETE", f"{path}/c1")
    version = before["metadata"]["resourceVersion"]
    _, _, past = cluster.request("GET", f"{path}?resourceVersion={version}&resourceVersionMatch=Exact")
    assert names(past) == names(before)
    _, _, now = cluster.request("GET", f"{path}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")
    assert names(now) == ["c0", "kube-root-ca.crt"]


def test_items_carry_no_kind_and_an_empty_list_is_a_list(cluster: RunningSandbox, namespace: str) -> None:
    fill(cluster, namespace, 1)
    _, _, body = cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")
    assert "kind" not in body["items"][0]
    _, _, empty = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods")
    assert empty["items"] == []
    _, _, table = cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods", headers=TABLE)
    assert table["rows"] is None


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("app=a", {"app": "a"}, True),
        ("app==a,tier!=b", {"app": "a"}, True),
        ("app in (a,b),!old", {"app": "b"}, True),
        ("app notin (a)", {}, True),
        ("app notin (a)", {"app": "a"}, False),
        ("!app", {"app": "a"}, False),
        ("n>5", {"n": "7"}, True),
        ("n<5", {"n": "x"}, False),
        ("tier=", {"tier": ""}, True),
        ("example.com/app=a", {"example.com/app": "a"}, True),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], expected: bool) -> None:
    assert selectors.parse(text).matches(labels) is expected


@pytest.mark.parametrize("text", ["a===b", "a in (b", "-bad=x", "x=bad value", "a,", "=", "a in b"])
def test_selectors_that_do_not_parse(text: str) -> None:
    with pytest.raises(ApiError) as refused:
        selectors.parse(text)
    assert refused.value.code == 400


def test_a_label_selector_object_round_trips_to_text() -> None:
    selector = {
        "matchLabels": {"b": "1"},
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["y", "x"]},
            {"key": "c", "operator": "Exists"},
        ],
    }
    assert selectors.text_of(selector) == "a in (x,y),b=1,c"
    assert selectors.from_object(selector).matches({"a": "x", "b": "1", "c": ""})
    assert not selectors.from_object(selector).matches({"a": "z", "b": "1", "c": ""})


def test_events_are_one_thing_in_two_groups(cluster: RunningSandbox, namespace: str) -> None:
    event = {
        "metadata": {"name": "e.1"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "reason": "Started",
        "message": "hello",
        "type": "Normal",
        "count": 3,
    }
    assert cluster.request("POST", f"/api/v1/namespaces/{namespace}/events", event)[0] == 201
    path = f"/apis/events.k8s.io/v1/namespaces/{namespace}/events"
    _, _, body = cluster.request("GET", f"{path}?fieldSelector=regarding.name%3Dp")
    shown = body["items"][0]
    assert (shown["note"], shown["regarding"]["name"], shown["deprecatedCount"]) == ("hello", "p", 3)
    assert "message" not in shown
    events = cluster.events(f"{path}?watch=true&timeoutSeconds=1")
    assert events[0]["object"]["apiVersion"] == "events.k8s.io/v1"
    assert events[0]["object"]["note"] == "hello"


def test_pods_as_kubectl_shows_them() -> None:
    pod = {
        "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"containers": [{"name": "a"}, {"name": "b"}], "nodeName": "n"},
        "status": {
            "phase": "Running",
            "podIP": "10.1.1.1",
            "containerStatuses": [
                {"name": "a", "ready": True, "restartCount": 0, "state": {"running": {}}},
                {
                    "name": "b",
                    "ready": False,
                    "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"finishedAt": "2026-01-01T00:01:00Z", "exitCode": 1}},
                },
            ],
        },
    }
    cells = tables.TABLES["Pod"].row(pod, 1767225600.0 + 180)
    assert cells == ["p", "1/2", "CrashLoopBackOff", "4 (2m ago)", "3m", "10.1.1.1", "n", "<none>", "<none>"]


def test_answers_escape_as_go_does_and_end_with_a_line(cluster: RunningSandbox, namespace: str) -> None:
    body = {"metadata": {"name": "u"}, "data": {"k": "中文 😀 \u2028 <&>"}}
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert cluster.request("POST", path, body)[0] == 201
    with cluster.stream(f"{path}/u", {"Accept": "application/json"}) as answer:
        raw = answer.read().decode()
    assert "中文 😀 \\u2028 \\u003c\\u0026\\u003e" in raw
    assert raw.endswith("}\n")
    assert "\n" not in raw[:-1]
    with cluster.stream(f"{path}/u", {"User-Agent": "curl/8"}) as answer:
        assert answer.read().count(b"\n") > 5


def test_large_bodies_are_compressed_for_those_who_accept_it(cluster: RunningSandbox, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.request("POST", path, {"metadata": {"name": "big"}, "data": {"k": "x" * 200_000}})
    with cluster.stream(path, {"Accept-Encoding": "gzip"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b"xxxx" in gzip.decompress(answer.read())
    with cluster.stream(f"/api/v1/namespaces/{namespace}/pods", {"Accept-Encoding": "gzip"}) as answer:
        assert "Content-Encoding" not in answer.headers


def test_aggregated_discovery_names_every_kind_and_can_be_cached(cluster: RunningSandbox) -> None:
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    code, headers, body = cluster.request("GET", "/apis", headers={"Accept": accept})
    assert (code, body["kind"]) == (200, "APIGroupDiscoveryList")
    groups = {item["metadata"]["name"]: item["versions"][0]["resources"] for item in body["items"]}
    deployments = next(entry for entry in groups["apps"] if entry["resource"] == "deployments")
    assert [sub["subresource"] for sub in deployments["subresources"]] == ["scale", "status"]
    again = cluster.request("GET", "/apis", headers={"Accept": accept, "If-None-Match": headers["etag"]})
    assert again[0] == 304


def test_openapi_is_addressed_by_its_hash(cluster: RunningSandbox) -> None:
    _, headers, text = cluster.request("GET", "/openapi/v3")
    assert headers["content-type"].startswith("text/plain")
    assert '"apis/apps/v1"' in text
    code, headers, _ = cluster.request("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
    assert code == 301
    code, headers, body = cluster.request("GET", headers["location"])
    assert (code, headers["cache-control"]) == (200, "public, immutable")
    assert "io.k8s.api.apps.v1.Deployment" in body["components"]["schemas"]
