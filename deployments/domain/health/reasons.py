"""What a container's or a pod's reason means, in plain words, and what to do.

Reasons: kubelet ``images/types.go``, ``container/sync_result.go``, ``eviction`` and ``lifecycle``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from deployments.domain.health.observed import ObservedContainer, ObservedPod
from deployments.domain.states import Health

RECENT = timedelta(minutes=15)
"""How long an event explains a state."""

_OVER_LIMIT = re.compile(r"exceed(s|ed) (the|its)", re.IGNORECASE)


def eviction(pod: str, message: str) -> tuple[str, str]:
    """A sentence and a remedy: a pod goes because its node ran short, or because it took too much itself."""
    if _OVER_LIMIT.search(message):
        return (
            f"{pod} was evicted: it wrote more to its node's disk than its limit.",
            "Read its log: what does it write outside the volume of the models?",
        )
    return (
        f"{pod} was evicted: its node ran short.",
        "Free disk or memory on the node.",
    )


@dataclass(frozen=True)
class Cause:
    """One thing that is wrong (or under way), with its evidence. ``asked``: only a check tells it."""

    health: Health
    sentence: str
    remedy: str
    evidence: str
    asked: bool = False


_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_REFUSED = frozenset(
    {
        "CreateContainerError",
        "RunContainerError",
        "StartError",
        "ContainerCannotRun",
        "PreCreateHookError",
        "PreStartHookError",
    }
)
_GONE_NODE = frozenset({"NodeLost", "ContainerStatusUnknown"})
_SHUT_DOWN = frozenset({"NodeShutdown", "Terminated"})
# What the kubelet calls states of waiting that do not end by themselves, those that are not known here too
# (gitops-engine takes them for failures by the same rule).
_TROUBLE = re.compile(r"Err.*|.*(Error|BackOff|Failed)")


def container_cause(pod: ObservedPod, container: ObservedContainer) -> Cause | None:
    """Why this container does not run, or None where nothing is wrong with it."""
    where = f"{pod.name}/{container.name}"
    said = f"{where}: {container.reason}" + (f": {container.message}" if container.message else "")
    if container.state == "waiting":
        return _waiting(where, container, said)
    if container.state == "terminated" and pod.phase != "Succeeded":
        return _ended(where, container, said)
    return None


def _waiting(where: str, container: ObservedContainer, said: str) -> Cause | None:
    reason = container.reason
    image = container.image or "its image"
    if reason == "InvalidImageName":
        return Cause(
            Health.FAILED, f"“{image}” is not a valid image name.", "Correct the image in the profile.", said
        )
    if reason == "ErrImageNeverPull":
        remedy = "Use the pull policy IfNotPresent."
        return Cause(
            Health.FAILED, f"{image} is not on the node, and the pull policy is Never.", remedy, said
        )
    if reason in _IMAGE:
        return Cause(Health.FAILED, f"The node cannot download {image}.", _image_remedy(container), said)
    if reason == "SignatureValidationFailed":
        remedy = "The cluster runs signed images only; use one whose signature its policy trusts."
        return Cause(Health.FAILED, f"The signature of {image} is not trusted.", remedy, said)
    if reason == "ImageInspectError":
        remedy = "Delete the image on the node, so that it is downloaded again."
        return Cause(Health.FAILED, f"The node cannot read its copy of {image}.", remedy, said)
    if reason == "CreateContainerConfigError" and "runAsNonRoot" in container.message:
        remedy = "Set a user in the profile."
        return Cause(Health.FAILED, f"{where} must not run as root, but its image does.", remedy, said)
    if reason == "CreateContainerConfigError":
        remedy = "The evidence names the Secret, ConfigMap or setting; create it or correct it."
        return Cause(Health.FAILED, f"Something that {where} needs to start is missing.", remedy, said)
    if reason in _REFUSED:
        return _refused_to_start(where, said)
    if reason == "PostStartHookError":
        remedy = "Correct the hook: it runs beside the program, which may not answer yet."
        return Cause(Health.FAILED, f"{where} started, but its postStart hook failed.", remedy, said)
    if reason == "CrashLoopBackOff":
        said = f"{said}; before that: {_last(container)}" if container.last_exit_code is not None else said
        if container.last_reason in _REFUSED:
            return _refused_to_start(where, said)
        if container.last_reason == "OOMKilled":
            return _out_of_memory(where, container, said)
        code = "" if container.last_exit_code is None else f" with exit code {container.last_exit_code}"
        times = restarts(container.restarts)
        sentence = f"{where} starts and ends{code} again and again ({times})."
        return Cause(Health.FAILED, sentence, _exit_remedy(container.last_exit_code), said)
    if _TROUBLE.fullmatch(reason):
        remedy = "Correct what the evidence names: these are the node's own words."
        return Cause(Health.FAILED, f"The node cannot start {where}.", remedy, said)
    return None


def _refused_to_start(where: str, said: str) -> Cause:
    remedy = "Read the evidence; for GPUs check the runtime class and the container toolkit on the node."
    return Cause(Health.FAILED, f"The node's runtime refused to start {where}.", remedy, said)


def _last(container: ObservedContainer) -> str:
    """How it ended last, in the cluster's words."""
    ended = f"{container.last_reason or 'ended'}, exit code {container.last_exit_code}"
    return f"{ended}: {container.last_message}" if container.last_message else ended


def restarts(count: int) -> str:
    """So many, in words."""
    return f"{count} restart" if count == 1 else f"{count} restarts"


def _ended(where: str, container: ObservedContainer, said: str) -> Cause | None:
    reason, exit_code = container.reason, container.exit_code
    if reason == "OOMKilled":
        return _out_of_memory(where, container, said)
    if reason in _REFUSED:
        return _refused_to_start(where, said)
    if reason == "ContainerStatusUnknown":
        return Cause(
            Health.FAILED, f"The node lost track of {where}.", "Look at the node and delete the pod.", said
        )
    if exit_code is None or (container.init and exit_code == 0):
        return None
    sentence = f"{where} ended with exit code {exit_code}."
    return Cause(Health.FAILED, sentence, _exit_remedy(exit_code), said)


_MORE_MEMORY = "Raise the memory limit in the profile above the model's size."
_KEEP_FREE = "Ask for the memory that the model needs in the profile, so that the node keeps it free."


def _out_of_memory(where: str, container: ObservedContainer, said: str) -> Cause:
    if not container.memory_limited:
        return Cause(Health.FAILED, f"{where} was killed: its node ran out of memory.", _KEEP_FREE, said)
    return Cause(
        Health.FAILED, f"{where} was killed: it used more memory than its limit.", _MORE_MEMORY, said
    )


def started_again(where: str, container: ObservedContainer) -> Cause:
    """A container that runs again after it ran out of memory."""
    said = f"{where}: OOMKilled"
    if not container.memory_limited:
        sentence = f"{where} was killed, as its node ran out of memory, and was started again."
        return Cause(Health.DEGRADED, sentence, _KEEP_FREE, said)
    sentence = f"{where} used more memory than its limit and was started again."
    return Cause(Health.DEGRADED, sentence, _MORE_MEMORY, said)


# (what a runtime or a registry says about an image, in any case of letters), remedy. The first match speaks.
_IMAGE_REMEDIES: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), remedy)
    for pattern, remedy in (
        (
            r"no matching manifest|no match for platform|exec format error",
            "The image does not exist for this node's processor; choose another image or node.",
        ),
        (
            r"toomanyrequests|rate limit|429 too many",
            "The registry limits anonymous pulls; set a pull secret.",
        ),
        (
            r"\b401\b|403 forbidden|unauthorized|authentication required|access denied|denied:"
            r"|authorization failed|insufficient_scope",
            "The registry refuses: check the pull secret, and that the image exists under this name.",
        ),
        (
            r"manifest unknown|not found|name unknown|does not exist",
            "There is no such image or tag in the registry; correct the image in the profile.",
        ),
        (
            r"HTTP response to HTTPS client",
            "The registry speaks plain http; let the node's runtime use it so (an insecure registry).",
        ),
        (
            r"x509|certificate",
            "The node does not trust the registry's certificate; install its authority there.",
        ),
        (
            r"\b50[0-4] |internal server error|bad gateway|service unavailable|gateway time-?out",
            "The registry itself fails; set a mirror.",
        ),
        (
            r"no such host|server misbehaving|i/o timeout|connection refused|connection reset|no route to host"
            r"|network is unreachable|timeout|deadline exceeded|unexpected EOF",
            "The node does not reach the registry; set a mirror on it.",
        ),
        (r"no space left", "The node's disk is full; free space on it."),
    )
)


def _image_remedy(container: ObservedContainer) -> str:
    for pattern, remedy in _IMAGE_REMEDIES:
        if pattern.search(container.message):
            return remedy
    return "Check name and tag, whether nodes reach the registry (a mirror can be set), and the pull secret."


def _exit_remedy(code: int | None) -> str:
    if code == 0:
        return "Its program ends by itself and is no server; check the image and its command."
    if code == 139:
        return "It crashed; check the GPU driver against the image's CUDA or ROCm version."
    if code in (126, 127):
        return "The image has no such program, or may not run it; check the image."
    if code in (137, 143):
        return "Something killed it: look for probes, evictions and the node in the events."
    return "Read the last lines of its log."


def pod_cause(pod: ObservedPod) -> Cause | None:
    """What the pod's own status says, apart from its containers."""
    said = f"{pod.name}: {pod.reason}" + (f": {pod.message}" if pod.message else "")
    if pod.reason == "Evicted":
        sentence, remedy = eviction(pod.name, pod.message)
        return Cause(Health.FAILED, sentence, remedy, said)
    if pod.reason == "UnexpectedAdmissionError":
        remedy = "Delete the pod so that it is placed anew, and check the device plugin."
        return Cause(Health.FAILED, f"The node had no healthy device left for {pod.name}.", remedy, said)
    if pod.reason.startswith("OutOf"):
        return Cause(
            Health.FAILED, f"The node refused {pod.name}.", "Lower the requests or free the node.", said
        )
    if pod.reason == "NodeAffinity":
        sentence = f"The node {pod.node} does not have the labels that {pod.name} asks for."
        return Cause(Health.FAILED, sentence, "Delete the pod so that it is placed anew.", said)
    if pod.reason == "Preempting":
        sentence = f"{pod.name} had to make room for a pod that matters more to its node."
        return Cause(Health.FAILED, sentence, "Give the pods a higher priority.", said)
    if pod.reason == "DeadlineExceeded":
        sentence = f"{pod.name} ran for longer than it may."
        remedy = "Delete the pod, and take activeDeadlineSeconds out of its workload."
        return Cause(Health.FAILED, sentence, remedy, said)
    if pod.node and pod.node_gone and pod.node_lost:
        sentence = f"The node {pod.node} is gone, and {pod.name} with it."
        remedy = "Another node takes its pods after a minute, if one has room for them; else add a node."
        return Cause(Health.FAILED, sentence, remedy, f"Node/{pod.node}: not in the cluster, held {pod.name}")
    if pod.reason in _SHUT_DOWN and pod.phase == "Failed":
        sentence = f"The node {pod.node} was shut down, and {pod.name} with it."
        return Cause(Health.FAILED, sentence, "Start the node again.", said)
    if pod.reason in _GONE_NODE or (pod.node and pod.node_ready is False):
        sentence = f"The node {pod.node or 'of ' + pod.name} does not answer any more."
        if pod.node_ready is False:
            said = f"Node/{pod.node}: not ready, holds {pod.name}"
        return Cause(
            Health.FAILED,
            sentence,
            "Repair the node; if it does not come back, delete the pod by force.",
            said,
        )
    if pod.phase == "Failed" and pod.reason and not any(c.state == "terminated" for c in pod.containers):
        remedy = "Delete the pod so that it is placed anew; the evidence says what the node lacks."
        return Cause(Health.FAILED, f"The node refused {pod.name}.", remedy, said)
    if pod.phase == "Failed":
        return Cause(Health.FAILED, f"{pod.name} failed.", "Read the last lines of its log.", said)
    return None
