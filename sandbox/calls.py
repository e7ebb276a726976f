"""One request on its way through the server: what is known about it, and how its answer is written."""

from __future__ import annotations

import asyncio
import json
import unicodedata
import uuid
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import yaml
from aiohttp import web

from sandbox import status, tables, views
from sandbox.access import User
from sandbox.encoding import encode
from sandbox.kinds import Kind
from sandbox.requests import MAX_BODY, Query, Target
from sandbox.status import Cause
from sandbox.views import Media

if TYPE_CHECKING:
    from sandbox.server import Server

Object = dict[str, Any]

# Bodies from this size on are compressed for those who accept it (recorded transcript 30).
GZIP_FROM = 128 * 1024
_GZIP_ASIDE = 1024 * 1024
_FLOW_SCHEMA = "6f5b0c1e-0000-4000-8000-000000000001"
_PRIORITY_LEVEL = "6f5b0c1e-0000-4000-8000-000000000002"


def common_headers(audit_id: str, authenticated: bool = True) -> dict[str, str]:
    """What every answer carries (recorded transcript 01)."""
    headers = {"Audit-Id": audit_id, "Cache-Control": "no-cache, private"}
    if authenticated:
        headers["X-Kubernetes-Pf-Flowschema-Uid"] = _FLOW_SCHEMA
        headers["X-Kubernetes-Pf-Prioritylevel-Uid"] = _PRIORITY_LEVEL
    return headers


def new_audit_id() -> str:
    return str(uuid.uuid4())


def wants_pretty(query: Mapping[str, str], agent: str) -> bool:
    """The parameter decides, else browsers and command-line tools get indented JSON (recorded transcript 10)."""
    if "pretty" in query:
        return query["pretty"].lower() in ("1", "t", "true")
    return agent.startswith(("Mozilla", "curl", "Wget"))


def _gzip(data: bytes) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


@dataclass(slots=True)
class Call:
    """kind is None outside the API groups."""

    server: Server
    request: web.BaseRequest
    target: Target
    query: Query
    user: User
    headers: dict[str, str]
    kind: Kind | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def manager(self) -> str:
        """The field manager: the parameter, else the User-Agent up to its first slash."""
        return (
            self.query.get("fieldManager") or self.request.headers.get("User-Agent", "unknown").split("/")[0]
        )

    @property
    def dry_run(self) -> bool:
        return bool(self.query.get("dryRun"))

    @property
    def namespace(self) -> str | None:
        return self.target.info.namespace or None

    @property
    def name(self) -> str:
        return self.target.info.name

    def media(self) -> Media:
        """Raises 406."""
        return views.negotiate(self.request.headers.get("Accept", ""))

    async def body(self) -> bytes:
        """The request's body. Raises 413 beyond 3 MiB."""
        parts: list[bytes] = []
        size = 0
        async for part in self.request.content.iter_any():
            size += len(part)
            if size > MAX_BODY:
                raise status.ApiError(
                    413, "RequestEntityTooLarge", f"Request entity too large: limit is {MAX_BODY}"
                )
            parts.append(part)
        return b"".join(parts)

    # ---- answers

    async def answer(self, code: int, body: Object) -> web.Response:
        """One object, or a Status, as JSON or YAML; Table and metadata forms where asked for."""
        media = self.media()
        if body.get("kind") != "Status":
            body = self.shaped(media, body)
        return await self.write(code, body, media)

    def shaped(self, media: Media, obj: Object) -> Object:
        if media.shape == "Table":
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return self.table(media, [obj], metadata, str(obj["kind"]))
        if media.shape == "PartialObjectMetadata":
            return views.partial(obj, media.version)
        if media.shape:
            raise status.ApiError(
                406,
                "NotAcceptable",
                f"you requested {media.shape}, but the requested object is not a list (*core.{obj['kind']})",
            )
        return obj

    def include(self) -> str:
        """The parameter includeObject. Raises 400."""
        value = self.query.get("includeObject", "") or "Metadata"
        if value not in ("Metadata", "Object", "None"):
            raise status.bad_request(
                f"Unable to convert to Table as requested: includeObject: Invalid value: {status.quote(value)}: "
                "must be 'Metadata', 'Object', 'None', or empty"
            )
        return value

    def table(
        self, media: Media, objects: Sequence[Object], metadata: Object, kind: str, columns: bool = True
    ) -> Object:
        now = self.server.store.clock()
        return tables.render(
            tables.table_of(kind), objects, metadata, now, self.include(), media.version, columns, self.shown
        )

    def shown(self, obj: Object) -> Object:
        """A stored object as the asked group shows it."""
        return views.shown(self.kind, obj) if self.kind is not None else obj

    async def write(self, code: int, body: Object | bytes, media: Media | None = None) -> web.Response:
        """body: an object, or JSON already encoded (without the line end)."""
        media = media or Media()
        if media.yaml:
            value = body if isinstance(body, dict) else json.loads(body)
            data, content_type = yaml.safe_dump(value, allow_unicode=True).encode(), "application/yaml"
        else:
            pretty = wants_pretty(self.query, self.request.headers.get("User-Agent", ""))
            if isinstance(body, bytes):
                data = encode(json.loads(body), True) if pretty else body
            else:
                data = encode(body, pretty)
            data, content_type = data + b"\n", "application/json"
        return await self.send(code, data, content_type)

    async def send(
        self, code: int, data: bytes, content_type: str, more: Mapping[str, str] | None = None
    ) -> web.Response:
        response = web.Response(status=code, body=data)
        response.headers.update(self.headers)
        response.headers["Content-Type"] = content_type
        for name, value in (more or {}).items():
            response.headers[name] = value
        for text in self.warnings:
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.add("Warning", f'299 - "{escaped}"')
        if len(data) >= GZIP_FROM and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            packed = (
                await asyncio.get_running_loop().run_in_executor(None, partial(_gzip, data))
                if len(data) > _GZIP_ASIDE
                else _gzip(data)
            )
            response.body = packed
            response.headers["Content-Encoding"] = "gzip"
            response.headers["Vary"] = "Accept-Encoding"
        return response

    async def refuse(self, error: status.ApiError) -> web.Response:
        """A Status. Errors are Status objects whatever form was asked for."""
        try:
            media = Media(yaml=self.media().yaml)
        except status.ApiError:
            media = Media()
        response = await self.write(error.code, error.body(), media)
        for name, value in error.headers.items():
            response.headers[name] = value
        return response


def check_write_options(query: Query, options: str, apply: bool = False) -> None:
    """422 for dryRun, fieldManager, fieldValidation and force as they are not allowed. options: CreateOptions ..."""
    causes: list[Cause] = []
    dry_run = query.all("dryRun")
    if any(value not in ("All", "") for value in dry_run):
        shown = "[" + ",".join(status.quote(value) for value in dry_run) + "]"
        causes.append(
            Cause("FieldValueNotSupported", f'Unsupported value: {shown}: supported values: "All"', "dryRun")
        )
    if options == "PatchOptions":
        if apply and not query.get("fieldManager"):
            causes.append(
                Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
            )
        if not apply and "force" in query:
            causes.append(
                Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")
            )
    causes += _manager_problems(query.get("fieldManager", ""))
    mode = query.get("fieldValidation", "")
    if mode not in ("", "Ignore", "Strict", "Warn"):
        causes.append(
            Cause(
                "FieldValueNotSupported",
                f'Unsupported value: {status.quote(mode)}: supported values: "", "Ignore", "Strict", "Warn"',
                "fieldValidation",
            )
        )
    if causes:
        raise status.invalid_as("meta.k8s.io", options, "", causes)


def _manager_problems(manager: str) -> list[Cause]:
    if len(manager.encode()) > 128:
        return [Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager")]
    for index, letter in enumerate(manager):
        if unicodedata.category(letter) in ("Cc", "Cs", "Cn"):
            shown = status.quote(manager).replace("\\u0007", "\\a")
            return [
                Cause(
                    "FieldValueInvalid",
                    f"Invalid value: {shown}: invalid character U+{ord(letter):04X} (at position {index})",
                    "fieldManager",
                )
            ]
    return []
