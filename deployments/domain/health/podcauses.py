"""What is wrong with one pod."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta

from deployments.domain.health.observed import ObservedPod
from deployments.domain.health.reasons import Cause, container_cause, pod_cause, started_again
from deployments.domain.health.scheduler_message import explain
from deployments.domain.states import Health

# A pod that was made a moment ago is often "unschedulable" until its claim or node is there
# (kstatus waits as long).
_SCHEDULE_WINDOW = timedelta(seconds=15)
# A scheduler that is there speaks within seconds; one of an unknown name never does.
_NO_SCHEDULER = timedelta(minutes=1)
_MOST_TAINTS = 6
# How long past its grace period a pod may take to be gone.
_STUCK = timedelta(minutes=1)


def pod_causes(pod: ObservedPod, now: datetime) -> list[Cause]:
    """What is wrong with one pod, or under way; [] where nothing is."""
    own = None if pod.deleting and not pod.node_lost else pod_cause(pod)
    if pod.deleting:
        return [own] if own else _ending(pod, now)
    if own:
        return [own]
    if pod.scheduled is False:
        return [_unscheduled(pod, now)]
    if pod.scheduled is None and pod.phase == "Pending" and not pod.node and _older(pod, _NO_SCHEDULER, now):
        sentence = f"No scheduler has looked at {pod.name}."
        remedy = "Check that the cluster's scheduler runs, and the pod's schedulerName."
        return [Cause(Health.FAILED, sentence, remedy, f"{pod.name}: Pending, without a word of why")]
    found = [cause for c in pod.containers if (cause := container_cause(pod, c))]
    if found or pod.ready:
        return found
    for container in pod.containers:
        if container.state == "running" and container.last_reason == "OOMKilled":
            found.append(started_again(f"{pod.name}/{container.name}", container))
    return found


def _unscheduled(pod: ObservedPod, now: datetime) -> Cause:
    said = f"{pod.name}: {pod.scheduling_reason}: {pod.scheduling_message}"
    if pod.scheduling_reason == "SchedulingGated" or not _older(pod, _SCHEDULE_WINDOW, now):
        return Cause(Health.PROGRESSING, f"{pod.name} waits to be placed on a node.", "", said)
    sentence, remedy = explain(pod.scheduling_message, pod.kept_off)
    if pod.kept_off:
        taints = _counted(pod.kept_off)
        said = f"{pod.name}: {pod.scheduling_reason}: {pod.scheduling_message} Taints of the nodes: {taints}."
    return Cause(Health.FAILED, f"{sentence}, so {pod.name} cannot start.", remedy, said)


def _counted(taints: Iterable[str]) -> str:
    return ", ".join(f"{count} × {taint}" for taint, count in Counter(taints).most_common(_MOST_TAINTS))


def _ending(pod: ObservedPod, now: datetime) -> list[Cause]:
    if pod.end_due_at is None or now - pod.end_due_at < _STUCK:
        return []
    minutes = int((now - pod.end_due_at).total_seconds() // 60)
    sentence = (
        f"{pod.name} should have ended {minutes} minute{'s' if minutes > 1 else ''} ago and is still there."
    )
    remedy = "Look at its node and at its finalizers; if the node is gone for good, delete the pod by force."
    return [Cause(Health.DEGRADED, sentence, remedy, f"{pod.name}: Terminating on {pod.node or 'no node'}")]


def _older(pod: ObservedPod, age: timedelta, now: datetime) -> bool:
    return pod.created_at is None or now - pod.created_at >= age
