"""What a kubeconfig from a stranger may and may not do."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from deployments.domain.errors import InvalidInput
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.kubeconfig import import_context, read_kubeconfig
from tests.unit.gateways.kubernetes.authority import Authority, base64_of

SECRET = "s3cr3t-that-must-not-be-repeated"
AUTHORITY = Authority()
CERTIFICATE, KEY = AUTHORITY.issue("somebody")


def config(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://10.0.0.1:6443"} | (cluster or {})}],
        "users": [{"name": "u", "user": {"token": SECRET} if user is None else user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "llm"}}],
        "current-context": "x",
        "preferences": {},
    } | top


def load(data: dict[str, Any], *, allow_loopback: bool = False) -> ClusterCredential:
    return import_context(read_kubeconfig(yaml.safe_dump(data)), None, allow_loopback=allow_loopback)


def refused(data: dict[str, Any] | str | bytes) -> InvalidInput:
    text = yaml.safe_dump(data) if isinstance(data, dict) else data
    with pytest.raises(InvalidInput) as caught:
        import_context(read_kubeconfig(text), None)
    said = f"{caught.value.sentence} {caught.value.remedy} {caught.value.tried} {caught.value.answered}"
    assert SECRET not in said
    assert caught.value.field
    return caught.value


def jwt(expiry: datetime) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256'})}.{part({'exp': int(expiry.timestamp())})}.c2ln"


def test_keeps_server_authority_name_and_token() -> None:
    found = load(
        config(
            {"certificate-authority-data": base64_of(AUTHORITY.pem), "tls-server-name": "kubernetes"},
            {"token": f" {SECRET}\n"},
        )
    )
    assert found == ClusterCredential(
        server="https://10.0.0.1:6443", ca_data=AUTHORITY.pem, tls_server_name="kubernetes", token=SECRET
    )
    assert found.kind == "token"


def test_keeps_a_client_certificate_and_its_key() -> None:
    found = load(
        config(user={"client-certificate-data": base64_of(CERTIFICATE), "client-key-data": base64_of(KEY)})
    )
    assert (found.client_certificate, found.client_key, found.token) == (CERTIFICATE, KEY, None)
    assert found.kind == "client certificate"


def test_reads_json_and_a_byte_order_mark() -> None:
    text = "\ufeff" + json.dumps(config())
    assert import_context(read_kubeconfig(text.encode())).token == SECRET


def test_what_minikube_adds_is_ignored() -> None:
    extension = [
        {"name": "cluster_info", "extension": {"provider": "minikube.sigs.k8s.io", "version": "v1.36.0"}}
    ]
    assert load(config({"extensions": extension, "insecure-skip-tls-verify": False})).token == SECRET


def test_repr_and_json_of_a_credential() -> None:
    found = load(config({"certificate-authority-data": base64_of(AUTHORITY.pem)}))
    assert SECRET not in repr(found) and "BEGIN" not in repr(found)
    assert ClusterCredential.from_json(found.to_json()) == found
    for broken in ("", "[]", "{}", '{"server": 1}', '{"server": "https://x", "password": "p"}'):
        with pytest.raises(InvalidInput):
            ClusterCredential.from_json(broken)


@pytest.mark.parametrize(
    "key, value",
    [
        (
            "exec",
            {
                "command": "sh",
                "args": ["-c", f"echo {SECRET}"],
                "apiVersion": "client.authentication.k8s.io/v1",
            },
        ),
        ("auth-provider", {"name": "gcp", "config": {"cmd-path": "/bin/sh", "access-token": SECRET}}),
        ("tokenFile", f"/etc/{SECRET}"),
        ("client-certificate", f"/etc/{SECRET}"),
        ("client-key", f"/etc/{SECRET}"),
        ("username", SECRET),
        ("password", SECRET),
        ("as", "admin"),
        ("as-uid", "1"),
        ("as-groups", ["system:masters"]),
        ("as-user-extra", {"a": ["b"]}),
        ("something-new", SECRET),
    ],
)
def test_what_a_user_may_not_have_is_named(key: str, value: Any) -> None:
    error = refused(config(user={"token": SECRET, key: value}))
    assert f"“{key}”" in error.sentence and error.remedy


@pytest.mark.parametrize(
    "key, value",
    [
        ("certificate-authority", "/etc/ca.crt"),
        ("proxy-url", f"socks5://{SECRET}@10.0.0.9"),
        ("insecure-skip-tls-verify", True),
        ("insecure-skip-tls-verify", "false"),
        ("something-new", SECRET),
    ],
)
def test_what_a_cluster_may_not_have_is_named(key: str, value: Any) -> None:
    error = refused(config({key: value}))
    assert f"“{key}”" in error.sentence and error.remedy


def test_an_unknown_key_that_is_content_is_not_repeated() -> None:
    assert "a key" in refused(config(user={"token": SECRET, f"{SECRET} {SECRET}": "x"})).sentence


@pytest.mark.parametrize(
    "server",
    [
        "http://10.0.0.1:6443",
        f"https://admin:{SECRET}@10.0.0.1",
        f"https://{SECRET}@10.0.0.1",
        "https://",
        "10.0.0.1:6443",
        "https://10.0.0.1:99999",
        "https://10.0.0.1/?a=b",
        "https://10.0.0.1/#a",
        "https://10.0.0.1/a b",
        "https://[::1",
        "https://127.0.0.1:6443",
        "https://127.1:6443",
        "https://0x7f.1",
        "https://2130706433",
        "https://0.0.0.0",
        "https://[::]",
        "https://localhost:6443",
        "https://LOCALHOST.",
        "https://a.localhost",
        "https://[::1]:6443",
        "https://[::ffff:127.0.0.1]",
        "https://[64:ff9b::7f00:1]",
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://[fd00:ec2::254]",
        "https://[::ffff:a9fe:a9fe]",
        "https://100.100.100.200",
        "https://metadata.google.internal",
        "https://224.0.0.1",
        "file:///etc/passwd",
        "https://10.0.0.1\\@evil",
    ],
)
def test_servers_that_are_refused(server: str) -> None:
    assert refused(config({"server": server})).field == "server"


@pytest.mark.parametrize("server", ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443"])
def test_loopback_with_permission(server: str) -> None:
    assert load(config({"server": server}), allow_loopback=True).server == server


@pytest.mark.parametrize(
    "server", ["https://169.254.169.254", "https://[fe80::1]", "https://0.0.0.0", "https://metadata"]
)
def test_never_even_with_permission(server: str) -> None:
    with pytest.raises(InvalidInput):
        load(config({"server": server}), allow_loopback=True)


def test_a_managed_cluster_behind_a_path_is_kept() -> None:
    assert (
        load(config({"server": "https://rancher.example/k8s/clusters/c-1/"})).server
        == "https://rancher.example/k8s/clusters/c-1"
    )


def test_several_contexts_must_be_chosen_among() -> None:
    data = config(
        contexts=[
            {"name": "x", "context": {"cluster": "c", "user": "u"}},
            {"name": "y", "context": {"cluster": "c", "user": "u"}},
        ]
    )
    assert refused(data).field == "context"
    file = read_kubeconfig(yaml.safe_dump(data))
    assert [context.name for context in file.contexts] == ["x", "y"] and file.current == "x"
    assert file.contexts[0].server == "https://10.0.0.1:6443"
    assert import_context(file, "y").token == SECRET
    with pytest.raises(InvalidInput) as caught:
        import_context(file, "z")
    assert caught.value.field == "context"
    assert SECRET not in repr(file)


def test_another_contexts_exec_does_not_matter() -> None:
    data = config(
        users=[{"name": "u", "user": {"token": SECRET}}, {"name": "v", "user": {"exec": {"command": "x"}}}],
        contexts=[
            {"name": "x", "context": {"cluster": "c", "user": "u"}},
            {"name": "y", "context": {"cluster": "c", "user": "v"}},
        ],
    )
    assert import_context(read_kubeconfig(yaml.safe_dump(data)), "x").token == SECRET


@pytest.mark.parametrize("plural", ["clusters", "users", "contexts"])
def test_duplicate_names(plural: str) -> None:
    data = config()
    data[plural] = data[plural] * 2
    assert "same name" in refused(json.dumps(data)).sentence


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


@pytest.mark.parametrize(
    "text, word",
    [
        (b"x" * (10 * 1024 * 1024), "larger"),
        ("x" * (10 * 1024 * 1024), "larger"),
        (LAUGHS, "anchors"),
        ("a: *b\n", "anchors"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "text"),
        (b"\x7fELF\x02\x01\x00", "binary"),
        ("kind: Config".encode("utf-16"), "text"),
        ("a: [b", "not YAML"),
        ("a: b: c", "not YAML"),
        ("\tkind: Config", "not YAML"),
        ("", "empty"),
        ("# nothing\n", "empty"),
        ("just words", "YAML object"),
        ("- 1\n- 2\n", "YAML object"),
        ("kind: Config\n---\nkind: Config\n", "more than one"),
        ("kind: Config\nkind: Config\n", "twice"),
        ("users:\n- name: u\n  user: {token: a, token: b}\n", "twice"),
        ("a: !!python/object/apply:os.system [id]\n", "tag"),
        ("!!python/name:os.system\n", "tag"),
        ("? [a, b]\n: c\n", "key"),
        ("<<: {kind: Config}\n", "key"),
        ("[" * 5000 + "]" * 5000, ""),
        ("{a: " * 200 + "b" + "}" * 200, "deep"),
        ("kind: Pod\napiVersion: v1\n", "kind must be Config"),
        ("kind: Config\nclusters: {}\n", "list"),
        ("kind: Config\nclusters: [{cluster: {}}]\n", "name"),
        ("kind: Config\ncontexts: [{name: a, context: x}]\n", "object"),
        ("kind: Config\n", "no context"),
        ("kind: Config\nsecret-stuff: x\n", "secret-stuff"),
    ],
)
def test_files_that_are_no_kubeconfig(text: str | bytes, word: str) -> None:
    error = refused(text)
    assert error.field == "kubeconfig" and word in error.sentence


def test_a_context_without_its_user_or_credential() -> None:
    assert "user" in refused(config(users=[])).sentence
    assert "cluster" in refused(config(clusters=[])).sentence
    assert "neither" in refused(config(user={})).sentence
    assert refused(config({"server": ""})).field == "server"


def test_certificates_must_parse_pair_and_be_in_date() -> None:
    other = AUTHORITY.issue("else")[1]
    expired = AUTHORITY.issue("old", days=(-9, -2))
    early = AUTHORITY.issue("new", days=(2, 9))

    def user(certificate: str, key: str) -> dict[str, Any]:
        return config(
            user={"client-certificate-data": base64_of(certificate), "client-key-data": base64_of(key)}
        )

    assert "belong together" in refused(user(CERTIFICATE, other)).sentence
    assert "expired on" in refused(user(*expired)).sentence
    assert "valid from" in refused(user(*early)).sentence
    assert "no readable certificate" in refused(user(SECRET, KEY)).sentence
    assert "no readable private key" in refused(user(CERTIFICATE, SECRET)).sentence
    assert "missing" in refused(config(user={"client-certificate-data": base64_of(CERTIFICATE)})).sentence
    assert "missing" in refused(config(user={"client-key-data": base64_of(KEY)})).sentence
    assert (
        "base64"
        in refused(config(user={"client-certificate-data": "***", "client-key-data": "***"})).sentence
    )
    assert "base64" in refused(config({"certificate-authority-data": SECRET + "!"})).sentence
    assert "certificate" in refused(config({"certificate-authority-data": base64_of(SECRET)})).sentence
    both = {
        "token": SECRET,
        "client-certificate-data": base64_of(CERTIFICATE),
        "client-key-data": base64_of(KEY),
    }
    assert "keep the one" in refused(config(user=both)).sentence


def test_tokens() -> None:
    now = datetime.now(UTC)
    assert "expired" in refused(config(user={"token": jwt(now - timedelta(hours=1))})).sentence
    fresh = jwt(now + timedelta(hours=1))
    assert load(config(user={"token": fresh})).token == fresh
    assert "token" in refused(config(user={"token": f"a\r\nX-Injected: {SECRET}"})).sentence
    assert "token" in refused(config(user={"token": "ünicode"})).sentence
    assert "token" in refused(config(user={"token": ["a"]})).sentence
