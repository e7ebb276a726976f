"""Paths below an object: status, scale, finalize, binding, eviction, token, log, proxy, exec.

Recorded transcripts 05 (tokens), 17 (scale, status, eviction, binding), 28 (proxy), 29 (log).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from aiohttp import web

from sandbox import apply, bodies, listing, protobuf, proxying, selectors, status, verbs
from sandbox.backend import closing
from sandbox.calls import Call, check_write_options
from sandbox.encoding import clone
from sandbox.kinds import Kind, by_name
from sandbox.listing import truth
from sandbox.status import Cause
from sandbox.store import timestamp

Object = dict[str, Any]
Handler = Callable[[Call], Awaitable[web.StreamResponse]]


def _success(code: int = 201) -> Object:
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}


def _existing(call: Call) -> tuple[Kind, Object]:
    kind = verbs.kind_of(call)
    obj = call.server.store.get(kind, call.namespace, call.name)
    if obj is None:
        raise status.not_found(kind, call.name)
    return kind, obj


async def _json_body(call: Call, kind_name: str) -> Object:
    raw = await call.body()
    if call.request.headers.get("Content-Type", "") == protobuf.MEDIA_TYPE:
        if kind_name != "TokenRequest":
            raise verbs.unsupported_media()
        return protobuf.decode_review(raw)
    try:
        value = bodies.loads(raw) if raw.strip() else {}
    except bodies.JsonSyntax as broken:
        raise status.bad_request(
            f"the object provided is unrecognized (must be of type {kind_name}): couldn't get version/kind; "
            f"json parse error: {broken}"
        ) from None
    return dict(value) if isinstance(value, dict) else {}


# ---- status and finalize


async def get_status(call: Call) -> web.StreamResponse:
    return await verbs.get(call)


async def update_status(call: Call) -> web.StreamResponse:
    return await verbs.update(call, "status")


async def patch_status(call: Call) -> web.StreamResponse:
    return await verbs.patch(call, "status")


async def finalize(call: Call) -> web.StreamResponse:
    return await verbs.update(call, "finalize")


# ---- scale


def scale_of(obj: Object) -> Object:
    """The Scale of a workload."""
    metadata = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, state = obj.get("spec") or {}, obj.get("status") or {}
    selector = selectors.text_of(spec.get("selector"))
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "spec": {"replicas": spec["replicas"]} if spec.get("replicas") else {},
        "status": {"replicas": state.get("replicas", 0), **({"selector": selector} if selector else {})},
    }


async def get_scale(call: Call) -> web.StreamResponse:
    _, obj = _existing(call)
    return await call.answer(200, scale_of(obj))


async def update_scale(call: Call) -> web.StreamResponse:
    check_write_options(call.query, "UpdateOptions")
    _existing(call)
    return await _set_scale(call, await _json_body(call, "Scale"))


async def patch_scale(call: Call) -> web.StreamResponse:
    content_type = verbs.patch_type(call)
    check_write_options(call.query, "PatchOptions", content_type == verbs.APPLY)
    kind, obj = _existing(call)
    raw = await call.body()
    if content_type == verbs.APPLY:
        applied = bodies.parse_apply_body(raw)
        store = call.server.store
        force = truth(call.query.get("force"))
        merged = apply.server_side_apply(kind, clone(obj), applied, call.manager, force, "scale", store.now())
        stored = store.update(kind, merged, "scale", call.manager, call.dry_run, track=False)
        return await call.answer(200, scale_of(stored))
    scale = clone(scale_of(obj))
    if content_type == verbs.STRATEGIC_PATCH:
        # A Scale has no lists, so that both kinds of merge come to the same.
        content_type = verbs.MERGE_PATCH
    return await _set_scale(call, verbs.patched_object(kind, scale, raw, content_type))


async def _set_scale(call: Call, scale: Object) -> web.StreamResponse:
    kind, obj = _existing(call)
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if isinstance(replicas, bool) or not isinstance(replicas, int):
        word = "string" if isinstance(replicas, str) else "number"
        raise status.bad_request(
            f'Scale in version "v1" cannot be handled as a Scale: json: cannot unmarshal {word} into Go struct field '
            "ScaleSpec.spec.replicas of type int32"
        )
    if replicas < 0:
        why = Cause(
            "FieldValueInvalid",
            f"Invalid value: {replicas}: must be greater than or equal to 0",
            "spec.replicas",
        )
        raise status.invalid_as("autoscaling", "Scale", call.name, [why])
    changed = clone(obj)
    changed["spec"]["replicas"] = replicas
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        changed["metadata"]["resourceVersion"] = version
    stored = call.server.store.update(kind, changed, "scale", call.manager, call.dry_run)
    return await call.answer(200, scale_of(stored))


# ---- pods


async def bind(call: Call) -> web.StreamResponse:
    """pods/binding: what a scheduler does."""
    body = await _json_body(call, "Binding")
    node = (body.get("target") or {}).get("name", "")
    name = call.name or (body.get("metadata") or {}).get("name", "")
    store = call.server.store
    pod = store.get("Pod", call.namespace, name)
    if pod is None:
        raise status.not_found(by_name("Pod"), name)
    assigned = (pod.get("spec") or {}).get("nodeName")
    if assigned:
        raise status.ApiError(
            409,
            "Conflict",
            f"Operation cannot be fulfilled on pods/binding {status.quote(name)}: pod {name} is already assigned to node "
            f"{status.quote(assigned)}",
            status.details(name, "", "pods/binding"),
        )
    if not call.dry_run:
        bind_pod(call.server.store, call.namespace or "", name, node, call.manager)
    return await call.answer(201, _success())


def bind_pod(store: Any, namespace: str, name: str, node: str, manager: str) -> None:
    """Assign a pod to a node, in two writes: the binding, then its condition."""

    def assign(pod: Object) -> None:
        pod["spec"]["nodeName"] = node

    def scheduled(pod: Object) -> None:
        conditions = [c for c in pod["status"].get("conditions") or [] if c.get("type") != "PodScheduled"]
        conditions.append(
            {
                "type": "PodScheduled",
                "status": "True",
                "lastProbeTime": None,
                "lastTransitionTime": store.now(),
            }
        )
        pod["status"]["conditions"] = conditions

    store.mutate("Pod", namespace, name, assign, "binding", manager)
    store.mutate("Pod", namespace, name, scheduled, "status", manager)


async def evict(call: Call) -> web.StreamResponse:
    """pods/eviction: a deletion that a disruption budget may refuse."""
    body = await _json_body(call, "Eviction")
    _, pod = _existing(call)
    named = (body.get("metadata") or {}).get("name")
    if named and named != call.name:
        raise status.bad_request("name in URL does not match name in Eviction object")
    options = body.get("deleteOptions") or {}
    dry_run = call.dry_run or bool(options.get("dryRun"))
    store = call.server.store
    if not pod["metadata"].get("deletionTimestamp"):
        for budget in store.each("PodDisruptionBudget", call.namespace):
            selector = (budget.get("spec") or {}).get("selector")
            if selector is None or not selectors.from_object(selector).matches(pod["metadata"].get("labels")):
                continue
            state = budget.get("status") or {}
            if state.get("disruptionsAllowed", 0) <= 0:
                why = (
                    f"The disruption budget {budget['metadata']['name']} needs {state.get('desiredHealthy', 0)} healthy "
                    f"pods and has {state.get('currentHealthy', 0)} currently"
                )
                raise status.too_many_requests(
                    "Cannot evict pod as it would violate the pod's disruption budget.",
                    [Cause("DisruptionBudget", why)],
                )
    if not dry_run:
        store.mutate(
            "Pod", call.namespace, call.name, lambda obj: _target(obj, store.now()), "status", call.manager
        )
    store.delete("Pod", call.namespace, call.name, options.get("gracePeriodSeconds"), dry_run=dry_run)
    return await call.answer(201, _success())


def _target(pod: Object, now: str) -> None:
    """The condition that tells why a pod goes."""
    conditions = [c for c in pod["status"].get("conditions") or [] if c.get("type") != "DisruptionTarget"]
    conditions.append(
        {
            "type": "DisruptionTarget",
            "status": "True",
            "lastProbeTime": None,
            "lastTransitionTime": now,
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
        }
    )
    pod["status"]["conditions"] = conditions


async def upgrade(call: Call) -> web.StreamResponse:
    """exec: only the refusal of a request that is no upgrade; the practice cluster runs no commands."""
    if "upgrade" in call.request.headers.get("Connection", "").lower():
        raise status.ApiError(
            501, "NotImplemented", "the practice cluster has no containers to run commands in"
        )
    raise status.bad_request("Upgrade request required")


async def log(call: Call) -> web.StreamResponse:
    _, pod = _existing(call)
    container, arguments = _log_options(call, pod)
    accept = call.request.headers.get("Accept", "*/*")
    if not any(
        part in accept for part in ("text/plain", "text/*", "*/*", "application/json", "application/yaml")
    ):
        raise status.ApiError(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: text/plain, application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf",
            {},
        )
    if not (pod.get("spec") or {}).get("nodeName"):
        return web.Response(status=204, headers=call.headers)
    node = pod["spec"]["nodeName"]
    if call.server.store.get("Node", None, node) is None:
        # The name of the node under the kind pods: that is what the server says.
        raise status.not_found(by_name("Pod"), node)
    world = call.server.world
    if world is None:
        address = (pod.get("status") or {}).get("hostIP", "127.0.0.1")
        raise status.internal(
            f'Get "https://{address}:10250/containerLogs/{call.namespace}/{call.name}/{container}": '
            f"dial tcp {address}:10250: connect: connection refused"
        )
    async with closing(world.logs(pod, container, **arguments)) as lines:
        first = await anext(lines, None)
        response = web.StreamResponse(status=200, headers={**call.headers, "Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(call.request)
        try:
            if first is not None:
                await response.write(first)
                async for line in lines:
                    await response.write(line)
            await response.write_eof()
        except ConnectionError:
            # The reader went away.
            pass
    return response


def _log_options(call: Call, pod: Object) -> tuple[str, dict[str, Any]]:
    query = call.query
    causes: list[Cause] = []

    def number(name: str, least: int, words: str) -> int | None:
        value = listing.integer(query.get(name))
        if value is not None and value < least:
            causes.append(Cause("FieldValueInvalid", f"Invalid value: {value}: must be {words}", name))
        return value

    tail = number("tailLines", 0, "greater than or equal to 0")
    since = number("sinceSeconds", 1, "greater than 0")
    limit = number("limitBytes", 1, "greater than 0")
    since_time = query.get("sinceTime")
    if since_time:
        moment = _moment(since_time)
        if since is not None:
            why = "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(Cause("FieldValueForbidden", why, "[]"))
        else:
            # Rounded up: what was written since then is never left out.
            since = max(1, math.ceil(call.server.store.clock() - moment))
    if query.get("stream"):
        causes.append(Cause("FieldValueForbidden", "Forbidden: may not be specified", "stream"))
    if causes:
        raise status.invalid_as("", "PodLogOptions", call.name, causes)
    spec = pod.get("spec") or {}
    names = [c["name"] for member in ("initContainers", "containers") for c in spec.get(member) or []]
    container = query.get("container", "")
    if not container:
        if len(names) != 1:
            chosen = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
            if chosen in names:
                container = str(chosen)
            else:
                raise status.bad_request(
                    f"a container name must be specified for pod {call.name}, choose one of: [{' '.join(names)}]"
                )
        else:
            container = names[0]
    elif container not in names:
        raise status.bad_request(f"container {container} is not valid for pod {call.name}")
    return container, {
        "follow": truth(query.get("follow")),
        "previous": truth(query.get("previous")),
        "tail_lines": tail,
        "since_seconds": since,
        "limit_bytes": limit,
        "timestamps": truth(query.get("timestamps")),
    }


def _moment(text: str) -> float:
    """RFC 3339 as seconds since the epoch. Raises 400 in Go's words."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        shown = status.quote(text)
        raise status.bad_request(
            f'parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006"'
        ) from None


# ---- service accounts


async def token(call: Call) -> web.StreamResponse:
    """serviceaccounts/token: a bearer token that this server accepts until it expires."""
    body = await _json_body(call, "TokenRequest")
    _, account = _existing(call)
    spec = body.get("spec") or {}
    seconds = spec.get("expirationSeconds") or 3600
    if seconds < 600:
        why = Cause(
            "FieldValueInvalid",
            f"Invalid value: {seconds}: may not specify a duration less than 10 minutes",
            "spec.expirationSeconds",
        )
        raise status.invalid_as("authentication.k8s.io", "TokenRequest", "", [why])
    store = call.server.store
    now = store.clock()
    metadata = account["metadata"]
    text = call.server.accounts.issue(metadata["namespace"], call.name, metadata["uid"], seconds)
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": call.name,
            "namespace": metadata["namespace"],
            "uid": metadata["uid"],
            "creationTimestamp": timestamp(now),
        },
        "spec": {
            "audiences": spec.get("audiences") or ["https://kubernetes.default.svc"],
            "expirationSeconds": seconds,
            "boundObjectRef": spec.get("boundObjectRef"),
        },
        "status": {"token": text, "expirationTimestamp": timestamp(now + seconds)},
    }
    return await call.answer(201, answer)


# ---- proxies


async def proxy_service(call: Call) -> web.StreamResponse:
    return await _proxy(call, proxying.locate_service)


async def proxy_pod(call: Call) -> web.StreamResponse:
    return await _proxy(call, proxying.locate_pod)


async def _proxy(call: Call, locate: Callable[..., tuple[str, Object, int]]) -> web.StreamResponse:
    path = call.server.raw_path(call.request)[0]
    common = {name: value for name, value in call.headers.items() if not name.startswith("X-Kubernetes-Pf-")}
    scheme, pod, port = locate(call.server.store, call.namespace, call.name)
    world = call.server.world
    backend = world.backend(pod, port) if world is not None else None
    address = f"{(pod.get('status') or {}).get('podIP', '')}:{port}"
    return await proxying.relay(
        call.request, backend, scheme, address, path, call.target.rest, call.query.text, common
    )


HANDLERS: dict[tuple[str, str, str], Handler] = {
    **{
        (plural, "scale", verb): handler
        for plural in ("deployments", "replicasets", "statefulsets")
        for verb, handler in (("get", get_scale), ("update", update_scale), ("patch", patch_scale))
    },
    ("namespaces", "finalize", "update"): finalize,
    ("pods", "binding", "create"): bind,
    ("pods", "eviction", "create"): evict,
    ("pods", "exec", "create"): upgrade,
    ("pods", "exec", "get"): upgrade,
    ("pods", "log", "get"): log,
    ("serviceaccounts", "token", "create"): token,
}
STATUS_HANDLERS: dict[str, Handler] = {"get": get_status, "update": update_status, "patch": patch_status}
PROXIES: dict[str, Handler] = {"pods": proxy_pod, "services": proxy_service}


def find(kind: Kind, subresource: str, verb: str, method: str) -> Handler:
    """Raises 404 for an unknown sub-resource, 405 for a verb it lacks."""
    known = kind.subresource(subresource)
    if known is None:
        raise status.unknown_resource()
    if subresource == "proxy":
        return PROXIES[kind.plural]
    if method in ("HEAD", "OPTIONS") or verb not in known.verbs:
        raise status.method_not_allowed()
    if subresource == "status":
        return STATUS_HANDLERS[verb]
    return HANDLERS[kind.plural, subresource, verb]
