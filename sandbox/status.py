"""Failures as the Kubernetes API words them: Status objects with code, reason, message, details and causes.

The wording is that of the recorded transcripts 05 to 09 (kube-apiserver 1.36).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Named(Protocol):
    """What an error needs to know about a kind."""

    @property
    def group(self) -> str: ...
    @property
    def plural(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def group_resource(self) -> str: ...
    @property
    def group_kind(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason of a refusal. reason: FieldValueInvalid, FieldValueRequired ...; field: `spec.replicas`."""

    reason: str
    message: str
    field: str = ""

    def body(self) -> dict[str, str]:
        answer = {"reason": self.reason, "message": self.message}
        if self.field:
            answer["field"] = self.field
        return answer


class ApiError(Exception):
    """An answer of the API other than success. `details` None leaves the member out, {} writes it empty."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        continue_token: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers = dict(headers or {})
        self.continue_token = continue_token

    def body(self) -> dict[str, Any]:
        """The Status object, members in the server's order."""
        answer: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {"continue": self.continue_token} if self.continue_token else {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            answer["reason"] = self.reason
        if self.details is not None:
            answer["details"] = dict(self.details)
        answer["code"] = self.code
        return answer


class PlainError(Exception):
    """An answer that is text and no Status: paths that no API group serves."""

    def __init__(self, code: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.headers = dict(headers or {})


def details(name: str = "", group: str = "", kind: str = "", **more: Any) -> dict[str, Any]:
    """StatusDetails with its members in the server's order and the empty ones left out."""
    answer: dict[str, Any] = {}
    for key, value in (("name", name), ("group", group), ("kind", kind)):
        if value:
            answer[key] = value
    answer.update({key: value for key, value in more.items() if value is not None})
    return answer


def success(kind: Named, name: str, uid: str) -> dict[str, Any]:
    """What DELETE answers for most kinds."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details(name, kind.group, kind.plural, uid=uid),
    }


def quote(text: str) -> str:
    """A string in double quotes, escaped like Go's %q does it for ordinary text."""
    return json.dumps(text, ensure_ascii=False)


def page_not_found() -> PlainError:
    return PlainError(404, "404 page not found\n", {"X-Content-Type-Options": "nosniff"})


def unknown_resource() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def method_not_allowed() -> ApiError:
    return ApiError(
        405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {}
    )


def not_found(kind: Named, name: str) -> ApiError:
    return ApiError(
        404,
        "NotFound",
        f"{kind.group_resource} {quote(name)} not found",
        details(name, kind.group, kind.plural),
    )


def already_exists(kind: Named, name: str, being_deleted: bool = False) -> ApiError:
    prefix = "object is being deleted: " if being_deleted else ""
    return ApiError(
        409,
        "AlreadyExists",
        f"{prefix}{kind.group_resource} {quote(name)} already exists",
        details(name, kind.group, kind.plural),
    )


STALE = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(kind: Named, name: str, why: str = STALE) -> ApiError:
    return ApiError(
        409,
        "Conflict",
        f"Operation cannot be fulfilled on {kind.group_resource} {quote(name)}: {why}",
        details(name, kind.group, kind.plural),
    )


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403. why: `User "x" cannot get resource "pods" ...` or an admission plugin's sentence."""
    subject = f"{plural}.{group}" if group else plural
    if name:
        subject += f" {quote(name)}"
    more = {"causes": [cause.body() for cause in causes]} if causes else {}
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", details(name, group, plural, **more))


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    return ApiError(401, "Unauthorized", "Unauthorized")


def _join(causes: Sequence[Cause]) -> str:
    texts = [f"{cause.field}: {cause.message}" if cause.field else cause.message for cause in causes]
    unique = list(dict.fromkeys(texts))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def invalid(kind: Named, name: str, causes: Iterable[Cause]) -> ApiError:
    """422 with its causes; kind is written as the Kind, not as the plural."""
    return invalid_as(kind.group, kind.kind, name, causes)


def invalid_as(group: str, kind: str, name: str, causes: Iterable[Cause]) -> ApiError:
    """422 for something outside the table of kinds, as `meta.k8s.io` / `ListOptions`."""
    found = list(causes)
    subject = f"{kind}.{group}" if group else kind
    return ApiError(
        422,
        "Invalid",
        f"{subject} {quote(name)} is invalid: {_join(found)}",
        details(name, group, kind, causes=[cause.body() for cause in found]),
    )


def expired(message: str, continue_token: str = "") -> ApiError:
    return ApiError(410, "Expired", message, continue_token=continue_token)


def too_large_resource_version(requested: int, current: int) -> ApiError:
    """504: the client knows a resourceVersion that this server has not reached."""
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {requested}, current: {current}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
        {"Retry-After": "1"},
    )


def too_many_requests(message: str, causes: Sequence[Cause] = ()) -> ApiError:
    return ApiError(429, "TooManyRequests", message, {"causes": [c.body() for c in causes]} if causes else {})


def internal(message: str) -> ApiError:
    """500 with a sentence and no reason, as the server answers for some malformed writes."""
    return ApiError(500, "", message)
