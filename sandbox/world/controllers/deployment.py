"""Deployments: a replica set a template, pods moved from old to new by the strategy. Recorded transcripts 20, 21."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import selectors
from sandbox.store import Event
from sandbox.world.controllers import rollout
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.controllers.replicaset import by_owner
from sandbox.world.objects import (
    controlled_by,
    controller_of,
    deleting,
    finished,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
    template_hash,
    template_keys,
    uid_of,
)

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HISTORY = "deployment.kubernetes.io/revision-history"
_NOT_COPIED = (REVISION, DESIRED, MAXIMUM, HISTORY, "kubectl.kubernetes.io/last-applied-configuration")


def replicas_of(obj: Object) -> int:
    return int(spec_of(obj).get("replicas", 1))


def revision_of(obj: Object) -> int:
    return int((obj["metadata"].get("annotations") or {}).get(REVISION, 0))


class Deployments(Controller):
    name = "deployment-controller"
    kinds = ("Deployment", "ReplicaSet", "Pod")

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        # Simulated seconds at which a rollout last made progress, by uid: the deadline is simulated too.
        self._progress: dict[str, float] = {}

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "Deployment":
            if event.type == "DELETED":
                self._progress.pop(uid_of(event.object), None)
            return [(namespace_of(event.object), name_of(event.object))]
        if event.kind.kind == "ReplicaSet":
            return by_owner(event, "Deployment")
        # A recreated deployment waits for its last old pod to be gone.
        if event.type != "DELETED" and not deleting(event.object):
            return []
        namespace = namespace_of(event.object)
        found: list[Key] = []
        for _, name in by_owner(event, "ReplicaSet"):
            replica_set = self.store.get("ReplicaSet", namespace, name)
            owner = controller_of(replica_set) if replica_set is not None else None
            if owner is not None:
                found.append((namespace, owner["name"]))
        return found

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        deployment = self.store.get("Deployment", namespace, name)
        if deployment is None:
            return
        sets = self._sets(deployment)
        new = rollout.find_new(deployment, sets)
        if deleting(deployment):
            self._status(deployment, sets, new)
            return
        spec = spec_of(deployment)
        if spec.get("paused"):
            self._pause(deployment, sets, new)
            return
        if self._scaled(deployment, sets, new):
            return
        if (spec.get("strategy") or {}).get("type") == "Recreate":
            self._recreate(deployment, sets, new)
        else:
            self._roll(deployment, sets, new)

    # ---- replica sets

    def _sets(self, deployment: Object) -> list[Object]:
        """The deployment's replica sets, oldest first; matching orphans are adopted."""
        namespace = namespace_of(deployment)
        selector = selectors.from_object(spec_of(deployment)["selector"])
        found: list[Object] = []
        for replica_set in self.store.list("ReplicaSet", namespace, selector):
            if controller_of(replica_set) is None and not deleting(replica_set) and not deleting(deployment):

                def adopt(orphan: Object) -> None:
                    orphan["metadata"].setdefault("ownerReferences", []).append(owner_reference(deployment))

                replica_set = (
                    self.store.mutate("ReplicaSet", namespace, name_of(replica_set), adopt, manager=MANAGER)
                    or replica_set
                )
            if controlled_by(replica_set, deployment):
                found.append(replica_set)
        return sorted(
            found, key=lambda obj: (obj["metadata"]["creationTimestamp"], int(revision_of(obj)), name_of(obj))
        )

    def _new_set(self, deployment: Object, sets: list[Object], new: Object | None) -> tuple[Object, Object]:
        """(deployment, replica set for its template), made or brought up to date."""
        others = [obj for obj in sets if new is None or uid_of(obj) != uid_of(new)]
        revision = max([revision_of(obj) for obj in others], default=0) + 1
        if new is not None:
            revision = max(revision, revision_of(new))
            new = self._annotate(deployment, new, revision)
            reason, message = "FoundNewReplicaSet", f'Found new replica set "{name_of(new)}"'
            known = rollout.progressing(deployment) is not None
            return self._mark(deployment, revision, None if known else (reason, message)), new
        namespace = namespace_of(deployment)
        template = template_keys(deployment)
        digest = template_hash(template)
        template.setdefault("metadata", {}).setdefault("labels", {})["pod-template-hash"] = digest
        selector = {**spec_of(deployment)["selector"]}
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), "pod-template-hash": digest}
        wanted = rollout.new_replicas(deployment, others, 0)
        annotations = {
            **self._copied(deployment),
            DESIRED: str(replicas_of(deployment)),
            MAXIMUM: str(replicas_of(deployment) + rollout.surge(deployment)),
            REVISION: str(revision),
        }
        spec: Object = {"replicas": wanted, "selector": selector, "template": template}
        if spec_of(deployment).get("minReadySeconds"):
            spec["minReadySeconds"] = spec_of(deployment)["minReadySeconds"]
        made = self.store.create(
            "ReplicaSet",
            {
                "metadata": {
                    "name": f"{name_of(deployment)}-{digest}",
                    "namespace": namespace,
                    "labels": template["metadata"]["labels"],
                    "annotations": annotations,
                    "ownerReferences": [owner_reference(deployment)],
                },
                "spec": spec,
            },
            manager=MANAGER,
        )
        if wanted:
            self._said_scaled(deployment, made, 0, wanted)
        self._progress[uid_of(deployment)] = self.clock.elapsed()
        message = f'Created new replica set "{name_of(made)}"'
        return self._mark(deployment, revision, ("NewReplicaSetCreated", message)), made

    @staticmethod
    def _copied(deployment: Object) -> dict[str, str]:
        annotations = deployment["metadata"].get("annotations") or {}
        return {name: value for name, value in annotations.items() if name not in _NOT_COPIED}

    def _annotate(self, deployment: Object, new: Object, revision: int) -> Object:
        def change(obj: Object) -> object:
            annotations = obj["metadata"].setdefault("annotations", {})
            old = dict(annotations)
            annotations.update(self._copied(deployment))
            if annotations.get(REVISION) != str(revision):
                if annotations.get(REVISION):
                    past = [part for part in annotations.get(HISTORY, "").split(",") if part]
                    annotations[HISTORY] = ",".join([*past, annotations[REVISION]])
                annotations[REVISION] = str(revision)
            seconds = spec_of(deployment).get("minReadySeconds", 0)
            if seconds == spec_of(obj).get("minReadySeconds", 0) and annotations == old:
                return False
            obj["spec"]["minReadySeconds"] = seconds
            return None

        return (
            self.store.mutate("ReplicaSet", namespace_of(new), name_of(new), change, manager=MANAGER) or new
        )

    def _mark(self, deployment: Object, revision: int, progress: tuple[str, str] | None) -> Object:
        """Note the revision, and with progress (reason, message) the Progressing condition, in one write."""

        def change(obj: Object) -> object:
            annotations = obj["metadata"].setdefault("annotations", {})
            if annotations.get(REVISION) == str(revision) and progress is None:
                return False
            annotations[REVISION] = str(revision)
            if progress is not None:
                conditions = status_of(obj).get("conditions") or []
                obj.setdefault("status", {})["conditions"] = rollout.with_condition(
                    conditions, "Progressing", "True", *progress, now=self.store.now()
                )
            return None

        namespace, name = namespace_of(deployment), name_of(deployment)
        return self.store.mutate("Deployment", namespace, name, change, "status", MANAGER) or deployment

    def _scale(self, deployment: Object, replica_set: Object, replicas: int) -> Object:
        before = replicas_of(replica_set)
        desired, most = str(replicas_of(deployment)), str(replicas_of(deployment) + rollout.surge(deployment))

        def change(obj: Object) -> None:
            obj["spec"]["replicas"] = replicas
            obj["metadata"].setdefault("annotations", {}).update({DESIRED: desired, MAXIMUM: most})

        namespace, name = namespace_of(replica_set), name_of(replica_set)
        changed = self.store.mutate("ReplicaSet", namespace, name, change, manager=MANAGER) or replica_set
        if before != replicas:
            self._said_scaled(deployment, replica_set, before, replicas)
        return changed

    def _said_scaled(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        word = "up" if after > before else "down"
        text = f"Scaled {word} replica set {name_of(replica_set)} from {before} to {after}"
        self.event(deployment, "Normal", "ScalingReplicaSet", text)

    # ---- strategies

    def _scaled(self, deployment: Object, sets: list[Object], new: Object | None) -> bool:
        """Whether only the number of replicas changed; the sets are scaled then."""
        wanted = str(replicas_of(deployment))
        active = [obj for obj in sets if replicas_of(obj) > 0]
        changed = [
            obj
            for obj in active
            if (obj["metadata"].get("annotations") or {}).get(DESIRED) not in (None, wanted)
        ]
        if not changed:
            return False
        self._proportion(deployment, sets, new, active)
        self._status(deployment, self._sets(deployment), new)
        return True

    def _proportion(
        self, deployment: Object, sets: list[Object], new: Object | None, active: list[Object]
    ) -> None:
        wanted = replicas_of(deployment)
        if len(active) == 1:
            self._scale(deployment, active[0], wanted)
            return
        most = wanted + rollout.surge(deployment)
        total = sum(replicas_of(obj) for obj in active)
        rest = most - total
        newest = sorted(active, key=lambda obj: -replicas_of(obj))
        for index, obj in enumerate(newest):
            share = (
                rest
                if index == len(newest) - 1
                else round(replicas_of(obj) * rest / total)
                if total
                else rest
            )
            self._scale(deployment, obj, max(0, replicas_of(obj) + share))
            rest -= share

    def _pause(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        self._scaled(deployment, sets, new)
        self._status(deployment, self._sets(deployment), new)

    def _roll(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        deployment, new = self._new_set(deployment, sets, new)
        others = [obj for obj in sets if uid_of(obj) != uid_of(new)]
        wanted = rollout.new_replicas(deployment, others, replicas_of(new))
        if wanted != replicas_of(new):
            new = self._scale(deployment, new, wanted)
        else:
            for old, replicas in rollout.scale_down(deployment, others, new):
                self._scale(deployment, old, replicas)
        self._finish(deployment, new)

    def _recreate(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        others = [obj for obj in sets if new is None or uid_of(obj) != uid_of(new)]
        active = [obj for obj in others if replicas_of(obj) > 0]
        for old in active:
            self._scale(deployment, old, 0)
        selector = selectors.from_object(spec_of(deployment)["selector"])
        old_uids = {uid_of(obj) for obj in others}
        running = any(
            (controller_of(pod) or {}).get("uid") in old_uids and not finished(pod)
            for pod in self.store.each("Pod", namespace_of(deployment), selector)
        )
        if active or running:
            self._status(deployment, self._sets(deployment), new)
            return
        deployment, new = self._new_set(deployment, sets, new)
        if replicas_of(new) != replicas_of(deployment):
            new = self._scale(deployment, new, replicas_of(deployment))
        self._finish(deployment, new)

    def _finish(self, deployment: Object, new: Object) -> None:
        sets = self._sets(deployment)
        current = next((obj for obj in sets if uid_of(obj) == uid_of(new)), new)
        self._status(deployment, sets, current)
        fresh = self.store.get("Deployment", namespace_of(deployment), name_of(deployment))
        if fresh is not None and rollout.complete(fresh, status_of(fresh)):
            self._clean(fresh, sets, current)

    def _clean(self, deployment: Object, sets: list[Object], new: Object) -> None:
        limit = int(spec_of(deployment).get("revisionHistoryLimit", 10))
        old = [
            obj
            for obj in sets
            if uid_of(obj) != uid_of(new)
            and not deleting(obj)
            and replicas_of(obj) == 0
            and not status_of(obj).get("replicas")
        ]
        for obj in sorted(old, key=revision_of)[: max(0, len(old) - limit)]:
            self.store.delete("ReplicaSet", namespace_of(obj), name_of(obj))

    # ---- status

    def _status(self, deployment: Object, sets: list[Object], new: Object | None) -> None:
        namespace, name = namespace_of(deployment), name_of(deployment)
        deployment = self.store.get("Deployment", namespace, name) or deployment
        if new is not None:
            new = next((obj for obj in sets if new is not None and uid_of(obj) == uid_of(new)), new)
        uid, now = uid_of(deployment), self.clock.elapsed()
        since = self._progress.setdefault(uid, now)
        deadline = float(spec_of(deployment).get("progressDeadlineSeconds", 600))
        overdue = now - since > deadline
        made, moved = rollout.status(deployment, sets, new, self.store.now(), overdue)
        if moved:
            self._progress[uid] = now
        if made != status_of(deployment):

            def write(obj: Object) -> None:
                obj["status"] = made

            self.store.mutate("Deployment", namespace, name, write, "status", MANAGER)
        if not rollout.complete(deployment, made) and not overdue and not deleting(deployment):
            self.enqueue((namespace, name), max(0.1, self._progress[uid] + deadline - now + 0.1))
