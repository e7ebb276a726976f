"""Watches, held against recorded transcripts 09, 11 and 12."""

from __future__ import annotations

import json
from typing import Any

from tests.sandbox_server import RunningSandbox, running_sandbox

END = "k8s.io/initial-events-end"


def maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def create(cluster: RunningSandbox, namespace: str, name: str, **labels: str) -> int:
    code, _, body = cluster.request("POST", maps(namespace), {"metadata": {"name": name, "labels": labels}})
    assert code == 201, body
    return int(body["metadata"]["resourceVersion"])


def patch(cluster: RunningSandbox, namespace: str, name: str, body: Any) -> dict[str, Any]:
    kind = {"Content-Type": "application/merge-patch+json"}
    code, _, answer = cluster.request("PATCH", f"{maps(namespace)}/{name}", body, kind)
    assert code == 200, answer
    return dict(answer)


def seen(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_a_watch_from_a_resource_version_sees_only_what_came_later(
    cluster: RunningSandbox, namespace: str
) -> None:
    since = create(cluster, namespace, "a")
    create(cluster, namespace, "b")
    patch(cluster, namespace, "b", {"data": {"k": "1"}})
    patch(cluster, namespace, "b", {"data": {"k": "1"}})
    cluster.request("DELETE", f"{maps(namespace)}/b")
    events = cluster.events(f"{maps(namespace)}?watch=true&resourceVersion={since}&timeoutSeconds=1")
    assert seen(events) == [("ADDED", "b"), ("MODIFIED", "b"), ("DELETED", "b")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert versions == sorted(set(versions))
    assert events[0]["object"]["kind"] == "ConfigMap"
    assert events[0]["object"]["apiVersion"] == "v1"


def test_live_events_arrive_at_once_and_the_end_is_clean(cluster: RunningSandbox, namespace: str) -> None:
    since = create(cluster, namespace, "a")
    with cluster.stream(f"{maps(namespace)}?watch=true&resourceVersion={since}&timeoutSeconds=2") as stream:
        patch(cluster, namespace, "a", {"data": {"k": "live"}})
        event = json.loads(stream.readline())
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"k": "live"})
        assert stream.readline() == b""


def test_a_selector_turns_changes_into_arrivals_and_departures(
    cluster: RunningSandbox, namespace: str
) -> None:
    since = create(cluster, namespace, "b")
    patch(cluster, namespace, "b", {"metadata": {"labels": {"app": "x"}}, "data": {"k": "old"}})
    left = patch(cluster, namespace, "b", {"metadata": {"labels": {"app": "y"}}, "data": {"k": "new"}})
    path = f"{maps(namespace)}?watch=1&resourceVersion={since}&timeoutSeconds=1&labelSelector=app%3Dx"
    events = cluster.events(path)
    assert seen(events) == [("ADDED", "b"), ("DELETED", "b")]
    assert events[1]["object"]["data"] == {"k": "old"}, "the last matching state"
    assert events[1]["object"]["metadata"]["resourceVersion"] == left["metadata"]["resourceVersion"]


def test_without_a_version_what_exists_comes_first(cluster: RunningSandbox, namespace: str) -> None:
    create(cluster, namespace, "a")
    for suffix in ("", "&resourceVersion=0"):
        events = cluster.events(f"{maps(namespace)}?watch=true&timeoutSeconds=1{suffix}")
        assert seen(events) == [("ADDED", "a"), ("ADDED", "kube-root-ca.crt")]


def test_initial_events_end_with_an_annotated_bookmark(cluster: RunningSandbox, namespace: str) -> None:
    create(cluster, namespace, "a", app="x")
    query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=1"
    events = cluster.events(f"{maps(namespace)}?{query}&labelSelector=app%3Dx")
    assert seen(events) == [("ADDED", "a"), ("BOOKMARK", "")]
    metadata = events[1]["object"]["metadata"]
    assert metadata["annotations"] == {END: "true"}
    assert set(events[1]["object"]) == {"kind", "apiVersion", "metadata"}
    quiet = cluster.events(
        f"{maps(namespace)}?{query}&labelSelector=app%3Dnone".replace("allowWatchBookmarks=true&", "")
    )
    assert quiet == []


def test_a_streamed_list_from_the_future_is_refused_inside_a_good_answer(
    cluster: RunningSandbox, namespace: str
) -> None:
    """Seen on kube-apiserver 1.36.2: one ERROR event as soon as the watch gives up waiting."""
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    path = f"/api/v1/namespaces/{namespace}/configmaps?{query}&resourceVersion=9999999999&timeoutSeconds=1"
    (event,) = cluster.events(path)
    assert event["type"] == "ERROR" and event["object"]["code"] == 504
    assert event["object"]["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_a_streamed_list_with_another_match_has_two_causes(cluster: RunningSandbox, namespace: str) -> None:
    """Seen on kube-apiserver 1.36.2."""
    query = "watch=true&sendInitialEvents=true&resourceVersionMatch=Exact"
    code, _, body = cluster.request("GET", f"/api/v1/namespaces/{namespace}/configmaps?{query}")
    assert code == 422
    assert [cause["message"] for cause in body["details"]["causes"]] == [
        "Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        'Unsupported value: "Exact": supported values: "NotOlderThan"',
    ]


def test_a_long_streamed_list_comes_whole_and_in_order() -> None:
    with running_sandbox() as cluster:

        def fill(store: Any) -> None:
            for number in range(900):
                store.create("ConfigMap", {"metadata": {"name": f"c{number:03d}", "namespace": "default"}})

        cluster.run(fill)
        query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
        events = cluster.events(f"/api/v1/namespaces/default/configmaps?{query}&timeoutSeconds=1")
    names = [event["object"]["metadata"]["name"] for event in events if event["type"] == "ADDED"]
    assert names == [*(f"c{number:03d}" for number in range(900)), "kube-root-ca.crt"]
    assert END in events[len(names)]["object"]["metadata"]["annotations"]


def test_bookmarks_come_before_the_time_is_up(cluster: RunningSandbox, namespace: str) -> None:
    since = create(cluster, namespace, "a")
    path = f"{maps(namespace)}?watch=true&resourceVersion={since}&allowWatchBookmarks=true&timeoutSeconds=4"
    events = cluster.events(path)
    assert [event["type"] for event in events] == ["BOOKMARK"]
    assert int(events[0]["object"]["metadata"]["resourceVersion"]) >= since


def test_a_forgotten_version_is_an_error_event_inside_a_good_answer(
    namespace: str, cluster: RunningSandbox
) -> None:
    with cluster.stream(f"{maps(namespace)}?watch=true&resourceVersion=1&timeoutSeconds=5") as stream:
        assert stream.status == 200
        lines = stream.read().splitlines()
    assert len(lines) == 1
    event = json.loads(lines[0])
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410
    assert event["object"]["reason"] == "Expired"
    assert event["object"]["message"].startswith("too old resource version: 1 (")


def test_compaction_expires_watches_lists_and_continue_tokens() -> None:
    with running_sandbox() as cluster:
        for name in "abc":
            create(cluster, "default", name)
        _, _, first = cluster.request("GET", f"{maps('default')}?limit=1")
        create(cluster, "default", "d")
        cluster.run(lambda store: store.compact())
        token = first["metadata"]["continue"]
        code, _, answer = cluster.request("GET", f"{maps('default')}?limit=1&continue={token}")
        assert (code, answer["reason"]) == (410, "Expired")
        again = answer["metadata"]["continue"]
        code, _, rest = cluster.request("GET", f"{maps('default')}?continue={again}")
        assert code == 200
        assert [item["metadata"]["name"] for item in rest["items"]] == ["b", "c", "d", "kube-root-ca.crt"]
        old = first["metadata"]["resourceVersion"]
        events = cluster.events(f"{maps('default')}?watch=true&resourceVersion={old}&timeoutSeconds=2")
        assert events[0]["object"]["code"] == 410
        path = f"{maps('default')}?resourceVersion={old}&resourceVersionMatch=Exact"
        assert cluster.request("GET", path)[0] == 410


def test_history_is_bounded_and_says_so() -> None:
    with running_sandbox(history_limit=10) as cluster:
        since = create(cluster, "default", "a")

        def churn(store: Any) -> None:
            for number in range(1100):
                store.mutate(
                    "ConfigMap", "default", "a", lambda obj, n=number: obj.update(data={"k": str(n)})
                )

        cluster.run(churn)
        events = cluster.events(f"{maps('default')}?watch=true&resourceVersion={since}&timeoutSeconds=2")
        assert [event["object"]["code"] for event in events] == [410]


def test_a_version_from_the_future_is_silence(cluster: RunningSandbox, namespace: str) -> None:
    assert cluster.events(f"{maps(namespace)}?watch=true&resourceVersion=999999999&timeoutSeconds=1") == []


def test_as_a_table_the_columns_come_once(cluster: RunningSandbox, namespace: str) -> None:
    create(cluster, namespace, "a")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    events = cluster.events(f"{maps(namespace)}?watch=true&timeoutSeconds=1", accept)
    tables = [event["object"] for event in events]
    assert [column["name"] for column in tables[0]["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert tables[1]["columnDefinitions"] is None
    assert tables[0]["rows"][0]["cells"][:2] == ["a", 0]
    assert tables[0]["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


def test_the_old_watch_prefix_and_single_objects(cluster: RunningSandbox, namespace: str) -> None:
    create(cluster, namespace, "a")
    one = cluster.events(f"/api/v1/watch/namespaces/{namespace}/configmaps/a?timeoutSeconds=1")
    assert seen(one) == [("ADDED", "a")]
    code, _, body = cluster.request("GET", f"{maps(namespace)}/a?watch=true")
    assert (code, body["kind"]) == (200, "ConfigMap")


def test_a_finalizer_delays_the_deleted_event(cluster: RunningSandbox, namespace: str) -> None:
    body = {"metadata": {"name": "f", "finalizers": ["example.com/hold"]}}
    _, _, made = cluster.request("POST", maps(namespace), body)
    cluster.request("DELETE", f"{maps(namespace)}/f")
    patch(cluster, namespace, "f", {"metadata": {"finalizers": None}})
    since = made["metadata"]["resourceVersion"]
    events = cluster.events(f"{maps(namespace)}?watch=true&resourceVersion={since}&timeoutSeconds=1")
    assert seen(events) == [("MODIFIED", "f"), ("DELETED", "f")]
    assert "deletionTimestamp" in events[0]["object"]["metadata"]


def test_no_event_is_lost_or_doubled_between_list_and_watch(cluster: RunningSandbox, namespace: str) -> None:
    """List, then watch from the list's version, while somebody writes without pause."""
    _, _, listed = cluster.request("GET", maps(namespace))
    since = listed["metadata"]["resourceVersion"]

    def burst(store: Any) -> None:
        for number in range(300):
            store.create("ConfigMap", {"metadata": {"name": f"n{number:03}", "namespace": namespace}})

    with cluster.stream(f"{maps(namespace)}?watch=true&resourceVersion={since}&timeoutSeconds=3") as stream:
        cluster.run(burst)
        names = [json.loads(stream.readline())["object"]["metadata"]["name"] for _ in range(300)]
    assert names == [f"n{number:03}" for number in range(300)]
