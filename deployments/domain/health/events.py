"""What only events tell."""

from __future__ import annotations

from datetime import datetime

from deployments.domain.health.observed import ObservedEvent, ObservedStack
from deployments.domain.health.reasons import RECENT, Cause
from deployments.domain.health.refusals import refusal
from deployments.domain.states import Health

# reason -> health, sentence, remedy. Only what neither a pod nor a claim says itself.
_EVENTS = {
    "FailedCreate": (
        Health.FAILED,
        "The cluster refuses to create pods.",
        "Read the evidence: a quota or a policy says no.",
    ),
    "FailedAttachVolume": (
        Health.DEGRADED,
        "The volume is still attached to another node.",
        "Wait some minutes, or delete the pod that still holds it.",
    ),
    "FailedMount": (
        Health.DEGRADED,
        "A volume cannot be mounted.",
        "The evidence names it: a Secret, a claim or NFS.",
    ),
    "FailedCreatePodSandBox": (
        Health.DEGRADED,
        "The node cannot set up the pod's network or runtime.",
        "Check the network plugin and the runtime class.",
    ),
    "Unhealthy": (
        Health.DEGRADED,
        "A probe fails.",
        "Read the log; a slow disk needs more time to load the model.",
    ),
}


def event_causes(observed: ObservedStack, now: datetime) -> list[Cause]:
    """Events count only while something is not ready, and only recent ones."""
    if all(w.exists and w.ready >= w.desired for w in observed.workloads):
        return []
    found = []
    for event in sorted(observed.events, key=lambda e: e.at, reverse=True):
        if event.reason not in _EVENTS or now - event.at > RECENT or _overcome(event, observed):
            continue
        # a server without its model is not ready, and that is what its probe is for
        if event.reason == "Unhealthy" and event.message.startswith(("Readiness", "Startup")):
            continue
        health, sentence, remedy = _EVENTS[event.reason]
        if event.reason == "FailedCreate":
            sentence, remedy = refusal(event.message)
        found.append(Cause(health, sentence, remedy, f"{event.about}: {event.reason}: {event.message}"))
    return found


def _overcome(event: ObservedEvent, observed: ObservedStack) -> bool:
    """Whether what an event complained of is over: events stay for an hour after their cause."""
    kind, _, name = event.about.partition("/")
    if kind == "Pod":
        pod = next((pod for pod in observed.pods if pod.name == name), None)
        if pod is None:
            return True
        started = any(container.state == "running" for container in pod.containers)
        return pod.ready or (started and event.reason != "Unhealthy")
    workload = next((w for w in observed.workloads if w.name == name), None)
    if workload is None:
        return False  # a ReplicaSet, whose pods carry its Deployment's component only
    return sum(pod.component == workload.component for pod in observed.pods) >= workload.desired
