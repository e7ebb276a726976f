"""The plain values that go in and out of the Kubernetes gateway."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MAX_VERSION = 64  # characters


@dataclass(frozen=True)
class ResourceKind:
    """A kind of object, as its manifest names it: ("apps/v1", "Deployment")."""

    api_version: str
    kind: str

    @property
    def group(self) -> str:
        """The API group, "" for the core one."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]


@dataclass(frozen=True)
class ObjectRef:
    """One object. ``namespace`` "" for kinds that live in none."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""

    @property
    def resource_kind(self) -> ResourceKind:
        return ResourceKind(self.api_version, self.kind)

    @classmethod
    def of(cls, obj: dict[str, Any]) -> ObjectRef:
        """Of a manifest or a live object that has apiVersion, kind and metadata.name."""
        meta = obj["metadata"]
        return cls(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace") or "")

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace + '/' if self.namespace else ''}{self.name}"


@dataclass(frozen=True)
class ServerVersion:
    """From /version: ``git_version`` as it came ("v1.36.2+k3s1"), the numbers without decoration.
    ``clock_ahead`` is by how many seconds the server's clock was ahead of ours, to about a second;
    None where its answer carried no date."""

    git_version: str
    major: int
    minor: int
    platform: str = ""
    clock_ahead: float | None = None


@dataclass(frozen=True)
class Page:
    """A page of a list. ``items`` are raw objects, without kind and apiVersion as the server sends
    them. All pages of one list share ``resource_version``: a watch goes on from there.
    ``remaining`` is how many follow, or None where the server does not say."""

    items: list[dict[str, Any]]
    resource_version: str
    remaining: int | None = None


def version_in(metadata: object) -> str:
    """The resourceVersion in an object's or a list's metadata, "" where there is none to go on from."""
    value = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    text = str(value) if isinstance(value, str | int) else ""
    return text if len(text) <= MAX_VERSION and text.isprintable() else ""


@dataclass(frozen=True)
class WatchEvent:
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK. A bookmark's object holds apiVersion, kind
    and metadata.resourceVersion only; with the initial events asked for, the one that ends them has
    the annotation ``k8s.io/initial-events-end``. ``resource_version`` is where to go on from."""

    type: str
    object: dict[str, Any]
    resource_version: str

    @property
    def ends_initial(self) -> bool:
        metadata = self.object.get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
        return (
            self.type == "BOOKMARK"
            and isinstance(annotations, dict)
            and annotations.get("k8s.io/initial-events-end") == "true"
        )


class Decision(StrEnum):
    ALLOWED = "allowed"
    DENIED = "denied"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Verdict:
    """Whether we may do something. UNKNOWN where the server could not work it out."""

    decision: Decision
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.decision is Decision.ALLOWED


@dataclass(frozen=True)
class Identity:
    """Who the API server takes us for."""

    username: str
    uid: str = ""
    groups: tuple[str, ...] = ()
