"""The HTTPS server: who asks, what for, may they, and who answers.

The order of refusals is that of a real server: 401, then faults (429), then 403, then 404 and 405 (recorded transcripts
05, 06 and 31).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from aiohttp import web

from sandbox import documents, kinds, reviews, status, subresources, verbs
from sandbox.access import MASTERS, Access, User
from sandbox.accounts import AccountTokens
from sandbox.backend import Backend, DropConnection, PlainAnswer, RequestInfo, SilentWatch
from sandbox.calls import Call, common_headers, new_audit_id
from sandbox.kinds import Kind
from sandbox.requests import Query, Target, parse
from sandbox.store import Store
from sandbox.watching import Watch

logger = logging.getLogger(__name__)

Object = dict[str, Any]
CONTROL_PREFIX = "/sandbox/"


class Faults(Protocol):
    async def before(self, info: RequestInfo) -> None:
        """May wait, or raise ApiError, PlainAnswer or DropConnection."""


class World(Protocol):
    """The simulated world behind the API: what the server asks of it."""

    @property
    def faults(self) -> Faults: ...

    def backend(self, pod: Object, port: int) -> Backend | None:
        """What listens on a pod's port."""

    def logs(
        self,
        pod: Object,
        container: str,
        *,
        follow: bool,
        previous: bool,
        tail_lines: int | None,
        since_seconds: int | None,
        limit_bytes: int | None,
        timestamps: bool,
    ) -> AsyncIterator[bytes]:
        """Lines with their line ends. Raises ApiError."""

    async def control(self, request: web.BaseRequest) -> web.StreamResponse:
        """Paths below /sandbox/, for members of system:masters only."""


class Server:
    """See the module. `world` may be set later; without one there are no logs and no back ends."""

    def __init__(
        self, store: Store, access: Access, accounts: AccountTokens, world: World | None = None
    ) -> None:
        self.store = store
        self.access = access
        self.accounts = accounts
        self.world = world
        self.address = ""
        self.watches: dict[Watch, RequestInfo] = {}
        self.under_way: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._runner: web.ServerRunner | None = None
        self._certificates: dict[bytes, User] = {}

    # ---- running

    async def start(self, host: str, port: int, context: ssl.SSLContext | None) -> int:
        """Listen; returns the port. port 0 takes any free one."""
        # A client that leaves ends its request, as at a real server: a watch that is quiet, or a log that nobody
        # writes, would not learn it before its next line.
        serving = web.Server(self.handle, access_log=None, handler_cancellation=True)
        self._runner = web.ServerRunner(serving, shutdown_timeout=0.3, keepalive_timeout=120.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port, ssl_context=context, backlog=512)
        await site.start()
        listening = int(self._runner.addresses[0][1])
        self.address = f"{host}:{listening}"
        return listening

    async def stop(self) -> None:
        """Stop listening and end every request. Those that come now are dropped."""
        self._stopping = True
        for watch in list(self.watches):
            watch.close()
        if self._runner is not None:
            await self._runner.cleanup()
        # The runner has not ended those whose connection was still being made when it looked, nor waited for those
        # that it cancelled. A stream that is left would be torn down with the loop, in the middle of a read.
        while self.under_way:
            for task in self.under_way:
                task.cancel()
            await asyncio.gather(*self.under_way, return_exceptions=True)

    def end_watches(self, wanted: Callable[[RequestInfo], bool], error: status.ApiError | None = None) -> int:
        """End open watches, with an ERROR event when one is given. Returns how many."""
        chosen = [watch for watch, info in self.watches.items() if wanted(info)]
        for watch in chosen:
            if error is None:
                watch.close()
            else:
                watch.fail(error)
        return len(chosen)

    # ---- one request

    @staticmethod
    def raw_path(request: web.BaseRequest) -> tuple[str, str]:
        """(path, query) as they were sent, still encoded."""
        path, _, query = request.raw_path.partition("?")
        return path, query

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        task = asyncio.current_task()
        assert task is not None
        if self._stopping:
            return _dropped(request)
        self.under_way.add(task)
        try:
            return await self._handle(request)
        finally:
            self.under_way.discard(task)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        audit_id = request.headers.get("Audit-ID") or new_audit_id()
        path, text = self.raw_path(request)
        query = Query(text)
        target = parse(request.method, path, query)
        call = Call(self, request, target, query, User(""), common_headers(audit_id, authenticated=False))
        try:
            call.user = self.access.by_headers(request.headers, self._certificate(request))
            call.headers = common_headers(audit_id)
            return await self._answer(call)
        except status.ApiError as error:
            return await call.refuse(error)
        except (status.PlainError, PlainAnswer) as plain:
            data = (plain.text if isinstance(plain, status.PlainError) else str(plain)).encode()
            return await call.send(plain.code, data, "text/plain; charset=utf-8", plain.headers)
        except DropConnection:
            return _dropped(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            logger.exception("%s %s failed", request.method, path)
            return await call.refuse(
                status.ApiError(
                    500, "InternalError", "Internal error occurred: see the practice cluster's log"
                )
            )

    def _certificate(self, request: web.BaseRequest) -> User | None:
        """The user of a client certificate that the TLS layer has verified: CN is the name, O are the groups."""
        connection = request.get_extra_info("ssl_object")
        if connection is None:
            return None
        raw = connection.getpeercert(binary_form=True)
        if not raw:
            return None
        user = self._certificates.get(raw)
        if user is None:
            subject = [pair for part in connection.getpeercert()["subject"] for pair in part]
            name = next((value for key, value in subject if key == "commonName"), "")
            groups = tuple(value for key, value in subject if key == "organizationName")
            credential = f"X509SHA256={hashlib.sha256(raw).hexdigest()}"
            user = User(name, groups, extra={"authentication.kubernetes.io/credential-id": [credential]})
            self._certificates[raw] = user
        return user

    async def _answer(self, call: Call) -> web.StreamResponse:
        headers = call.request.headers
        info = replace(call.target.info, user=call.user.name)
        if call.target.info.path.startswith(CONTROL_PREFIX):
            return await self._control(call)
        if self.world is not None:
            await self._faults(call, info)
        if "Impersonate-User" in headers or "Impersonate-Group" in headers:
            groups = headers.getall("Impersonate-Group", [])
            call.user = self.access.impersonate(call.user, headers.get("Impersonate-User", ""), groups, info)
            info = replace(info, user=call.user.name)
        call.target = replace(call.target, info=info)
        self.access.authorize(call.user, info)
        _check_timeout(call.query)
        if not call.target.is_api:
            return await documents.answer(call)
        return await self._resource(call)

    async def _faults(self, call: Call, info: RequestInfo) -> None:
        assert self.world is not None
        try:
            await self.world.faults.before(info)
            return
        except status.ApiError as error:
            if info.verb != "watch" or error.code != 410:
                raise
            # A watch learns that it is too old inside a good answer (recorded transcript 09).
            call.query["resourceVersion"] = "1"
        except SilentWatch:
            # A watch from the future is accepted and waits (recorded transcript 08).
            call.query["resourceVersion"] = str(2**60)
        call.query.pop("sendInitialEvents", None)
        call.query.pop("resourceVersionMatch", None)

    async def _control(self, call: Call) -> web.StreamResponse:
        if MASTERS not in call.user.groups:
            raise self.access.refusal(call.user, call.target.info)
        if self.world is None:
            raise status.page_not_found()
        return await self.world.control(call.request)

    async def _resource(self, call: Call) -> web.StreamResponse:
        info, target = call.target.info, call.target
        if info.group and info.group not in kinds.groups():
            raise status.page_not_found()
        kind = kinds.by_resource(info.group, target.version, info.resource)
        if kind is None:
            raise status.unknown_resource()
        call.kind = kind
        _check_scope(kind, call.target)
        method = call.request.method
        if info.subresource:
            handler = subresources.find(kind, info.subresource, info.verb, method)
            return await handler(call)
        if not kind.persistent:
            return await self._create_only(call, kind)
        if method in ("HEAD", "OPTIONS"):
            raise status.method_not_allowed()
        return await self._verb(call, kind, call.target.named)

    async def _create_only(self, call: Call, kind: Kind) -> web.StreamResponse:
        if call.request.method != "POST" or call.target.named:
            raise status.method_not_allowed()
        if kind.kind == "Binding":
            return await subresources.bind(call)
        return await reviews.HANDLERS[kind.plural](call)

    async def _verb(self, call: Call, kind: Kind, named: bool) -> web.StreamResponse:
        verb = call.target.info.verb
        if named and verb != "watch":
            handler = _OBJECT_VERBS.get(verb)
        else:
            handler = _COLLECTION_VERBS.get(verb)
        if handler is None or (verb in ("create", "deletecollection") and verb not in kind.verbs):
            raise status.method_not_allowed()
        if verb == "create" and kind.namespaced and not call.namespace:
            raise status.method_not_allowed()
        return await handler(call)

    # ---- for the verbs

    def access_check(self, call: Call, kind: Kind, obj: Mapping[str, Any]) -> None:
        """403 for a role or binding that gives away what its writer does not hold."""
        if kind.kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"):
            self.access.check_grant(call.user, kind, dict(obj))


def _dropped(request: web.BaseRequest) -> web.Response:
    """Close the connection without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


_Handler = Callable[[Call], Awaitable[web.StreamResponse]]
_OBJECT_VERBS: dict[str, _Handler] = {
    "get": verbs.get,
    "update": verbs.update,
    "patch": verbs.patch,
    "delete": verbs.delete,
}
_COLLECTION_VERBS: dict[str, _Handler] = {
    "list": verbs.list_,
    "watch": verbs.watch,
    "create": verbs.create,
    "deletecollection": verbs.delete_collection,
}


def _check_scope(kind: Kind, target: Target) -> None:
    """404 for a namespace where none belongs, or none where an object needs one."""
    info = target.info
    if not kind.namespaced and info.namespace and kind.kind != "Namespace":
        raise status.unknown_resource()
    if kind.namespaced and not info.namespace and target.named:
        raise status.unknown_resource()


def _check_timeout(query: Mapping[str, str]) -> None:
    text = query.get("timeout")
    if not text:
        return
    rest = text
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        unit = next((u for u in ("ns", "us", "ms", "s", "m", "h") if rest[digits:].startswith(u)), None)
        if digits == 0 or unit is None:
            raise status.bad_request(
                f"invalid timeout specified in the request URL - time: invalid duration {status.quote(text)}"
            )
        rest = rest[digits + len(unit) :]
