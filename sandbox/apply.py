"""Who owns which field: server-side apply, and the ownership that plain writes leave behind.

The rules are those of the API server's field manager (k8s.io/apimachinery managedfields and structured-merge-diff);
the texts and the examples are in the recorded transcripts 14 (writes), 15 (server-side apply) and 16 (escapes).
"""

from __future__ import annotations

import copy
import datetime as dt
from dataclasses import dataclass, field
from typing import Any

from sandbox import codec, typed
from sandbox.bodies import parse_apply_body as parse_body
from sandbox.bodies import repeated_keys
from sandbox.fieldsets import (
    NOTHING,
    Path,
    Paths,
    from_fields_v1,
    ordered,
    shown,
    to_fields_v1,
    under,
    with_named_parents,
)
from sandbox.kinds import Kind
from sandbox.schema import Type, split_group_version, type_of
from sandbox.status import ApiError, bad_request, internal, quote

__all__ = ["parse_body", "repeated_keys", "server_side_apply", "track_update", "unchanged"]

# What nobody owns (k8s.io/apimachinery managedfields/internal/stripmeta.go).
UNOWNED: frozenset[Path] = frozenset(
    [("f:apiVersion",), ("f:kind",), ("f:metadata",)]
    + [
        ("f:metadata", f"f:{name}")
        for name in (
            [
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            ]
        )
    ]
)
STATUS: Path = ("f:status",)
# A write of a status may also change annotations, finalizers and owners, but neither spec nor labels.
CLOSED_TO_STATUS: tuple[Path, ...] = (("f:spec",), ("f:metadata", "f:labels"))
REPLICAS: Path = ("f:spec", "f:replicas")
BEFORE_FIRST_APPLY = "before-first-apply"

Moment = str | dt.datetime


@dataclass(frozen=True, slots=True, order=True)
class Manager:
    """An owner: entries that differ in any of these are different owners."""

    name: str
    operation: str
    api_version: str
    subresource: str = ""

    def shown(self) -> str:
        text = quote(self.name)
        if self.subresource:
            text += f" with subresource {quote(self.subresource)}"
        return f"{text} using {self.api_version}" if self.operation == "Update" else text


@dataclass(slots=True)
class Ownership:
    """The managed fields of one object, taken apart."""

    sets: dict[Manager, Paths] = field(default_factory=dict)
    times: dict[Manager, str] = field(default_factory=dict)

    @classmethod
    def read(cls, obj: dict[str, Any] | None) -> Ownership:
        made = cls()
        for entry in ((obj or {}).get("metadata") or {}).get("managedFields") or ():
            if not entry.get("manager") and not entry.get("operation"):
                continue
            manager = Manager(
                entry.get("manager", ""),
                entry.get("operation", ""),
                entry.get("apiVersion", ""),
                entry.get("subresource", ""),
            )
            made.sets[manager] = from_fields_v1(entry.get("fieldsV1") or {})
            if entry.get("time"):
                made.times[manager] = entry["time"]
        return made

    def entries(self) -> list[dict[str, Any]]:
        made = []
        for manager in sorted(
            self.sets,
            key=lambda m: (m.operation, self.times.get(m, ""), m.name, m.api_version, m.subresource),
        ):
            entry: dict[str, Any] = {
                "manager": manager.name,
                "operation": manager.operation,
                "apiVersion": manager.api_version,
            }
            if manager in self.times:
                entry["time"] = self.times[manager]
            entry |= {"fieldsType": "FieldsV1", "fieldsV1": to_fields_v1(self.sets[manager])}
            if manager.subresource:
                entry["subresource"] = manager.subresource
            made.append(entry)
        return made

    def write(self, obj: dict[str, Any]) -> None:
        metadata = obj.setdefault("metadata", {})
        metadata.pop("managedFields", None)
        if entries := self.entries():
            metadata["managedFields"] = entries

    def take(self, manager: Manager, taken: Paths) -> None:
        """Everybody but this manager loses these paths."""
        for other in list(self.sets):
            if other != manager:
                self.sets[other] -= taken
                if not self.sets[other]:
                    del self.sets[other]


def _stamp(now: Moment) -> str:
    return now if isinstance(now, str) else now.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_managed_fields(obj: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _writable(kind: Kind, comparison: typed.Comparison, subresource: str) -> typed.Comparison:
    if subresource == "status":
        return comparison.without(CLOSED_TO_STATUS)
    return comparison.without((STATUS,)) if kind.has_status else comparison


def _owned_by_write(kind: Kind, paths: Paths, subresource: str) -> Paths:
    if subresource == "status":
        return paths - under(paths, CLOSED_TO_STATUS)
    return paths - under(paths, (STATUS,)) if kind.has_status else paths


# --- plain writes -------------------------------------------------------------------------------------------------


def _is_reset(obj: dict[str, Any]) -> bool:
    entries = (obj.get("metadata") or {}).get("managedFields")
    return isinstance(entries, list) and len(entries) == 1 and not any(entries[0].values())


def track_update(
    kind: Kind, old: dict[str, Any] | None, new: dict[str, Any], manager: str, subresource: str, now: Moment
) -> None:
    """Write `new`'s managedFields, in place, after a create (old None), update or patch by `manager`.

    Both objects are as the server holds them (decoded and defaulted). managedFields sent along are taken over, `[{}]`
    wipes them; an object without any that exists already stays untracked (recorded transcript 14).
    """
    shape = type_of(kind)
    before = Ownership.read(old)
    if subresource or old is None:
        owners = before if subresource else Ownership.read(new)
    elif _is_reset(new):
        owners = Ownership()
    else:
        owners = Ownership.read(new)
        if not owners.sets:
            owners = before
    if old is not None and not owners.sets:
        new.setdefault("metadata", {}).pop("managedFields", None)
        return
    left = _without_managed_fields(old) if old is not None else codec.blank(shape)
    changes = typed.compare(shape, left, _without_managed_fields(new))
    if subresource == "scale":
        changes = changes.only((REPLICAS,))
    changes = _writable(kind, changes, subresource)
    _track(owners, Manager(manager, "Update", kind.api_version, subresource), changes, _stamp(now))
    owners.write(new)
    if old is not None and unchanged(old, new):
        new["metadata"] = copy.deepcopy(old["metadata"])


def _track(owners: Ownership, manager: Manager, changes: typed.Comparison, stamp: str) -> None:
    taken = changes.modified | changes.added
    owners.take(Manager("", "", ""), taken | changes.removed)
    gained = taken - UNOWNED
    if gained:
        owners.sets[manager] = owners.sets.get(manager, NOTHING) | gained
        # What came through the scale sub-resource carries no time.
        if manager.subresource != "scale":
            owners.times[manager] = stamp


def unchanged(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Whether nothing but time stamps of managed fields differs: then a write keeps the old object as it is."""

    def plain(obj: dict[str, Any]) -> dict[str, Any]:
        entries = (obj.get("metadata") or {}).get("managedFields") or ()
        stripped = [{key: value for key, value in entry.items() if key != "time"} for entry in entries]
        # Entries are sorted by time, which is what is not looked at here.
        return {"object": _without_managed_fields(obj), "managed": sorted(stripped, key=repr)}

    return plain(old) == plain(new)


# --- server-side apply --------------------------------------------------------------------------------------------


def server_side_apply(
    kind: Kind,
    live: dict[str, Any] | None,
    applied: dict[str, Any],
    manager: str,
    force: bool,
    subresource: str,
    now: Moment,
) -> dict[str, Any]:
    """The live object (None: it does not exist) after an apply; equal to `live` when nothing changes.

    applied is the parsed body; for the scale sub-resource it is a Scale and the answer is still the whole object. What
    comes back has passed the server's structs but is neither defaulted nor validated; on a create its name and
    namespace are those of the body. Raises ApiError: 400 for another kind or managedFields in the body, 500 for fields
    that do not exist or have the wrong type, 409 with its causes for conflicts.
    """
    shape = type_of(kind)
    scale = subresource == "scale"
    _check_head(kind, applied, scale)
    config = _from_scale(applied) if scale else copy.deepcopy(applied)
    metadata = config.get("metadata")
    if isinstance(metadata, dict) and "managedFields" in metadata:
        if metadata["managedFields"] is not None:
            raise bad_request("metadata.managedFields must be nil")
        del metadata["managedFields"]
    _check_types(kind, shape, config)

    base = _without_managed_fields(live) if live is not None else codec.blank(shape)
    owners = Ownership.read(live)
    stamp = _stamp(now)
    if live is not None and not owners.sets:
        _track(
            owners,
            Manager(BEFORE_FIRST_APPLY, "Update", kind.api_version),
            typed.compare(shape, codec.blank(shape), base),
            stamp,
        )

    me = Manager(manager, "Apply", kind.api_version, subresource)
    merged = typed.merge(shape, base, config)
    last = owners.sets.get(me, NOTHING)
    claimed = _owned_by_write(kind, typed.field_set(shape, config), subresource) - UNOWNED
    owners.sets[me] = claimed
    merged = _prune(shape, merged, owners, last)
    changes = _writable(kind, typed.compare(shape, base, merged), subresource)
    _resolve(owners, me, changes, force)
    if not owners.sets.get(me):
        owners.sets.pop(me, None)
    # A change of owners alone leaves the time alone, and a scale carries none.
    if merged != base and not scale and me in owners.sets:
        owners.times[me] = stamp

    try:
        result = codec.normalised(shape, merged)
    except codec.DecodeError as wrong:
        # What the schema takes and the Go type does not, such as a quantity (structuredmerge.go, toVersioned).
        who, what = _names(kind, config)
        raise internal(
            f"failed to convert new object ({who}; {what}) to proper version ({kind.api_version}): "
            f"unable to convert unstructured object to {what}: {wrong}"
        ) from wrong
    _keep_closed(kind, live, result, subresource)
    owners.write(result)
    if live is not None and unchanged(live, result):
        return copy.deepcopy(live)
    return result


def _check_head(kind: Kind, applied: dict[str, Any], scale: bool) -> None:
    version, name = applied.get("apiVersion") or "", applied.get("kind") or ""
    expected = ("autoscaling/v1", "Scale") if scale else (kind.api_version, kind.kind)
    if (version, name) != expected:
        group, number = split_group_version(str(version))
        raise bad_request(f"invalid object type: {group}/{number}, Kind={name}")


def _check_types(kind: Kind, shape: Type, config: dict[str, Any]) -> None:
    found = typed.problems(shape, config)
    if not found:
        return
    who, what = _names(kind, config)
    text = found[0] if len(found) == 1 else "\n".join(["errors:", *("  " + problem for problem in found)])
    raise internal(f"failed to create typed patch object ({who}; {what}): {text}")


def _names(kind: Kind, config: dict[str, Any]) -> tuple[str, str]:
    """Object and type as Go writes them in its messages."""
    metadata = config.get("metadata")
    names = [metadata.get(key) if isinstance(metadata, dict) else None for key in ("namespace", "name")]
    who = "/".join(value if isinstance(value, str) else "" for value in names)
    return who, f"{kind.group}/{kind.version}, Kind={kind.kind}"


def _from_scale(applied: dict[str, Any]) -> dict[str, Any]:
    """The part of the scaled object that a Scale speaks of."""
    spec = applied.get("spec")
    return {"spec": {"replicas": spec["replicas"]}} if isinstance(spec, dict) and "replicas" in spec else {}


def _prune(shape: Type, merged: Any, owners: Ownership, last: Paths) -> Any:
    """Take out what this manager applied before and no longer does, unless somebody else has it."""
    if not last:
        return merged
    lost = with_named_parents(last, shape)
    pruned = typed.remove(shape, merged, lost)
    owned: set[Path] = set()
    for paths in owners.sets.values():
        owned |= paths
    kept = with_named_parents(frozenset(owned), shape)
    everything = with_named_parents(typed.field_set(shape, merged), shape)
    pruned = typed.remove(
        shape, merged, everything - (with_named_parents(typed.field_set(shape, pruned), shape) | kept)
    )
    left = with_named_parents(typed.field_set(shape, pruned), shape)
    # What was never this manager's (the server's defaults) stays.
    return typed.remove(shape, merged, (everything - left) & lost)


def _resolve(owners: Ownership, me: Manager, changes: typed.Comparison, force: bool) -> None:
    taken = changes.modified | changes.added
    conflicts = {
        other: paths & taken for other, paths in owners.sets.items() if other != me and paths & taken
    }
    if conflicts and not force:
        raise _conflict(conflicts)
    owners.take(me, taken | changes.removed)


def _conflict(conflicts: dict[Manager, Paths]) -> ApiError:
    found = [
        (manager.shown(), shown(path))
        for manager in sorted(conflicts)
        for path in ordered(conflicts[manager])
    ]
    if len(found) == 1:
        text = f"Apply failed with 1 conflict: conflict with {found[0][0]}: {found[0][1]}"
    else:
        lines: list[str] = []
        for manager in dict.fromkeys(who for who, _ in found):
            lines.append(f"conflicts with {manager}:")
            lines += [f"- {path}" for who, path in found if who == manager]
        text = f"Apply failed with {len(found)} conflicts: " + "\n".join(lines)
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path}
        for who, path in found
    ]
    return ApiError(409, "Conflict", text, {"causes": causes})


def _keep_closed(kind: Kind, live: dict[str, Any] | None, result: dict[str, Any], subresource: str) -> None:
    """Put back what this kind of write may not touch."""
    source = live if live is not None else codec.blank(type_of(kind))
    if subresource == "status":
        for key in ("spec",):
            _copy_member(source, result, key)
        _copy_member(source.get("metadata") or {}, result["metadata"], "labels")
    elif kind.has_status:
        _copy_member(source, result, "status")


def _copy_member(source: dict[str, Any], target: dict[str, Any], key: str) -> None:
    if key in source:
        target[key] = copy.deepcopy(source[key])
    else:
        target.pop(key, None)
