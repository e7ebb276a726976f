"""Reads somebody's kubeconfig and keeps the harmless part of it.

A kubeconfig can name programs to run, files to read and proxies to call (kubernetes.io, "Organizing
Cluster Access Using kubeconfig Files": only use files from trusted sources). So the file is never
given to a Kubernetes client: a credential is built anew from an allow-list, and whatever else would
change who we are or where we connect is refused by its name. No error repeats what the file holds.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NoReturn

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from deployments.domain.errors import InvalidInput
from deployments.gateways.kubernetes.addresses import check_server_address
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.safe_yaml import load_one

MAX_BYTES = 1024 * 1024
FIELD = "kubeconfig"
FLATTEN = (
    "`kubectl config view --minify --flatten` writes a file with everything inline; for a way in that does "
    "not expire with your session, use the token of the service account in deploy/."
)

_TOP = {"apiVersion", "kind", "clusters", "contexts", "users", "current-context", "preferences", "extensions"}
_CONTEXT = {"cluster", "user", "namespace", "extensions"}
_CLUSTER = {"server", "certificate-authority-data", "tls-server-name", "extensions", "disable-compression"}
_USER = {"token", "client-certificate-data", "client-key-data", "extensions"}

_REFUSED_CLUSTER = {
    "certificate-authority": "names a file, which is not on the machine that Pilothouse runs on",
    "proxy-url": "sends every request and the credential through a proxy",
    "insecure-skip-tls-verify": "turns off the check that the server is the right one",
}
_REFUSED_USER = {
    "exec": "runs a program to get the credential",
    "auth-provider": "runs a plug-in to get the credential",
    "tokenFile": "names a file, which is not on the machine that Pilothouse runs on",
    "client-certificate": "names a file, which is not on the machine that Pilothouse runs on",
    "client-key": "names a file, which is not on the machine that Pilothouse runs on",
    "username": "is basic authentication, which API servers no longer take",
    "password": "is basic authentication, which API servers no longer take",
    "as": "impersonates somebody else",
    "as-uid": "impersonates somebody else",
    "as-groups": "impersonates somebody else",
    "as-user-extra": "impersonates somebody else",
}


@dataclass(frozen=True)
class KubeContext:
    """One way to reach a cluster. ``server`` is scheme, host and port for showing, or ""."""

    name: str
    cluster: str
    user: str
    namespace: str
    server: str


@dataclass(frozen=True)
class KubeconfigFile:
    """A file that could be read. ``contexts`` in the file's order; ``current`` "" where unset."""

    contexts: tuple[KubeContext, ...]
    current: str
    _clusters: dict[str, dict[str, Any]] = field(repr=False)
    _users: dict[str, dict[str, Any]] = field(repr=False)


def read_kubeconfig(text: str | bytes) -> KubeconfigFile:
    """Parse and check the frame of a kubeconfig (YAML or JSON, at most 1 MiB).

    Raises :class:`InvalidInput` with field ``kubeconfig``.
    """
    if len(text) > MAX_BYTES or (isinstance(text, str) and len(text.encode("utf-8", "replace")) > MAX_BYTES):
        _refuse("The kubeconfig is larger than 1 MB; kubeconfig files are a few kilobytes.", remedy=FLATTEN)
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            _refuse("The file is not text in UTF-8, so it is no kubeconfig.")
    if any(ord(char) < 32 and char not in "\t\n\r" for char in text):
        _refuse("The file holds binary data, so it is no kubeconfig.")
    data = load_one(text.removeprefix("\ufeff"), what="The kubeconfig", field=FIELD)
    if not isinstance(data, dict):
        _refuse("This is no kubeconfig: it must be a YAML object with clusters, contexts and users.")
    if data.get("kind") not in (None, "Config") or data.get("apiVersion") not in (None, "v1"):
        _refuse("This is no kubeconfig: its kind must be Config and its apiVersion v1.")
    _only_known(data, _TOP, {}, "the file")
    clusters = _named(data, "clusters", "cluster")
    users = _named(data, "users", "user")
    contexts = []
    for name, entry in _named(data, "contexts", "context").items():
        _only_known(entry, _CONTEXT, {}, "a context")
        cluster = _text(entry, "cluster", "a context")
        contexts.append(
            KubeContext(
                name=name,
                cluster=cluster,
                user=_text(entry, "user", "a context"),
                namespace=_text(entry, "namespace", "a context"),
                server=_shown(clusters.get(cluster, {}).get("server")),
            )
        )
    if not contexts:
        _refuse("The kubeconfig has no context, so it does not say which cluster is meant.", remedy=FLATTEN)
    return KubeconfigFile(tuple(contexts), _text(data, "current-context", "the file"), clusters, users)


def import_context(
    file: KubeconfigFile, context: str | None = None, *, allow_loopback: bool = False
) -> ClusterCredential:
    """Build the credential of one context; without a name only where there is exactly one.

    Raises :class:`InvalidInput`: field ``context`` where one must be chosen or does not exist,
    ``server`` for the address, ``kubeconfig`` for everything else.
    """
    chosen = _choose(file, context)
    cluster, user = file._clusters.get(chosen.cluster), file._users.get(chosen.user)
    if cluster is None or user is None:
        missing = "cluster" if cluster is None else "user"
        _refuse(f"The context names a {missing} that the kubeconfig does not have.", remedy=FLATTEN)
    if cluster.get("insecure-skip-tls-verify") in (False, None):
        cluster = {key: value for key, value in cluster.items() if key != "insecure-skip-tls-verify"}
    cluster = {key: value for key, value in cluster.items() if value not in ("", None)}
    user = {key: value for key, value in user.items() if value not in ("", None)}
    _only_known(cluster, _CLUSTER, _REFUSED_CLUSTER, "the cluster")
    _only_known(user, _USER, _REFUSED_USER, "the user")

    server = _text(cluster, "server", "the cluster").strip()
    if not server:
        raise InvalidInput("The cluster has no server address.", field="server")
    check_server_address(server, allow_loopback)
    name = _text(cluster, "tls-server-name", "the cluster")
    if name and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?", name):
        _refuse("tls-server-name is not a host name.")
    ca_data = _ca(_text(cluster, "certificate-authority-data", "the cluster"))
    token = _token(_text(user, "token", "the user"))
    certificate, key = _pair(
        _text(user, "client-certificate-data", "the user"), _text(user, "client-key-data", "the user")
    )
    if token and certificate:
        _refuse("The user has a token and a client certificate; keep the one that Pilothouse shall use.")
    if not token and not certificate:
        _refuse(
            "The user has neither a token nor a client certificate, so nobody would be signed in.",
            remedy=FLATTEN,
        )
    return ClusterCredential(
        server=server.rstrip("/"),
        ca_data=ca_data,
        tls_server_name=name,
        token=token,
        client_certificate=certificate,
        client_key=key,
    )


def _choose(file: KubeconfigFile, context: str | None) -> KubeContext:
    if not context:
        if len(file.contexts) == 1:
            return file.contexts[0]
        raise InvalidInput(
            f"The kubeconfig has {len(file.contexts)} contexts. Which one shall be connected?",
            field="context",
        )
    for candidate in file.contexts:
        if candidate.name == context:
            return candidate
    raise InvalidInput("The kubeconfig has no context of that name.", field="context")


def _refuse(sentence: str, *, remedy: str = "") -> NoReturn:
    raise InvalidInput(sentence, field=FIELD, remedy=remedy)


def _only_known(entry: dict[str, Any], known: set[str], refused: dict[str, str], where: str) -> None:
    for key in entry:
        if key in refused:
            _refuse(f"“{key}” of {where} {refused[key]}. This is not supported.", remedy=FLATTEN)
    for key in entry:
        if key not in known:
            # A key is the file's content too: it is repeated only where it looks like one.
            shown = f"“{key}”" if re.fullmatch(r"[A-Za-z][A-Za-z-]{0,39}", key) else "a key"
            _refuse(f"The kubeconfig has {shown} in {where}, which Pilothouse does not know.", remedy=FLATTEN)


def _named(data: dict[str, Any], plural: str, singular: str) -> dict[str, dict[str, Any]]:
    """The entries of a list of {name, <singular>} objects by name, in order."""
    entries = data.get(plural)
    if entries is None:
        return {}
    if not isinstance(entries, list):
        _refuse(f"“{plural}” must be a list.")
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
            _refuse(f"Every entry of “{plural}” needs a name.")
        if not set(entry) <= {"name", singular}:
            _refuse(f"An entry of “{plural}” has more than a name and “{singular}”.")
        body = entry.get(singular)
        if body is None:
            body = {}
        if not isinstance(body, dict):
            _refuse(f"“{singular}” in “{plural}” must be an object.")
        if entry["name"] in found:
            _refuse(f"Two entries of “{plural}” have the same name.")
        found[entry["name"]] = body
    return found


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        _refuse(f"“{key}” of {where} must be text.")
    return value


def _shown(server: object) -> str:
    """Scheme, host and port only: user information never leaves this module."""
    match = (
        re.match(r"(https?://)(?:[^/@]*@)?([A-Za-z0-9.:\[\]-]{1,260})(?:/|$)", server)
        if isinstance(server, str)
        else None
    )
    return match[1] + match[2] if match else ""


def _pem(text: str, key: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        _refuse(f"“{key}” is not base64.", remedy=FLATTEN)


def _ca(text: str) -> str:
    if not text:
        return ""
    pem = _pem(text, "certificate-authority-data")
    try:
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        _refuse("“certificate-authority-data” holds no readable certificate.", remedy=FLATTEN)
    now = datetime.now(UTC)
    if all(certificate.not_valid_after_utc < now for certificate in certificates):
        last = max(certificate.not_valid_after_utc for certificate in certificates)
        _refuse(f"The certificate authority expired on {last:%Y-%m-%d}.", remedy="Get a fresh kubeconfig.")
    return "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in certificates)


def _pair(certificate_text: str, key_text: str) -> tuple[str | None, str | None]:
    if not certificate_text and not key_text:
        return None, None
    if not certificate_text or not key_text:
        missing = "client-certificate-data" if not certificate_text else "client-key-data"
        _refuse(f"“{missing}” is missing: a client certificate needs its key.", remedy=FLATTEN)
    certificate_pem, key_pem = (
        _pem(certificate_text, "client-certificate-data"),
        _pem(key_text, "client-key-data"),
    )
    try:
        chain = x509.load_pem_x509_certificates(certificate_pem)
    except ValueError:
        _refuse("“client-certificate-data” holds no readable certificate.", remedy=FLATTEN)
    try:
        key = load_pem_private_key(key_pem, password=None)
    except TypeError:
        _refuse("“client-key-data” is protected by a passphrase, which nobody could type here.")
    except (ValueError, UnsupportedAlgorithm):
        _refuse("“client-key-data” holds no readable private key.", remedy=FLATTEN)
    encoding = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*encoding) != key.public_key().public_bytes(*encoding):
        _refuse("The client certificate and the client key do not belong together.", remedy=FLATTEN)
    now = datetime.now(UTC)
    if chain[0].not_valid_after_utc < now:
        _refuse(
            f"The client certificate expired on {chain[0].not_valid_after_utc:%Y-%m-%d}.",
            remedy="Get a fresh kubeconfig from whoever runs the cluster.",
        )
    if chain[0].not_valid_before_utc > now:
        _refuse(
            f"The client certificate is valid from {chain[0].not_valid_before_utc:%Y-%m-%d %H:%M} UTC on only."
        )
    joined = "".join(certificate.public_bytes(Encoding.PEM).decode() for certificate in chain)
    return joined, key_pem.decode("ascii")


def _token(text: str) -> str | None:
    token = text.strip()
    if not token:
        return None
    if len(token) > 32768 or not re.fullmatch(r"[\x21-\x7e]+", token):
        _refuse("“token” is not a bearer token: it has spaces or other characters that no token has.")
    expiry = _expiry(token)
    if expiry is not None and expiry < datetime.now(UTC):
        _refuse(
            f"The token expired on {expiry:%Y-%m-%d %H:%M} UTC.",
            remedy="Make a new one, for example with `kubectl create token`, or use the service account in deploy/.",
        )
    return token


def _expiry(token: str) -> datetime | None:
    """The ``exp`` claim of a JSON web token (RFC 7519), or None for any other token."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return datetime.fromtimestamp(float(claims["exp"]), UTC)
    except (ValueError, TypeError, KeyError, OverflowError, OSError, RecursionError):
        return None
