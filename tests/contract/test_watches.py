"""Watches: resume, bookmarks, selectors, expiry, the streamed list."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ResourceKind, WatchEvent
from deployments.observer.reading import (
    CLAIM,
    DEPLOYMENT_LABEL,
    EVENT,
    INGRESS,
    NODE,
    POD,
    STATEFUL_SET,
    STORAGE_CLASS,
)
from deployments.observer.scopes import NODE_EVENTS, everywhere
from tests.contract.conftest import Raw
from tests.contract.support import CONFIG_MAPS, EVENTS, config_map, covers, ref, wait_for

Make = Callable[..., ClusterClient]


def state(client: ClusterClient, namespace: str) -> str:
    return list(client.list_pages(CONFIG_MAPS, namespace))[-1].resource_version


def grant(client: ClusterClient, namespace: str, verbs: list[str]) -> None:
    """The account "nobody" may do that with the ConfigMaps of the namespace, and nothing else."""
    rbac, meta = "rbac.authorization.k8s.io", {"name": "watcher", "namespace": namespace}
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}]
    client.apply({"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": meta, "rules": rules})
    client.apply(
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "watcher"},
            "subjects": [{"kind": "ServiceAccount", "name": "nobody", "namespace": namespace}],
        }
    )


def told(events: list[WatchEvent]) -> list[tuple[str, str]]:
    return [
        (event.type, event.object["metadata"]["name"])
        for event in events
        if event.type != "BOOKMARK" and event.object["metadata"]["name"] != "kube-root-ca.crt"
        and not event.object["metadata"]["name"].startswith("openshift-")
    ]  # fmt: skip


@covers("watch")
def test_changes_after_a_list(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: whole objects with kind; a write without effect gives no event; DELETED
    carries a newer resourceVersion; the server ends the stream cleanly."""
    client.apply(config_map(namespace, "before", a="1"))
    start = state(client, namespace)
    client.apply(config_map(namespace, "w", a="1"))
    client.apply(config_map(namespace, "w", a="2"))
    client.apply(config_map(namespace, "w", a="2"))
    client.delete(ref(config_map(namespace, "w")))
    began = time.monotonic()
    events = list(client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=1))
    assert 0.5 < time.monotonic() - began < 10
    changes = [
        event for event in events if event.type != "BOOKMARK" and event.object["metadata"]["name"] == "w"
    ]
    assert [event.type for event in changes] == ["ADDED", "MODIFIED", "DELETED"]
    assert all(
        event.object["kind"] == "ConfigMap" and event.object["apiVersion"] == "v1" for event in changes
    )
    versions = [int(event.resource_version) for event in changes]
    assert versions == sorted(set(versions)) and versions[0] > int(start)


@covers("watch")
def test_going_on_where_one_was(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: from an event's resourceVersion only what is later comes."""
    start = state(client, namespace)
    first = client.apply(config_map(namespace, "one"))
    client.apply(config_map(namespace, "two"))
    assert ("ADDED", "one") in told(list(client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=1)))
    version = first["metadata"]["resourceVersion"]
    assert told(list(client.watch(CONFIG_MAPS, namespace, version, timeout_seconds=1))) == [("ADDED", "two")]


@covers("watch")
def test_without_a_version_what_is_there_comes_first(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: without resourceVersion a watch starts with an ADDED for each object."""
    client.apply(config_map(namespace, "one"))
    assert ("ADDED", "one") in told(list(client.watch(CONFIG_MAPS, namespace, timeout_seconds=1)))


@covers("watch")
def test_a_selector_makes_additions_and_deletions(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: gaining the label is ADDED, losing it DELETED with the last matching
    state but the new resourceVersion."""
    client.apply(config_map(namespace, "b"))
    start = state(client, namespace)
    client.apply(config_map(namespace, "b", {"app": "x"}))
    client.apply(config_map(namespace, "b", {"app": "x"}, a="1"))
    last = client.apply(config_map(namespace, "b", {"app": "y"}, a="1"))
    events = [
        event
        for event in client.watch(CONFIG_MAPS, namespace, start, label_selector="app=x", timeout_seconds=1)
        if event.type != "BOOKMARK"
    ]
    assert [event.type for event in events] == ["ADDED", "MODIFIED", "DELETED"]
    assert events[-1].object["metadata"]["labels"] == {"app": "x"}
    assert events[-1].resource_version == last["metadata"]["resourceVersion"]


@covers("watch")
def test_what_comes_back_to_a_selector_is_later_than_its_leaving(
    client: ClusterClient, namespace: str
) -> None:
    """Recorded transcript 12, with the observer's selector: DELETED when the label goes, under the version of
    that change; ADDED with the same uid under a later one when it comes back; what is deleted while it is
    without the label is not told."""
    bare, labelled = {"other": "x"}, {DEPLOYMENT_LABEL: "d"}
    client.apply(config_map(namespace, "b", labelled))
    start = state(client, namespace)
    left = client.apply(config_map(namespace, "b", bare))
    back = client.apply(config_map(namespace, "b", labelled))
    client.apply(config_map(namespace, "b", bare))
    client.delete(ref(config_map(namespace, "b")))
    events = [
        event
        for event in client.watch(
            CONFIG_MAPS, namespace, start, label_selector=DEPLOYMENT_LABEL, timeout_seconds=1
        )
        if event.type != "BOOKMARK"
    ]
    assert [event.type for event in events] == ["DELETED", "ADDED", "DELETED"]
    assert {event.object["metadata"]["uid"] for event in events} == {left["metadata"]["uid"]}
    versions = [event.resource_version for event in events[:2]]
    assert versions == [left["metadata"]["resourceVersion"], back["metadata"]["resourceVersion"]]


@covers("watch", "delete")
def test_a_deletion_has_a_version_of_its_own(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcript 12: DELETED carries a version later than any that its object ever had, whether it
    went at once, by its last finalizer or with many others; what then takes its name has another uid."""
    waiting = config_map(namespace, "waits")
    waiting["metadata"]["finalizers"] = ["contract.pilothouse.io/wait"]
    objects = [
        config_map(namespace, "goes", {"all": "yes"}),
        config_map(namespace, "too", {"all": "yes"}),
        waiting,
    ]
    for obj in objects:
        client.apply(obj)
    start = state(client, namespace)
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert raw("DELETE", f"{path}?labelSelector=all%3Dyes")[0] == 200
    client.delete(ref(waiting))
    merge = "application/merge-patch+json"
    assert raw("PATCH", f"{path}/waits", {"metadata": {"finalizers": None}}, Content_Type=merge)[0] == 200
    client.apply(config_map(namespace, "goes"))
    events = [
        event
        for event in client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=1)
        if event.type != "BOOKMARK"
    ]
    deleted = {event.object["metadata"]["uid"]: event for event in events if event.type == "DELETED"}
    assert len(deleted) == 3 and all(int(one.resource_version) > int(start) for one in deleted.values())
    last: dict[str, int] = {}
    for event in events:
        uid, version = event.object["metadata"]["uid"], int(event.resource_version)
        assert event.object["metadata"]["resourceVersion"] == event.resource_version
        assert version > last.get(uid, 0)
        last[uid] = version
    assert [event.type for event in events if event.object["metadata"]["uid"] not in deleted] == ["ADDED"]


@covers("watch")
def test_watching_without_the_right(
    client: ClusterClient, make_client: Make, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 05: a watch is refused with the right that is missing, as a list is; "watch" is a
    right of its own, which a streamed list is content with; a right in one namespace says nothing of another
    nor of all."""
    account = make_client(token=account_token[1])
    grant(client, namespace, ["list"])
    wait_for(
        "the role to count", lambda: account.allowed("list", "", "configmaps", namespace=namespace).allowed
    )
    for initial in (False, True):
        with pytest.raises(errors.RightMissing) as caught:
            list(account.watch(CONFIG_MAPS, namespace, timeout_seconds=1, initial_events=initial))
        assert (caught.value.status, caught.value.answered) == (
            403,
            f'configmaps is forbidden: User "{account_token[0]}" cannot watch resource "configmaps" '
            f'in API group "" in the namespace "{namespace}"',
        )
    grant(client, namespace, ["watch"])
    wait_for(
        "the role to count", lambda: account.allowed("watch", "", "configmaps", namespace=namespace).allowed
    )
    assert next(
        event.ends_initial
        for event in account.watch(CONFIG_MAPS, namespace, timeout_seconds=5, initial_events=True)
        if event.type == "BOOKMARK"
    )
    for elsewhere, words in (
        (None, "at the cluster scope"),
        ("kube-system", 'in the namespace "kube-system"'),
    ):
        with pytest.raises(errors.RightMissing) as caught:
            list(account.watch(CONFIG_MAPS, elsewhere, timeout_seconds=1, initial_events=True))
        assert caught.value.answered.endswith(words)


@covers("watch")
def test_a_field_selector(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12 (field selector metadata.name)."""
    start = state(client, namespace)
    client.apply(config_map(namespace, "a"))
    client.apply(config_map(namespace, "b"))
    events = list(
        client.watch(CONFIG_MAPS, namespace, start, field_selector="metadata.name=b", timeout_seconds=1)
    )
    assert told(events) == [("ADDED", "b")]


@covers("watch")
def test_a_finalizer_delays_deleted(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcript 12: MODIFIED with deletionTimestamp, DELETED when the finalizer goes."""
    obj = config_map(namespace, "f")
    obj["metadata"]["finalizers"] = ["contract.pilothouse.io/wait"]
    start = client.apply(obj)["metadata"]["resourceVersion"]
    assert client.delete(ref(obj)) is True
    raw(
        "PATCH",
        f"/api/v1/namespaces/{namespace}/configmaps/f",
        {"metadata": {"finalizers": None}},
        Content_Type="application/merge-patch+json",
    )
    events = [
        one
        for one in client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=1)
        if one.type != "BOOKMARK"
    ]
    assert [event.type for event in events] == ["MODIFIED", "DELETED"]
    assert events[0].object["metadata"]["deletionTimestamp"]


@covers("watch")
def test_bookmarks(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: bookmarks come before timeoutSeconds runs out, and hold kind, apiVersion
    and resourceVersion only."""
    start = state(client, namespace)
    events = list(client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=4))
    bookmarks = [event for event in events if event.type == "BOOKMARK"]
    assert bookmarks
    meta = bookmarks[-1].object["metadata"]
    assert bookmarks[-1].object["kind"] == "ConfigMap" and int(bookmarks[-1].resource_version) >= int(start)
    assert not {"name", "namespace", "uid"} & set(meta) and "data" not in bookmarks[-1].object
    assert not bookmarks[-1].ends_initial


@covers("watch")
def test_events_come_without_bookmarks(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API server, k8s.io/apiserver, pkg/storage/cacher: bookmarks come of what it holds in memory;
    events it does not. But for the one that ends a streamed list a quiet watch of them says nothing."""
    watching = client.watch(EVENTS, namespace, timeout_seconds=4, initial_events=True)
    assert [event.ends_initial for event in watching if event.type == "BOOKMARK"] == [True]


@covers("watch")
def test_a_streamed_list(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12 (sendInitialEvents): ADDED for each, a marked BOOKMARK, then what changes."""
    client.apply(config_map(namespace, "one"))
    client.apply(config_map(namespace, "two"))
    seen: list[WatchEvent] = []
    later: list[WatchEvent] = []
    for event in client.watch(CONFIG_MAPS, namespace, timeout_seconds=5, initial_events=True):
        if not any(one.ends_initial for one in seen):
            seen.append(event)
            if event.ends_initial:
                client.apply(config_map(namespace, "three"))
        elif event.type != "BOOKMARK":
            later.append(event)
            break
    assert sorted(told(seen)) == [("ADDED", "one"), ("ADDED", "two")]
    assert seen[-1].ends_initial and seen[-1].resource_version
    assert told(later) == [("ADDED", "three")]


@covers("watch")
def test_a_streamed_list_of_nothing(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: only the bookmark."""
    watching = client.watch(
        CONFIG_MAPS, namespace, label_selector="a=none", timeout_seconds=2, initial_events=True
    )
    assert next(watching).ends_initial


@pytest.mark.parametrize("kind", [POD, NODE, STATEFUL_SET, CLAIM, STORAGE_CLASS, INGRESS, EVENT])
@covers("watch", "list_pages")
def test_what_the_observer_watches_streams_its_list(client: ClusterClient, kind: ResourceKind) -> None:
    """Recorded transcript 12 (sendInitialEvents), for each kind and everywhere: the list that a stream
    begins with holds what pages hold, and names a version to go on from."""
    streamed = set()
    for event in client.watch(kind, timeout_seconds=20, initial_events=True):
        if event.ends_initial:
            break
        streamed.add(event.object["metadata"]["uid"])
    listed = {item["metadata"]["uid"] for page in client.list_pages(kind) for item in page.items}
    # What others do meanwhile may differ; what was there before must not.
    assert event.resource_version.isdecimal() and len(streamed ^ listed) <= 5


@covers("watch")
def test_warnings_alone(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API concepts, "Field selectors" of events, with != as the observer has it: type."""
    for name, kind in (("said", "Normal"), ("warned", "Warning")):
        client.create(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": namespace},
                "involvedObject": {"kind": "ConfigMap", "namespace": namespace, "name": "c"},
                "reason": "Tried",
                "type": kind,
            }
        )
    selector, found = everywhere(EVENT).field_selector, set()
    for event in client.watch(EVENT, field_selector=selector, timeout_seconds=20, initial_events=True):
        if event.ends_initial:
            break
        assert event.object["type"] != "Normal"
        if event.object["metadata"]["namespace"] == namespace:
            found.add(event.object["metadata"]["name"])
    assert found == {"warned"}


@covers("watch")
def test_events_about_nodes_alone(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API concepts, "Field selectors" of events: involvedObject.kind."""
    selector = NODE_EVENTS.field_selector
    for event in client.watch(EVENT, field_selector=selector, timeout_seconds=20, initial_events=True):
        if event.ends_initial:
            break
        assert event.object["involvedObject"]["kind"] == "Node"
    assert event.ends_initial


@covers("watch")
def test_a_version_yet_to_come_is_silence(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 08 (resourceVersion in the future): a watch stays silent; it is given up after
    the time that the caller allows."""
    began = time.monotonic()
    with pytest.raises(errors.WatchSilent):
        future = str(int(state(client, namespace)) + 10**9)
        list(client.watch(CONFIG_MAPS, namespace, future, timeout_seconds=30, silent_seconds=0.5))
    assert time.monotonic() - began < 5


@covers("watch")
def test_too_old_a_version_is_expired(client: ClusterClient, namespace: str, forgotten: str) -> None:
    """Recorded transcript 09: HTTP 200 with one ERROR event holding a Status 410 Expired, then the end.
    Of events, which no server keeps in memory."""
    with pytest.raises(errors.Expired) as caught:
        list(client.watch(EVENTS, namespace, forgotten, timeout_seconds=3))
    assert (caught.value.status, caught.value.reason) == (410, "Expired") and caught.value.retryable


@covers("watch")
def test_an_old_version_is_expired_or_nothing_since_is_left_out(
    client: ClusterClient, namespace: str, forgotten: str
) -> None:
    """Recorded transcript 09, and the Kubernetes API server's watch cache (k8s.io/apiserver,
    pkg/storage/cacher/watch_cache.go, getAllEventsSinceLocked): of a quiet kind a server that has run since
    its cluster's first day still holds every change, and tells them from a version that its store has
    forgotten. One that does not hold them all says so."""
    client.apply(config_map(namespace, "one", a="1"))
    client.apply(config_map(namespace, "one", a="2"))
    try:
        events = told(list(client.watch(CONFIG_MAPS, namespace, forgotten, timeout_seconds=3)))
    except errors.Expired as expired:
        assert (expired.status, expired.reason) == (410, "Expired") and expired.retryable
    else:
        assert events == [("ADDED", "one"), ("MODIFIED", "one")]


def test_the_official_watch_sees_410_too(official: DynamicClient, namespace: str, forgotten: str) -> None:
    """Recorded transcript 09, through the official client: one pass, 410 raised."""
    resource = official.resources.get(api_version="v1", kind="Event")
    with pytest.raises(ApiException) as caught:
        list(official.watch(resource, namespace=namespace, resource_version=forgotten, timeout=3))
    assert caught.value.status == 410


def test_send_initial_events_needs_its_match(raw: Raw, namespace: str) -> None:
    """Recorded transcript 08: sendInitialEvents without resourceVersionMatch is 422."""
    path = f"/api/v1/namespaces/{namespace}/configmaps?watch=true&sendInitialEvents=true&timeoutSeconds=1"
    status, _, body = raw("GET", path)
    assert (status, body["reason"], body["details"]["kind"]) == (422, "Invalid", "ListOptions")


@covers("watch")
def test_a_watch_in_no_namespace_is_silent(client: ClusterClient) -> None:
    """Recorded transcript 12: an empty stream that ends in time."""
    events = list(client.watch(CONFIG_MAPS, "contract-no-such-namespace", timeout_seconds=1))
    assert [event for event in events if event.type != "BOOKMARK"] == []


@covers("watch")
def test_stopping_a_silent_watch(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API concepts, "Efficient detection of changes": the client may leave at any time."""
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    start = state(client, namespace)
    assert told(list(client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=60, stop=stop))) == []
    assert time.monotonic() - began < 5
    assert client.version()


@covers("watch")
def test_events_arrive_at_once(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 12: an event follows its write at once, not in batches."""
    start = state(client, namespace)
    found: dict[str, Any] = {}
    stop, opened = threading.Event(), threading.Event()

    def follow() -> None:
        opened.set()
        for event in client.watch(CONFIG_MAPS, namespace, start, timeout_seconds=20, stop=stop):
            if event.type == "ADDED" and event.object["metadata"]["name"] == "quick":
                found["at"] = time.monotonic()
                return

    thread = threading.Thread(target=follow)
    thread.start()
    opened.wait(5)
    client.apply(config_map(namespace, "quick"))
    written = time.monotonic()
    thread.join(10)
    stop.set()
    assert found["at"] - written < 2
