"""What is kept of a kubeconfig: the address of one API server and one way to prove who we are."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from deployments.domain.errors import ClusterUnreachable, InvalidInput

# Kubernetes documentation, "Accessing the API from a Pod": where the kubelet mounts the token.
SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ClusterCredential:
    """One API server and one identity.

    ``server``            https URL, possibly with a path (some managers put one in front).
    ``ca_data``           PEM certificates to trust, or "" for those of the operating system.
    ``tls_server_name``   the name the server's certificate must carry instead of the host, or "".
    ``token``             a bearer token, or None.
    ``client_certificate``, ``client_key``  PEM texts, or None.
    ``in_cluster``        True: the token is read from the mounted service account for each use,
                          because the kubelet replaces it about once an hour.

    Its repr shows no secret, so that no traceback or log does. Equality compares everything.
    """

    server: str
    ca_data: str = field(default="", repr=False)
    tls_server_name: str = ""
    token: str | None = field(default=None, repr=False)
    client_certificate: str | None = field(default=None, repr=False)
    client_key: str | None = field(default=None, repr=False)
    in_cluster: bool = False

    @property
    def kind(self) -> str:
        """How it proves itself: "service account", "token", "client certificate"."""
        if self.in_cluster:
            return "service account"
        return "token" if self.token else "client certificate"

    def bearer_token(self) -> str | None:
        """The token to send now, or None. Raises :class:`ClusterUnreachable` where the mounted one is gone."""
        if not self.in_cluster:
            return self.token
        try:
            return (SERVICE_ACCOUNT / "token").read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise ClusterUnreachable(
                "The service account's token is not mounted here.",
                tried="read the mounted service account token",
                answered=type(error).__name__,
                remedy="Run Pilothouse in a pod with a mounted service account, or connect the cluster by kubeconfig.",
                retryable=False,
            ) from error

    def to_json(self) -> str:
        """All of it, secrets included: encrypt what comes out before it is stored."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> ClusterCredential:
        """The reverse. Raises :class:`InvalidInput` for anything else, without repeating any of it."""
        try:
            data = json.loads(text)
        except ValueError:
            raise InvalidInput("The stored credential is not readable.") from None
        names = {f.name for f in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= names or not isinstance(data.get("server"), str):
            raise InvalidInput("The stored credential is not readable.")
        return cls(**data)


def in_cluster_credential() -> ClusterCredential:
    """The credential of the pod that this process runs in.

    Raises :class:`InvalidInput` (field ``credential``) outside of a cluster.
    """
    host, port = (
        os.environ.get("KUBERNETES_SERVICE_HOST", ""),
        os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
    )
    try:
        ca_data = (SERVICE_ACCOUNT / "ca.crt").read_text(encoding="ascii")
        present = (SERVICE_ACCOUNT / "token").is_file()
    except (OSError, UnicodeError):
        ca_data, present = "", False
    if not host or not present or not port.isdigit():
        raise InvalidInput(
            "Pilothouse does not run inside a cluster, or its pod has no service account mounted.",
            field="credential",
            remedy="Paste a kubeconfig instead.",
        )
    shown = f"[{host}]" if ":" in host else host
    return ClusterCredential(server=f"https://{shown}:{port}", ca_data=ca_data, in_cluster=True)
