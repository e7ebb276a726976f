"""Garbage collection by owner reference, and the three ways of deleting an owner. Recorded transcripts 18 and 24."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.objects import deleting, name_of, namespace_of, uid_of

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class GarbageCollector(Controller):
    """Keys are (kind, namespace, name). Keeps who depends on whom, by uid."""

    name = "garbage-collector-controller"

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self.kinds = tuple(
            kind.kind
            for kind in self.store.kinds
            if kind.persistent and not kind.storage and kind.kind != "Event"
        )
        self._dependents: dict[str, set[tuple[str, str, str]]] = {}

    def keys(self, event: Event) -> Iterable[Key]:
        obj = event.object
        key = (event.kind.kind, namespace_of(obj), name_of(obj))
        references = obj["metadata"].get("ownerReferences") or []
        before = (event.old or {}).get("metadata", {}).get("ownerReferences") or []
        for reference in before:
            self._dependents.get(reference["uid"], set()).discard(key)
        if event.type != "DELETED":
            for reference in references:
                self._dependents.setdefault(reference["uid"], set()).add(key)
        found: list[Key] = []
        if event.type == "DELETED":
            found += self._dependents.pop(uid_of(obj), ())
            # An owner that is deleted in the foreground waits for this one.
            found += [(reference["kind"], namespace_of(obj), reference["name"]) for reference in references]
        elif references and references != before:
            found.append(key)
        finalizers = obj["metadata"].get("finalizers") or []
        if event.type != "DELETED" and deleting(obj) and (FOREGROUND in finalizers or ORPHAN in finalizers):
            found.append(key)
        if references != before and deleting(obj) is False:
            found += [(reference["kind"], namespace_of(obj), reference["name"]) for reference in before]
        return [entry for entry in found if entry[0] in self.kinds]

    def reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        obj = self.store.get(kind, namespace or None, name)
        if obj is None:
            return
        finalizers = obj["metadata"].get("finalizers") or []
        if deleting(obj):
            if ORPHAN in finalizers:
                self._orphan(obj)
            elif FOREGROUND in finalizers:
                self._foreground(obj)
            return
        self._collect(key, obj)

    def _owner(self, obj: Object, reference: Object) -> Object | None:
        try:
            kind = self.store.kind(reference["kind"])
        except KeyError:
            return None
        owner = self.store.get(kind, namespace_of(obj) if kind.namespaced else None, reference["name"])
        return owner if owner is not None and uid_of(owner) == reference["uid"] else None

    def _collect(self, key: Key, obj: Object) -> None:
        """Delete an object all of whose owners are gone or going in the foreground; forget the gone ones otherwise."""
        kind, namespace, name = key
        references = obj["metadata"].get("ownerReferences") or []
        if not references:
            return
        solid: list[Object] = []
        waiting: list[Object] = []
        for reference in references:
            owner = self._owner(obj, reference)
            if owner is None:
                continue
            going = deleting(owner) and FOREGROUND in (owner["metadata"].get("finalizers") or [])
            (waiting if going else solid).append(reference)
        if solid:
            if len(solid) < len(references):

                def forget(changed: Object) -> None:
                    changed["metadata"]["ownerReferences"] = solid

                self.store.mutate(kind, namespace or None, name, forget, manager=MANAGER)
            return
        blocking = waiting and self._dependents.get(uid_of(obj))
        self.store.delete(kind, namespace or None, name, propagation="Foreground" if blocking else None)

    def _foreground(self, owner: Object) -> None:
        uid = uid_of(owner)
        blocked = False
        for key in tuple(self._dependents.get(uid, ())):
            kind, namespace, name = key
            dependent = self.store.get(kind, namespace or None, name)
            if dependent is None:
                continue
            if not deleting(dependent):
                self._collect(key, dependent)
                dependent = self.store.get(kind, namespace or None, name)
            if dependent is None:
                continue
            blocked |= any(
                reference["uid"] == uid and reference.get("blockOwnerDeletion")
                for reference in dependent["metadata"].get("ownerReferences") or []
            )
        if not blocked:
            self._drop(owner, FOREGROUND)

    def _orphan(self, owner: Object) -> None:
        uid = uid_of(owner)

        def forget(changed: Object) -> None:
            references = changed["metadata"].get("ownerReferences") or []
            changed["metadata"]["ownerReferences"] = [entry for entry in references if entry["uid"] != uid]

        for kind, namespace, name in tuple(self._dependents.get(uid, ())):
            self.store.mutate(kind, namespace or None, name, forget, manager=MANAGER)
        self._drop(owner, ORPHAN)

    def _drop(self, obj: Object, finalizer: str) -> None:
        def change(changed: Object) -> None:
            kept = [name for name in changed["metadata"].get("finalizers") or [] if name != finalizer]
            changed["metadata"]["finalizers"] = kept

        self.store.mutate(obj["kind"], namespace_of(obj) or None, name_of(obj), change, manager=MANAGER)
