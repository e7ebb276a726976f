"""Turns whatever an API server, or the way to it, answers into one of our errors.

This is the only place that reads Status objects and network exceptions. What it passes on is cut to
500 characters, carries no credential, and no address of a kubelet.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import orjson
import urllib3.exceptions

from deployments.domain import errors
from deployments.gateways.kubernetes.addresses import AddressRefused

MAX_ANSWER = 500

_SECRETS = re.compile(
    r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}"
    r"|-----BEGIN [A-Z ]+-----[\s\S]*?(?:-----END [A-Z ]+-----|$)"
)
# What the API server asks a kubelet for; the message of a failure holds the URL and the address.
_KUBELET = re.compile(
    r'(?:Get|Post|Put)?\s*\\?"https?://[^"\s]*/(?:containerLogs|exec|attach|portForward|run)/[^"\s]*"(?::[^"]*)?'
)
# A missing right, as opposed to what an admission plug-in refuses (recorded transcript 05).
_RIGHTS = re.compile(r'User ".*" cannot |cannot impersonate')
_CONFLICT = re.compile(r'conflicts? with "((?:[^"\\]|\\.)*)"')
# Texts of 500 answers that are the manifest's fault: the typed conversion of server-side apply
# (recorded transcript 15) and a create that carries a resourceVersion (recorded transcript 14).
_MANIFEST_500 = (
    "failed to create typed patch object",
    "failed to convert new object",
    "failed to create typed live object",
    "resourceVersion should not be set",
)


@dataclass(frozen=True)
class Status:
    """The part of a Kubernetes Status object that matters here."""

    message: str
    reason: str
    causes: list[tuple[str, str, str]]  # reason, field, message
    kind: str = ""
    name: str = ""
    retry_after: float | None = None


def read_status(body: bytes | str) -> Status | None:
    """The Status in a body, or None for anything else."""
    try:
        data = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(data, dict) or data.get("kind") != "Status" or data.get("apiVersion", "v1") != "v1":
        return None
    details = data.get("details")
    if not isinstance(details, dict):
        details = {}
    causes = details.get("causes")
    seconds = details.get("retryAfterSeconds")
    return Status(
        message=str(data.get("message") or ""),
        reason=str(data.get("reason") or ""),
        causes=[
            (str(cause.get("reason") or ""), str(cause.get("field") or ""), str(cause.get("message") or ""))
            for cause in (causes if isinstance(causes, list) else [])
            if isinstance(cause, dict)
        ],
        kind=str(details.get("kind") or ""),
        name=str(details.get("name") or ""),
        retry_after=float(seconds) if isinstance(seconds, int | float) else None,
    )


def bounded(text: str, limit: int = MAX_ANSWER) -> str:
    """A text that may be shown: no credential, no kubelet address, at most ``limit`` characters."""
    text = _SECRETS.sub("…", text[: limit * 20])
    text = _KUBELET.sub("the kubelet of the node cannot be reached", text)
    text = "".join(char if char.isprintable() or char == "\n" else " " for char in text).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def from_answer(
    status: int,
    headers: Mapping[str, str] | None,
    body: bytes | str,
    tried: str,
    *,
    writing: bool = False,
) -> errors.ClusterError:
    """The error for an HTTP answer outside 2xx, or for an ERROR event of a watch.

    ``writing`` tells that an object was sent, so that 400, 422 and some 500 speak about it.
    """
    found = read_status(body)
    text = found.message if found else _plain(body, headers)
    reason = found.reason if found else ""
    words: dict[str, Any] = {
        "tried": tried,
        "answered": bounded(text),
        "status": status,
        "reason": reason,
    }
    wait = _retry_after(headers) or (found.retry_after if found else None)
    causes = [(field, bounded(message)) for _, field, message in found.causes] if found else []

    if status == 401:
        return errors.CredentialRefused(
            "The cluster does not accept the stored credential (any more).",
            remedy=errors.REPLACE_CREDENTIAL,
            **words,
        )
    if status == 403:
        if found and any(kind == "NamespaceTerminating" for kind, _, _ in found.causes):
            return errors.ClusterForbids(
                "The namespace is being deleted, so nothing can be made in it.",
                remedy="Wait until the namespace is gone, or choose another one.",
                retryable=True,
                **words,
            )
        if found and "exceeded quota" in found.message:
            return errors.ClusterForbids(
                "The namespace's quota does not leave room for this.",
                remedy="Ask for a larger quota, or make the deployment smaller.",
                **words,
            )
        if found and not _RIGHTS.search(found.message):
            return errors.ClusterForbids(
                "A rule of the cluster forbids this.",
                remedy="Ask whoever runs the cluster; the answer says which rule it is.",
                **words,
            )
        return errors.RightMissing(
            "The cluster does not allow Pilothouse to do this.",
            remedy="Grant the missing right to the account that Pilothouse uses; deploy/rbac.yaml lists what it needs.",
            **words,
        )
    if status == 404:
        if found and found.name:
            sentence = f"There is no {found.kind or 'object'} “{bounded(found.name, 120)}”."
        elif found:
            sentence = "The cluster does not have this object or this kind of object."
        else:
            sentence = "The cluster does not serve this kind of object."
        return errors.ObjectMissing(sentence, **words)
    if status == 409:
        return _conflict(found, causes, words)
    if status == 410:
        return errors.Expired(
            "The cluster no longer remembers that version; the list has to be read again.", **words
        )
    if status == 413:
        return errors.ManifestRefused("The object is larger than the API server accepts.", **words)
    if status == 429:
        return errors.TooManyRequests(
            "The cluster asks for patience: it gets too many requests.",
            remedy="If this stays, ask whoever runs the cluster.",
            retry_after=wait or 1.0,
            **words,
        )
    if writing and (status in (400, 422) or (status == 500 and text.startswith(_MANIFEST_500))):
        return errors.ManifestRefused(_refusal(status, causes), causes=causes, **words)
    if 300 <= status < 400:
        words["answered"] = "a redirect"
        return errors.ServerFault(
            "The server answers with a redirect, which an API server does not do.",
            remedy="Check the server's address in the kubeconfig.",
            retryable=False,
            **words,
        )
    if status >= 500:
        return errors.ServerFault(
            "The cluster's API server failed to answer.",
            remedy="If this stays, ask whoever runs the cluster.",
            retry_after=wait,
            **words,
        )
    return errors.ClusterError(f"The cluster refused the request ({status}).", **words)


def _conflict(
    found: Status | None, causes: list[tuple[str, str]], words: dict[str, Any]
) -> errors.ClusterError:
    if found:
        conflicts = []
        for kind, field, message in found.causes:
            if kind == "FieldManagerConflict":
                match = _CONFLICT.search(message)
                conflicts.append((bounded(match[1], 120) if match else "", field))
        if conflicts:
            managers = ", ".join(sorted({f"“{manager}”" for manager, _ in conflicts}))
            count = len(conflicts)
            return errors.FieldConflict(
                f"{count} field{'s are' if count > 1 else ' is'} managed by somebody else: {managers}.",
                conflicts=conflicts,
                remedy="Leave the fields as they are, or take them over after looking at what they hold.",
                **words,
            )
        if found.reason == "AlreadyExists":
            if found.message.startswith("object is being deleted"):
                return errors.AlreadyExists(
                    "An object of that name is still being deleted.", retryable=True, **words
                )
            return errors.AlreadyExists("An object of that name exists already.", **words)
    return errors.Outdated("The object has changed meanwhile.", **words)


def _refusal(status: int, causes: list[tuple[str, str]]) -> str:
    if status == 422 and causes:
        count = len(causes)
        return f"The cluster refuses the object: {count} field{'s are' if count > 1 else ' is'} not valid."
    return "The cluster refuses the object as it is written."


def unusable(status: int, headers: Mapping[str, str] | None, body: bytes, tried: str) -> errors.ClusterError:
    """The error for a 2xx answer whose body is not what the protocol promises: HTML, nothing, cut off."""
    return not_of_a_server(tried, status, _plain(body, headers) or "an empty body")


def not_of_a_server(tried: str, status: int = 200, answered: str = "") -> errors.ServerFault:
    """The error for a good answer in which stands something else than an API server says there."""
    return errors.ServerFault(
        "The answer is not one of a Kubernetes API server.",
        tried=tried,
        answered=answered,
        remedy="Check that the server's address leads to the API server itself, not to a sign-in page or a proxy.",
        status=status,
    )


def _plain(body: bytes | str, headers: Mapping[str, str] | None) -> str:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    kind = next((value for key, value in (headers or {}).items() if key.lower() == "content-type"), "")
    if "html" in kind.lower() or text.lstrip()[:1] == "<":
        title = re.search(r"(?is)<title[^>]*>([^<]{1,200})", text)
        return bounded("an HTML page" + (f" titled “{' '.join(title[1].split())}”" if title else ""))
    return bounded(text)


def _retry_after(headers: Mapping[str, str] | None) -> float | None:
    """Seconds from Retry-After; dates (RFC 9110 allows them) are not used by Kubernetes."""
    for key, value in (headers or {}).items():
        if key.lower() == "retry-after" and re.fullmatch(r"\d{1,6}", value.strip()):
            return float(value)
    return None


# OpenSSL's verify codes (x509_vfy.h) that a person can do something about.
_NOT_OURS = frozenset({2, 7, 18, 19, 20, 21, 24})
_WRONG_NAME = frozenset({62, 64})
_OUT_OF_DATE = frozenset({9, 10})


def from_failure(failure: BaseException, tried: str) -> errors.ClusterError:
    """The error for a request that got no answer. ``failure`` may wrap the real cause."""
    chain = list(_chain(failure))

    def first(*kinds: type[BaseException]) -> Any:
        return next((error for error in chain if isinstance(error, kinds)), None)

    refused = first(AddressRefused)
    if refused is not None:
        return errors.ClusterUnreachable(str(refused.args[0]), tried=tried, retryable=False)
    known = first(errors.ClusterError)
    if known is not None:
        assert isinstance(known, errors.ClusterError)
        return known
    verify = first(ssl.SSLCertVerificationError)
    if verify is not None:
        return _untrusted(verify, tried)
    tls = first(ssl.SSLError)
    if tls is not None and not isinstance(tls, ssl.SSLEOFError):
        return _tls(tls, tried)
    if first(socket.gaierror, urllib3.exceptions.NameResolutionError) is not None:
        return errors.ClusterUnreachable("The name of the cluster's server cannot be resolved.", tried=tried)
    if first(ConnectionRefusedError) is not None:
        return errors.ClusterUnreachable(
            "Nothing listens at the address of the cluster's server.", tried=tried
        )
    if (
        not first(urllib3.exceptions.NewConnectionError)
        and first(urllib3.exceptions.ConnectTimeoutError, httpx.ConnectTimeout) is not None
    ):
        return errors.ClusterUnreachable(
            "The cluster's server does not take the connection in time.", tried=tried
        )
    if first(TimeoutError, urllib3.exceptions.ReadTimeoutError, httpx.TimeoutException) is not None:
        return errors.ClusterUnreachable("The cluster's server did not answer in time.", tried=tried)
    if first(urllib3.exceptions.NewConnectionError, httpx.ConnectError) is not None:
        return errors.ClusterUnreachable(
            "The cluster's server cannot be reached over the network.", tried=tried
        )
    return errors.ClusterUnreachable(
        "The connection to the cluster broke before the answer was whole.",
        tried=tried,
        answered=type(failure).__name__,
    )


def _untrusted(failure: ssl.SSLCertVerificationError, tried: str) -> errors.ClusterError:
    code = getattr(failure, "verify_code", 0)
    answered = bounded(str(getattr(failure, "verify_message", "")))
    if code in _WRONG_NAME or "doesn't match" in str(failure):
        sentence = "The server's certificate is for another name than the one it was called by."
        remedy = "Use the name in the certificate as server, or set tls-server-name in the kubeconfig."
    elif code in _OUT_OF_DATE:
        sentence, remedy = (
            "The server's certificate is not valid today.",
            "Renew it, or check the clocks of both machines.",
        )
    elif code in _NOT_OURS:
        sentence = "The server's certificate is not signed by the certificate authority in the kubeconfig."
        remedy = "Connect the cluster again with a kubeconfig that holds its certificate authority."
    else:
        sentence, remedy = (
            "The server's certificate cannot be trusted.",
            "Check certificate-authority-data in the kubeconfig.",
        )
    return errors.ClusterUnreachable(sentence, tried=tried, answered=answered, remedy=remedy, retryable=False)


def _tls(failure: ssl.SSLError, tried: str) -> errors.ClusterError:
    reason = failure.reason or ""
    if "ALERT" in reason and any(word in reason for word in ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")):
        return errors.CredentialRefused(
            "The cluster does not accept the client certificate.",
            tried=tried,
            answered=reason.replace("_", " ").lower(),
            remedy=errors.REPLACE_CREDENTIAL,
        )
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"):
        return errors.ClusterUnreachable(
            "The server does not speak TLS at that address.", tried=tried, retryable=False
        )
    return errors.ClusterUnreachable(
        "The secure connection to the cluster failed.", tried=tried, answered=reason.replace("_", " ").lower()
    )


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """An exception and what it was made from, however the libraries wrap it."""
    seen: set[int] = set()
    waiting: list[BaseException] = [failure]
    while waiting:
        error = waiting.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        for inner in (getattr(error, "reason", None), error.__cause__, error.__context__, *error.args):
            if isinstance(inner, BaseException):
                waiting.append(inner)
