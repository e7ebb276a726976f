"""Events as controllers and nodes write them (counted) and as the scheduler writes them (with eventTime and a series).

Recorded transcripts 20, 23 and 26b. Repeats of one event raise its count; one object gets at most 25 different events
in a burst from one component (client-go tools/record/events_cache.go).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sandbox import status
from sandbox.store import Store

Object = dict[str, Any]

BURST = 25
REFILL_SECONDS = 300.0
KEPT_SECONDS = 3600.0
_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def reference(obj: Object, field_path: str = "") -> Object:
    """involvedObject for an object; field_path as `spec.containers{main}`."""
    metadata = obj["metadata"]
    made = {
        "kind": obj["kind"],
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata["uid"],
        "apiVersion": obj["apiVersion"],
        "resourceVersion": metadata.get("resourceVersion", ""),
        "fieldPath": field_path,
    }
    return {name: made[name] for name in _REFERENCE if made[name]}


def micro_time(seconds: float) -> str:
    """RFC 3339 with the six fraction digits that MicroTime fields need."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Recorder:
    """Writes events into the store; a refused write (a namespace that goes away) is dropped, as clients drop it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._known: dict[tuple[str, ...], tuple[str, str]] = {}
        self._tokens: dict[tuple[str, str], tuple[float, float]] = {}
        self._serial = int(store.clock() * 1e9)

    def _name(self, obj: Object) -> str:
        self._serial += 1
        return f"{obj['metadata']['name']}.{self._serial:x}"

    def _allowed(self, uid: str, component: str) -> bool:
        now = self.store.clock()
        tokens, at = self._tokens.get((uid, component), (float(BURST), now))
        tokens = min(float(BURST), tokens + (now - at) / REFILL_SECONDS)
        if tokens < 1:
            self._tokens[(uid, component)] = (tokens, now)
            return False
        self._tokens[(uid, component)] = (tokens - 1, now)
        return True

    def _write(self, event: Object, component: str) -> str | None:
        try:
            stored = self.store.create("Event", event, manager=component)
        except status.ApiError as refused:
            if refused.code in (403, 404, 409):
                return None
            raise
        return str(stored["metadata"]["name"])

    def event(
        self,
        obj: Object,
        type_: str,
        reason: str,
        message: str,
        component: str,
        host: str = "",
        field_path: str = "",
    ) -> None:
        """A counted event. type_: Normal or Warning; component as `deployment-controller`; host for nodes' events."""
        involved = reference(obj, field_path)
        key = (involved["uid"], component, type_, reason, message, field_path)
        now = self.store.now()
        known = self._known.get(key)
        if not self._allowed(involved["uid"], component):
            return
        if known is not None and self._again(known, now, component):
            return
        namespace = involved.get("namespace", "default")
        source = {"component": component, **({"host": host} if host else {})}
        name = self._write(
            {
                "metadata": {"name": self._name(obj), "namespace": namespace},
                "involvedObject": involved,
                "reason": reason,
                "message": message[:1024],
                "source": source,
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
                "type": type_,
                "eventTime": None,
                "reportingComponent": component,
                "reportingInstance": host,
            },
            component,
        )
        if name is not None:
            self._known[key] = (namespace, name)

    def _again(self, known: tuple[str, str], now: str, component: str) -> bool:
        def count(event: Object) -> None:
            event["count"] = int(event.get("count") or 1) + 1
            event["lastTimestamp"] = now

        try:
            return self.store.mutate("Event", *known, count, manager=component) is not None
        except status.ApiError as refused:
            if refused.code in (403, 404, 409):
                return False
            raise

    def scheduling(self, pod: Object, type_: str, reason: str, message: str, action: str) -> None:
        """An event of the scheduler: eventTime, action and no count; a repeat becomes a series."""
        involved = reference(pod)
        key = (involved["uid"], "default-scheduler", type_, reason, message)
        moment = micro_time(self.store.clock())
        known = self._known.get(key)
        if known is not None:

            def repeat(event: Object) -> None:
                series = event.get("series") or {"count": 1}
                event["series"] = {"count": int(series["count"]) + 1, "lastObservedTime": moment}

            if self.store.mutate("Event", *known, repeat, manager="kube-scheduler") is not None:
                return
        name = self._write(
            {
                "metadata": {"name": self._name(pod), "namespace": involved["namespace"]},
                "involvedObject": involved,
                "reason": reason,
                "message": message[:1024],
                "source": {},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "type": type_,
                "eventTime": moment,
                "action": action,
                "reportingComponent": "default-scheduler",
                "reportingInstance": "default-scheduler-practice",
            },
            "kube-scheduler",
        )
        if name is not None:
            self._known[key] = (involved["namespace"], name)

    def expire(self) -> None:
        """Forget events that nobody repeated for an hour, as an API server's time to live does."""
        now = self.store.clock()
        for event in self.store.list("Event"):
            stamp = event.get("lastTimestamp") or event["metadata"]["creationTimestamp"]
            if now - datetime.fromisoformat(stamp).timestamp() > KEPT_SECONDS:
                metadata = event["metadata"]
                self.store.delete("Event", metadata["namespace"], metadata["name"])
        self._known = {key: at for key, at in self._known.items() if self.store.get("Event", *at) is not None}
        self._tokens = {key: at for key, at in self._tokens.items() if now - at[1] < KEPT_SECONDS}
