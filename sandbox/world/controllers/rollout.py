"""The arithmetic of a deployment's rollout, without any side effect.

Kubernetes documentation: "Deployments" (max surge, max unavailable, failures); recorded transcripts 20 and 21.
"""

from __future__ import annotations

from typing import Any

from sandbox.world.objects import condition, percent, spec_of, status_of, template_keys, uid_of

Object = dict[str, Any]


def _replicas(obj: Object) -> int:
    return int(spec_of(obj).get("replicas", 1))


def _rolling(deployment: Object) -> Object | None:
    strategy = spec_of(deployment).get("strategy") or {}
    if strategy.get("type") == "Recreate":
        return None
    found: Object = strategy.get("rollingUpdate") or {}
    return found


def surge(deployment: Object) -> int:
    """How many pods more than wanted there may be."""
    rolling = _rolling(deployment)
    return 0 if rolling is None else percent(rolling.get("maxSurge", "25%"), _replicas(deployment), up=True)


def unavailable(deployment: Object) -> int:
    """How many of the wanted pods may be missing."""
    rolling = _rolling(deployment)
    if rolling is None:
        return 0
    wanted = _replicas(deployment)
    most = percent(rolling.get("maxUnavailable", "25%"), wanted, up=False)
    if most == 0 and surge(deployment) == 0:
        most = 1
    return min(most, wanted)


def find_new(deployment: Object, sets: list[Object]) -> Object | None:
    """The oldest replica set whose template is the deployment's."""
    template = template_keys(deployment)
    return next((obj for obj in sets if template_keys(obj) == template), None)


def new_replicas(deployment: Object, others: list[Object], present: int) -> int:
    """How many replicas the new set may have now; present: how many it has."""
    wanted = _replicas(deployment)
    if _rolling(deployment) is None or present >= wanted:
        return wanted
    total = present + sum(_replicas(obj) for obj in others)
    room = wanted + surge(deployment) - total
    return present if room <= 0 else present + min(room, wanted - present)


def scale_down(deployment: Object, others: list[Object], new: Object) -> list[tuple[Object, int]]:
    """(old set, its new number) pairs: first pods that are not available, then as many as may be missing."""
    total = sum(_replicas(obj) for obj in others) + _replicas(new)
    if total - _replicas(new) == 0:
        return []
    least = _replicas(deployment) - unavailable(deployment)
    missing = max(0, _replicas(new) - _available(new))
    most = total - least - missing
    wanted = {uid_of(obj): _replicas(obj) for obj in others}
    for obj in others:
        if most <= 0:
            break
        broken = max(0, min(most, _replicas(obj) - _available(obj)))
        wanted[uid_of(obj)] -= broken
        most -= broken
    spare = sum(_available(obj) for obj in [*others, new]) - least
    for obj in others:
        part = max(0, min(spare, wanted[uid_of(obj)], most))
        wanted[uid_of(obj)] -= part
        spare -= part
        most -= part
    return [(obj, wanted[uid_of(obj)]) for obj in others if wanted[uid_of(obj)] != _replicas(obj)]


def _available(replica_set: Object) -> int:
    return int(status_of(replica_set).get("availableReplicas", 0))


# ---- conditions


def progressing(deployment: Object) -> Object | None:
    return condition(deployment, "Progressing")


def with_condition(
    conditions: list[Object],
    type_: str,
    value: str,
    reason: str,
    message: str,
    *,
    now: str,
    force: bool = False,
) -> list[Object]:
    """The conditions with one set: unchanged if status and reason are, else rewritten at the end."""
    old = next((found for found in conditions if found["type"] == type_), None)
    if old is not None and old["status"] == value and old["reason"] == reason and not force:
        return conditions
    same = old is not None and old["status"] == value
    made = {
        "type": type_,
        "status": value,
        "lastUpdateTime": now,
        "lastTransitionTime": old["lastTransitionTime"] if same and old is not None else now,
        "reason": reason,
        "message": message,
    }
    return [*(found for found in conditions if found["type"] != type_), made]


def complete(deployment: Object, state: Object) -> bool:
    """All wanted pods are of the new template and available, none else is left."""
    wanted = _replicas(deployment)
    counts = {int(state.get(name, 0)) for name in ("updatedReplicas", "replicas", "availableReplicas")}
    observed = int(state.get("observedGeneration", 0))
    return counts == {wanted} and observed >= int(deployment["metadata"].get("generation", 0))


def status(
    deployment: Object, sets: list[Object], new: Object | None, now: str, overdue: bool
) -> tuple[Object, bool]:
    """(the status, whether the rollout got further since the old one)."""
    old = status_of(deployment)
    wanted = _replicas(deployment)

    def total(member: str, among: list[Object] = sets) -> int:
        return sum(int(status_of(obj).get(member, 0)) for obj in among)

    fresh = [new] if new is not None else []
    asked = sum(_replicas(obj) for obj in sets)
    available = total("availableReplicas")
    counts = {
        "replicas": total("replicas"),
        "updatedReplicas": total("replicas", fresh),
        "readyReplicas": total("readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, asked - available),
    }
    state: Object = {"observedGeneration": deployment["metadata"].get("generation", 0)}
    state.update({name: count for name, count in counts.items() if count})
    state["terminatingReplicas"] = total("terminatingReplicas")
    conditions = list(old.get("conditions") or [])
    if available >= wanted - unavailable(deployment):
        conditions = with_condition(
            conditions,
            "Available",
            "True",
            "MinimumReplicasAvailable",
            "Deployment has minimum availability.",
            now=now,
        )
    else:
        conditions = with_condition(
            conditions,
            "Available",
            "False",
            "MinimumReplicasUnavailable",
            "Deployment does not have minimum availability.",
            now=now,
        )
    moved = _further(old, counts)
    if new is not None:
        conditions = _failure(conditions, sets, now)
        if spec_of(deployment).get("paused"):
            conditions = with_condition(
                conditions, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now=now
            )
        else:
            conditions = _progress(deployment, new, state, conditions, moved, overdue, now)
    if conditions:
        state["conditions"] = conditions
    if "collisionCount" in old:
        state["collisionCount"] = old["collisionCount"]
    return state, moved


def _further(old: Object, counts: dict[str, int]) -> bool:
    was_old = int(old.get("replicas", 0)) - int(old.get("updatedReplicas", 0))
    return counts["replicas"] - counts["updatedReplicas"] < was_old or any(
        counts[name] > int(old.get(name, 0))
        for name in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )


def _progress(
    deployment: Object,
    new: Object,
    state: Object,
    conditions: list[Object],
    moved: bool,
    overdue: bool,
    now: str,
) -> list[Object]:
    name = new["metadata"]["name"]
    old = next((found for found in conditions if found["type"] == "Progressing"), None)
    done = (
        state.get("replicas", 0) == state.get("updatedReplicas", 0)
        and (old or {}).get("reason") == "NewReplicaSetAvailable"
    )
    if done:
        return conditions
    if complete(deployment, state):
        text = f'ReplicaSet "{name}" has successfully progressed.'
        return with_condition(conditions, "Progressing", "True", "NewReplicaSetAvailable", text, now=now)
    if moved:
        text = f'ReplicaSet "{name}" is progressing.'
        return with_condition(
            conditions, "Progressing", "True", "ReplicaSetUpdated", text, now=now, force=True
        )
    if overdue and (old or {}).get("reason") != "ProgressDeadlineExceeded":
        text = f'ReplicaSet "{name}" has timed out progressing.'
        return with_condition(conditions, "Progressing", "False", "ProgressDeadlineExceeded", text, now=now)
    return conditions


def _failure(conditions: list[Object], sets: list[Object], now: str) -> list[Object]:
    failed = next((found for obj in sets if (found := condition(obj, "ReplicaFailure")) is not None), None)
    if failed is None:
        return [found for found in conditions if found["type"] != "ReplicaFailure"]
    return with_condition(
        conditions, "ReplicaFailure", failed["status"], failed["reason"], failed["message"], now=now
    )
