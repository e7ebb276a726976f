"""The way to pods and services through the API server.

Recorded transcript 28: name forms, headers, paths, redirects, HTML, failures.
"""

from __future__ import annotations

import asyncio
import posixpath
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from aiohttp import web

from sandbox import selectors, status
from sandbox.backend import BackendRequest, closing, one
from sandbox.kinds import by_name

if TYPE_CHECKING:
    from sandbox.backend import Backend
    from sandbox.store import Store

Object = dict[str, Any]

_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
# What Go's http.URL leaves as it is in a path.
_PATH_SAFE = "/$&+,:;=@!*'()~"


def unavailable(message: str) -> status.ApiError:
    return status.ApiError(503, "ServiceUnavailable", message)


def split_name(text: str, kind: str) -> tuple[str, str, str]:
    """(scheme, name, port) of `name`, `name:port`, `scheme:name:port`. Raises 400."""
    parts = text.split(":")
    if len(parts) == 1:
        return "", parts[0], ""
    if len(parts) == 2:
        return "", parts[0], parts[1]
    if len(parts) == 3 and parts[0] in ("", "http", "https"):
        return parts[0], parts[1], parts[2]
    raise status.bad_request(f"invalid {kind} request {status.quote(text)}")


def _ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return not pod["metadata"].get("deletionTimestamp") and any(
        condition.get("type") == "Ready" and condition.get("status") == "True" for condition in conditions
    )


def port_number(pod: Object, port: int | str) -> int | None:
    """A targetPort as a number; names are those of the pod's container ports."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for container in (pod.get("spec") or {}).get("containers") or []:
        for entry in container.get("ports") or []:
            if entry.get("name") == port:
                return int(entry["containerPort"])
    return None


def locate_service(store: Store, namespace: str, text: str) -> tuple[str, Object, int]:
    """(scheme, a ready pod behind the service, its port). Raises 400, 404, 503 as recorded."""
    scheme, name, port = split_name(text, "service")
    service = store.get("Service", namespace, name)
    if service is None:
        raise status.not_found(by_name("Service"), name)
    spec = service.get("spec") or {}
    ports: Sequence[Object] = spec.get("ports") or []
    if port.isdigit():
        entry = next((entry for entry in ports if entry.get("port") == int(port)), None)
        if entry is None:
            raise unavailable(f"no service port {port} found for service {status.quote(name)}")
        port = entry.get("name", "")
    if not spec.get("selector"):
        raise status.not_found(by_name("Service"), name)
    pods = [
        pod
        for pod in store.each("Pod", namespace, selectors.from_labels(spec["selector"]))
        if (pod.get("status") or {}).get("podIP")
        and pod["status"].get("phase") not in ("Succeeded", "Failed")
    ]
    if not pods:
        raise unavailable(f"no endpoints available for service {status.quote(name)}")
    found: list[tuple[Object, int]] = []
    for entry in ports:
        if entry.get("name", "") != port:
            continue
        for pod in pods:
            number = port_number(pod, entry.get("targetPort") or entry["port"])
            if number is not None and (_ready(pod) or spec.get("publishNotReadyAddresses")):
                found.append((pod, number))
    if not found:
        raise unavailable(f"no endpoints available for service {status.quote(text)}")
    pod, number = random.choice(found)
    return scheme, pod, number


def locate_pod(store: Store, namespace: str, text: str) -> tuple[str, Object, int]:
    """(scheme, the pod, the port). Raises 400 and 404 as recorded."""
    scheme, name, port = split_name(text, "pod")
    pod = store.get("Pod", namespace, name)
    if pod is None:
        raise status.not_found(by_name("Pod"), name)
    if not port:
        containers = (pod.get("spec") or {}).get("containers") or []
        numbers = [entry["containerPort"] for c in containers for entry in (c.get("ports") or [])[:1]]
        port = str(numbers[0]) if numbers else "80"
    address = (pod.get("status") or {}).get("podIP", "")
    if not address or address.startswith("127.") or address == "::1":
        raise status.bad_request("address not allowed")
    if not port.isdigit():
        raise unavailable(f"error trying to reach service: dial tcp: lookup tcp/{port}: unknown port")
    return scheme, pod, int(port)


def backend_path(rest: str) -> str:
    """The path behind the proxy: decoded, cleaned, unable to climb above the root, encoded again."""
    decoded = unquote(rest)
    cleaned = posixpath.normpath("/" + decoded.lstrip("/"))
    if decoded.endswith("/") and cleaned != "/":
        cleaned += "/"
    return quote(cleaned, safe=_PATH_SAFE)


def forwarded(headers: Sequence[tuple[str, str]], client: str, path: str) -> tuple[tuple[str, str], ...]:
    """The request headers that the back end sees."""
    kept: list[tuple[str, str]] = []
    before: list[str] = []
    for name, value in headers:
        lower = name.lower()
        if lower == "x-forwarded-for":
            before.append(value)
        elif lower not in _HOP_BY_HOP and lower != "authorization" and not lower.startswith("impersonate-"):
            kept.append((name, value))
    kept.append(("X-Forwarded-For", ", ".join([*before, client])))
    kept.append(("X-Forwarded-Uri", path))
    return tuple(kept)


def rewrite_url(url: str, host: str, prefix: str) -> str:
    """An absolute path, or a URL of this host, moved below the proxy; anything else as it is."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    if (
        (parts.netloc and parts.netloc != host)
        or not parts.path.startswith("/")
        or parts.path.startswith(prefix + "/")
    ):
        return url
    path = posixpath.normpath(prefix + parts.path)
    if parts.path.endswith("/"):
        path += "/"
    return urlunsplit(parts._replace(path=path))


_TAG = re.compile(r"<([a-zA-Z][a-zA-Z0-9]*)\b((?:[^<>\"']|\"[^\"]*\"|'[^']*')*)>")
_RAW = re.compile(r"(<(script|style|textarea|title)\b[^>]*>)(.*?)(</\2\s*>)", re.IGNORECASE | re.DOTALL)
_ATTRIBUTE = re.compile(
    r"(\s(?:href|src|action|formaction|poster|data|cite|background|manifest|longdesc|profile|icon|codebase)\s*=\s*)"
    r"(\"[^\"]*\"|'[^']*'|[^\s\"'<>]+)",
    re.IGNORECASE,
)


def rewrite_html(text: str, host: str, prefix: str) -> str:
    """Absolute paths in links, sources and actions moved below the proxy; text inside scripts is left alone."""

    def attribute(match: re.Match[str]) -> str:
        raw = match.group(2)
        mark = raw[0] if raw[0] in "\"'" else ""
        return match.group(1) + mark + rewrite_url(raw.strip("\"'"), host, prefix) + mark

    def tag(match: re.Match[str]) -> str:
        return f"<{match.group(1)}{_ATTRIBUTE.sub(attribute, match.group(2))}>"

    pieces: list[str] = []
    position = 0
    for raw in _RAW.finditer(text):
        pieces.append(_TAG.sub(tag, text[position : raw.start()]))
        pieces += [_TAG.sub(tag, raw.group(1)), raw.group(3), raw.group(4)]
        position = raw.end()
    pieces.append(_TAG.sub(tag, text[position:]))
    return "".join(pieces)


async def relay(
    request: web.BaseRequest,
    backend: Backend | None,
    scheme: str,
    address: str,
    path: str,
    rest: str,
    query: str,
    common: Mapping[str, str],
) -> web.StreamResponse:
    """Pass the request to the back end and its answer to the client. path: the request's own; rest: after /proxy.

    Raises 503 when nothing answers. A back end that breaks off makes this connection break off.
    """
    if not rest:
        location = path + "/" + (f"?{query}" if query else "")
        return web.Response(status=301, headers={**common, "Location": location})
    if scheme == "https":
        raise unavailable(
            "error trying to reach service: tls: first record does not look like a TLS handshake"
        )
    refused = f"error trying to reach service: dial tcp {address}: connect: connection refused"
    if backend is None:
        raise unavailable(refused)
    prefix = path[: len(path) - len(rest)]
    client = request.remote or "127.0.0.1"
    message = BackendRequest(
        request.method,
        backend_path(rest),
        query,
        forwarded(list(request.headers.items()), client, unquote(path)),
        _body(request),
    )
    try:
        answer = await backend.handle(message)
    except ConnectionRefusedError:
        raise unavailable(refused) from None
    except TimeoutError:
        raise unavailable(f"error trying to reach service: dial tcp {address}: i/o timeout") from None
    except OSError as error:
        raise unavailable(f"error trying to reach service: {error}") from None
    if "upgrade" in request.headers.get("Connection", "").lower():
        raise status.internal(f"invalid upgrade response: status code {answer.status}")
    host = request.headers.get("Host", "")
    body = one(answer.body) if isinstance(answer.body, bytes) else answer.body
    response = web.StreamResponse(status=answer.status)
    for name, value in common.items():
        response.headers[name] = value
    html = False
    for name, value in answer.headers:
        lower = name.lower()
        if lower in _HOP_BY_HOP or lower.startswith("access-control-"):
            continue
        if lower == "location":
            value = rewrite_url(value, host, prefix)
        elif lower == "cache-control":
            response.headers["Cache-Control"] = f"{common.get('Cache-Control', '')}, {value}"
            continue
        elif lower == "content-type":
            html = value.lower().startswith("text/html")
        if lower == "set-cookie":
            response.headers.add(name, value)
        else:
            response.headers[name] = value
    encoded = "Content-Encoding" in response.headers
    if html and not encoded and request.method != "HEAD":
        try:
            async with closing(body):
                text = b"".join([part async for part in body]).decode("utf-8", "replace")
        except ConnectionError:
            return _abort(request, response)
        data = rewrite_html(text, host, prefix).encode()
        response.headers["Content-Length"] = str(len(data))
        body = one(data)
    elif isinstance(answer.body, bytes) and answer.status not in (204, 304):
        response.headers["Content-Length"] = str(len(answer.body))
    return await _send(request, response, body)


async def _body(request: web.BaseRequest) -> AsyncIterator[bytes]:
    async for part in request.content.iter_any():
        yield part


def _abort(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


async def _send(
    request: web.BaseRequest, response: web.StreamResponse, body: AsyncIterator[bytes]
) -> web.StreamResponse:
    if "Content-Length" not in response.headers and response.status not in (204, 304):
        response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        async with closing(body):
            if request.method != "HEAD" and response.status not in (204, 304):
                async for part in body:
                    await response.write(part)
            await response.write_eof()
    except (ConnectionError, asyncio.IncompleteReadError):
        # Either side went away in the middle: the other one learns it by a broken connection.
        return _abort(request, response)
    return response
