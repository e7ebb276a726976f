"""Logs read piece by piece: what a server refuses, and, where containers run, what it sends."""

from __future__ import annotations

import asyncio
import time

import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ClusterCredential, LogQuery, ObjectRef, open_log
from tests.contract.conftest import Target
from tests.contract.support import pod, pod_spec


def read(credential: ClusterCredential, query: LogQuery, most: int = 1 << 20) -> bytes:
    """The log, or its first ``most`` bytes."""

    async def ask() -> bytes:
        found = b""
        async with asyncio.timeout(30), open_log(credential, query, allow_loopback=True) as log:
            async for piece in log.pieces():
                found += piece
                if len(found) >= most:
                    break
        return found

    return asyncio.run(ask())


@pytest.mark.parametrize("follow", [False, True])
def test_a_pod_without_a_node_has_an_empty_log(
    client: ClusterClient, target: Target, namespace: str, follow: bool
) -> None:
    """Recorded transcript 29: 204 No Content."""
    client.create(pod(namespace))
    query = LogQuery(namespace, "p", "main", follow=follow, tail=5, since="2026-01-01T00:00:00Z")
    assert read(target.credential, query) == b""


def test_a_pod_that_is_not_there(target: Target, namespace: str) -> None:
    """Recorded transcript 29: 404 pods "none" not found."""
    with pytest.raises(errors.ObjectMissing) as caught:
        read(target.credential, LogQuery(namespace, "none"))
    assert caught.value.answered == 'pods "none" not found'
    assert caught.value.sentence.startswith("The pod is gone")


def test_a_pod_whose_node_is_not_there(client: ClusterClient, target: Target, namespace: str) -> None:
    """Recorded transcript 29: 404 that names the node as if it were a pod."""
    ghost = pod(namespace)
    ghost["spec"]["nodeName"] = "no-such-node"
    client.create(ghost)
    with pytest.raises(errors.ObjectMissing) as caught:
        read(target.credential, LogQuery(namespace, "p"))
    client.delete(ObjectRef("v1", "Pod", "p", namespace), grace=0)  # no kubelet will end it
    assert caught.value.answered == 'pods "no-such-node" not found'
    assert caught.value.sentence.startswith("The node that the pod ran on is gone")


def test_containers_by_name(client: ClusterClient, target: Target, namespace: str) -> None:
    """Recorded transcript 29: 400 for an unknown one, and where one of several must be named."""
    two = pod(namespace, "two")
    two["spec"]["containers"] += pod_spec("side")["containers"]
    client.create(two)
    with pytest.raises(errors.ObjectMissing) as caught:
        read(target.credential, LogQuery(namespace, "two", "nope", follow=True))
    assert caught.value.status == 400
    assert caught.value.answered == "container nope is not valid for pod two"
    with pytest.raises(errors.ClusterError) as unnamed:
        read(target.credential, LogQuery(namespace, "two"))
    assert unnamed.value.status == 400 and "choose one of: [main side]" in unnamed.value.answered
    assert read(target.credential, LogQuery(namespace, "two", "side")) == b""


def test_a_log_is_a_right_of_its_own(
    client: ClusterClient, target: Target, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 05: get on pods/log."""
    client.create(pod(namespace))
    nobody = ClusterCredential(
        server=target.credential.server,
        ca_data=target.credential.ca_data,
        tls_server_name=target.credential.tls_server_name,
        token=account_token[1],
    )
    with pytest.raises(errors.ClusterForbids) as caught:
        read(nobody, LogQuery(namespace, "p"))
    assert 'cannot get resource "pods/log"' in caught.value.answered


def test_a_time_that_is_none(client: ClusterClient, target: Target, namespace: str) -> None:
    """Recorded transcript 29: 400 in Go's words."""
    client.create(pod(namespace))
    with pytest.raises(errors.ClusterError) as caught:
        read(target.credential, LogQuery(namespace, "p", since="yesterday"))
    assert caught.value.status == 400 and 'parsing time "yesterday"' in caught.value.answered


@pytest.mark.parametrize(
    ("namespace_name", "pod_name", "container"),
    [
        ("a/b", "p", ""),
        ("..", "p", ""),
        ("a", "..", ""),
        ("a", "p/../../secrets", ""),
        ("a", "p", "a?b"),
        ("a", "p%2f", ""),
    ],
)
def test_names_that_would_climb(target: Target, namespace_name: str, pod_name: str, container: str) -> None:
    """Kubernetes API reference: names are DNS labels and subdomains; nothing else leaves us."""
    with pytest.raises(errors.InvalidInput):
        read(target.credential, LogQuery(namespace_name, pod_name, container))


@pytest.mark.needs_nodes
def test_lines_as_they_are_written(client: ClusterClient, target: Target, namespace: str) -> None:
    """Recorded transcript 29: text, followed until the reader leaves; each line with its time."""
    talkative = pod(namespace, nowhere=False)
    talkative["spec"]["containers"][0] |= {
        "image": "busybox:1.36",
        "command": ["sh", "-c", "while true; do date; sleep 1; done"],
    }
    client.create(talkative)
    deadline = time.monotonic() + 60
    text = b""
    while not text and time.monotonic() < deadline:
        try:
            text = read(target.credential, LogQuery(namespace, "p", "main", follow=True), most=1)
        except errors.ClusterError as error:
            assert error.retryable, error
            time.sleep(0.1)
    line = text.split(b"\n")[0]
    assert line[:2] == b"20" and line[10:11] == b"T", line
    bare = read(target.credential, LogQuery(namespace, "p", "main", stamps=False, tail=1))
    assert bare and bare.count(b"\n") == 1 and bare.strip() in text
    with pytest.raises(errors.ObjectMissing) as caught:
        read(target.credential, LogQuery(namespace, "p", "main", previous=True))
    assert caught.value.sentence.startswith("There is no previous run")
