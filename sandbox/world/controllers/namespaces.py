"""The end of a namespace: pods first, then everything else, then itself. Recorded transcript 13."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.kinds import Kind
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.objects import deleting, name_of, status_of, uid_of

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
FIRST_SECONDS = 5.0
AGAIN_SECONDS = 5.0


class Namespaces(Controller):
    name = "namespace-controller"
    kinds = ("Namespace",)

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        self._since: dict[str, float] = {}
        self._contents = [
            kind for kind in self.store.kinds if kind.namespaced and kind.persistent and not kind.storage
        ]

    def keys(self, event: Event) -> Iterable[Key]:
        if event.type == "DELETED":
            self._since.pop(uid_of(event.object), None)
            return []
        return [(name_of(event.object),)] if deleting(event.object) else []

    def reconcile(self, key: Key) -> None:
        (name,) = key
        namespace = self.store.get("Namespace", None, name)
        if namespace is None or not deleting(namespace):
            return
        now = self.clock.elapsed()
        due = self._since.setdefault(uid_of(namespace), now) + FIRST_SECONDS
        if now < due:
            self.enqueue(key, due - now)
            return
        pods = self.store.list("Pod", name)
        for pod in pods:
            if not deleting(pod):
                self.store.delete("Pod", name, name_of(pod))
        if not pods:
            for kind in self._contents:
                for obj in self.store.list(kind, name):
                    if not deleting(obj):
                        self.store.delete(kind, name, name_of(obj))
        remaining = {kind: found for kind in self._contents if (found := self.store.list(kind, name))}
        if pods:
            # Only the pods were asked for in this round; the rest does not count as remaining yet.
            remaining = {kind: found for kind, found in remaining.items() if kind.kind == "Pod"}
        self._conditions(namespace, remaining)
        if remaining or pods:
            self.enqueue(key, 0.5 if pods and not remaining else AGAIN_SECONDS if not pods else 1.0)
            return

        def finalize(obj: Object) -> None:
            obj["spec"]["finalizers"] = []

        self.store.mutate("Namespace", None, name, finalize, "finalize", MANAGER)

    def _conditions(self, namespace: Object, remaining: dict[Kind, list[Object]]) -> None:
        counts = ", ".join(
            f"{kind.group_resource}. has {len(found)} resource instances" for kind, found in remaining.items()
        )
        held: dict[str, int] = {}
        for found in remaining.values():
            for obj in found:
                for finalizer in obj["metadata"].get("finalizers") or []:
                    held[finalizer] = held.get(finalizer, 0) + 1
        holders = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(held.items()))
        wanted = [
            (
                "NamespaceDeletionDiscoveryFailure",
                False,
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                False,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                False,
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                True,
                "SomeResourcesRemain",
                f"Some resources are remaining: {counts}",
            )
            if counts
            else ("NamespaceContentRemaining", False, "ContentRemoved", "All content successfully removed"),
            (
                "NamespaceFinalizersRemaining",
                True,
                "SomeFinalizersRemain",
                f"Some content in the namespace has finalizers remaining: {holders}",
            )
            if holders
            else (
                "NamespaceFinalizersRemaining",
                False,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ]
        old = {found["type"]: found for found in status_of(namespace).get("conditions") or []}
        now = self.store.now()
        conditions = []
        for type_, value, reason, message in wanted:
            text = "True" if value else "False"
            since = old[type_]["lastTransitionTime"] if type_ in old and old[type_]["status"] == text else now
            conditions.append(
                {
                    "type": type_,
                    "status": text,
                    "lastTransitionTime": since,
                    "reason": reason,
                    "message": message,
                }
            )

        def write(obj: Object) -> None:
            obj["status"]["conditions"] = conditions

        self.store.mutate("Namespace", None, name_of(namespace), write, "status", MANAGER)
