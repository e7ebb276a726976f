"""Logs and the proxy, as far as no pod has to run: who refuses, with which words."""

from __future__ import annotations

import asyncio

import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, api_error, async_proxy_client, proxy_path
from tests.contract.conftest import Raw, Target
from tests.contract.support import covers, pod, pod_spec, service, wait_for


@covers("pod_logs", "stream_logs")
def test_the_log_of_a_pod_without_a_node_is_empty(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcript 29: 204 No Content."""
    client.create(pod(namespace))
    assert raw("GET", f"/api/v1/namespaces/{namespace}/pods/p/log")[0] == 204
    assert client.pod_logs(namespace, "p") == b""
    assert list(client.stream_logs(namespace, "p")) == []


@covers("pod_logs", "stream_logs")
def test_the_log_of_no_pod(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 29: 404 pods "none" not found."""
    with pytest.raises(errors.ObjectMissing) as caught:
        client.pod_logs(namespace, "none")
    assert (caught.value.answered, caught.value.reason) == ('pods "none" not found', "NotFound")
    with pytest.raises(errors.ObjectMissing):
        list(client.stream_logs(namespace, "none"))


@covers("pod_logs")
def test_a_container_must_be_named(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 29: 400 lists the containers, init containers first; an unknown one is 400."""
    two = pod(namespace, "two")
    two["spec"]["containers"] += pod_spec("side")["containers"]
    two["spec"]["initContainers"] = pod_spec("init")["containers"]
    client.create(two)
    with pytest.raises(errors.ClusterError) as caught:
        client.pod_logs(namespace, "two")
    assert caught.value.status == 400
    assert (
        caught.value.answered
        == "a container name must be specified for pod two, choose one of: [init main side]"
    )
    with pytest.raises(errors.ClusterError) as caught:
        client.pod_logs(namespace, "two", "nope")
    assert (caught.value.status, caught.value.answered) == (400, "container nope is not valid for pod two")


@covers("pod_logs")
def test_options_of_a_log(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 29: a negative tailLines is 422 of kind PodLogOptions; valid ones are taken."""
    client.create(pod(namespace))
    with pytest.raises(errors.ClusterError) as caught:
        client.pod_logs(namespace, "p", tail_lines=-1)
    assert caught.value.status == 422
    assert caught.value.answered == (
        'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0'
    )
    taken = client.pod_logs(
        namespace, "p", "main", tail_lines=2, since_seconds=9, limit_bytes=10, timestamps=True
    )
    assert taken == b""


@pytest.fixture
def lonely_service(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """A service that selects nobody. Until the endpoints' controller has seen it, the proxy says 404."""
    client.apply(service(namespace))
    path = f"/api/v1/namespaces/{namespace}/services/http:s:80/proxy/"
    wait_for("list of endpoints", lambda: raw("GET", path)[0] == 503)


@pytest.mark.usefixtures("lonely_service")
@covers("open_proxy", "request_through")
def test_a_service_without_endpoints(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 28: 503 no endpoints available; an unknown port number says so."""
    for scheme, port, words in (
        ("http", "http", 'no endpoints available for service "s"'),
        ("", "http", 'no endpoints available for service "s"'),
        ("http", 9999, 'no service port 9999 found for service "s"'),
    ):
        with pytest.raises(errors.ServerFault) as caught:
            client.request_through("GET", proxy_path(namespace, "services", "s", scheme, port, "api/tags"))
        assert (caught.value.status, caught.value.reason, caught.value.answered) == (
            503,
            "ServiceUnavailable",
            words,
        )
        assert caught.value.retryable
    with (
        pytest.raises(errors.ServerFault),
        client.open_proxy(
            "POST", proxy_path(namespace, "services", "s", "http", "http", "api/pull"), json={"model": "m"}
        ),
    ):
        pass


@covers("request_through")
def test_no_such_service_or_pod(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 28: 404 with the plain name."""
    for resource in ("services", "pods"):
        with pytest.raises(errors.ObjectMissing) as caught:
            client.request_through("GET", proxy_path(namespace, resource, "none", "http", 80, "x"))
        assert (caught.value.status, caught.value.answered) == (404, f'{resource} "none" not found')


@covers("request_through")
def test_a_pod_without_an_address(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 28: 400 address not allowed."""
    client.create(pod(namespace))
    with pytest.raises(errors.ClusterError) as caught:
        client.request_through("GET", proxy_path(namespace, "pods", "p", "http", 11434, "api/tags"))
    assert (caught.value.status, caught.value.answered) == (400, "address not allowed")


@covers("request_through")
def test_the_proxy_is_a_right_of_its_own(
    make_client: object, account_token: tuple[str, str], namespace: str
) -> None:
    """Recorded transcript 05: services/proxy, get for GET and create for POST, named as in the URL."""
    nobody = make_client(token=account_token[1])  # type: ignore[operator]
    path = proxy_path(namespace, "services", "s", "http", 11434, "api/tags")
    for method, verb in (("GET", "get"), ("POST", "create"), ("DELETE", "delete")):
        with pytest.raises(errors.ClusterForbids) as caught:
            nobody.request_through(method, path)
        assert f'cannot {verb} resource "services/proxy"' in caught.value.answered
        assert caught.value.answered.startswith('services "http:s:11434" is forbidden')


@pytest.mark.usefixtures("lonely_service")
def test_no_slash_after_proxy_is_301(client: ClusterClient, raw: Raw, namespace: str) -> None:
    """Recorded transcript 28: 301 to the path with a slash, once the server knows whom to ask; the
    address need not answer. Who is not there is 404 or 503 first."""
    services, pods = (f"/api/v1/namespaces/{namespace}/{kind}" for kind in ("services", "pods"))
    assert raw("GET", f"{services}/http:none:80/proxy")[0] == 404
    assert raw("GET", f"{services}/http:s:80/proxy")[0] == 503
    client.create(pod(namespace))
    address = {"status": {"podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}]}}
    said = raw("PATCH", f"{pods}/p/status", address, Content_Type="application/merge-patch+json")
    assert said[0] == 200, said
    status, headers, _ = raw("GET", f"{pods}/http:p:80/proxy")
    assert (status, headers.get("location")) == (301, f"{pods}/http:p:80/proxy/")


@pytest.mark.parametrize(
    "path",
    [
        "../../../secrets",
        "%2e%2e/%2e%2e/x",
        "..%2f..%2fsecrets",
        "a\\..\\b",
        "a%5cb",
        "a%252fb",
        "//x",
        "..;/x",
    ],
)
@covers("request_through", "open_proxy")
def test_paths_that_would_climb(client: ClusterClient, namespace: str, path: str) -> None:
    """Recorded transcript 28: the API server decodes %2F and cleans dot segments, so such a path never
    leaves us; neither does one outside of the proxy."""
    base = f"/api/v1/namespaces/{namespace}/pods/http:p:80/proxy/"
    with pytest.raises(errors.InvalidInput):
        proxy_path(namespace, "pods", "p", "http", 80, path)
    with pytest.raises(errors.InvalidInput):
        client.request_through("GET", base + path)
    with pytest.raises(errors.InvalidInput):
        client.request_through("GET", f"/api/v1/namespaces/{namespace}/secrets")
    with pytest.raises(errors.InvalidInput), client.open_proxy("GET", base + path):
        pass


@pytest.mark.usefixtures("lonely_service")
def test_the_asynchronous_client_sees_the_same(target: Target, namespace: str) -> None:
    """Recorded transcript 28, through the asynchronous client of the chat gateway."""
    path = proxy_path(namespace, "services", "s", "http", "http", "api/tags")

    async def ask() -> tuple[int, dict[str, str], bytes]:
        async with async_proxy_client(target.credential, allow_loopback=True) as made:
            answer = await made.get(path)
            return answer.status_code, dict(answer.headers), answer.content

    status, headers, body = asyncio.run(ask())
    error = api_error(status, headers, body, "ask")
    assert status == 503 and isinstance(error, errors.ServerFault) and error.reason == "ServiceUnavailable"
