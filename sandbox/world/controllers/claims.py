"""Claims and volumes: binding, provisioning, protection, growth, the end. Recorded transcript 23."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sandbox import quantity
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key, Manager
from sandbox.world.objects import deleting, finished, name_of, namespace_of, spec_of, status_of, uid_of
from sandbox.world.scheduler import SELECTED_NODE, claim_names

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
PROTECTION = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION = "kubernetes.io/pv-protection"
PROVISION_SECONDS = 1.0
RETRY_SECONDS = 15.0
# Provisioners that run in the practice cluster, and the access modes each can give.
PROVISIONERS = {
    "sandbox.pilothouse.io/block": ("ReadWriteOnce", "ReadWriteOncePod"),
    "sandbox.pilothouse.io/files": ("ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"),
}


def requested(claim: Object) -> str:
    return str(((spec_of(claim).get("resources") or {}).get("requests") or {}).get("storage", "0"))


class Claims(Controller):
    """held(claim) tells whether a fault keeps the provisioner from working; lost(uid) is told when data is gone."""

    name = "persistentvolume-controller"
    kinds = ("PersistentVolumeClaim", "PersistentVolume", "Pod", "StorageClass")

    def __init__(self, manager: Manager, held: Callable[[Object], bool], lost: Callable[[str], None]) -> None:
        super().__init__(manager)
        self._held = held
        self._lost = lost
        self._due: dict[str, float] = {}

    def keys(self, event: Event) -> Iterable[Key]:
        kind, obj = event.kind.kind, event.object
        if kind == "PersistentVolumeClaim":
            volume = spec_of(obj).get("volumeName")
            found: list[Key] = [(namespace_of(obj), name_of(obj))]
            return [*found, ("", volume)] if volume and (event.type == "DELETED" or deleting(obj)) else found
        if kind == "PersistentVolume":
            reference = spec_of(obj).get("claimRef") or {}
            keys: list[Key] = [("", name_of(obj))]
            return (
                [*keys, (reference["namespace"], reference["name"])]
                if reference.get("name")
                else keys + self._pending()
            )
        if kind == "Pod":
            if event.type == "DELETED" or finished(obj):
                return [(namespace_of(obj), name) for name in claim_names(obj)]
            return []
        return self._pending()

    def _pending(self) -> list[Key]:
        return [
            (namespace_of(claim), name_of(claim))
            for claim in self.store.each("PersistentVolumeClaim")
            if status_of(claim).get("phase") == "Pending"
        ]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        if not namespace:
            self._volume(name)
            return
        claim = self.store.get("PersistentVolumeClaim", namespace, name)
        if claim is None:
            return
        if deleting(claim) and not self._used(claim):
            self._release(claim)
            return
        if status_of(claim).get("phase") == "Pending":
            self._pend(claim)
        elif status_of(claim).get("phase") == "Bound":
            self._bound(claim)

    # ---- not bound yet

    def _pend(self, claim: Object) -> None:
        key = (namespace_of(claim), name_of(claim))
        volume = self._static(claim)
        if volume is not None:
            self._bind(claim, volume)
            return
        if spec_of(claim).get("volumeName"):
            return
        class_name = spec_of(claim).get("storageClassName")
        if not class_name:
            text = "no persistent volumes available for this claim and no storage class is set"
            self.event(claim, "Normal", "FailedBinding", text)
            self.enqueue(key, RETRY_SECONDS)
            return
        found = self.store.get("StorageClass", None, class_name)
        if found is None:
            self.event(
                claim,
                "Warning",
                "ProvisioningFailed",
                f'storageclass.storage.k8s.io "{class_name}" not found',
            )
            self.enqueue(key, RETRY_SECONDS)
            return
        annotations = claim["metadata"].get("annotations") or {}
        if found.get("volumeBindingMode") == "WaitForFirstConsumer" and not annotations.get(SELECTED_NODE):
            self.event(
                claim,
                "Normal",
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding",
            )
            self.enqueue(key, RETRY_SECONDS)
            return
        if found["provisioner"] == "kubernetes.io/no-provisioner":
            self.enqueue(key, RETRY_SECONDS)
            return
        self._ask(claim, found)

    def _ask(self, claim: Object, storage_class: Object) -> None:
        """Ask the provisioner of the class, and be it where it runs here."""
        provisioner = storage_class["provisioner"]
        key = (namespace_of(claim), name_of(claim))
        names = ("volume.beta.kubernetes.io/storage-provisioner", "volume.kubernetes.io/storage-provisioner")

        def annotate(obj: Object) -> None:
            obj["metadata"].setdefault("annotations", {}).update(dict.fromkeys(names, provisioner))

        claim = self.store.mutate("PersistentVolumeClaim", *key, annotate, manager=MANAGER) or claim
        due = self._due.setdefault(uid_of(claim), self.clock.elapsed() + PROVISION_SECONDS)
        modes = PROVISIONERS.get(provisioner)
        wait = due - self.clock.elapsed()
        if modes is None or self._held(claim) or wait > 0:
            text = (
                f"Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually "
                "by the system administrator. If volume creation is delayed, please verify that the provisioner is "
                "running and correctly registered."
            )
            self.event(claim, "Normal", "ExternalProvisioning", text)
            self.enqueue(key, wait if modes is not None and wait > 0 else RETRY_SECONDS)
            return
        unable = [mode for mode in spec_of(claim).get("accessModes") or [] if mode not in modes]
        if unable:
            text = (
                f'failed to provision volume with StorageClass "{name_of(storage_class)}": access mode {unable[0]} '
                f"is not supported by {provisioner}"
            )
            self.recorder.event(claim, "Warning", "ProvisioningFailed", text, f"{provisioner}_practice")
            self.enqueue(key, RETRY_SECONDS)
            return
        text = f'External provisioner is provisioning volume for claim "{"/".join(key)}"'
        self.recorder.event(claim, "Normal", "Provisioning", text, f"{provisioner}_practice")
        volume = self._provision(claim, storage_class)
        text = f"Successfully provisioned volume {name_of(volume)}"
        self.recorder.event(claim, "Normal", "ProvisioningSucceeded", text, f"{provisioner}_practice")
        self._bind(claim, volume)

    def _provision(self, claim: Object, storage_class: Object) -> Object:
        name = f"pvc-{uid_of(claim)}"
        known = self.store.get("PersistentVolume", None, name)
        if known is not None:
            return known
        return self.store.create(
            "PersistentVolume",
            {
                "metadata": {
                    "name": name,
                    "annotations": {"pv.kubernetes.io/provisioned-by": storage_class["provisioner"]},
                },
                "spec": {
                    "capacity": {"storage": requested(claim)},
                    "csi": {"driver": storage_class["provisioner"], "volumeHandle": name, "fsType": "ext4"},
                    "accessModes": spec_of(claim)["accessModes"],
                    "claimRef": self._reference(claim),
                    "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
                    "storageClassName": name_of(storage_class),
                    "volumeMode": spec_of(claim).get("volumeMode", "Filesystem"),
                },
            },
            manager="csi-provisioner",
        )

    @staticmethod
    def _reference(claim: Object) -> Object:
        return {
            "kind": "PersistentVolumeClaim",
            "namespace": namespace_of(claim),
            "name": name_of(claim),
            "uid": uid_of(claim),
            "apiVersion": "v1",
        }

    def _static(self, claim: Object) -> Object | None:
        """The smallest volume that somebody made and that suits the claim."""
        spec = spec_of(claim)
        fitting: list[Object] = []
        for volume in self.store.each("PersistentVolume"):
            offered = spec_of(volume)
            reference = offered.get("claimRef") or {}
            if reference and (reference.get("namespace"), reference.get("name")) != (
                namespace_of(claim),
                name_of(claim),
            ):
                continue
            if reference.get("uid") and reference["uid"] != uid_of(claim):
                continue
            if spec.get("volumeName") and spec["volumeName"] != name_of(volume):
                continue
            if (
                deleting(volume)
                or status_of(volume).get("phase") in ("Released", "Failed")
                or offered.get("storageClassName", "") != (spec.get("storageClassName") or "")
                or not set(spec.get("accessModes") or []) <= set(offered.get("accessModes") or [])
                or quantity.parse(offered["capacity"]["storage"]) < quantity.parse(requested(claim))
            ):
                continue
            fitting.append(volume)
        return min(
            fitting, key=lambda volume: quantity.parse(spec_of(volume)["capacity"]["storage"]), default=None
        )

    def _bind(self, claim: Object, volume: Object) -> None:
        name, key = name_of(volume), (namespace_of(claim), name_of(claim))

        def claimed(obj: Object) -> None:
            obj["spec"]["claimRef"] = self._reference(claim)

        def phase(obj: Object) -> None:
            obj["status"] = {**status_of(obj), "phase": "Bound"}

        def binding(obj: Object) -> None:
            obj["spec"]["volumeName"] = name
            obj["metadata"].setdefault("annotations", {}).update(
                {"pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes"}
            )

        def bound(obj: Object) -> None:
            obj["status"] = {
                "phase": "Bound",
                "accessModes": spec_of(volume)["accessModes"],
                "capacity": spec_of(volume)["capacity"],
            }

        self.store.mutate("PersistentVolume", None, name, claimed, manager=MANAGER)
        self.store.mutate("PersistentVolume", None, name, phase, "status", MANAGER)
        self.store.mutate("PersistentVolumeClaim", *key, binding, manager=MANAGER)
        self.store.mutate("PersistentVolumeClaim", *key, bound, "status", MANAGER)
        self._due.pop(uid_of(claim), None)

    # ---- bound

    def _bound(self, claim: Object) -> None:
        key = (namespace_of(claim), name_of(claim))
        volume = self.store.get("PersistentVolume", None, spec_of(claim).get("volumeName", ""))
        if volume is None:

            def lose(obj: Object) -> None:
                obj["status"] = {"phase": "Lost"}

            self.store.mutate("PersistentVolumeClaim", *key, lose, "status", MANAGER)
            text = "Bound claim has lost its PersistentVolume. Any data on the volume is lost!"
            self.event(claim, "Warning", "ClaimLost", text)
            self._lost(uid_of(claim))
            return
        wanted, has = requested(claim), (status_of(claim).get("capacity") or {}).get("storage", "0")
        if quantity.parse(wanted) <= quantity.parse(has):
            return
        due = self._due.setdefault(uid_of(claim), self.clock.elapsed() + PROVISION_SECONDS)
        if due > self.clock.elapsed():
            self.recorder.event(
                claim,
                "Normal",
                "Resizing",
                f"External resizer is resizing volume {name_of(volume)}",
                "resizer",
            )
            self.enqueue(key, due - self.clock.elapsed())
            return
        del self._due[uid_of(claim)]

        def grow(obj: Object) -> None:
            obj["spec"]["capacity"]["storage"] = wanted

        def grown(obj: Object) -> None:
            obj["status"]["capacity"] = {**(status_of(obj).get("capacity") or {}), "storage": wanted}

        self.store.mutate("PersistentVolume", None, name_of(volume), grow, manager=MANAGER)
        self.store.mutate("PersistentVolumeClaim", *key, grown, "status", MANAGER)
        text = f'MountVolume.NodeExpandVolume succeeded for volume "{name_of(volume)}"'
        self.recorder.event(claim, "Normal", "FileSystemResizeSuccessful", text, "kubelet")

    # ---- the end

    def _used(self, claim: Object) -> bool:
        return any(
            name_of(claim) in claim_names(pod)
            for pod in self.store.each("Pod", namespace_of(claim))
            if not finished(pod) and spec_of(pod).get("nodeName")
        )

    def _release(self, claim: Object) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if PROTECTION not in finalizers:
            return

        def unprotect(obj: Object) -> None:
            obj["metadata"]["finalizers"] = [name for name in finalizers if name != PROTECTION]

        self.store.mutate(
            "PersistentVolumeClaim", namespace_of(claim), name_of(claim), unprotect, manager=MANAGER
        )

    def _volume(self, name: str) -> None:
        volume = self.store.get("PersistentVolume", None, name)
        if volume is None:
            return
        reference = spec_of(volume).get("claimRef") or {}
        claim = None
        if reference.get("uid"):
            claim = self.store.get("PersistentVolumeClaim", reference["namespace"], reference["name"])
            if claim is not None and uid_of(claim) != reference["uid"]:
                claim = None
        phase = status_of(volume).get("phase")
        if reference.get("uid") and claim is None and phase == "Bound":
            self._set_phase(volume, "Released")
            if spec_of(volume).get("persistentVolumeReclaimPolicy") == "Delete":
                self._lost(reference["uid"])
                self.store.delete("PersistentVolume", None, name)
        elif not reference and phase == "Pending":
            self._set_phase(volume, "Available")
        volume = self.store.get("PersistentVolume", None, name)
        if volume is not None and deleting(volume) and claim is None:

            def unprotect(obj: Object) -> None:
                kept = [
                    entry for entry in obj["metadata"].get("finalizers") or [] if entry != VOLUME_PROTECTION
                ]
                obj["metadata"]["finalizers"] = kept

            self.store.mutate("PersistentVolume", None, name, unprotect, manager=MANAGER)

    def _set_phase(self, volume: Object, phase: str) -> None:
        now = self.store.now()

        def write(obj: Object) -> None:
            obj["status"] = {"phase": phase, "lastPhaseTransitionTime": now}

        self.store.mutate("PersistentVolume", None, name_of(volume), write, "status", MANAGER)

    def retry(self) -> None:
        """Look at all pending claims again."""
        for key in self._pending():
            self.enqueue(key)
