"""The health of one pod by itself: the same causes as the stack's, and words for a pod without any."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from deployments.domain.fit.filters import UNSCHEDULABLE
from deployments.domain.fit.matching import tolerates
from deployments.domain.health.assess import Assessment, pod_causes
from deployments.domain.health.events import pod_event_causes, probe_causes
from deployments.domain.health.observed import NodeTaints, ObservedContainer, ObservedEvent, ObservedPod
from deployments.domain.health.scheduler_message import names_no_taint
from deployments.domain.states import Health

COMPONENT = "app.kubernetes.io/component"


def assess_pod(
    pod: ObservedPod, now: datetime, events: Iterable[ObservedEvent] = (), installing: bool = False
) -> Assessment:
    """One sentence, its evidence and a remedy ("" where nothing is to be done). ``events`` are those about
    it, ``installing`` as for :func:`assess`."""
    events = tuple(events)
    told = probe_causes(pod, events, now, installing) + pod_causes(pod, now)
    told += pod_event_causes(pod, events, now)
    causes = sorted(told, key=lambda cause: cause.health.badness)
    if causes:
        evidence = tuple(dict.fromkeys(cause.evidence for cause in causes if cause.evidence))
        return Assessment(causes[0].health, causes[0].sentence, evidence[:8], causes[0].remedy)
    if pod.deleting:
        return Assessment(Health.PROGRESSING, f"{pod.name} is being ended.")
    if pod.phase == "Succeeded":
        return Assessment(Health.HEALTHY, f"{pod.name} has done its work and ended.")
    if pod.ready:
        return Assessment(Health.HEALTHY, f"{pod.name} runs and is ready.")
    if pod.phase == "Running":
        if pod.model_present is False:
            return Assessment(
                Health.PROGRESSING,
                f"{pod.name} runs and waits for its model.",
                remedy="Nothing while it is pulled; else pull the model again.",
            )
        if any(container.restarts for container in pod.containers):
            return Assessment(
                Health.DEGRADED,
                f"{pod.name} was started again and is not ready yet.",
                tuple(_last(pod, c) for c in pod.containers if c.last_exit_code is not None),
                "Read the log of the previous run.",
            )
        return Assessment(Health.PROGRESSING, f"{pod.name} runs but is not ready yet.")
    if pod.phase == "Pending":
        where = f" on {pod.node}" if pod.node else ""
        return Assessment(Health.PROGRESSING, f"{pod.name} is being started{where}.")
    return Assessment(Health.UNKNOWN, f"How {pod.name} is was not told.")


def _last(pod: ObservedPod, container: ObservedContainer) -> str:
    reason = f" ({container.last_reason})" if container.last_reason else ""
    return f"{pod.name}/{container.name}: ended with exit code {container.last_exit_code}{reason}"


def stored_pod(
    name: str,
    data: dict[str, Any],
    model_present: bool | None = None,
    *,
    node_ready: bool | None = None,
    node_gone: bool = False,
    taints: Sequence[NodeTaints] = (),
    clock_ahead: timedelta = timedelta(0),
) -> ObservedPod:
    """A pod as the observer has stored it (under the names of the Kubernetes API), for judging it.
    ``taints`` are those of all nodes where :func:`wants_taints` says so. ``clock_ahead`` is by how much the
    cluster's clock is ahead of ours."""
    conditions = {item["type"]: item for item in data.get("conditions", []) if "type" in item}
    scheduled = conditions.get("PodScheduled")
    # What runs before the others is meant to end; only where it does not end well is it a cause.
    before = [item for item in data.get("initContainerStatuses", []) if not _done(item)]
    limited = {
        item.get("name") for item in data.get("setups", []) if "memory" in (item.get("limits") or {})
    } or {item.get("name") for item in data.get("containers", []) if "memory" in (item.get("limits") or {})}
    return ObservedPod(
        name=name,
        component=data.get("labels", {}).get(COMPONENT, ""),
        phase=data.get("phase") or "Pending",
        ready=conditions.get("Ready", {}).get("status") == "True",
        reason=data.get("reason", ""),
        message=data.get("message", ""),
        node=data.get("node", ""),
        node_ready=node_ready,
        node_gone=node_gone,
        deleting=bool(data.get("deletedAt")),
        end_due_at=_time(data.get("deletedAt"), clock_ahead),
        created_at=_time(data.get("createdAt"), clock_ahead),
        scheduled=None if scheduled is None else scheduled.get("status") == "True",
        scheduling_reason=scheduled.get("reason", "") if scheduled else "",
        scheduling_message=scheduled.get("message", "") if scheduled else "",
        kept_off=tuple(_kept_off(data, taints)) if wants_taints(data) else (),
        containers=(
            *(_container(item, item.get("name") in limited, init=True) for item in before),
            *(_container(item, item.get("name") in limited) for item in data.get("containerStatuses", [])),
        ),
        model_present=model_present,
    )


def wants_taints(data: dict[str, Any]) -> bool:
    """Whether the scheduler keeps a stored pod off nodes by taints that it does not name."""
    return any(
        item.get("type") == "PodScheduled"
        and item.get("status") == "False"
        and names_no_taint(item.get("message", ""))
        for item in data.get("conditions", [])
    )


def _kept_off(data: dict[str, Any], nodes: Sequence[NodeTaints]) -> Iterator[str]:
    """For each node the first taint that the pod does not tolerate, as the scheduler finds it."""
    tolerations = data.get("tolerations", [])
    for node in nodes:
        if node.cordoned and not tolerates(tolerations, UNSCHEDULABLE):
            continue  # counted as that
        for taint in node.taints:
            if taint.effect in ("NoSchedule", "NoExecute") and not tolerates(tolerations, taint):
                yield f"{taint.key}: {taint.value}" if taint.value else taint.key
                break


def stored_event(data: dict[str, Any], clock_ahead: timedelta = timedelta(0)) -> ObservedEvent | None:
    """An event as the observer has stored it, or None for one that does not say when it was."""
    at = _time(data.get("lastSeen"), clock_ahead) or _time(data.get("createdAt"), clock_ahead)
    if at is None:
        return None
    involved = data.get("involved", {})
    return ObservedEvent(
        reason=data.get("reason", ""),
        message=data.get("message", ""),
        at=at,
        about=f"{involved.get('kind', '')}/{involved.get('name', '')}",
        kind=data.get("type") or "Warning",
    )


def _done(item: dict[str, Any]) -> bool:
    return bool(item.get("state", {}).get("terminated", {}).get("exitCode") == 0)


def _container(item: dict[str, Any], limited: bool, init: bool = False) -> ObservedContainer:
    states: dict[str, dict[str, Any]] = item.get("state") or {"waiting": {}}
    state, said = next(iter(states.items()))
    last = item.get("lastState", {}).get("terminated", {})
    return ObservedContainer(
        name=item.get("name", ""),
        ready=item.get("ready", False),
        restarts=item.get("restartCount", 0),
        state=state,
        reason=said.get("reason", ""),
        message=said.get("message", ""),
        exit_code=said.get("exitCode"),
        last_reason=last.get("reason", ""),
        last_message=last.get("message", ""),
        last_exit_code=last.get("exitCode"),
        image=item.get("image", ""),
        memory_limited=limited,
        init=init,
    )


def _time(text: object, ahead: timedelta) -> datetime | None:
    """A time that the cluster's clock showed, by our own."""
    try:
        moment = datetime.fromisoformat(str(text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - ahead
    except (ValueError, OverflowError):
        return None
