"""Who asks, and may they: bearer tokens, client certificates, anonymous, impersonation, RBAC.

Texts and order: recorded transcripts 05 and 27. Kubernetes documentation: "Using RBAC Authorization".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sandbox import status
from sandbox.backend import RequestInfo

if TYPE_CHECKING:
    from sandbox.store import Store

Object = dict[str, Any]

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ANONYMOUS = "system:anonymous"


@dataclass(frozen=True, slots=True)
class User:
    """extra holds for instance which credential was used."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def info(self) -> Object:
        """As SelfSubjectReview shows it."""
        answer: Object = {"username": self.name}
        if self.uid:
            answer["uid"] = self.uid
        answer["groups"] = list(self.groups)
        if self.extra:
            answer["extra"] = {key: list(values) for key, values in self.extra.items()}
        return answer


NOBODY = User(ANONYMOUS, (UNAUTHENTICATED,))


@dataclass(frozen=True, slots=True)
class Grant:
    """One rule that a binding gives to a user."""

    rule: Mapping[str, Any]
    reason: str
    namespace: str | None


class Access:
    """Tokens and rights. tokens: the bearer token -> its user, without system:authenticated."""

    def __init__(self, store: Store, tokens: Mapping[str, User] | None = None) -> None:
        self.store = store
        self.tokens: dict[str, User] = dict(tokens or {})
        self._expiry: dict[str, float] = {}

    # ---- authentication

    def add_token(self, token: str, user: User, expires: float | None = None) -> None:
        """expires: seconds since the epoch, None for never."""
        self.tokens[token] = user
        if expires is not None:
            self._expiry[token] = expires

    def by_token(self, token: str) -> User:
        """Raises 401 for an unknown token."""
        user = self.tokens.get(token)
        if user is not None and self._expiry.get(token, float("inf")) <= self.store.clock():
            del self.tokens[token], self._expiry[token]
            user = None
        if user is None:
            raise status.unauthorized()
        return authenticated(user)

    def by_headers(self, headers: Mapping[str, str], certificate: User | None) -> User:
        """The user of a request: certificate first, then bearer token, else anonymous. Raises 401."""
        if certificate is not None:
            return authenticated(certificate)
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return self.by_token(token.strip())
        return NOBODY

    def impersonate(self, user: User, wanted: str, groups: Sequence[str], info: RequestInfo) -> User:
        """The user that `user` asks to be. Raises 403 in the words of Kubernetes 1.36, 400 for groups alone."""
        if not wanted:
            named = " ".join(status.quote(group) for group in groups)
            raise status.bad_request(
                f'requested &user.DefaultInfo{{Name:"", UID:"", Groups:[]string{{{named}}}, '
                "Extra:map[string][]string(nil)} without impersonating a user name"
            )
        account = wanted.startswith("system:serviceaccount:")
        if MASTERS not in user.groups and not self._may_impersonate(user, wanted, groups):
            mode = "serviceaccount" if account else "user-info"
            raise self.refusal(user, replace(info, verb=f"impersonate-on:{mode}:{info.verb}"))
        if account:
            parts = wanted.split(":")
            extra = (
                ("system:serviceaccounts", f"system:serviceaccounts:{parts[2]}") if len(parts) == 4 else ()
            )
            return authenticated(User(wanted, tuple(groups) or extra))
        return authenticated(User(wanted, tuple(groups)))

    def _may_impersonate(self, user: User, wanted: str, groups: Sequence[str]) -> bool:
        if wanted.startswith("system:serviceaccount:"):
            _, _, namespace, name = (wanted.split(":", 3) + ["", ""])[:4]
            asked = [("serviceaccounts", name, namespace)]
        else:
            asked = [("users", wanted, "")]
        asked += [("groups", group, "") for group in groups]
        return all(
            self.reason(user, RequestInfo("impersonate", "", resource, "", namespace, name, "", user.name))
            is not None
            for resource, name, namespace in asked
        )

    # ---- authorisation

    def authorize(self, user: User, info: RequestInfo) -> None:
        """Raises 403."""
        if self.reason(user, info) is None:
            raise self.refusal(user, info)

    def reason(self, user: User, info: RequestInfo) -> str | None:
        """Why it is allowed (empty for system:masters), or None if it is not."""
        if MASTERS in user.groups:
            return ""
        for grant in self.grants(user, info.namespace or None):
            if allows(grant.rule, info):
                return grant.reason
        return None

    @staticmethod
    def refusal(user: User, info: RequestInfo) -> status.ApiError:
        if not info.resource:
            return status.ApiError(
                403,
                "Forbidden",
                f"forbidden: User {status.quote(user.name)} cannot {info.verb} path {status.quote(info.path)}",
                {},
                {"X-Content-Type-Options": "nosniff"},
            )
        resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
        where = (
            f"in the namespace {status.quote(info.namespace)}" if info.namespace else "at the cluster scope"
        )
        error = status.forbidden(
            info.group,
            info.resource,
            info.name,
            f"User {status.quote(user.name)} cannot {info.verb} resource {status.quote(resource)} "
            f"in API group {status.quote(info.group)} {where}",
        )
        error.headers["X-Content-Type-Options"] = "nosniff"
        return error

    def grants(self, user: User, namespace: str | None) -> Iterator[Grant]:
        """The rules that hold for a user, cluster-wide ones first."""
        for binding in self.store.each("ClusterRoleBinding"):
            subject = self._subject(binding, user, None)
            if subject:
                role = binding["roleRef"]["name"]
                reason = f'RBAC: allowed by ClusterRoleBinding "{binding["metadata"]["name"]}" of ClusterRole "{role}" to {subject}'
                for rule in self.rules("ClusterRole", None, role):
                    yield Grant(rule, reason, None)
        if namespace is None:
            return
        for binding in self.store.each("RoleBinding", namespace):
            subject = self._subject(binding, user, namespace)
            if subject:
                kind, role = binding["roleRef"]["kind"], binding["roleRef"]["name"]
                reason = f'RBAC: allowed by RoleBinding "{binding["metadata"]["name"]}/{namespace}" of {kind} "{role}" to {subject}'
                for rule in self.rules(kind, namespace, role):
                    yield Grant(rule, reason, namespace)

    def rules(self, kind: str, namespace: str | None, name: str) -> list[Object]:
        """The rules of a role; none if it does not exist."""
        role = self.store.get(kind, namespace if kind == "Role" else None, name)
        return list((role or {}).get("rules") or [])

    @staticmethod
    def _subject(binding: Object, user: User, namespace: str | None) -> str:
        for subject in binding.get("subjects") or []:
            kind, name = subject.get("kind"), subject.get("name", "")
            if kind == "User" and name == user.name:
                return f'User "{name}"'
            if kind == "Group" and name in user.groups:
                return f'Group "{name}"'
            if kind == "ServiceAccount":
                home = subject.get("namespace") or namespace or ""
                if user.name == f"system:serviceaccount:{home}:{name}":
                    return f'ServiceAccount "{name}/{home}"'
        return ""

    # ---- escalation

    def check_grant(self, user: User, kind: Any, obj: Object) -> None:
        """403 if a role or binding gives rights its writer does not hold (and may not escalate or bind)."""
        if MASTERS in user.groups:
            return
        namespace = obj["metadata"].get("namespace")
        name = obj["metadata"].get("name", "")
        if kind.kind in ("Role", "ClusterRole"):
            verb, about = (
                "escalate",
                RequestInfo("escalate", kind.group, kind.plural, "", namespace or "", name, "", ""),
            )
            rules = obj.get("rules") or []
        else:
            role = obj.get("roleRef") or {}
            plural = "clusterroles" if role.get("kind") == "ClusterRole" else "roles"
            verb = "bind"
            about = RequestInfo("bind", kind.group, plural, "", namespace or "", role.get("name", ""), "", "")
            rules = self.rules(role.get("kind", ""), namespace, role.get("name", ""))
        if self.reason(user, replace(about, verb=verb)) is not None:
            return
        held = [grant.rule for grant in self.grants(user, namespace)]
        missing = [rule for rule in rules if not _covered(rule, held)]
        if missing:
            groups = " ".join(status.quote(group) for group in user.groups)
            texts = "\n".join(text for rule in missing for text in _rule_texts(rule))
            raise status.forbidden(
                kind.group,
                kind.plural,
                name,
                f"user {status.quote(user.name)} (groups=[{groups}]) is attempting to grant RBAC permissions not "
                f"currently held:\n{texts}",
            )


def authenticated(user: User) -> User:
    """The user with system:authenticated as the last group."""
    if AUTHENTICATED in user.groups:
        return user
    return replace(user, groups=(*user.groups, AUTHENTICATED))


def allows(rule: Mapping[str, Any], info: RequestInfo) -> bool:
    """One RBAC rule against one request."""
    verbs = rule.get("verbs") or []
    if "*" not in verbs and info.verb not in verbs:
        return False
    if not info.resource:
        return any(
            url in ("*", info.path) or (url.endswith("*") and info.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or []
        )
    groups = rule.get("apiGroups") or []
    if "*" not in groups and info.group not in groups:
        return False
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    resources = rule.get("resources") or []
    if not (
        "*" in resources
        or resource in resources
        or (info.subresource and f"*/{info.subresource}" in resources)
    ):
        return False
    names = rule.get("resourceNames") or []
    return not names or (bool(info.name) and info.name in names)


def _covered(rule: Mapping[str, Any], held: Sequence[Mapping[str, Any]]) -> bool:
    if rule.get("nonResourceURLs"):
        cases = [
            RequestInfo(verb, "", "", "", "", "", url, "")
            for verb in rule.get("verbs") or []
            for url in rule["nonResourceURLs"]
        ]
    else:
        cases = [
            RequestInfo(verb, group, *_split(resource), "", name, "", "")
            for verb in rule.get("verbs") or []
            for group in rule.get("apiGroups") or []
            for resource in rule.get("resources") or []
            for name in rule.get("resourceNames") or [""]
        ]
    return all(any(allows(given, case) for given in held) for case in cases)


def _split(resource: str) -> tuple[str, str]:
    name, _, sub = resource.partition("/")
    return name, sub


def _rule_texts(rule: Mapping[str, Any]) -> Iterator[str]:
    """One compact text for each group and resource, as the server lists what is missing."""

    def listed(values: Sequence[str]) -> str:
        return "[" + " ".join(status.quote(value) for value in values) + "]"

    verbs = listed(rule.get("verbs") or [])
    for url in rule.get("nonResourceURLs") or []:
        yield f"{{NonResourceURLs:{listed([url])}, Verbs:{verbs}}}"
    for group in rule.get("apiGroups") or []:
        for resource in rule.get("resources") or []:
            names = rule.get("resourceNames")
            only = f", ResourceNames:{listed(names)}" if names else ""
            yield f"{{APIGroups:{listed([group])}, Resources:{listed([resource])}{only}, Verbs:{verbs}}}"
