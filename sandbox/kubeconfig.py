"""The kubeconfig that leads to the practice cluster."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml

from sandbox.certificates import KeyPair

NAME = "practice-cluster"


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def build(
    url: str, ca_pem: str, *, client: KeyPair | None = None, token: str = "", user: str = "admin"
) -> dict[str, Any]:
    """A kubeconfig with one context, for a client certificate or a token."""
    credential: dict[str, Any] = {}
    if client is not None:
        credential["client-certificate-data"] = _b64(client.certificate)
        credential["client-key-data"] = _b64(client.key)
    if token:
        credential["token"] = token
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": NAME, "cluster": {"server": url, "certificate-authority-data": _b64(ca_pem)}}],
        "users": [{"name": user, "user": credential}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": user, "namespace": "default"}}],
        "current-context": NAME,
    }


def write(path: Path, config: dict[str, Any]) -> None:
    """Readable by the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
