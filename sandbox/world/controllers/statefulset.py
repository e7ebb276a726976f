"""StatefulSets: numbered pods with claims of their own. Recorded transcript 22.

Revisions live in names and labels only: ControllerRevision objects are not served.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import selectors, status
from sandbox.encoding import clone
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.controllers.replicaset import available, by_owner
from sandbox.world.objects import (
    controlled_by,
    deleting,
    finished,
    is_ready,
    name_of,
    namespace_of,
    owner_reference,
    pod_from_template,
    spec_of,
    status_of,
    template_hash,
    uid_of,
)

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
REVISION = "controller-revision-hash"


def ordinal(pod: Object, set_name: str) -> int:
    """The pod's number, -1 for a name that is none of the set's."""
    text = name_of(pod).removeprefix(f"{set_name}-")
    return int(text) if text.isdigit() else -1


class StatefulSets(Controller):
    name = "statefulset-controller"
    kinds = ("StatefulSet", "Pod")

    def __init__(self, manager: Manager) -> None:
        super().__init__(manager)
        # Templates of earlier revisions, by set uid: pods below a partition keep theirs.
        self._templates: dict[str, dict[str, Object]] = {}

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "StatefulSet":
            if event.type == "DELETED":
                self._templates.pop(uid_of(event.object), None)
            return [(namespace_of(event.object), name_of(event.object))]
        return by_owner(event, "StatefulSet")

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        found = self.store.get("StatefulSet", namespace, name)
        if found is None:
            return
        revision = f"{name}-{template_hash(spec_of(found)['template'])}"
        self._templates.setdefault(uid_of(found), {})[revision] = spec_of(found)["template"]
        before = status_of(found)
        current = before.get("currentRevision") or revision
        try:
            if not deleting(found):
                self._claim_owners(found)
                self._manage(found, current, revision)
        finally:
            self._status(found, current, revision)

    def _pods(self, found: Object) -> list[Object]:
        selector = selectors.from_object(spec_of(found)["selector"])
        pods = [
            pod for pod in self.store.list("Pod", namespace_of(found), selector) if controlled_by(pod, found)
        ]
        return sorted(pods, key=lambda pod: ordinal(pod, name_of(found)))

    # ---- pods

    def _manage(self, found: Object, current: str, revision: str) -> None:
        spec, name, namespace = spec_of(found), name_of(found), namespace_of(found)
        start = int((spec.get("ordinals") or {}).get("start", 0))
        wanted = range(start, start + int(spec.get("replicas", 1)))
        parallel = spec.get("podManagementPolicy") == "Parallel"
        by_number = {ordinal(pod, name): pod for pod in self._pods(found)}
        for number in wanted:
            pod = by_number.get(number)
            if pod is not None and finished(pod) and not deleting(pod):
                self.store.delete("Pod", namespace, name_of(pod))
                word = "failed" if (pod.get("status") or {}).get("phase") == "Failed" else "succeeded"
                text = f"StatefulSet {namespace}/{name} is recreating {word} Pod {name_of(pod)}"
                self.event(
                    found,
                    "Warning",
                    "RecreatingFailedPod" if word == "failed" else "RecreatingTerminatedPod",
                    text,
                )
                pod = self.store.get("Pod", namespace, f"{name}-{number}")
            if pod is None:
                self._create(found, number, self._revision_for(found, number, current, revision))
                if not parallel:
                    return
                continue
            if (pod.get("status") or {}).get("phase") == "Pending":
                # Somebody has deleted a claim since (stateful_set_control.go, createMissingPersistentVolumeClaims).
                self._claims(found, name_of(pod))
            if not parallel and (deleting(pod) or not is_ready(pod)):
                return
        condemned = [number for number in sorted(by_number, reverse=True) if number not in wanted]
        for number in condemned:
            pod = by_number[number]
            if deleting(pod):
                if not parallel:
                    return
                continue
            self._retain_scaled(found, number, pod)
            self._delete(found, pod)
            if not parallel:
                return
        if not condemned or parallel:
            self._update(found, wanted, revision)

    def _update(self, found: Object, wanted: range, revision: str) -> None:
        strategy = spec_of(found).get("updateStrategy") or {}
        if strategy.get("type") == "OnDelete":
            return
        partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
        by_number = {ordinal(pod, name_of(found)): pod for pod in self._pods(found)}
        for number in reversed(wanted):
            pod = by_number.get(number)
            if number < partition:
                return
            if pod is None or deleting(pod):
                return
            if pod["metadata"].get("labels", {}).get(REVISION) != revision:
                self._delete(found, pod)
                return
            if not is_ready(pod):
                return

    def _revision_for(self, found: Object, number: int, current: str, revision: str) -> str:
        strategy = spec_of(found).get("updateStrategy") or {}
        partition = int((strategy.get("rollingUpdate") or {}).get("partition", 0))
        known = current in self._templates.get(uid_of(found), {})
        return current if number < partition and known else revision

    def _create(self, found: Object, number: int, revision: str) -> None:
        namespace, name = namespace_of(found), name_of(found)
        pod_name = f"{name}-{number}"
        pod = pod_from_template(self._templates[uid_of(found)][revision], namespace, found)
        metadata, spec = pod["metadata"], pod["spec"]
        metadata.update(name=pod_name, generateName=f"{name}-")
        metadata.setdefault("labels", {}).update(
            {
                "apps.kubernetes.io/pod-index": str(number),
                REVISION: revision,
                "statefulset.kubernetes.io/pod-name": pod_name,
            }
        )
        spec["hostname"] = pod_name
        if spec_of(found).get("serviceName"):
            spec["subdomain"] = spec_of(found)["serviceName"]
        volumes = [
            {"name": volume, "persistentVolumeClaim": {"claimName": claim}}
            for volume, claim in self._claims(found, pod_name).items()
        ]
        taken = {volume["name"] for volume in volumes}
        spec["volumes"] = volumes + [
            volume for volume in spec.get("volumes") or [] if volume["name"] not in taken
        ]
        if not spec["volumes"]:
            del spec["volumes"]
        what = f"Create Pod {pod_name} in StatefulSet {name}"
        try:
            self.store.create("Pod", pod, manager=MANAGER)
        except status.ApiError as refused:
            self.event(found, "Warning", "FailedCreate", f"{what} failed error: {refused}")
            raise
        self.event(found, "Normal", "SuccessfulCreate", f"{what} successful")

    def _delete(self, found: Object, pod: Object) -> None:
        self.store.delete("Pod", namespace_of(pod), name_of(pod))
        text = f"Delete Pod {name_of(pod)} in StatefulSet {name_of(found)} successful"
        self.event(found, "Normal", "SuccessfulDelete", text)

    # ---- claims

    def _claims(self, found: Object, pod_name: str) -> dict[str, str]:
        """Make the claims of a pod that are missing; volume -> claim of all."""
        names: dict[str, str] = {}
        for template in spec_of(found).get("volumeClaimTemplates") or []:
            names[name_of(template)] = claim_name = f"{name_of(template)}-{pod_name}"
            self._claim(found, template, claim_name, pod_name)
        return names

    def _claim(self, found: Object, template: Object, claim_name: str, pod_name: str) -> None:
        namespace = namespace_of(found)
        if self.store.get("PersistentVolumeClaim", namespace, claim_name) is not None:
            return
        labels = {
            **(template["metadata"].get("labels") or {}),
            **(spec_of(found)["selector"].get("matchLabels") or {}),
        }
        claim: Object = {
            "metadata": {"name": claim_name, "namespace": namespace, "labels": labels},
            "spec": clone(template["spec"]),
        }
        if template["metadata"].get("annotations"):
            claim["metadata"]["annotations"] = template["metadata"]["annotations"]
        if self._policy(found, "whenDeleted"):
            claim["metadata"]["ownerReferences"] = [owner_reference(found, controller=True)]
        self.store.create("PersistentVolumeClaim", claim, manager=MANAGER)
        text = f"Create Claim {claim_name} Pod {pod_name} in StatefulSet {name_of(found)} success"
        self.event(found, "Normal", "SuccessfulCreate", text)

    @staticmethod
    def _policy(found: Object, member: str) -> bool:
        return (spec_of(found).get("persistentVolumeClaimRetentionPolicy") or {}).get(member) == "Delete"

    def _claims_of(self, found: Object, pod_name: str) -> list[Object]:
        names = [
            f"{name_of(template)}-{pod_name}" for template in spec_of(found).get("volumeClaimTemplates") or []
        ]
        claims = [self.store.get("PersistentVolumeClaim", namespace_of(found), name) for name in names]
        return [claim for claim in claims if claim is not None]

    def _own(self, claim: Object, owner: Object | None, not_owner: str) -> None:
        """Make owner (or nobody) an owner of the claim and take the object of that uid from its owners."""
        before = claim["metadata"].get("ownerReferences") or []
        wanted = [reference for reference in before if reference.get("uid") != not_owner]
        if owner is not None and not any(reference.get("uid") == uid_of(owner) for reference in wanted):
            wanted.append(owner_reference(owner, controller=owner["kind"] == "StatefulSet"))
        if wanted == before:
            return

        def change(obj: Object) -> None:
            obj["metadata"]["ownerReferences"] = wanted

        self.store.mutate(
            "PersistentVolumeClaim", namespace_of(claim), name_of(claim), change, manager=MANAGER
        )

    def _claim_owners(self, found: Object) -> None:
        """Owner references as the retention policy of deletion asks for them now."""
        wanted = self._policy(found, "whenDeleted")
        start = int((spec_of(found).get("ordinals") or {}).get("start", 0))
        end = start + int(spec_of(found).get("replicas", 1))
        for pod in self._pods(found):
            if ordinal(pod, name_of(found)) not in range(start, end):
                continue
            for claim in self._claims_of(found, name_of(pod)):
                self._own(claim, found if wanted else None, "" if wanted else uid_of(found))

    def _retain_scaled(self, found: Object, number: int, pod: Object) -> None:
        if self._policy(found, "whenScaled"):
            for claim in self._claims_of(found, f"{name_of(found)}-{number}"):
                self._own(claim, pod, uid_of(found))

    # ---- status

    def _status(self, found: Object, current: str, revision: str) -> None:
        spec = spec_of(found)
        namespace, name = namespace_of(found), name_of(found)
        pods = [pod for pod in self._pods(found) if not finished(pod)]
        alive = [pod for pod in pods if not deleting(pod)]

        def of(wanted: str) -> int:
            return sum(pod["metadata"].get("labels", {}).get(REVISION) == wanted for pod in alive)

        now = self.store.clock()
        min_ready = int(spec.get("minReadySeconds") or 0)
        counts = {
            "replicas": len(pods),
            "readyReplicas": sum(is_ready(pod) for pod in pods),
            "currentReplicas": of(current),
            "updatedReplicas": of(revision),
            "availableReplicas": sum(available(pod, min_ready, now) for pod in pods),
        }
        wanted = int(spec.get("replicas", 1))
        if (
            current != revision
            and counts["updatedReplicas"] == wanted == counts["readyReplicas"] == counts["replicas"]
        ):
            current = revision
            counts["currentReplicas"] = counts["updatedReplicas"]
        state: Object = {
            "observedGeneration": found["metadata"].get("generation", 0),
            "replicas": counts["replicas"],
            **{member: count for member, count in counts.items() if count and member != "replicas"},
            "currentRevision": current,
            "updateRevision": revision,
            "collisionCount": 0,
        }
        # An available count is always written, as the recorded server does from the first pod on.
        state["availableReplicas"] = counts["availableReplicas"]
        if state == status_of(found):
            return

        def write(obj: Object) -> None:
            obj["status"] = state

        self.store.mutate("StatefulSet", namespace, name, write, "status", MANAGER)
