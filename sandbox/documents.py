"""Paths outside the API groups: version, health, discovery and OpenAPI.

Recorded transcripts 01, 02 and 03.
"""

from __future__ import annotations

import hashlib
from functools import cache

from aiohttp import web

from sandbox import discovery, schema, status, views
from sandbox.calls import Call
from sandbox.encoding import encode


@cache
def _openapi_index() -> tuple[bytes, str]:
    body = encode(schema.openapi_v3_index())
    return body, '"' + _digest(body) + '"'


@cache
def _openapi(group_version: str) -> bytes:
    return encode(schema.openapi_v3(group_version))


def _digest(body: bytes) -> str:
    return hashlib.sha512(body).hexdigest().upper()


def _wants_aggregated(call: Call) -> bool:
    """The first entry of Accept that can be served decides; v2beta1 alone is 406 (recorded transcript 02)."""
    header = call.request.headers.get("Accept", "")
    only_aggregated = bool(header)
    for media, parameters in views.parse_accept(header or "*/*"):
        if media not in ("application/json", "*/*", "application/*", "application/yaml"):
            continue
        if parameters.get("as") != "APIGroupDiscoveryList":
            return False
        if parameters.get("v") == "v2" and parameters.get("g") == "apidiscovery.k8s.io":
            return True
    if only_aggregated:
        raise views.not_acceptable(views.ACCEPTED)
    return False


async def _aggregated(call: Call, core: bool) -> web.Response:
    body, etag = discovery.aggregated(core)
    more = {"ETag": etag, "Vary": "Accept", "Cache-Control": "public"}
    if call.request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={**call.headers, **more})
    return await call.send(200, body, discovery.AGGREGATED, more)


async def _openapi_document(call: Call, group_version: str) -> web.Response:
    known = schema.openapi_v3_index()["paths"]
    if group_version not in known:
        return web.Response(status=404, headers=call.headers)
    digest = known[group_version]["serverRelativeURL"].rpartition("hash=")[2]
    etag = f'"{digest}"'
    asked = call.query.get("hash")
    more = {"ETag": etag, "Vary": "Accept"}
    if asked and asked != digest:
        location = f"/openapi/v3/{group_version}?hash={digest}"
        return web.Response(status=301, headers={**call.headers, **more, "Location": location})
    if asked:
        more["Cache-Control"] = "public, immutable"
    if call.request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={**call.headers, **more})
    return await call.send(200, _openapi(group_version), "application/json", more)


async def answer(call: Call) -> web.StreamResponse:
    """A path outside the API groups. Raises 404, as text or as a Status."""
    path = call.target.info.path
    if path.startswith("//"):
        return await call.write(200, discovery.root_paths())
    method = call.request.method
    parts = [part for part in path.split("/") if part]
    first = parts[0] if parts else ""
    if first in ("healthz", "livez", "readyz"):
        text = discovery.health(path, "verbose" in call.query)
        if text is None:
            raise status.page_not_found()
        return await call.send(
            200, text.encode(), "text/plain; charset=utf-8", {"X-Content-Type-Options": "nosniff"}
        )
    if method not in ("GET", "HEAD") or (method == "HEAD" and first in ("version", "api", "apis")):
        raise status.method_not_allowed()
    if not parts:
        return await call.write(200, discovery.root_paths())
    if parts == ["version"]:
        return await call.write(200, discovery.VERSION)
    if parts[0] == "openapi":
        return await _openapi_path(call, parts[1:])
    if parts in (["api"], ["apis"]):
        if _wants_aggregated(call):
            return await _aggregated(call, parts == ["api"])
        body = discovery.group_list() if parts == ["apis"] else discovery.api_versions(call.server.address)
        return await call.write(200, body)
    if parts[0] in ("api", "apis"):
        return await _group(call, parts)
    raise status.page_not_found()


async def _openapi_path(call: Call, parts: list[str]) -> web.StreamResponse:
    if parts[:1] != ["v3"]:
        # v2 is one document of megabytes that today's clients do not ask for.
        raise status.page_not_found()
    if len(parts) > 1:
        return await _openapi_document(call, "/".join(parts[1:]))
    body, etag = _openapi_index()
    if call.request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers={**call.headers, "ETag": etag})
    return await call.send(200, body, "text/plain; charset=utf-8", {"ETag": etag})


async def _group(call: Call, parts: list[str]) -> web.StreamResponse:
    if (
        "APIGroupDiscoveryList" in call.request.headers.get("Accept", "")
        and "," not in call.request.headers["Accept"]
    ):
        raise views.not_acceptable(views.ACCEPTED)
    if parts[0] == "api":
        body = discovery.resource_list("", parts[1])
    elif len(parts) == 2:
        body = discovery.group(parts[1])
        if body is None:
            raise status.page_not_found()
    else:
        if discovery.group(parts[1]) is None:
            raise status.page_not_found()
        body = discovery.resource_list(parts[1], parts[2])
    if body is None:
        raise status.unknown_resource()
    return await call.write(200, body)
