"""The review kinds: questions about the asker's own rights and identity (recorded transcript 27)."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from sandbox import bodies, protobuf, status
from sandbox.backend import RequestInfo
from sandbox.calls import Call
from sandbox.status import Cause
from sandbox.verbs import unsupported_media

Object = dict[str, Any]

_FIELD_ORDER = (
    "namespace",
    "verb",
    "group",
    "version",
    "resource",
    "subresource",
    "name",
    "fieldSelector",
    "labelSelector",
)


async def _body(call: Call) -> Object:
    raw = await call.body()
    content_type = call.request.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type == protobuf.MEDIA_TYPE:
        return protobuf.decode_review(raw)
    if content_type not in ("", "application/json", "application/yaml"):
        raise unsupported_media()
    if call.kind is None:
        raise status.unknown_resource()
    return bodies.read_object(call.kind, raw, content_type == "application/yaml")


def _refused(field: str, why: str) -> status.ApiError:
    return status.invalid_as(
        "authorization.k8s.io", "", "", [Cause("FieldValueInvalid", f"Invalid value: {why}", field)]
    )


async def access(call: Call) -> web.StreamResponse:
    """SelfSubjectAccessReview: any question is answered, unknown types included."""
    body = await _body(call)
    spec = body.get("spec") or {}
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is None and path is None:
        raise _refused(
            "spec.resourceAttributes",
            "null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )
    if resource is not None and path is not None:
        shown = f'{{"Path":{status.quote(path.get("path", ""))},"Verb":{status.quote(path.get("verb", ""))}}}'
        raise _refused(
            "spec.nonResourceAttributes",
            f"{shown}: cannot be specified in combination with resourceAttributes",
        )
    if (body.get("metadata") or {}).get("name"):
        raise _refused("metadata", f'{{"name":{status.quote(body["metadata"]["name"])}}}: must be empty')
    answered: Object = {}
    info = RequestInfo("", "", "", "", "", "", "", call.user.name)
    if resource is not None:
        answered["resourceAttributes"] = {name: resource[name] for name in _FIELD_ORDER if resource.get(name)}
        info = RequestInfo(
            resource.get("verb", ""),
            resource.get("group", ""),
            resource.get("resource", ""),
            resource.get("subresource", ""),
            resource.get("namespace", ""),
            resource.get("name", ""),
            "",
            call.user.name,
        )
    elif path is not None:
        answered["nonResourceAttributes"] = {name: path[name] for name in ("path", "verb") if path.get(name)}
        info = RequestInfo(path.get("verb", ""), "", "", "", "", "", path.get("path", ""), call.user.name)
    reason = call.server.access.reason(call.user, info)
    verdict: Object = {"allowed": reason is not None}
    if reason:
        verdict["reason"] = reason
    return await call.answer(201, _review("SelfSubjectAccessReview", answered, verdict))


def _review(kind: str, spec: Object, state: Object) -> Object:
    return {
        "kind": kind,
        "apiVersion": "authorization.k8s.io/v1",
        "metadata": {},
        "spec": spec,
        "status": state,
    }


async def rules(call: Call) -> web.StreamResponse:
    """SelfSubjectRulesReview: the spec is answered empty, as the server does."""
    body = await _body(call)
    namespace = (body.get("spec") or {}).get("namespace")
    if not namespace:
        raise status.bad_request("no namespace on request")
    resources: list[Object] = []
    paths: list[Object] = []
    for grant in call.server.access.grants(call.user, namespace):
        if grant.rule.get("resources"):
            names = ("verbs", "apiGroups", "resources", "resourceNames")
            resources.append({name: grant.rule[name] for name in names if grant.rule.get(name)})
        if grant.rule.get("nonResourceURLs"):
            paths.append({name: grant.rule[name] for name in ("verbs", "nonResourceURLs")})
    state = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    return await call.answer(201, _review("SelfSubjectRulesReview", {}, state))


async def identity(call: Call) -> web.StreamResponse:
    """SelfSubjectReview: who am I."""
    await _body(call)
    answer = {
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": call.server.store.now()},
        "status": {"userInfo": call.user.info()},
    }
    return await call.answer(201, answer)


HANDLERS = {
    "selfsubjectaccessreviews": access,
    "selfsubjectrulesreviews": rules,
    "selfsubjectreviews": identity,
}
