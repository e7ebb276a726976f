"""The health of a stack, worst cause first, with one sentence, its evidence and one remedy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.domain.health.observed import ObservedEvent, ObservedPod, ObservedStack
from deployments.domain.health.reasons import Cause, container_cause, pod_cause
from deployments.domain.health.scheduler_message import explain
from deployments.domain.states import Health

# A pod that was made a moment ago is often "unschedulable" until its claim or node is there
# (kstatus waits as long).
_SCHEDULE_WINDOW = timedelta(seconds=15)
RECENT = timedelta(minutes=15)
"""How long an event explains a state."""


@dataclass(frozen=True)
class Assessment:
    """``evidence`` are the cluster's own words, newest and worst first; ``remedy`` may be ""."""

    health: Health
    sentence: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""


def assess(observed: ObservedStack, now: datetime, installing: bool) -> Assessment:
    """Pure: the same observation at the same time gives the same answer.

    ``installing`` is True while an install or another change runs: what is missing then is on its way.
    """
    if observed.foreign:
        return Assessment(
            Health.UNKNOWN,
            "Another cluster answers at this cluster's address; how the stack is now is not known.",
            ("the uid of the kube-system namespace is another one than at first",),
            "If the cluster was rebuilt, connect it again under another name and install anew.",
        )
    if observed.observed_at is None:
        if installing:
            return Assessment(Health.PROGRESSING, "The cluster has not reported anything yet.")
        return Assessment(Health.UNKNOWN, "Nothing has been seen of this stack yet.", remedy=_REACH)
    age = now - observed.observed_at
    if age > observed.stale_after:
        minutes = int(age.total_seconds() // 60)
        sentence = f"The cluster last reported {minutes} minutes ago; how the stack is now is not known."
        return Assessment(
            Health.UNKNOWN, sentence, (f"last seen {observed.observed_at.isoformat()}",), _REACH
        )
    causes = _causes(observed, now, installing)
    if causes:
        worst = min(causes, key=lambda cause: cause.health.badness)
        ranked = sorted(causes, key=lambda cause: cause.health.badness)
        evidence = tuple(dict.fromkeys(cause.evidence for cause in ranked if cause.evidence))
        return Assessment(worst.health, worst.sentence, evidence[:8], worst.remedy)
    return _quiet(observed, installing)


_REACH = "Check the connection to the cluster."


def _causes(observed: ObservedStack, now: datetime, installing: bool) -> list[Cause]:
    found = _claims(observed, now, installing) + _workloads(observed, installing)
    for pod in observed.pods:
        if not pod.deleting:
            found += pod_causes(pod, now)
    found += _events(observed, now)
    if not found or all(cause.health is Health.PROGRESSING for cause in found):
        found += _service(observed, installing)
    return _soften(found, observed)


def _soften(found: list[Cause], observed: ObservedStack) -> list[Cause]:
    """With other pods still serving, one broken pod degrades the stack but has not failed it."""
    serving = {w.component for w in observed.workloads if w.exists and w.ready > 0}
    complete = {w.component for w in observed.workloads} <= serving
    if not (complete and observed.workloads):
        return found
    return [
        Cause(Health.DEGRADED, c.sentence, c.remedy, c.evidence) if c.health is Health.FAILED else c
        for c in found
    ]


def _workloads(observed: ObservedStack, installing: bool) -> list[Cause]:
    found = []
    for workload in observed.workloads:
        what = f"{workload.kind} {workload.name}"
        if not workload.exists:
            health = Health.PROGRESSING if installing else Health.MISSING
            sentence = (
                f"{what} is not there yet." if installing else f"{what} is not in the cluster any more."
            )
            remedy = "" if installing else "Apply the last release again."
            found.append(Cause(health, sentence, remedy, f"{what}: not found"))
        elif not workload.current_generation_seen:
            found.append(
                Cause(Health.PROGRESSING, f"{what} is being updated.", "", f"{what}: new generation")
            )
        elif workload.ready < workload.desired or workload.updated < workload.desired:
            said = f"{what}: {workload.ready} of {workload.desired} ready, {workload.updated} up to date"
            sentence = f"Waiting for {what}: {workload.ready} of {workload.desired} ready."
            if workload.ready >= workload.desired:
                sentence = f"{what} is being updated: {workload.updated} of {workload.desired} done."
            if workload.component == "server" and observed.pulling:
                sentence = f"Downloading {observed.model}: {observed.pulling}."
            found.append(Cause(Health.PROGRESSING, sentence, "", said))
    return found


def _claims(observed: ObservedStack, now: datetime, installing: bool) -> list[Cause]:
    found = []
    for claim in observed.claims:
        about = f"PersistentVolumeClaim/{claim.name}"
        said = [e for e in observed.events if e.about == about and now - e.at <= RECENT]
        trouble = [e for e in said if e.reason in ("ProvisioningFailed", "FailedBinding")]
        if claim.phase == "Lost":
            sentence = f"The volume behind the claim {claim.name} is gone."
            found.append(
                Cause(Health.FAILED, sentence, "Restore the volume, or install anew.", f"{about}: Lost")
            )
        elif not claim.phase:
            health = Health.PROGRESSING if installing else Health.MISSING
            sentence = f"The claim {claim.name} is not there."
            found.append(
                Cause(health, sentence, "Create the claim, or change the storage.", f"{about}: not found")
            )
        elif claim.phase == "Pending" and trouble:
            sentence = f"The claim {claim.name} gets no volume."
            remedy = "Check the storage class: its name, its provisioner and its quota."
            evidence = f"{about}: {trouble[-1].reason}: {trouble[-1].message}"
            found.append(Cause(Health.FAILED, sentence, remedy, evidence))
        elif claim.phase == "Pending":
            evidence = f"{about}: Pending" + (f" ({said[-1].reason})" if said else "")
            found.append(
                Cause(Health.PROGRESSING, f"The claim {claim.name} waits for its volume.", "", evidence)
            )
    return found


def pod_causes(pod: ObservedPod, now: datetime) -> list[Cause]:
    """What is wrong with one pod, or under way; [] where nothing is."""
    own = pod_cause(pod)
    if own:
        return [own]
    if pod.scheduled is False:
        return [_unscheduled(pod, now)]
    found = [cause for c in pod.containers if (cause := container_cause(pod, c))]
    if found or pod.ready:
        return found
    for container in pod.containers:
        if container.state == "running" and container.last_reason == "OOMKilled":
            sentence = f"{pod.name}/{container.name} used more memory than its limit and was started again."
            remedy = "Raise the memory limit above the model's size, or take a smaller model or context."
            found.append(Cause(Health.DEGRADED, sentence, remedy, f"{pod.name}/{container.name}: OOMKilled"))
    return found


def _unscheduled(pod: ObservedPod, now: datetime) -> Cause:
    said = f"{pod.name}: {pod.scheduling_reason}: {pod.scheduling_message}"
    young = pod.created_at is not None and now - pod.created_at < _SCHEDULE_WINDOW
    if pod.scheduling_reason == "SchedulingGated" or young:
        return Cause(Health.PROGRESSING, f"{pod.name} waits to be placed on a node.", "", said)
    sentence, remedy = explain(pod.scheduling_message)
    return Cause(Health.FAILED, f"{sentence}, so {pod.name} cannot start.", remedy, said)


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


def _events(observed: ObservedStack, now: datetime) -> list[Cause]:
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
        quota = "exceeded quota" in event.message or "failed quota" in event.message
        if quota:
            sentence, remedy = (
                "The namespace's quota is used up.",
                "Raise the quota, or ask for less in the profile.",
            )
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


def _service(observed: ObservedStack, installing: bool) -> list[Cause]:
    """What only asking Ollama and the chat tells."""
    servers = [pod for pod in observed.pods if pod.component == "server" and not pod.deleting]
    health = Health.PROGRESSING if installing or observed.pulling else Health.DEGRADED
    wanted = any(w.component == "server" and w.exists and w.desired > 0 for w in observed.workloads)
    if not wanted:
        return []
    found = []
    if any(pod.phase == "Running" and pod.model_present is False for pod in servers):
        without = ", ".join(pod.name for pod in servers if pod.model_present is False)
        if observed.pulling:
            sentence = f"Downloading {observed.model}: {observed.pulling}."
            found.append(Cause(Health.PROGRESSING, sentence, "", f"without the model: {without}"))
        else:
            sentence = f"The model {observed.model} is not on every server."
            found.append(Cause(health, sentence, "Pull the model again.", f"without the model: {without}"))
    ready = any(w.component == "server" and w.ready > 0 for w in observed.workloads)
    if ready and observed.server_answers is False:
        found.append(
            Cause(health, "Ollama does not answer.", "Read the server's log, or restart it.", "no answer")
        )
    chat_ready = any(w.component == "chat" and w.ready > 0 for w in observed.workloads)
    if ready and chat_ready and observed.chat_expected and observed.chat_reaches is False:
        found.append(
            Cause(
                health,
                "The chat does not reach the model.",
                "Run the chat check for details.",
                "chat check failed",
            )
        )
    return found


def _quiet(observed: ObservedStack, installing: bool) -> Assessment:
    """Nothing is wrong: stopped, healthy, or not known to be either."""
    if not observed.workloads:
        return Assessment(Health.UNKNOWN, "No workload of this stack has been seen.", remedy=_REACH)
    server = [w for w in observed.workloads if w.component == "server"]
    if all(w.desired == 0 for w in server):
        return Assessment(
            Health.STOPPED, "The stack is stopped: no server is wanted.", remedy="Scale it up to use it."
        )
    servers = [pod for pod in observed.pods if pod.component == "server" and not pod.deleting]
    model_known = bool(servers) and all(pod.model_present for pod in servers)
    chat_known = observed.chat_reaches or not observed.chat_expected
    if observed.server_answers and model_known and chat_known:
        chat = " and the chat reaches it" if observed.chat_expected else ""
        return Assessment(Health.HEALTHY, f"{observed.model} is ready on every server{chat}.")
    if installing:
        return Assessment(Health.PROGRESSING, "All pods are ready; the checks have not finished yet.")
    open_questions = []
    if not observed.server_answers:
        open_questions.append("whether Ollama answers")
    if not model_known:
        open_questions.append("whether the model is there")
    if not chat_known:
        open_questions.append("whether the chat reaches it")
    sentence = f"All pods are ready; not checked yet is {' and '.join(open_questions)}."
    return Assessment(Health.UNKNOWN, sentence, remedy="Run the checks.")
