"""From what the watches of one cluster say to what has to be written: the rest is dropped here.

Kept are objects of Pilothouse's deployments and what tells about the cluster. An object is passed on when
what is kept of it has changed; a new resourceVersion alone is no change. Of all other pods only the sums
per node go on.
"""

from __future__ import annotations

import sys
import threading
from typing import NamedTuple

from deployments.observer.backlog import Backlog, Gone, Listed, Summed, Upsert
from deployments.observer.leases import Held
from deployments.observer.podsums import PodSums
from deployments.observer.reading import (
    EVENT,
    INVENTORY,
    NODE,
    POD,
    Kept,
    deployment_of,
    identity,
    keep,
    read,
)
from deployments.observer.reading_inventory import exporter_of
from deployments.observer.scopes import Scope
from deployments.observer.trimming import Raw, mapping, text_of


class _Known(NamedTuple):
    uid: str
    version: int
    digest: int


Place = tuple[str, str]
UNKNOWN = 2**63
REMEMBERED = 500  # deletions of each scope: what comes late comes soon after


class Intake:
    """One for each cluster. Called by the threads of its watches, one thread for each scope, and for the
    sums by the cluster's own."""

    def __init__(self, cluster_id: int, lease: Held, backlog: Backlog) -> None:
        self._cluster_id = cluster_id
        self._lease = lease
        self._backlog = backlog
        self._lock = threading.Lock()
        self._known: dict[Scope, dict[Place, _Known]] = {}
        self._listing: dict[Scope, set[Place]] = {}
        self._deleted: dict[Scope, dict[str, int]] = {}  # uid -> version
        self.sums = PodSums()

    def begin(self, scope: Scope) -> None:
        """A list begins."""
        self._listing[scope] = set()
        if scope.all_pods:
            self.sums.begin()

    def end(self, scope: Scope) -> None:
        """The list is complete: what it did not hold is gone."""
        listed = self._listing.pop(scope, None)
        if listed is None:
            return  # forgotten meanwhile
        present = frozenset(listed)
        known = self._scope(scope)
        for place in [place for place in known if place not in present]:
            del known[place]
        self._backlog.put(Listed(self._cluster_id, self._lease, scope, present))
        if scope.all_pods:
            self.sums.end()

    def put(self, scope: Scope, obj: Raw) -> None:
        """An object of a list, or one that was added or changed; not one that was so before its deletion,
        where that is said late."""
        if self._was_deleted(scope, obj):
            return
        if scope.all_pods:
            self.sums.put(obj)
        if not _wanted(scope, obj):
            self._left(scope, obj)
            return
        seen = read(scope.kind, obj)
        if seen is None:
            return
        # Thousands of objects share a namespace, and the parser makes a text of its own for each.
        place = (sys.intern(seen.namespace), seen.name)
        listing = self._listing.get(scope)
        if listing is not None:
            listing.add(place)
        known = self._scope(scope)
        kept = keep(seen)
        before, now = known.get(place), _digest(kept)
        if before is not None and before.uid == now.uid:
            # Said again, or said late: a broken proxy may repeat. A list is believed in any case.
            if listing is None and now.version < before.version:
                return
            if now.digest == before.digest:
                known[place] = now
                return
        known[place] = now
        self._backlog.put(Upsert(self._cluster_id, self._lease, kept))
        if scope.kind is NODE and (before is None or before.uid != now.uid):
            self.sums.renew(seen.name)

    def drop(self, scope: Scope, obj: Raw) -> None:
        """An object that was deleted; not one that has come back since, where that is said late."""
        if scope.all_pods:
            self.sums.drop(obj)
        namespace, name, uid = identity(obj)
        self._note_deletion(scope, uid, _version_of(obj))
        known = self._scope(scope).get((namespace, name))
        if known is None or known.uid == uid:
            self._left(scope, obj)

    def forget(self, scope: Scope) -> None:
        """A scope that is no longer watched: what was known of it says nothing any more."""
        for what in (self._known, self._listing, self._deleted):
            what.pop(scope, None)
        if scope.all_pods:
            self.sums.forget()

    def tell_sums(self) -> None:
        """Pass on the nodes whose sums have changed."""
        for one in self.sums.take():
            self._backlog.put(Summed(self._cluster_id, self._lease, one))

    def _left(self, scope: Scope, obj: Raw) -> None:
        """Not there any more, or no longer ours: of others' objects that is nothing to write."""
        namespace, name, _ = identity(obj)
        if self._scope(scope).pop((namespace, name), None) is not None:
            self._backlog.put(Gone(self._cluster_id, self._lease, scope.kind.kind, namespace, name))

    def _note_deletion(self, scope: Scope, uid: str, version: int) -> None:
        if version < UNKNOWN:
            deleted = self._deleted.setdefault(scope, {})
            deleted[uid] = version
            if len(deleted) > REMEMBERED:
                del deleted[next(iter(deleted))]

    def _was_deleted(self, scope: Scope, obj: Raw) -> bool:
        """Whether it was deleted later than it was so. A list is believed in any case; and what only left
        the watch, as its label was taken away, comes back under a later version."""
        deleted = self._deleted.get(scope)
        if not deleted or scope in self._listing:
            return False
        at = deleted.get(identity(obj)[2])
        return at is not None and _version_of(obj) <= at

    def _scope(self, scope: Scope) -> dict[Place, _Known]:
        known = self._known.get(scope)
        if known is None:
            with self._lock:
                known = self._known.setdefault(scope, {})
        return known


def _wanted(scope: Scope, obj: Raw) -> bool:
    if scope.kind is EVENT or scope.kind in INVENTORY:
        return True
    labels = mapping(mapping(obj.get("metadata")).get("labels"))
    return deployment_of(labels) is not None or (scope.kind is POD and exporter_of(labels) != "")


def _digest(kept: Kept) -> _Known:
    return _Known(kept.uid, _version(kept.resource_version), hash((kept.deployment, kept.text)))


def _version(text: str) -> int:
    """Kubernetes documentation, "Resource versions": those of one kind may be compared as numbers. One
    that is no number counts as the newest."""
    return int(text) if text.isdecimal() else UNKNOWN


def _version_of(obj: Raw) -> int:
    return _version(text_of(mapping(obj.get("metadata")).get("resourceVersion"), 64))
