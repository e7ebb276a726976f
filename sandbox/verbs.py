"""The verbs of the API, generic over the table of kinds.

Recorded transcripts 06 and 08 (refusals), 10 to 12 (reading), 14 to 16 (writing), 18 (deleting).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from sandbox import apply, bodies, lifecycle, listing, patches, protobuf, status, validation, views
from sandbox.backend import closing
from sandbox.calls import Call, check_write_options
from sandbox.encoding import clone, encode
from sandbox.history import Version
from sandbox.kinds import Kind
from sandbox.listing import truth
from sandbox.status import Cause
from sandbox.views import Media
from sandbox.watching import Watch

Object = dict[str, Any]

_BODY_TYPES = ("application/json", "application/yaml")
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
ENDPOINTS_WARNING = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


def kind_of(call: Call) -> Kind:
    if call.kind is None:
        raise status.unknown_resource()
    return call.kind


# ---- reading


async def get(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    text = call.query.get("resourceVersion", "")
    if text and not text.isdigit():
        raise status.bad_request(f"invalid resource version: {listing.wrong_version(text)}")
    media = call.media()
    if text:
        await listing.until_version(call.server.store, int(text))
    version = call.server.store.version(kind, call.namespace, call.name)
    if version is None:
        raise status.not_found(kind, call.name)
    if media.shape or media.yaml or kind.storage:
        return await call.write(200, call.shaped(media, call.shown(version.object)), media)
    return await call.write(200, version.whole(), media)


async def list_(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    options = listing.read_options(kind, call.query, watch=False)
    if media.shape == "PartialObjectMetadata":
        raise status.ApiError(
            406,
            "NotAcceptable",
            f"you requested {media.shape}, but the requested object is a list (*core.{kind.kind}List)",
        )
    if media.shape == "Table":
        call.include()
    page = await listing.page(call.server.store, kind, call.namespace, options)
    if media.shape == "Table":
        objects = [version.object for version in page.versions]
        return await call.write(200, call.table(media, objects, page.metadata(), kind.kind), media)
    if media.shape:
        body = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": f"meta.k8s.io/{media.version}",
            "metadata": page.metadata(),
            "items": [views.partial(version.object, media.version) for version in page.versions],
        }
        return await call.write(200, body, media)
    return await call.write(200, listing.encode_list(kind, page, _item(call, kind)), media)


def _item(call: Call, kind: Kind) -> Any:
    if not kind.storage:
        return Version.item

    def item(version: Version) -> bytes:
        shown = call.shown(version.object)
        return encode({name: value for name, value in shown.items() if name not in ("kind", "apiVersion")})

    return item


async def watch(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    if media.yaml:
        raise views.not_acceptable(
            "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
        )
    query: Mapping[str, str] = call.query
    if call.target.watch_prefix and call.name and "fieldSelector" not in query:
        query = {**query, "fieldSelector": f"metadata.name={call.name}"}
    options = listing.read_options(kind, query, watch=True)
    watching = Watch(call.server.store, kind, call.namespace, options, _form(call, kind, media))
    watching.check()
    response = web.StreamResponse(status=200, headers={**call.headers, "Content-Type": "application/json"})
    response.enable_chunked_encoding()
    call.server.watches[watching] = call.target.info
    try:
        await response.prepare(call.request)
        async with closing(watching.lines()) as lines:
            async for piece in lines:
                await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        # The client went away; there is nobody left to tell.
        pass
    finally:
        call.server.watches.pop(watching, None)
    return response


def _form(call: Call, kind: Kind, media: Media) -> Any:
    if media.shape == "Table":
        first = True

        def row(obj: Object) -> Object:
            nonlocal first
            columns, first = first, False
            metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
            return (
                call.table(media, [obj], metadata, kind.kind, columns)
                if "name" in obj["metadata"]
                else _blank(obj, columns)
            )

        def _blank(obj: Object, columns: bool) -> Object:
            shown = {**obj, "metadata": {**obj["metadata"], "name": "", "creationTimestamp": None}}
            return call.table(
                media, [shown], {"resourceVersion": obj["metadata"]["resourceVersion"]}, kind.kind, columns
            )

        return row
    if media.shape:
        return lambda obj: views.partial(obj, media.version)
    if kind.storage:
        return call.shown
    return None


# ---- writing


def unsupported_media() -> status.ApiError:
    return status.ApiError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        "application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )


async def _read_object(call: Call, kind: Kind) -> Object:
    """The body as an object of this kind, checked for kind, apiVersion and namespace."""
    content_type = call.request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type == protobuf.MEDIA_TYPE:
        read = protobuf.decode_object(await call.body())
        if read is not None:
            return read
    if content_type and content_type not in _BODY_TYPES:
        raise unsupported_media()
    return bodies.read_object(kind, await call.body(), content_type == "application/yaml")


def decode(call: Call, kind: Kind, raw: Object, patched: bool = False) -> Object:
    """Through the kind's schema: unknown fields give warnings, or 400 when the client wants them refused."""
    mode = call.query.get("fieldValidation") or "Warn"
    obj, warnings = validation.decode(kind, raw, mode, patched)
    call.warnings += warnings
    return obj


def _place(call: Call, kind: Kind, obj: Object) -> None:
    """The namespace of the URL is that of the object."""
    metadata = obj.setdefault("metadata", {})
    if not kind.namespaced:
        if metadata.get("namespace"):
            raise status.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        return
    if metadata.get("namespace") and metadata["namespace"] != call.namespace:
        raise status.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    metadata["namespace"] = call.namespace


def _check_name(call: Call, obj: Object) -> None:
    name = (obj.get("metadata") or {}).get("name")
    if name != call.name:
        if not name:
            raise status.bad_request("the name of the object must be set")
        raise status.bad_request(
            f"the name of the object ({name}) does not match the name on the URL ({call.name})"
        )


async def create(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    check_write_options(call.query, "CreateOptions")
    raw = await _read_object(call, kind)
    obj = views.stored(kind, decode(call, kind, raw))
    _place(call, kind, obj)
    call.server.access_check(call, kind, obj)
    stored = call.server.store.create(kind, obj, call.manager, call.dry_run)
    _warn(call, kind)
    return await call.write(201, call.shaped(media, call.shown(stored)), media)


def _warn(call: Call, kind: Kind) -> None:
    if kind.kind == "Endpoints":
        call.warnings.append(ENDPOINTS_WARNING)


async def update(call: Call, subresource: str = "") -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    check_write_options(call.query, "UpdateOptions")
    raw = await _read_object(call, kind)
    obj = views.stored(kind, decode(call, kind, raw))
    _place(call, kind, obj)
    _check_name(call, obj)
    if not subresource:
        call.server.access_check(call, kind, obj)
    stored = call.server.store.update(kind, obj, subresource, call.manager, call.dry_run)
    _warn(call, kind)
    return await call.write(200, call.shaped(media, call.shown(stored)), media)


def patch_type(call: Call) -> str:
    """Raises 415."""
    content_type = call.request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type not in (APPLY, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH):
        raise status.ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", {})
    return content_type


async def patch(call: Call, subresource: str = "") -> web.StreamResponse:
    kind = kind_of(call)
    content_type = patch_type(call)
    media = call.media()
    check_write_options(call.query, "PatchOptions", content_type == APPLY)
    raw = await call.body()
    if content_type == APPLY:
        return await _apply(call, kind, raw, media, subresource)
    store = call.server.store
    current = store.get(kind, call.namespace, call.name)
    if current is None:
        raise status.not_found(kind, call.name)
    patched = patched_object(kind, clone(call.shown(current)), raw, content_type)
    # The server holds a patched object as a map, which is what its refusals show.
    obj = views.stored(kind, decode(call, kind, dict(sorted(patched.items())), patched=True))
    _check_name(call, obj)
    _place(call, kind, obj)
    uid = obj["metadata"].get("uid")
    if uid and uid != current["metadata"]["uid"]:
        message = f"Invalid value: {status.quote(str(uid))}: field is immutable"
        raise status.invalid(kind, call.name, [Cause("FieldValueInvalid", message, "metadata.uid")] * 2)
    if not subresource:
        call.server.access_check(call, kind, obj)
    stored = store.update(kind, obj, subresource, call.manager, call.dry_run)
    return await call.write(200, call.shaped(media, call.shown(stored)), media)


def patched_object(kind: Kind, current: Object, raw: bytes, content_type: str) -> Object:
    """current with the patch carried out. Raises 400, 422, 500 as recorded."""
    body = bodies.read_patch(raw, content_type == JSON_PATCH)
    if content_type == JSON_PATCH:
        return patches.json_patch(current, body)
    if content_type == MERGE_PATCH:
        return patches.merge_patch(current, body)
    return patches.strategic_patch(kind, current, body)


async def _apply(call: Call, kind: Kind, raw: bytes, media: Media, subresource: str) -> web.StreamResponse:
    store = call.server.store
    applied = bodies.parse_apply_body(raw)
    mode = call.query.get("fieldValidation") or "Warn"
    if mode == "Strict":
        refusal = bodies.refuse_repeated(raw)
        if refusal is not None:
            raise refusal
    elif mode == "Warn":
        call.warnings += bodies.repeated_keys(raw)
    metadata = applied.get("metadata")
    live = store.get(kind, call.namespace, call.name)
    if live is None and subresource:
        raise status.not_found(kind, call.name)
    if live is None:
        # An apply that creates needs the right to create (recorded transcript 05).
        info = replace(call.target.info, verb="create")
        if call.server.access.reason(call.user, info) is None:
            refusal = call.server.access.refusal(call.user, info)
            refusal.headers.clear()
            raise refusal
    shown = clone(call.shown(live)) if live is not None else None
    merged = apply.server_side_apply(
        kind, shown, applied, call.manager, truth(call.query.get("force")), subresource, store.now()
    )
    sent = (metadata or {}).get("name") if isinstance(metadata, dict) else None
    if sent and sent != call.name:
        raise status.bad_request(
            f"the name of the object ({sent}) does not match the name on the URL ({call.name})"
        )
    merged = views.stored(kind, merged)
    merged.setdefault("metadata", {})["name"] = call.name
    _place(call, kind, merged)
    if live is None:
        uid = merged["metadata"].get("uid")
        if uid:
            raise status.conflict(
                kind,
                call.name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object was found",
            )
        merged["metadata"].pop("resourceVersion", None)
        call.server.access_check(call, kind, merged)
        stored = store.create(kind, merged, call.manager, call.dry_run, track=False)
        return await call.write(201, call.shaped(media, call.shown(stored)), media)
    uid = merged["metadata"].get("uid")
    if uid and uid != live["metadata"]["uid"]:
        message = f"Invalid value: {status.quote(str(uid))}: field is immutable"
        raise status.invalid(kind, call.name, [Cause("FieldValueInvalid", message, "metadata.uid")] * 2)
    if not subresource:
        call.server.access_check(call, kind, merged)
    stored = store.update(kind, merged, subresource, call.manager, call.dry_run, track=False)
    return await call.write(200, call.shaped(media, call.shown(stored)), media)


# ---- deleting


async def delete_options(call: Call) -> Object:
    """DeleteOptions from the body, else from the query. Raises 400, 415 and 422."""
    raw = await call.body()
    options: Object = {}
    if raw.strip():
        content_type = call.request.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if content_type and content_type not in _BODY_TYPES:
            raise unsupported_media()
        try:
            value = bodies.loads(raw)
        except bodies.JsonSyntax as broken:
            raise status.bad_request(f"couldn't get version/kind; json parse error: {broken}") from None
        options = dict(value) if isinstance(value, dict) else {}
    else:
        grace = listing.integer(call.query.get("gracePeriodSeconds"))
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if call.query.get("propagationPolicy"):
            options["propagationPolicy"] = call.query["propagationPolicy"]
        if "orphanDependents" in call.query:
            options["orphanDependents"] = truth(call.query["orphanDependents"])
    if call.query.get("dryRun"):
        options["dryRun"] = call.query.all("dryRun")
    _check_delete_options(options)
    if options.get("orphanDependents") is not None:
        options["propagationPolicy"] = "Orphan" if options["orphanDependents"] else "Background"
    return options


def _check_delete_options(options: Object) -> None:
    causes: list[Cause] = []
    policy = options.get("propagationPolicy")
    if policy is not None and options.get("orphanDependents") is not None:
        causes.append(
            Cause(
                "FieldValueInvalid",
                f"Invalid value: {status.quote(policy)}: orphanDependents and deletionPropagation cannot be both set",
                "propagationPolicy",
            )
        )
    elif policy is not None and policy not in ("Foreground", "Background", "Orphan"):
        causes.append(
            Cause(
                "FieldValueNotSupported",
                f'Unsupported value: {status.quote(policy)}: supported values: "Foreground", "Background", "Orphan", "nil"',
                "propagationPolicy",
            )
        )
    dry_run = options.get("dryRun") or []
    if any(value != "All" for value in dry_run):
        shown = "[" + ",".join(status.quote(value) for value in dry_run) + "]"
        causes.append(
            Cause("FieldValueNotSupported", f'Unsupported value: {shown}: supported values: "All"', "dryRun")
        )
    if causes:
        raise status.invalid_as("meta.k8s.io", "DeleteOptions", "", causes)


async def delete(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    options = await delete_options(call)
    preconditions = options.get("preconditions") or {}
    result = call.server.store.delete(
        kind,
        call.namespace,
        call.name,
        options.get("gracePeriodSeconds"),
        options.get("propagationPolicy"),
        preconditions.get("uid"),
        preconditions.get("resourceVersion"),
        bool(options.get("dryRun")),
    )
    if not result.gone or kind.kind in lifecycle.ANSWERED_WITH_OBJECT:
        return await call.write(200, call.shaped(media, call.shown(result.object)), media)
    metadata = result.object["metadata"]
    return await call.write(
        200, status.success(kind, metadata["name"], metadata["uid"]), Media(yaml=media.yaml)
    )


async def delete_collection(call: Call) -> web.StreamResponse:
    kind = kind_of(call)
    media = call.media()
    choice = listing.read_options(kind, call.query, watch=False)
    options = await delete_options(call)
    store = call.server.store
    page = await listing.page(store, kind, call.namespace, choice)
    gone: list[Version] = []
    for version in page.versions:
        metadata = version.object["metadata"]
        try:
            result = store.delete(
                kind,
                metadata.get("namespace"),
                metadata["name"],
                options.get("gracePeriodSeconds"),
                options.get("propagationPolicy"),
                dry_run=bool(options.get("dryRun")),
            )
        except status.ApiError as error:
            # Deleted meanwhile by a controller that followed an earlier one of these deletions.
            if error.code != 404:
                raise
            continue
        gone.append(Version(result.object, version.rv))
    answered = listing.Page(gone, store.rv, page.token, page.remaining)
    return await call.write(
        200, listing.encode_list(kind, answered, _item(call, kind)), Media(yaml=media.yaml)
    )
