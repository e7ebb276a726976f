"""The health of a stack, worst cause first, with one sentence, its evidence and one remedy."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from deployments.domain.health.events import event_causes, probe_causes, replaced
from deployments.domain.health.observed import ObservedStack
from deployments.domain.health.podcauses import pod_causes
from deployments.domain.health.reasons import RECENT, Cause
from deployments.domain.health.workloads import (
    claim_causes,
    failure_causes,
    unapplied_cause,
    workload_causes,
)
from deployments.domain.states import Health

__all__ = ["PULL_AGAIN", "RECENT", "SILENT", "STALE_AFTER", "Assessment", "assess", "pod_causes"]

# The remedy that a page can offer as a button.
PULL_AGAIN = "Pull the model again."
# Observations older than this say nothing about now.
STALE_AFTER = timedelta(minutes=3)
# Without a figure that would be wrong a minute later: nobody judges again until the cluster speaks.
SILENT = "The cluster has reported nothing for more than 3 minutes; how the stack is now is not known."


@dataclass(frozen=True)
class Assessment:
    """``evidence`` are the cluster's own words, newest and worst first; ``remedy`` may be "". ``asked`` is
    True where it rests on what the last check was answered, which may be over."""

    health: Health
    sentence: str
    evidence: tuple[str, ...] = ()
    remedy: str = ""
    asked: bool = False


def assess(observed: ObservedStack, now: datetime, installing: bool) -> Assessment:
    """Pure: the same observation at the same time gives the same answer.

    ``installing`` is True while an install or another change runs: what is missing then is on its way.
    """
    if observed.unapplied and not observed.unapplied.begun and not installing:
        # Whatever the cluster reports: nothing of this stack was ever sent to it.
        cause = unapplied_cause(observed.unapplied)
        return Assessment(cause.health, cause.sentence, tuple(filter(None, [cause.evidence])), cause.remedy)
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
    if now - observed.observed_at > STALE_AFTER:
        return Assessment(Health.UNKNOWN, SILENT, (f"last seen {observed.observed_at.isoformat()}",), _REACH)
    causes = _causes(observed, now, installing)
    if causes:
        worst = min(causes, key=lambda cause: cause.health.badness)
        ranked = sorted(causes, key=lambda cause: cause.health.badness)
        evidence = tuple(dict.fromkeys(cause.evidence for cause in ranked if cause.evidence))
        return Assessment(worst.health, worst.sentence, evidence[:8], worst.remedy, worst.asked)
    return _quiet(observed, installing)


_REACH = "Check the connection to the cluster."


def _causes(observed: ObservedStack, now: datetime, installing: bool) -> list[Cause]:
    found = claim_causes(observed, now, installing)
    # Of what is equally bad the first one speaks: a probe tells more than its outcome.
    for pod in observed.pods:
        found += probe_causes(pod, observed.events, now, installing)
    found += workload_causes(observed, installing)
    if observed.unapplied and not installing:
        # First: it is why the rest is not there.
        found.insert(0, unapplied_cause(observed.unapplied))
    for pod in observed.pods:
        if not replaced(pod, observed):
            found += pod_causes(pod, now)
    found += event_causes(observed, now) + failure_causes(observed)
    if all(cause.health is Health.PROGRESSING for cause in found):
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
            evidence = f"without the model: {without}"
            found.append(Cause(health, sentence, PULL_AGAIN, evidence, asked=True))
    ready = any(w.component == "server" and w.ready > 0 for w in observed.workloads)
    if ready and observed.server_answers is False:
        said = observed.server_said or "no answer"
        remedy = "Read the server's log: why does it not answer?"
        found.append(Cause(health, "Ollama does not answer.", remedy, said, asked=True))
    chat_ready = any(w.component == "chat" and w.ready > 0 for w in observed.workloads)
    if ready and chat_ready and observed.chat_expected and observed.chat_reaches is False:
        found.append(
            Cause(
                health,
                "The chat does not reach the model.",
                "Read the log of the chat's pod; the chat check asks for a whole answer.",
                observed.chat_said or "no answer",
                asked=True,
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
    chats = [w for w in observed.workloads if w.component == "chat"]
    chat_stopped = observed.chat_expected and bool(chats) and all(w.desired == 0 for w in chats)
    chat_known = observed.chat_reaches or not observed.chat_expected or chat_stopped
    if observed.server_answers and model_known and chat_known:
        if chat_stopped:
            sentence = (
                f"{observed.model} is ready on every server; the chat is stopped: no pod of it is wanted."
            )
            return Assessment(Health.HEALTHY, sentence)
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
    return Assessment(Health.UNKNOWN, sentence, remedy="Run the checks.", asked=True)
