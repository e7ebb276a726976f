"""Which cluster the contract is held against.

By default a practice cluster is started. ``CONTRACT_KUBECONFIG=FILE`` takes that file's cluster
instead, through the product's own importer; ``CONTRACT_CONTEXT`` chooses a context where the file has
several (else its current one). Everything is made in namespaces with generated names, which are
removed afterwards. Nothing may be skipped but the tests with kubectl where none is usable: a contract
that was not asked holds for nobody. Tests marked ``needs_nodes`` need nodes that run containers.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from kubernetes.client import ApiClient, Configuration
from kubernetes.dynamic import DynamicClient

from deployments.domain.errors import ObjectMissing
from deployments.gateways.kubernetes import (
    ClusterClient,
    ClusterCredential,
    ObjectRef,
    Timeouts,
    connect,
    import_context,
    read_kubeconfig,
)
from deployments.gateways.kubernetes.transport import Transport
from tests.contract.support import gone, unique, wait_for
from tests.sandbox_server import running_sandbox

NO_KUBECTL = "no kubectl of version 1.28 or later on the PATH"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "covers(*methods): public methods of ClusterClient that the test claims"
    )
    config.addinivalue_line("markers", "needs_nodes: needs nodes that run containers")


# A cluster compacts its history every five minutes: the second time forgets what was there at first.
FORGETS_WITHIN = 660.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What waits for a cluster to forget comes last, when most of that time is over, and may take it."""
    waiting = [item for item in items if "forgotten" in getattr(item, "fixturenames", ())]
    for item in waiting:
        item.add_marker(pytest.mark.timeout(FORGETS_WITHIN + 120))
    items[:] = [item for item in items if item not in waiting] + waiting


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Generator[None, Any, None]:
    outcome = yield
    report = outcome.get_result()
    if (
        report.skipped
        and Path(__file__).parent in item.path.parents
        and NO_KUBECTL not in str(report.longrepr)
    ):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped; the contract leaves nothing out"


@dataclass(frozen=True)
class Target:
    """The cluster under contract. ``practice`` is for the choice of patience only, never for a
    different expectation."""

    credential: ClusterCredential
    practice: bool


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    given = os.environ.get("CONTRACT_KUBECONFIG", "")
    if given:
        file = read_kubeconfig(Path(given).read_bytes())
        context = os.environ.get("CONTRACT_CONTEXT") or (file.current if len(file.contexts) > 1 else None)
        yield Target(import_context(file, context, allow_loopback=True), practice=False)
        return
    with running_sandbox(world=True, speed=50.0) as cluster:
        file = read_kubeconfig(cluster.kubeconfig_path.read_bytes())
        yield Target(import_context(file, allow_loopback=True), practice=True)


@pytest.fixture(scope="session")
def make_client(
    target: Target, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., ClusterClient]]:
    """Clients with other credentials of the same cluster: ``make_client(token="…")``."""
    made: list[ClusterClient] = []

    def make(**changes: Any) -> ClusterClient:
        credential = target.credential
        if changes:
            credential = replace(credential, client_certificate=None, client_key=None, **changes)
        client = connect(
            credential,
            cluster_uid=unique("contract"),
            cache_dir=tmp_path_factory.mktemp("discovery"),
            allow_loopback=True,
            timeouts=Timeouts(connect=5, read=30, total=60),
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def client(make_client: Callable[..., ClusterClient]) -> ClusterClient:
    return make_client()


@pytest.fixture(scope="session")
def used_namespaces(client: ClusterClient) -> Iterator[list[str]]:
    """What was made, and its end: all of it must be gone when the session ends."""
    made: list[str] = []
    yield made
    for name in made:
        client.delete(ObjectRef("v1", "Namespace", name))
    for name in made:
        wait_for(
            f"end of namespace {name}",
            lambda name=name: gone(client, ObjectRef("v1", "Namespace", name)),
            120,
        )


@pytest.fixture
def make_namespace(client: ClusterClient, used_namespaces: list[str]) -> Callable[[], str]:
    def make() -> str:
        name = unique("contract")
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        used_namespaces.append(name)
        return name

    return make


@pytest.fixture
def namespace(client: ClusterClient, make_namespace: Callable[[], str]) -> Iterator[str]:
    """A fresh namespace with its default service account, without which no pod is admitted."""
    name = make_namespace()

    def ready() -> bool:
        try:
            return bool(client.get(ObjectRef("v1", "ServiceAccount", "default", name)))
        except ObjectMissing:
            return False

    wait_for(f"default service account in {name}", ready)
    yield name
    client.delete(ObjectRef("v1", "Namespace", name))


Raw = Callable[..., tuple[int, dict[str, str], Any]]


@pytest.fixture(scope="session")
def raw(target: Target) -> Iterator[Raw]:
    """Any request as it is: raw(method, path, body=None, **headers) -> status, headers, body."""
    transport = Transport(target.credential, allow_loopback=True, timeouts=Timeouts())

    def call(method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, str], Any]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        status, answered, text = transport.call(method, path, tried="ask", headers=sent, body=data)
        found = {name.lower(): value for name, value in answered.items()}
        is_json = "json" in found.get("content-type", "") and text
        return status, found, orjson.loads(text) if is_json else text.decode()

    yield call
    transport.close()


@pytest.fixture(scope="session")
def official(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DynamicClient]:
    """The official client as anybody would use it, on its own transport."""
    folder = tmp_path_factory.mktemp("official")
    credential = target.credential
    configuration = Configuration()
    configuration.host = credential.server
    configuration.proxy = None
    if credential.token:
        configuration.api_key = {"BearerToken": credential.token}
        configuration.api_key_prefix = {"BearerToken": "Bearer"}
    for name, text in (
        ("ssl_ca_cert", credential.ca_data),
        ("cert_file", credential.client_certificate),
        ("key_file", credential.client_key),
    ):
        if text:
            path = folder / name
            path.touch(mode=0o600)
            path.write_text(text)
            setattr(configuration, name, str(path))
    configuration.tls_server_name = credential.tls_server_name or None
    api = ApiClient(configuration)
    yield DynamicClient(api, cache_file=str(folder / "cache.json"))
    api.close()


@pytest.fixture(scope="session")
def forgotten(raw: Raw) -> str:
    """The resourceVersion 1, once the cluster has forgotten it."""
    path = "/api/v1/namespaces/kube-system/configmaps?resourceVersion=1&resourceVersionMatch=Exact&limit=1"
    wait_for("compaction", lambda: raw("GET", path)[0] == 410, FORGETS_WITHIN)
    return "1"


@pytest.fixture
def account_token(client: ClusterClient, raw: Raw, namespace: str) -> tuple[str, str]:
    """A service account without any rights in the namespace: its user name and a token."""
    client.create(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody", "namespace": namespace}}
    )
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": 600},
    }
    status, _, answer = raw("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/nobody/token", body)
    assert status == 201
    return f"system:serviceaccount:{namespace}:nobody", answer["status"]["token"]


Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]


def usable_kubectl() -> str | None:
    path = shutil.which("kubectl")
    if path is None:
        return None
    said = subprocess.run(
        [path, "version", "--client"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    match = re.search(r"Client Version: v(\d+)\.(\d+)", said)
    return path if match and (int(match[1]), int(match[2])) >= (1, 28) else None


@pytest.fixture(scope="session")
def kubeconfig_path(target: Target, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of what the importer kept."""
    credential = target.credential

    def packed(text: str | None) -> str:
        return base64.b64encode((text or "").encode()).decode()

    cluster = {"server": credential.server, "certificate-authority-data": packed(credential.ca_data)}
    if credential.tls_server_name:
        cluster["tls-server-name"] = credential.tls_server_name
    user = {"token": credential.token} if credential.token else {
        "client-certificate-data": packed(credential.client_certificate),
        "client-key-data": packed(credential.client_key),
    }  # fmt: skip
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    path.touch(mode=0o600)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": user}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path


@pytest.fixture(scope="session")
def kubectl_command(kubeconfig_path: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = usable_kubectl()
    if path is None:
        pytest.skip(NO_KUBECTL)
    cache = tmp_path_factory.mktemp("kubectl")
    return [path, f"--kubeconfig={kubeconfig_path}", f"--cache-dir={cache}"]


@pytest.fixture(scope="session")
def kubectl(kubectl_command: list[str]) -> Kubectl:
    """kubectl("get", "pods", stdin=…): the finished process."""

    def run(
        *arguments: str, stdin: str | None = None, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*kubectl_command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    return run
