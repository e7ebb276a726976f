"""Lists: pages, one state, selectors, old tokens."""

from __future__ import annotations

import base64
import json

import pytest
from kubernetes.dynamic import DynamicClient
from kubernetes.dynamic.exceptions import BadRequestError, GoneError

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ResourceKind
from tests.contract.conftest import Raw
from tests.contract.support import CONFIG_MAPS, PODS, config_map, covers, names

OURS = "contract=yes"


def fill(client: ClusterClient, namespace: str, count: int = 7) -> None:
    for number in range(count):
        labels = {"contract": "yes", "parity": "even" if number % 2 == 0 else "odd"}
        client.create(config_map(namespace, f"c{number}", labels, number=str(number)))


@covers("list_pages")
def test_pages_share_one_state(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 10: all pages carry the first one's resourceVersion and see nothing later."""
    fill(client, namespace)
    pages = client.list_pages(CONFIG_MAPS, namespace, page_size=3)
    first = next(pages)
    client.create(config_map(namespace, "c3-later"))
    rest = list(pages)
    assert {page.resource_version for page in rest} == {first.resource_version} and first.resource_version
    listed = [item["metadata"]["name"] for page in [first, *rest] for item in page.items]
    assert [name for name in listed if name.startswith("c")] == [f"c{number}" for number in range(7)]
    assert all(len(page.items) == 3 for page in [first, *rest][:-1])
    assert "c3-later" in names(client, CONFIG_MAPS, namespace)


@covers("list_pages")
def test_how_many_remain(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 10: remainingItemCount without selectors and not on the last page."""
    fill(client, namespace)
    total = len(names(client, CONFIG_MAPS, namespace))
    remaining = [page.remaining for page in client.list_pages(CONFIG_MAPS, namespace, page_size=4)]
    assert remaining[0] == total - 4 and remaining[-1] is None
    selected = list(client.list_pages(CONFIG_MAPS, namespace, label_selector=OURS, page_size=4))
    assert [page.remaining for page in selected] == [None, None] and [
        len(page.items) for page in selected
    ] == [4, 3]


@covers("list_pages")
def test_items_have_no_kind(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 10: items carry neither kind nor apiVersion."""
    fill(client, namespace, 1)
    [page] = client.list_pages(CONFIG_MAPS, namespace, label_selector=OURS)
    assert not {"kind", "apiVersion"} & set(page.items[0]) and page.items[0]["data"] == {"number": "0"}


@pytest.mark.parametrize(
    "selector, found",
    [
        ("parity=even", ["c0", "c2", "c4", "c6"]),
        ("parity==odd", ["c1", "c3", "c5"]),
        ("parity!=odd,contract", ["c0", "c2", "c4", "c6"]),
        ("parity in (odd,none)", ["c1", "c3", "c5"]),
        ("contract,parity notin (odd)", ["c0", "c2", "c4", "c6"]),
        ("!parity,contract", []),
    ],
)
@covers("list_pages")
def test_label_selectors(client: ClusterClient, namespace: str, selector: str, found: list[str]) -> None:
    """Recorded transcript 10 (label selectors)."""
    fill(client, namespace)
    assert names(client, CONFIG_MAPS, namespace, label_selector=selector) == found


@covers("list_pages")
def test_field_selectors(client: ClusterClient, namespace: str) -> None:
    """Recorded transcripts 08 and 10: metadata.name works, another field is 400,
    with another sentence for kinds that have selectable fields of their own."""
    fill(client, namespace, 3)
    assert names(client, CONFIG_MAPS, namespace, field_selector="metadata.name=c1") == ["c1"]
    assert "c1" not in names(client, CONFIG_MAPS, namespace, field_selector="metadata.name!=c1")
    with pytest.raises(errors.ClusterError) as caught:
        names(client, CONFIG_MAPS, namespace, field_selector="data.number=1")
    assert (caught.value.status, caught.value.answered) == (
        400,
        '"data.number" is not a known field selector: only "metadata.name", "metadata.namespace"',
    )
    with pytest.raises(errors.ClusterError) as caught:
        names(client, PODS, namespace, field_selector="spec.containers=x")
    assert caught.value.answered == "field label not supported: spec.containers"


@covers("list_pages")
def test_a_list_in_no_namespace_is_empty(client: ClusterClient) -> None:
    """Recorded transcript 06: a list in an absent namespace is 200 and empty."""
    [page] = client.list_pages(CONFIG_MAPS, "contract-no-such-namespace")
    assert page.items == [] and page.resource_version


@covers("list_pages")
def test_all_namespaces(client: ClusterClient, namespace: str) -> None:
    """Kubernetes API concepts, resource URIs: without a namespace all of them are listed."""
    fill(client, namespace, 1)
    where = [
        (item["metadata"]["namespace"], item["metadata"]["name"])
        for page in client.list_pages(CONFIG_MAPS, label_selector=OURS)
        for item in page.items
    ]
    assert (namespace, "c0") in where


@covers("list_pages")
def test_a_kind_that_is_not_served(client: ClusterClient) -> None:
    """Recorded transcript 02 (discovery): what is not listed there does not exist."""
    with pytest.raises(errors.ObjectMissing) as caught:
        list(client.list_pages(ResourceKind("example.org/v1", "Gadget"), "default"))
    assert caught.value.reason == "NoSuchKind"


def stale(token: str) -> str:
    """A continue token as if its list had been begun at resourceVersion 1."""
    padded = token + "=" * (-len(token) % 4)
    data = json.loads(base64.urlsafe_b64decode(padded))
    data["rv"] = 1
    return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")


def test_an_old_continue_token_is_410(
    client: ClusterClient, raw: Raw, official: DynamicClient, namespace: str, forgotten: str
) -> None:
    """Recorded transcript 09: HTTP 410 Expired whose metadata.continue goes on inconsistently."""
    fill(client, namespace, 4)
    path = f"/api/v1/namespaces/{namespace}/configmaps?limit=2"
    token = stale(raw("GET", path)[2]["metadata"]["continue"])
    status, _, body = raw("GET", f"{path}&continue={token}")
    assert (status, body["kind"], body["reason"], body["code"]) == (410, "Status", "Expired", 410)
    status, _, body = raw("GET", f"{path}&continue={body['metadata']['continue']}")
    assert status == 200 and body["items"]
    with pytest.raises(GoneError):
        resource = official.resources.get(api_version="v1", kind="ConfigMap")
        official.get(resource, namespace=namespace, limit=2, _continue=token)


@covers("list_pages")
def test_a_list_that_takes_too_long_expires(
    client: ClusterClient, namespace: str, forgotten: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Recorded transcript 09, through the gateway: the second page is asked with a token grown old."""
    fill(client, namespace, 4)
    call = client._transport.call

    def grown_old(method: str, target: str, **more: object) -> object:
        head, found, token = target.partition("continue=")
        return call(method, head + found + stale(token) if found else target, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(client._transport, "call", grown_old)
    pages = client.list_pages(CONFIG_MAPS, namespace, page_size=2)
    next(pages)
    with pytest.raises(errors.Expired) as caught:
        next(pages)
    assert caught.value.status == 410 and caught.value.retryable


def test_bad_list_parameters(raw: Raw, official: DynamicClient, namespace: str) -> None:
    """Recorded transcript 08: limit=x and bad selectors are 400, a bad resourceVersionMatch is 422."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    assert raw("GET", f"{path}?limit=x")[0] == 400
    assert raw("GET", f"{path}?labelSelector=a%20b%20c")[0] == 400
    status, _, body = raw("GET", f"{path}?resourceVersionMatch=Sometimes")
    assert (status, body["reason"], body["details"]["kind"]) == (422, "Invalid", "ListOptions")
    with pytest.raises(BadRequestError):
        official.get(
            official.resources.get(api_version="v1", kind="ConfigMap"),
            namespace=namespace,
            label_selector="a b c",
        )
