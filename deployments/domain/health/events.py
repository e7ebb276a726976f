"""What only events tell."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from deployments.domain.health.observed import ObservedEvent, ObservedPod, ObservedStack
from deployments.domain.health.reasons import RECENT, Cause, eviction, restarts
from deployments.domain.health.refusals import refusal
from deployments.domain.states import Health

_UNMOUNTED = (
    Health.DEGRADED,
    "A volume cannot be mounted.",
    "Correct what the evidence names: a Secret, a claim, or NFS on the node.",
)
_NO_SANDBOX = (
    Health.DEGRADED,
    "The node cannot set up the pod's network or runtime.",
    "Check the network plugin and the runtime class.",
)
# reason -> health, sentence, remedy. Only what neither a pod nor a claim says itself.
_EVENTS = {
    "FailedAttachVolume": (
        Health.DEGRADED,
        "A volume cannot be attached to the node.",
        "Look at the volume, and at the log of its storage driver (CSI).",
    ),
    "FailedMount": _UNMOUNTED,
    "FailedMapVolume": _UNMOUNTED,
    "FailedCreatePodSandBox": _NO_SANDBOX,
    "NetworkNotReady": _NO_SANDBOX,
}
_ATTACHED_ELSEWHERE = (
    "The volume is still attached to another node.",
    "Delete the pod that still holds it.",
)


# How long after the end of its pod a controller makes another one of the same name.
_AT_ONCE = timedelta(seconds=10)


def event_causes(observed: ObservedStack, now: datetime) -> list[Cause]:
    """Events count only while something is not ready, and only recent ones."""
    if all(w.exists and w.ready >= w.desired for w in observed.workloads):
        return []
    return _complaints([e for e in observed.events if not _overcome(e, observed)], now)


def pod_event_causes(pod: ObservedPod, events: Iterable[ObservedEvent], now: datetime) -> list[Cause]:
    """The same of one pod by itself; ``events`` may be about others, too."""
    about = f"Pod/{pod.name}"
    return _complaints([e for e in events if e.about == about and not _overcome_by(pod, e)], now)


def _complaints(events: Iterable[ObservedEvent], now: datetime) -> list[Cause]:
    found = []
    for event in sorted(events, key=lambda e: (not _only_waits(e), e.at), reverse=True):
        if now - event.at > RECENT:
            continue
        told = _told(event)
        if told is not None:
            found.append(Cause(*told, f"{event.about}: {event.reason}: {event.message}"))
    return found


def _only_waits(event: ObservedEvent) -> bool:
    """Whether the kubelet has given up waiting for volumes: what it waits for is in another event."""
    return event.reason == "FailedMount" and event.message.startswith("Unable to attach or mount volumes")


def _told(event: ObservedEvent) -> tuple[Health, str, str] | None:
    """What an event means, None for one that says nothing of its own."""
    if event.reason == "FailedCreate":
        return Health.FAILED, *refusal(event.message)
    if event.reason == "Evicted":
        # Of a StatefulSet: its controller has made the pod anew already.
        return Health.DEGRADED, *eviction(event.about.partition("/")[2], event.message)
    if event.reason == "FailedAttachVolume" and event.message.startswith("Multi-Attach"):
        return Health.DEGRADED, *_ATTACHED_ELSEWHERE
    return _EVENTS.get(event.reason)


def probe_causes(
    pod: ObservedPod, events: Iterable[ObservedEvent], now: datetime, installing: bool
) -> list[Cause]:
    """What keeps a pod from serving, where it is a probe: that says so in an event again and again."""
    if pod.ready or pod.deleting or pod.phase != "Running":
        return []
    if pod.node_lost:
        return []  # nobody probes there any more: what was said was said before
    said = [
        event
        for event in events
        if event.reason == "Unhealthy"
        and event.about == f"Pod/{pod.name}"
        and now - event.at <= RECENT
        and (pod.created_at is None or event.at >= pod.created_at)
    ]
    return _probe_fails(pod, max(said, key=lambda event: event.at), installing) if said else []


def _probe_fails(pod: ObservedPod, event: ObservedEvent, installing: bool) -> list[Cause]:
    evidence = f"{event.about}: {event.reason}: {event.message}"
    killed = next((c for c in pod.containers if c.reason == "CrashLoopBackOff"), None)
    if killed and (killed.last_exit_code not in (0, 137, 143) or killed.last_reason == "OOMKilled"):
        return []  # it ends by itself or for want of memory, and that is the trouble
    times = restarts(killed.restarts) if killed else ""
    if event.message.startswith("Liveness"):
        sentence = f"{pod.name} fails its liveness probe, and is started again."
        if killed:
            sentence = f"{pod.name} fails its liveness probe, and it is started again and again ({times})."
        health = Health.FAILED if killed else Health.DEGRADED
        return [Cause(health, sentence, "Read the log: why does it not answer any more?", evidence)]
    if event.message.startswith("Startup"):
        sentence = f"{pod.name} has not started yet: its startup probe fails."
        if killed:
            sentence = (
                f"{pod.name} has not started yet: its startup probe fails, and it is started again and again"
                f" ({times})."
            )
        health = Health.FAILED if killed else Health.PROGRESSING
        return [Cause(health, sentence, "Read the log: what does it wait for?", evidence)]
    # A server without its model is not ready, and that is what its probe is for.
    waits = installing or (pod.component == "server" and not pod.model_present)
    if waits or killed:
        return []
    sentence = f"{pod.name} runs, but fails its readiness probe and gets no requests."
    # The model was there when a check asked last; it may have gone since.
    return [Cause(Health.DEGRADED, sentence, "Read the log: why does it not answer?", evidence, asked=True)]


def replaced(pod: ObservedPod, observed: ObservedStack) -> bool:
    """Whether others do the work of a pod that has failed: a Deployment makes a new one, and leaves the
    failed one (evicted, for instance) for somebody to look at."""
    return pod.phase == "Failed" and any(
        w.component == pod.component and w.exists and w.ready >= w.desired for w in observed.workloads
    )


def _overcome(event: ObservedEvent, observed: ObservedStack) -> bool:
    """Whether what an event complained of is over: events stay for an hour after their cause."""
    kind, _, name = event.about.partition("/")
    if kind == "Pod":
        pod = next((pod for pod in observed.pods if pod.name == name), None)
        return pod is None or replaced(pod, observed) or _overcome_by(pod, event)
    workload = next((w for w in observed.workloads if w.name == name), None)
    if workload is None:
        return False  # a ReplicaSet, whose pods carry its Deployment's component only
    return sum(pod.component == workload.component for pod in observed.pods) >= workload.desired


def _overcome_by(pod: ObservedPod, event: ObservedEvent) -> bool:
    """Whether the pod that is there now has got over what an event about a pod of its name tells."""
    within = _AT_ONCE if event.reason == "Evicted" else timedelta(0)
    if pod.created_at and pod.created_at - event.at > within:
        return True  # it was another pod of that name
    return pod.ready or any(container.state == "running" for container in pod.containers)
