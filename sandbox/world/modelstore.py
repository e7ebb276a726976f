"""Volumes and the Ollama models on them: blobs, unfinished downloads, manifests. Ollama server/manifest.go."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sandbox import quantity
from sandbox.store import Store
from sandbox.world.objects import name_of, namespace_of, spec_of, status_of, uid_of
from sandbox.world.registry import Layer, Manifest

Object = dict[str, Any]
Capacity = Callable[[], int | None]


@dataclass(slots=True)
class Stored:
    """An installed model. modified: seconds since the epoch."""

    manifest: Manifest
    modified: float


@dataclass(slots=True)
class Volume:
    """One file system. partials: digest -> bytes that have arrived. capacity: bytes now, None for no limit."""

    key: str
    capacity: Capacity
    blobs: dict[str, int] = field(default_factory=dict)
    partials: dict[str, int] = field(default_factory=dict)
    models: dict[str, Stored] = field(default_factory=dict)

    def used(self) -> int:
        return sum(self.blobs.values()) + sum(self.partials.values())

    def grow(self, digest: str, to: int) -> None:
        """Bytes of an unfinished blob. Raises OSError (ENOSPC) when the file system is full; what fitted stays."""
        most = self.capacity()
        before = self.partials.get(digest, 0)
        if most is not None and self.used() - before + to > most:
            self.partials[digest] = max(before, most - self.used() + before)
            raise OSError(errno.ENOSPC, "no space left on device")
        self.partials[digest] = to

    def finish(self, digest: str, size: int) -> None:
        self.partials.pop(digest, None)
        self.blobs[digest] = size

    def prune(self) -> None:
        """Drop unfinished blobs and those that no manifest names, as a starting server does."""
        self.partials.clear()
        wanted = {layer.digest for stored in self.models.values() for layer in stored.manifest.all_layers()}
        for digest in [digest for digest in self.blobs if digest not in wanted]:
            del self.blobs[digest]

    def find(self, name: str) -> str | None:
        """The key of a model by its full name, whatever the case of its letters."""
        return next((known for known in self.models if known.lower() == name.lower()), None)

    def remove(self, key: str) -> None:
        """Remove a model and the blobs that no other one uses."""
        gone = self.models.pop(key)
        wanted = {layer.digest for stored in self.models.values() for layer in stored.manifest.all_layers()}
        for layer in gone.manifest.all_layers():
            if layer.digest not in wanted:
                self.blobs.pop(layer.digest, None)

    # ---- keeping

    def dump(self) -> Object:
        return {
            "blobs": self.blobs,
            "partials": self.partials,
            "models": {
                name: {"manifest": stored.manifest.dump(), "modified": stored.modified}
                for name, stored in self.models.items()
            },
        }

    def load(self, data: Object) -> None:
        self.blobs.update(data["blobs"])
        self.partials.update(data["partials"])
        for name, entry in data["models"].items():
            self.models[name] = Stored(Manifest.load(entry["manifest"]), entry["modified"])


class Volumes:
    """All file systems of the world, by claim uid or by the pod that an emptyDir belongs to."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._volumes: dict[str, Volume] = {}
        self._kept: Object = {}

    def __iter__(self) -> Any:
        return iter(tuple(self._volumes.values()))

    def get(self, key: str, capacity: Capacity) -> Volume:
        volume = self._volumes.get(key)
        if volume is None:
            volume = self._volumes[key] = Volume(key, capacity)
            if key in self._kept:
                volume.load(self._kept.pop(key))
        volume.capacity = capacity
        return volume

    def drop(self, prefix: str) -> None:
        for key in [key for key in self._volumes if key.startswith(prefix)]:
            del self._volumes[key]
        for key in [key for key in self._kept if key.startswith(prefix)]:
            del self._kept[key]

    def claim_lost(self, uid: str) -> None:
        """The data of a claim is gone with its volume."""
        self.drop(f"claim/{uid}")

    def dump(self) -> Object:
        """What outlives a restart of the practice cluster: volumes of claims."""
        return {
            **self._kept,
            **{key: volume.dump() for key, volume in self._volumes.items() if key.startswith("claim/")},
        }

    def load(self, data: Object) -> None:
        self._kept = dict(data)

    def at(self, pod: Object, container: Object, path: str, instance: str) -> Volume:
        """The file system that holds path in a container; instance tells one life of the container from the next."""
        mounts = [
            mount
            for mount in container.get("volumeMounts") or []
            if path == mount["mountPath"] or path.startswith(mount["mountPath"].rstrip("/") + "/")
        ]
        uid = uid_of(pod)
        if not mounts:
            return self.get(f"container/{uid}/{container['name']}/{instance}", lambda: None)
        mount = max(mounts, key=lambda entry: len(entry["mountPath"]))
        volumes = spec_of(pod).get("volumes") or []
        volume: Object = next((entry for entry in volumes if entry["name"] == mount["name"]), {})
        claim_name = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
        if volume.get("ephemeral"):
            claim_name = f"{name_of(pod)}-{mount['name']}"
        claim = self.store.get("PersistentVolumeClaim", namespace_of(pod), claim_name) if claim_name else None
        sub_path = mount.get("subPath", "")
        if claim is not None:
            namespace = namespace_of(pod)
            return self.get(
                f"claim/{uid_of(claim)}/{sub_path}", lambda: self._capacity(namespace, claim_name)
            )
        limit = (volume.get("emptyDir") or {}).get("sizeLimit")
        return self.get(
            f"pod/{uid}/{mount['name']}/{sub_path}", lambda: int(quantity.parse(limit)) if limit else None
        )

    def _capacity(self, namespace: str, name: str) -> int | None:
        claim = self.store.get("PersistentVolumeClaim", namespace, name)
        text = (status_of(claim or {}).get("capacity") or {}).get("storage")
        return int(quantity.parse(text)) if text else None


__all__ = ["Layer", "Manifest", "Stored", "Volume", "Volumes"]
