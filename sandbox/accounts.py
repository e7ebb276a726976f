"""Tokens of service accounts: those asked for by TokenRequest, and those kept in Secrets of their own type.

Kubernetes documentation: "Managing Service Accounts", "Manually create a long-lived API token for a ServiceAccount";
recorded transcript 05 (TokenRequest).
"""

from __future__ import annotations

import base64
import secrets
from typing import Any

from sandbox.access import Access, User
from sandbox.encoding import encode
from sandbox.store import Event, Store

Object = dict[str, Any]

SECRET_TYPE = "kubernetes.io/service-account-token"
ACCOUNT_NAME = "kubernetes.io/service-account.name"
ACCOUNT_UID = "kubernetes.io/service-account.uid"


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def account_user(namespace: str, name: str, uid: str) -> User:
    """A service account as a user."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}")
    return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)


class AccountTokens:
    """Issues tokens and keeps the ones in Secrets working, over restarts too."""

    def __init__(self, store: Store, access: Access, ca_pem: str) -> None:
        self.store = store
        self.access = access
        self.ca_pem = ca_pem
        store.subscribe(self._on_event)

    def issue(self, namespace: str, name: str, uid: str, seconds: int | None) -> str:
        """A token in the shape of a JWT, known to this server. Its signature is random: nobody else can check it."""
        now = self.store.clock()
        user = account_user(namespace, name, uid)
        claims: Object = {"iss": "https://kubernetes.default.svc", "sub": user.name, "iat": int(now)}
        if seconds is not None:
            claims["exp"] = int(now) + seconds
        head = encode({"alg": "none", "typ": "JWT"})
        token = f"{_part(head)}.{_part(encode(claims))}.{_part(secrets.token_bytes(32))}"
        self.access.add_token(token, user, None if seconds is None else now + seconds)
        return token

    def adopt(self) -> None:
        """Accept the tokens in the Secrets of a store that was loaded from disk."""
        for secret in self.store.list("Secret"):
            self._register(secret)

    def _on_event(self, event: Event) -> None:
        if event.kind.kind != "Secret" or event.object.get("type") != SECRET_TYPE:
            return
        if event.type == "ADDED":
            self._fill(event.object)
        elif event.type == "DELETED":
            token = (event.object.get("data") or {}).get("token")
            if token:
                self.access.tokens.pop(base64.b64decode(token).decode(), None)

    def _fill(self, secret: Object) -> None:
        metadata = secret["metadata"]
        name = (metadata.get("annotations") or {}).get(ACCOUNT_NAME, "")
        account = self.store.get("ServiceAccount", metadata["namespace"], name)
        if account is None or (secret.get("data") or {}).get("token"):
            return
        uid = account["metadata"]["uid"]
        token = self.issue(metadata["namespace"], name, uid, None)

        def complete(obj: Object) -> None:
            obj["metadata"]["annotations"][ACCOUNT_UID] = uid
            obj["data"] = {
                **(obj.get("data") or {}),
                "ca.crt": _b64(self.ca_pem),
                "namespace": _b64(metadata["namespace"]),
                "token": _b64(token),
            }

        self.store.mutate(
            "Secret", metadata["namespace"], metadata["name"], complete, manager="kube-controller-manager"
        )

    def _register(self, secret: Object) -> None:
        metadata, data = secret["metadata"], secret.get("data") or {}
        annotations = metadata.get("annotations") or {}
        if secret.get("type") == SECRET_TYPE and data.get("token"):
            user = account_user(
                metadata["namespace"], annotations[ACCOUNT_NAME], annotations.get(ACCOUNT_UID, "")
            )
            self.access.add_token(base64.b64decode(data["token"]).decode(), user)
