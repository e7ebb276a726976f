"""The objects of the practice cluster: one resourceVersion for all, a recent past for watches, and the rules of writing.

Single-threaded: called from one asyncio loop, nothing here waits. Objects that are handed out must not be changed.
Rules: recorded transcripts 12 (watches), 14 (writes), 17 (sub-resources), 18 and 18b (deletion).
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox import admission, apply, defaults, kinds, lifecycle, selectors, status, validation
from sandbox.encoding import clone
from sandbox.history import Change, Collection, Version, renumbered
from sandbox.kinds import KINDS, Kind

logger = logging.getLogger(__name__)

Object = dict[str, Any]
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
FIRST_RESOURCE_VERSION = 1000
DEFAULT_MANAGER = "practice-cluster"


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. type: ADDED, MODIFIED, DELETED; old is None for ADDED."""

    type: str
    kind: Kind
    object: Object
    old: Object | None


@dataclass(frozen=True, slots=True)
class Deletion:
    """object: the object as answered; gone: False while finalizers or a grace period keep it."""

    object: Object
    gone: bool


def timestamp(seconds: float) -> str:
    """RFC 3339 in whole seconds, as metadata times are written."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(namespace: str | None, name: str) -> str:
    return f"{namespace}/{name}" if namespace else name


class Store:
    """See the module. `clock` gives seconds since the epoch; `seed` makes uids and random names repeatable."""

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        seed: int | None = None,
        history_limit: int = 20_000,
        history_seconds: float = 300.0,
    ) -> None:
        self.clock = clock
        self._seed = seed
        self.random = random.Random(seed)
        self.kinds = KINDS
        self.rv = FIRST_RESOURCE_VERSION
        self._collections = {
            kind.storage_key: Collection(FIRST_RESOURCE_VERSION, history_limit, history_seconds)
            for kind in KINDS
            if kind.persistent
        }
        self._subscribers: list[Callable[[Event], None]] = []
        self._pending: deque[Event] = deque()
        self._draining = False

    # ---- reading

    def collection(self, kind: Kind | str) -> Collection:
        return self._collections[self.kind(kind).storage_key]

    @staticmethod
    def kind(kind: Kind | str) -> Kind:
        return kinds.by_name(kind) if isinstance(kind, str) else kind

    def version(self, kind: Kind | str, namespace: str | None, name: str) -> Version | None:
        kind = self.kind(kind)
        return self.collection(kind).versions.get(key_of(namespace if kind.namespaced else None, name))

    def get(self, kind: Kind | str, namespace: str | None, name: str) -> Object | None:
        """The object or None. kind: an entry of the table or its bare name (`Pod`)."""
        version = self.version(kind, namespace, name)
        return version.object if version else None

    def list(
        self,
        kind: Kind | str,
        namespace: str | None = None,
        selector: selectors.Selector | str | dict[str, Any] | None = None,
    ) -> list[Object]:
        """All objects, or those of a namespace, in key order. selector: query text, LabelSelector object or Selector."""
        return list(self.each(kind, namespace, selector))

    def each(
        self,
        kind: Kind | str,
        namespace: str | None = None,
        selector: selectors.Selector | str | dict[str, Any] | None = None,
    ) -> Iterator[Object]:
        if isinstance(selector, str):
            selector = selectors.parse(selector)
        elif isinstance(selector, dict):
            selector = selectors.from_object(selector)
        for _, version in self.collection(kind).now(namespace):
            if selector is None or selector.matches(version.object["metadata"].get("labels")):
                yield version.object

    # ---- following

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call back after each committed change, in order, never nested. Returns the way to end it."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    def _commit(self, type_: str, kind: Kind, key: str, obj: Object, old: Version | None) -> Object:
        self.rv += 1
        if type_ == "DELETED":
            version = renumbered(Version(obj, self.rv), self.rv)
        else:
            obj["metadata"]["resourceVersion"] = str(self.rv)
            version = Version(lifecycle.ordered(self._primary(kind), obj), self.rv)
        self.collection(kind).record(Change(type_, key, version, old, self.clock()))
        self._pending.append(Event(type_, self._primary(kind), version.object, old.object if old else None))
        self._drain()
        return version.object

    @staticmethod
    def _primary(kind: Kind) -> Kind:
        return kinds.by_name(kind.kind) if kind.storage else kind

    def _drain(self) -> None:
        if self._draining:
            return
        self._draining = True
        try:
            while self._pending:
                event = self._pending.popleft()
                for subscriber in tuple(self._subscribers):
                    try:
                        subscriber(event)
                    except Exception:
                        # A controller's mistake must not undo somebody's committed write.
                        logger.exception("a subscriber failed on %s %s", event.type, event.kind.kind)
        finally:
            self._draining = False

    def compact(self) -> None:
        """Forget the past: older resourceVersions are answered 410 from now on."""
        for collection in self._collections.values():
            collection.compact(self.rv)

    # ---- writing

    def now(self) -> str:
        return timestamp(self.clock())

    def new_uid(self) -> str:
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def random_name(self, prefix: str) -> str:
        """prefix and five random letters, as generateName makes it."""
        return prefix[:58] + "".join(self.random.choice(NAME_LETTERS) for _ in range(5))

    def create(
        self,
        kind: Kind | str,
        obj: Object,
        manager: str = DEFAULT_MANAGER,
        dry_run: bool = False,
        track: bool = True,
    ) -> Object:
        """Default, admit, validate and store a copy of obj. Raises ApiError (409, 403, 404, 422).

        track False: obj carries its managedFields already (server-side apply).
        """
        kind = self.kind(kind)
        obj = clone(obj)
        metadata = obj.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise status.internal("resourceVersion should not be set on objects to be created")
        namespace = metadata.get("namespace") if kind.namespaced else None
        if not kind.namespaced:
            metadata.pop("namespace", None)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self.random_name(metadata["generateName"])
        name = metadata.get("name") or ""
        now = self.now()
        if kind.namespaced:
            admission.check_namespace(self, kind, namespace or "", name)
        metadata["uid"] = self.new_uid()
        metadata["creationTimestamp"] = now
        if track:
            metadata.pop("managedFields", None)
        lifecycle.begin(kind, obj)
        defaults.apply_defaults(kind, obj)
        defaults.prepare_for_create(kind, obj)
        admission.mutate_create(self, kind, obj)
        causes = validation.validate(kind, obj, None)
        if causes:
            raise status.invalid(kind, name, causes)
        key = key_of(namespace, name)
        existing = self.collection(kind).versions.get(key)
        if existing is not None:
            raise status.already_exists(
                kind, name, bool(existing.object["metadata"].get("deletionTimestamp"))
            )
        admission.check_create(self, kind, obj)
        if track:
            apply.track_update(kind, None, obj, manager, "", now)
        if dry_run:
            return lifecycle.ordered(self._primary(kind), obj)
        return self._commit("ADDED", kind, key, obj, None)

    def update(
        self,
        kind: Kind | str,
        obj: Object,
        subresource: str = "",
        manager: str = DEFAULT_MANAGER,
        dry_run: bool = False,
        track: bool = True,
    ) -> Object:
        """Replace the object (or with subresource `status` its status). Raises ApiError (404, 409, 422).

        A resourceVersion in obj must be the current one; without one the update is unconditional.
        """
        kind = self.kind(kind)
        new = clone(obj)
        metadata = new.setdefault("metadata", {})
        name = metadata.get("name") or ""
        key = key_of(metadata.get("namespace") if kind.namespaced else None, name)
        current = self.collection(kind).versions.get(key)
        if current is None:
            raise status.not_found(kind, name)
        old = current.object
        if metadata.get("uid") and metadata["uid"] != old["metadata"]["uid"]:
            raise status.conflict(
                kind,
                name,
                f"StorageError: invalid object, Code: 4, Key: /registry/{kind.plural}/{key}, ResourceVersion: 0, "
                f"AdditionalErrorMsg: Precondition failed: UID in precondition: {metadata['uid']}, "
                f"UID in object meta: {old['metadata']['uid']}",
            )
        if (
            metadata.get("resourceVersion")
            and metadata["resourceVersion"] != old["metadata"]["resourceVersion"]
        ):
            raise status.conflict(kind, name)
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        now = self.now()
        # A graceful deletion is asked for by DELETE only; everything else here keeps what the server wrote.
        lifecycle.carry_over(kind, new, old, subresource)
        if subresource in ("", "scale"):
            defaults.apply_defaults(kind, new)
            admission.mutate_update(self, kind, new, old)
        causes = admission.check_deleting(new, old) + validation.validate(kind, new, old)
        if causes:
            raise status.invalid(kind, name, causes)
        if subresource == "":
            admission.check_update(self, kind, new, old)
        if track:
            apply.track_update(kind, old, new, manager, subresource, now)
        new = lifecycle.ordered(self._primary(kind), new)
        if apply.unchanged(old, new):
            return old
        if dry_run:
            return new
        if self._finished(kind, new):
            # Removing the last finalizer is itself the deletion: watchers see DELETED only.
            self._commit("DELETED", kind, key, new, current)
            return new
        return self._commit("MODIFIED", kind, key, new, current)

    def mutate(
        self,
        kind: Kind | str,
        namespace: str | None,
        name: str,
        fn: Callable[[Object], object],
        subresource: str = "",
        manager: str = DEFAULT_MANAGER,
    ) -> Object | None:
        """Read, let fn change a deep copy (or return False for no change), write. None if there is no such object."""
        current = self.get(kind, namespace, name)
        if current is None:
            return None
        copy = clone(current)
        if fn(copy) is False:
            return current
        return self.update(kind, copy, subresource, manager)

    def place(self, kind: Kind | str, obj: Object) -> Object:
        """Commit a whole object as it is, new or changed: nothing is defaulted, admitted, validated or tracked.

        For simulated senders of many changes, whose objects are complete. obj's metadata is taken over.
        """
        kind = self.kind(kind)
        metadata = obj["metadata"]
        key = key_of(metadata.get("namespace") if kind.namespaced else None, metadata["name"])
        current = self.collection(kind).versions.get(key)
        return self._commit("ADDED" if current is None else "MODIFIED", kind, key, obj, current)

    @staticmethod
    def _finished(kind: Kind, obj: Object) -> bool:
        metadata = obj["metadata"]
        if not metadata.get("deletionTimestamp") or metadata.get("finalizers"):
            return False
        if kind.kind == "Namespace":
            return not (obj.get("spec") or {}).get("finalizers")
        return not metadata.get("deletionGracePeriodSeconds")

    def delete(
        self,
        kind: Kind | str,
        namespace: str | None,
        name: str,
        grace: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
        dry_run: bool = False,
    ) -> Deletion:
        """Delete or mark as being deleted. propagation: Foreground, Background, Orphan. Raises ApiError (404, 409, 403)."""
        kind = self.kind(kind)
        key = key_of(namespace if kind.namespaced else None, name)
        current = self.collection(kind).versions.get(key)
        if current is None:
            raise status.not_found(kind, name)
        old = current.object
        _check_preconditions(kind, old, uid, resource_version)
        if kind.kind == "Namespace" and name in lifecycle.UNDELETABLE_NAMESPACES:
            raise status.forbidden("", "namespaces", name, "this namespace may not be deleted")
        obj = clone(old)
        metadata = obj["metadata"]
        finalizers = [
            name
            for name in metadata.get("finalizers") or []
            if name not in _POLICY_FINALIZERS or propagation is None
        ]
        if propagation in ("Foreground", "Orphan"):
            finalizers.append("foregroundDeletion" if propagation == "Foreground" else "orphan")
        metadata["finalizers"] = finalizers
        seconds = self._grace(kind, old, grace)
        if kind.kind == "Namespace":
            self._mark(kind, obj, None)
            obj.setdefault("status", {})["phase"] = "Terminating"
        else:
            self._mark(kind, obj, seconds)
        obj = lifecycle.ordered(self._primary(kind), obj)
        kept = (
            bool(finalizers)
            or seconds > 0
            or (kind.kind == "Namespace" and bool(obj.get("spec", {}).get("finalizers")))
        )
        if kept:
            if obj == old:
                return Deletion(old, False)
            return Deletion(obj if dry_run else self._commit("MODIFIED", kind, key, obj, current), False)
        last = obj if kind.kind == "Pod" or old["metadata"].get("deletionTimestamp") else old
        if dry_run:
            return Deletion(last, True)
        return Deletion(self._commit("DELETED", kind, key, last, current), True)

    def _grace(self, kind: Kind, old: Object, asked: int | None) -> int:
        """Seconds that the object stays. Only pods on a node that still run get any."""
        if kind.kind != "Pod":
            return 0
        spec = old.get("spec") or {}
        if asked is None:
            standing = old["metadata"].get("deletionGracePeriodSeconds")
            asked = standing if standing is not None else int(spec.get("terminationGracePeriodSeconds", 30))
        if asked < 0:
            asked = 1
        if not spec.get("nodeName") or (old.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return 0
        return asked

    def _mark(self, kind: Kind, obj: Object, seconds: int | None) -> None:
        metadata = obj["metadata"]
        if metadata.get("deletionTimestamp"):
            standing = metadata.get("deletionGracePeriodSeconds")
            if seconds is not None and standing is not None and seconds < standing:
                due = datetime.strptime(metadata["deletionTimestamp"], "%Y-%m-%dT%H:%M:%SZ").replace(
                    tzinfo=UTC
                )
                metadata["deletionTimestamp"] = timestamp(due.timestamp() - standing + seconds)
                metadata["deletionGracePeriodSeconds"] = seconds
            return
        metadata["deletionTimestamp"] = timestamp(self.clock() + (seconds or 0))
        if seconds is not None:
            metadata["deletionGracePeriodSeconds"] = seconds
        if metadata.get("generation"):
            metadata["generation"] += 1

    # ---- keeping

    def dump(self) -> Object:
        """Everything there is, for a file."""
        objects = [
            version.object for collection in self._collections.values() for _, version in collection.now(None)
        ]
        return {"resourceVersion": self.rv, "objects": objects}

    def load(self, data: Object) -> None:
        """Take over what dump() gave. Watches from before this are answered 410."""
        for obj in data["objects"]:
            kind = kinds.by_kind(obj["apiVersion"], obj["kind"])
            if kind is None:
                logger.warning("left out %s %s: no longer served", obj["apiVersion"], obj["kind"])
                continue
            collection = self.collection(kind)
            metadata = obj["metadata"]
            version = Version(obj, int(metadata["resourceVersion"]))
            key = key_of(metadata.get("namespace"), metadata["name"])
            collection.versions[key] = version
            collection.keys.append(key)
        self.rv = max(self.rv, int(data["resourceVersion"]))
        if self._seed is not None:
            # Not the beginning of the same row again: its uids are taken.
            self.random.seed(f"{self._seed}/{self.rv}")
        for collection in self._collections.values():
            collection.keys.sort()
            collection.floor = self.rv


_POLICY_FINALIZERS = ("foregroundDeletion", "orphan")


def _check_preconditions(kind: Kind, old: Object, uid: str | None, resource_version: str | None) -> None:
    metadata = old["metadata"]
    why = ""
    if uid and uid != metadata["uid"]:
        why = (
            f"the UID in the precondition ({uid}) does not match the UID in record ({metadata['uid']}). "
            "The object might have been deleted and then recreated"
        )
    elif resource_version and resource_version != metadata["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({resource_version}) does not match the ResourceVersion in record "
            f"({metadata['resourceVersion']}). The object might have been modified"
        )
    if why:
        name = metadata["name"]
        raise status.ApiError(
            409,
            "Conflict",
            f"Operation cannot be fulfilled on {kind.group_kind} {status.quote(name)}: {why}",
            status.details(name, kind.group, kind.kind),
        )
