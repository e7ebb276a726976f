"""The one way to talk to a cluster's API server.

:func:`connect` makes a :class:`ClusterClient`. It is synchronous and may be shared by threads. The
official client's DynamicClient does discovery and the work on single objects; lists and watches are
read raw, because turning thousands of objects into its wrappers costs more than reading them.
Every failure is an error of ``deployments.domain.errors``.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode

import orjson
from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic import DynamicClient, Resource
from kubernetes.dynamic.exceptions import ResourceNotFoundError, ResourceNotUniqueError

from deployments.domain.errors import ClusterError, InvalidInput, ObjectMissing, ServerFault
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.discovery import SharedDiscoverer
from deployments.gateways.kubernetes.errors import bounded, from_answer, not_of_a_server, unusable
from deployments.gateways.kubernetes.objects import (
    Decision,
    Identity,
    ObjectRef,
    Page,
    ResourceKind,
    ServerVersion,
    Verdict,
    version_in,
)
from deployments.gateways.kubernetes.proxy import ProxyCalls
from deployments.gateways.kubernetes.streams import StreamCalls
from deployments.gateways.kubernetes.transport import RestClient, Timeouts, Transport, to_json

FIELD_MANAGER = "pilothouse"


def connect(
    credential: ClusterCredential,
    *,
    cluster_uid: str,
    cache_dir: Path,
    allow_loopback: bool,
    timeouts: Timeouts | None = None,
) -> ClusterClient:
    """A client for one cluster. Makes no request yet.

    ``cluster_uid``     the uid of its kube-system namespace, or "" while that is not known; names the
                        discovery cache in ``cache_dir``, so that no cluster reads another's.
    ``allow_loopback``  whether connections to this machine itself are allowed (checked at each one).

    Raises :class:`CredentialRefused` for a client certificate that cannot be loaded.
    """
    return ClusterClient(
        Transport(credential, allow_loopback=allow_loopback, timeouts=timeouts or Timeouts()),
        cluster_uid=cluster_uid,
        cache_dir=cache_dir,
    )


class ClusterClient(StreamCalls, ProxyCalls):
    """What Pilothouse does with a cluster, verb by verb. Also a context manager that closes itself."""

    def __init__(self, transport: Transport, *, cluster_uid: str, cache_dir: Path) -> None:
        self._transport = transport
        key = re.sub(r"[^A-Za-z0-9-]", "", cluster_uid)
        if not key:
            seed = f"{transport.base}\n{transport.credential.ca_data}"
            key = "unknown-" + hashlib.sha256(seed.encode()).hexdigest()[:32]
        self._cache_file = cache_dir / f"discovery-{key}.json"
        self._lock = threading.RLock()
        self._proxy_lock = threading.Lock()
        self._dynamic: DynamicClient | None = None
        self._resources: dict[ResourceKind, Resource] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"ClusterClient({self._transport.base})"

    def close(self) -> None:
        """Close idle connections. The client can still be used afterwards."""
        self._transport.close()
        self._close_proxy()

    # -- the cluster itself ------------------------------------------------------------------------

    def version(self, *, within: float | None = None) -> ServerVersion:
        """Asked of the server each time, never cached. ``within`` is in seconds, where the usual patience
        is too long."""
        tried = "ask for the version"
        asked = time.time()
        status, headers, body = self._transport.call("GET", "/version", tried=tried, within=within)
        heard = time.time()
        if not 200 <= status <= 299:
            raise from_answer(status, headers, body, tried)
        data = _parsed(status, headers, body, tried)
        try:
            return ServerVersion(
                git_version=bounded(str(data["gitVersion"]), 64),
                major=int(re.sub(r"\D.*", "", str(data["major"]))),
                minor=int(re.sub(r"\D.*", "", str(data["minor"]))),
                platform=bounded(str(data.get("platform", "")), 64),
                clock_ahead=_ahead(headers.get("Date", ""), (asked + heard) / 2),
            )
        except (KeyError, ValueError):
            raise ServerFault(
                "The server does not say which version of Kubernetes it is.",
                tried=tried,
                status=200,
            ) from None

    def cluster_uid(self, *, within: float | None = None) -> str:
        """The uid of the kube-system namespace: the usual identity of a cluster. ``within`` as for
        :meth:`version`."""
        path, tried = "/api/v1/namespaces/kube-system", "get Namespace kube-system"
        metadata = self._json("GET", path, tried, within=within).get("metadata")
        uid = metadata.get("uid") if isinstance(metadata, dict) else None
        if not isinstance(uid, str) or not uid or not uid.isprintable():
            raise not_of_a_server(tried)
        return uid

    def who_am_i(self) -> Identity:
        """Who the API server takes us for (SelfSubjectReview, Kubernetes 1.28 and later)."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        data = self._json("POST", path, "ask who Pilothouse is signed in as", body=body)
        user = data.get("status", {}).get("userInfo", {})
        return Identity(
            username=str(user.get("username", "")),
            uid=str(user.get("uid", "")),
            groups=tuple(user.get("groups") or ()),
        )

    def allowed(
        self, verb: str, group: str, resource: str, subresource: str = "", namespace: str = "", name: str = ""
    ) -> Verdict:
        """Whether we may do this (SelfSubjectAccessReview). ``resource`` is the plural; ``namespace``
        "" asks about all of them. ``name`` of a proxied service is as in the URL: "http:ollama:11434"."""
        attributes = {
            "verb": verb,
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": namespace,
            "name": name,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {
                "resourceAttributes": {
                    key: value for key, value in attributes.items() if value or key == "verb"
                }
            },
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        status = self._json("POST", path, "ask what Pilothouse may do", body=body).get("status", {})
        reason = str(status.get("reason") or status.get("evaluationError") or "")
        if status.get("allowed") is True:
            return Verdict(Decision.ALLOWED, reason)
        if status.get("evaluationError") and not status.get("denied"):
            return Verdict(Decision.UNKNOWN, reason)
        return Verdict(Decision.DENIED, reason)

    # -- single objects ----------------------------------------------------------------------------

    def get(self, ref: ObjectRef) -> dict[str, Any]:
        """The object as it is. Raises :class:`ObjectMissing`."""
        return self._on(ref, "read", "get", name=ref.name, namespace=ref.namespace or None)

    def create(self, obj: dict[str, Any], *, field_manager: str = FIELD_MANAGER) -> dict[str, Any]:
        """Create an object; unknown and duplicate fields are refused. ``metadata.generateName`` works.

        Raises :class:`AlreadyExists`, :class:`ManifestRefused`, :class:`ObjectMissing` (no such
        namespace).
        """
        ref = _ref(obj)
        return self._on(
            ref,
            "create",
            "create",
            writing=True,
            body=obj,
            namespace=ref.namespace or None,
            field_manager=field_manager,
            query_params=[("fieldValidation", "Strict")],
        )

    def apply(
        self,
        obj: dict[str, Any],
        *,
        field_manager: str = FIELD_MANAGER,
        force: bool = False,
        dry_run: bool = False,
    ) -> dict[str, Any]:
        """Server-side apply: make the object so, own what is in it, drop what is no longer in it.

        Returns the object as it is then. Applying the same again changes nothing, not even the
        resourceVersion; only a new claim's is raised once more, with equal content (kube-apiserver
        1.36). ``dry_run`` runs admission and stores nothing. ``force`` takes fields from
        other managers: only after a person agreed to the conflicts listed.

        Raises :class:`FieldConflict` with those, :class:`ManifestRefused`, :class:`ObjectMissing`
        (the namespace is not there, also for a dry run).
        """
        ref = _ref(obj)
        return self._on(
            ref,
            "try out" if dry_run else "apply",
            "server_side_apply",
            writing=True,
            body=obj,
            name=ref.name,
            namespace=ref.namespace or None,
            field_manager=field_manager,
            force_conflicts=True if force else None,
            dry_run="All" if dry_run else None,
            query_params=[("fieldValidation", "Strict")],
        )

    def scale(self, ref: ObjectRef, replicas: int, *, field_manager: str = FIELD_MANAGER) -> int:
        """Set the replicas of a workload through its ``scale`` subresource; returns what is asked now.

        The server books the replicas under the manager *with subresource scale*, which conflicts
        with a later apply that says something else. What an apply owns is scaled by applying.
        """
        _check_names(ref)
        resource = self._resource(ref.resource_kind)
        path = f"{resource.path(name=ref.name, namespace=ref.namespace or None)}/scale?fieldManager={field_manager}"
        tried = f"scale {ref} to {replicas}"
        body = {"spec": {"replicas": replicas}}
        data = self._json(
            "PATCH", path, tried, body=body, content_type="application/merge-patch+json", writing=True
        )
        return int(data.get("spec", {}).get("replicas", 0))

    def delete(
        self,
        ref: ObjectRef,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: str = "Background",
        grace: int | None = None,
    ) -> bool:
        """Ask for the deletion; True also while finalizers or pods keep the object for a while, False
        where it is gone already.

        ``uid`` and ``resource_version`` are preconditions: an object of the same name that is
        another one, or that has changed, raises :class:`Outdated` and stays. ``propagation`` is
        Background, Foreground or Orphan; ``grace`` seconds for pods, None for their own.
        """
        preconditions = {
            key: value
            for key, value in (("uid", uid), ("resourceVersion", resource_version))
            if value is not None
        }
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if preconditions:
            options["preconditions"] = preconditions
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        try:
            self._on(ref, "delete", "delete", name=ref.name, namespace=ref.namespace or None, body=options)
        except ObjectMissing as missing:
            if missing.status == 404 and missing.reason == "NotFound":
                return False
            raise
        return True

    # -- lists -------------------------------------------------------------------------------------

    def list_pages(
        self,
        kind: ResourceKind,
        namespace: str | None = None,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = 500,
    ) -> Iterator[Page]:
        """All objects of a kind, page by page, in one state of the cluster; namespace None for all.

        A list in a namespace that does not exist is empty. Raises :class:`Expired` where reading
        the pages took longer than the server remembers (about five minutes): begin again.
        """
        tried = f"list {kind.kind} objects{f' in {namespace}' if namespace else ''}"
        path = self._path(kind, namespace)
        token = ""
        while True:
            query = _query(
                limit=page_size,
                labelSelector=label_selector,
                fieldSelector=field_selector,
                **{"continue": token},
            )
            data = self._json("GET", f"{path}?{query}", tried)
            meta = data.get("metadata")
            items = data.get("items")
            if not isinstance(meta, dict) or not isinstance(items, list | None):
                raise ServerFault("The answer is not a list of objects.", tried=tried, status=200)
            token = meta.get("continue") or ""
            items = [item for item in items or () if isinstance(item, dict)]
            page = Page(items, version_in(meta), meta.get("remainingItemCount"))
            del data, meta, items  # the caller alone decides how long a page is kept
            yield page
            if not token:
                return

    # -- inside ------------------------------------------------------------------------------------

    def _on(
        self, ref: ObjectRef, verb: str, method: str, *, writing: bool = False, **arguments: Any
    ) -> dict[str, Any]:
        """One of DynamicClient's methods on one object, its answer as a plain dict."""
        tried = f"{verb} {ref}"
        _check_names(replace(ref, name=arguments.get("name") or ""))
        resource = self._resource(ref.resource_kind)
        if resource.namespaced and not ref.namespace:
            raise ValueError(f"{ref.kind} {ref.name} needs a namespace")
        if not resource.namespaced:
            arguments.pop("namespace", None)
        dynamic = self._client()
        dynamic.client.rest_client.tried.words = tried
        try:
            response = getattr(dynamic, method)(resource, serialize=False, **arguments)
        except ApiException as error:
            raise from_answer(error.status, error.headers, _body(error), tried, writing=writing) from error
        return _parsed(response.status, response.headers, response.data or b"", tried)

    def _json(
        self,
        method: str,
        target: str,
        tried: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        writing: bool = False,
        within: float | None = None,
    ) -> dict[str, Any]:
        status, headers, data = self._transport.call(
            method,
            target,
            tried=tried,
            headers={"Content-Type": content_type} if body is not None else None,
            body=to_json(body) if body is not None else None,
            within=within,
        )
        if not 200 <= status <= 299:
            raise from_answer(status, headers, data, tried, writing=writing)
        return _parsed(status, headers, data, tried)

    def _client(self) -> DynamicClient:
        with self._lock:
            if self._dynamic is None:
                configuration = Configuration()
                configuration.host = self._transport.base
                configuration.proxy = None
                api = ApiClient(configuration)
                api.rest_client = RestClient(configuration, self._transport)
                api.rest_client.tried.words = "ask what the cluster serves"
                self._cache_file.parent.mkdir(parents=True, exist_ok=True)
                self._dynamic = self._discovering(
                    lambda: DynamicClient(api, cache_file=str(self._cache_file), discoverer=SharedDiscoverer)
                )
            return self._dynamic

    def _resource(self, kind: ResourceKind) -> Resource:
        """The served resource of a kind. Raises :class:`ObjectMissing` with reason "NoSuchKind"."""
        known = self._resources.get(kind)
        if known is not None:
            return known
        with self._lock:
            dynamic = self._client()
            dynamic.client.rest_client.tried.words = "ask what the cluster serves"
            # Prefix and group both given: else the core group's "v1" makes it ask every group for one.
            where = {"prefix": "apis", "group": kind.group} if kind.group else {"prefix": "api"}
            try:
                found: Resource = self._discovering(
                    lambda: dynamic.resources.get(api_version=kind.version, kind=kind.kind, **where)
                )
            except (ResourceNotFoundError, ResourceNotUniqueError):
                raise ObjectMissing(
                    f"The cluster does not serve {kind.kind} of {kind.api_version}.",
                    tried=f"look up {kind.kind} of {kind.api_version}",
                    status=404,
                    reason="NoSuchKind",
                ) from None
            resource: Resource = found
            self._resources[kind] = resource
            return resource

    def _path(self, kind: ResourceKind, namespace: str | None) -> str:
        """The path of a kind's collection."""
        if namespace is not None and not _SEGMENT.fullmatch(namespace):
            raise InvalidInput("That is no namespace's name.", field="namespace")
        return str(self._resource(kind).path(namespace=namespace))

    def _discovering(self, work: Any) -> Any:
        tried = "ask what the cluster serves"
        try:
            return work()
        except ApiException as error:
            raise from_answer(error.status, error.headers, _body(error), tried) from error
        except ClusterError:
            raise
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            # What the official client makes of an answer that is no discovery document.
            raise not_of_a_server(tried) from error


def _ref(obj: dict[str, Any]) -> ObjectRef:
    meta = obj.get("metadata") or {}
    return ObjectRef(
        obj["apiVersion"],
        obj["kind"],
        meta.get("name") or meta.get("generateName", ""),
        meta.get("namespace") or "",
    )


_SEGMENT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,252}[A-Za-z0-9])?")


def _check_names(ref: ObjectRef) -> None:
    """Names become path segments; no valid name of any kind needs more than these characters."""
    for field, text in (("name", ref.name), ("namespace", ref.namespace)):
        if text and not _SEGMENT.fullmatch(text):
            raise InvalidInput(f"That is no {field} of an object in Kubernetes.", field=field)


def _ahead(date: str, ours: float) -> float | None:
    """A date names the second that has begun: on average half of it is over."""
    try:
        return parsedate_to_datetime(date).timestamp() + 0.5 - ours
    except ValueError:
        return None


def _query(**parameters: object) -> str:
    return urlencode({key: value for key, value in parameters.items() if value not in ("", None)})


def _body(error: ApiException) -> bytes | str:
    body = error.body if error.body is not None else error.data
    return body if isinstance(body, bytes | str) else ""


def _parsed(status: int, headers: Any, data: bytes, tried: str) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise unusable(status, headers, data, tried) from None
    if not isinstance(value, dict):
        raise unusable(status, headers, data, tried)
    return value
