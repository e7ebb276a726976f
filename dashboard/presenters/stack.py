"""A stack as its page shows it: six figures, pods and containers, model stores, events, configuration."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.presenters.fields import CHOICES
from dashboard.presenters.numbers import duration, memory, tokens_per_second
from dashboard.presenters.parts import Fact
from dashboard.presenters.states import Words, deed
from dashboard.presenters.words import comma
from deployments.domain.errors import InvalidInput
from deployments.domain.quantities import parse
from deployments.domain.spec import GpuVendor, StackSpec
from deployments.models import Deployment, ObservedObject
from deployments.selectors.deployments import DeploymentPage
from deployments.sentences import said

COMPONENT = "app.kubernetes.io/component"
COMPONENTS = {"server": gettext_lazy("model server"), "chat": gettext_lazy("chat")}
STARTING = ("ContainerCreating", "PodInitializing")


def moment(text: object) -> datetime | None:
    """A time as Kubernetes and the probes write it (RFC 3339), or None."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo else None


def size(text: str) -> str:
    """A quantity of Kubernetes in words (“10Gi” is “10 GiB”); what is none stays as it is."""
    try:
        return memory(float(parse(text))) if text else ""
    except InvalidInput:
        return text


def facts(page: DeploymentPage, spec: StackSpec | None, server: ObservedObject | None) -> list[Fact]:
    """Model, servers, what it runs on, chat, storage, release. What nobody knows says so."""
    row, unknown = page.deployment, _("cannot tell")
    proof = page.last_chat.result.get("chat", {}) if page.last_chat else {}
    checked = page.last_chat.finished_at if page.last_chat else None
    probes = [probe for probe in _probes(row).values() if isinstance(probe, dict)]
    here = sum(1 for probe in probes if probe.get("model_present"))
    asked = [at for probe in probes if (at := moment(probe.get("at")))]
    ready = wanted = None
    if server is not None:
        ready, wanted = server.data.get("readyReplicas", 0), server.data.get("specReplicas", 1)
    return [
        Fact(
            _("Model"),
            spec.model.reference if spec else unknown,
            ngettext("on %(n)s of %(all)s pod", "on %(n)s of %(all)s pods", len(probes))
            % {"n": here, "all": len(probes)}
            if probes
            else _("not asked yet where it is"),
            _("server check"),
            min(asked, default=None),
        ),
        Fact(
            _("Servers"),
            _("%(n)s of %(all)s ready") % {"n": ready, "all": wanted} if server else unknown,
            _autoscaling(spec) if server else _("not seen on the cluster"),
        ),
        Fact(
            _("Where it runs"),
            said(proof.get("placement") or "") or _asked_for(spec),
            "" if proof.get("placement") else _("as asked for; no check has seen it run"),
            _("chat check"),
            checked if proof.get("placement") else None,
        ),
        _chat_fact(spec, proof, checked),
        Fact(
            _("Model storage"),
            (size(spec.storage.size) or _("sized by the model")) if spec else unknown,
            CHOICES["storage.mode"][spec.storage.mode] if spec else "",
        ),
        Fact(
            _("Release"),
            str(page.release.number) if page.release else _("none yet"),
            deed(page.release.cause).label if page.release else "",
            "",
            page.release.applied_at if page.release else None,
        ),
    ]


def _chat_fact(spec: StackSpec | None, proof: dict[str, Any], checked: datetime | None) -> Fact:
    name, source = _("Chat"), _("chat check")
    if proof:
        return Fact(name, _chat(proof), "", source, checked)
    if spec and not spec.chat.enabled:
        return Fact(name, _("none"), _("the revision asks for no chat"))
    if spec and not spec.chat.replicas:
        return Fact(name, _("stopped"), _("the revision asks for no chat pod"))
    return Fact(name, _("not checked yet"), _("one token tells"), source, checked)


def _chat(proof: dict[str, Any]) -> str:
    speed = proof.get("tokens_per_second")
    words = duration(float(proof.get("seconds") or 0))
    return comma().join([words, *([tokens_per_second(float(speed))] if speed else [])])


def _autoscaling(spec: StackSpec | None) -> str:
    if spec is None:
        return ""
    scaling = spec.server.autoscaling
    if not scaling.enabled:
        return _("no autoscaling")
    return _("between %(low)s and %(high)s by load") % {
        "low": scaling.min_replicas,
        "high": scaling.max_replicas,
    }


def _asked_for(spec: StackSpec | None) -> str:
    if spec is None:
        return _("cannot tell")
    vendor = spec.server.gpu_vendor
    if vendor is GpuVendor.NONE:
        return _("CPU")
    name = {GpuVendor.NVIDIA: "NVIDIA", GpuVendor.AMD: "AMD"}[vendor]
    count = spec.server.gpu_count
    return f"{count} × {name}" if count else _("%(vendor)s GPU") % {"vendor": name}


def _probes(row: Deployment) -> dict[str, Any]:
    probes = row.probes if isinstance(row.probes, dict) else {}
    found = probes.get("pods")
    return found if isinstance(found, dict) else {}


def pod(row: ObservedObject) -> dict[str, Any]:
    """A pod with its state in one word and its containers."""
    data = row.data
    conditions = {item.get("type"): item for item in data.get("conditions", [])}
    statuses = data.get("containerStatuses", [])
    heard = not node_is_silent(data)
    css, icon, word, note = _pod_state(data, conditions, heard)
    return {
        "name": row.name,
        "component": COMPONENTS.get(data.get("labels", {}).get(COMPONENT, ""), ""),
        "css": css,
        "icon": icon,
        "word": word,
        "note": note,
        "ready": sum(1 for item in statuses if item.get("ready") and heard),
        "containers_all": len(data.get("containers", [])) or len(statuses),
        "restarts": sum(item.get("restartCount", 0) for item in statuses),
        "node": data.get("node", ""),
        "created": moment(data.get("createdAt")),
        "containers": [
            *(container(item, init=True, heard=heard) for item in data.get("initContainerStatuses", [])),
            *(container(item, init=False, heard=heard) for item in statuses),
        ],
    }


def node_is_silent(data: dict[str, Any]) -> bool:
    """Whether what the pod says of its containers is old: where a kubelet falls silent, the control plane
    takes the pod's readiness away and leaves the containers as they were last told."""
    ready: dict[str, str] = next(
        (item for item in data.get("conditions", []) if item.get("type") == "Ready"), {}
    )
    told = data.get("containerStatuses", [])
    return (
        data.get("phase") == "Running"
        and bool(told)
        and all(item.get("ready") for item in told)
        and ready.get("status", "True") != "True"
        and ready.get("reason") != "ReadinessGatesNotReady"
    )


def _pod_state(data: dict[str, Any], conditions: dict[Any, Any], heard: bool) -> tuple[str, str, Words, str]:
    """(class, icon, word, the cluster's own words)."""
    if data.get("deletedAt"):
        return "progressing", "progressing", _("Ending"), ""
    phase = data.get("phase", "")
    if phase == "Failed":
        return "failed", "failed", data.get("reason") or _("Failed"), data.get("message", "")
    for item in [*data.get("initContainerStatuses", []), *data.get("containerStatuses", [])]:
        waiting = item.get("state", {}).get("waiting", {})
        if waiting.get("reason") and waiting["reason"] not in STARTING:
            return "failed", "failed", waiting["reason"], waiting.get("message", "")
    if phase == "Succeeded":
        return "healthy", "healthy", _("Completed"), ""
    if phase == "Running":
        if conditions.get("Ready", {}).get("status") == "True":
            return "healthy", "healthy", _("Running"), ""
        if not heard:
            return "unknown", "unknown", _("Node does not answer"), ""
        why = conditions.get("Ready", {}).get("message", "")
        return "progressing", "progressing", _("Not ready yet"), why
    placed = conditions.get("PodScheduled", {})
    if placed.get("status") == "False":
        return "degraded", "degraded", _("Cannot be placed"), placed.get("message", "")
    if phase == "Pending":
        return "progressing", "progressing", _("Starting"), ""
    return "unknown", "unknown", phase or _("Unknown"), ""


def container(item: dict[str, Any], *, init: bool, heard: bool = True) -> dict[str, Any]:
    """A container with what it does, and how its last run ended; without ``heard`` as it was last told."""
    state: dict[str, dict[str, Any]] = item.get("state", {})
    name, said = next(iter(state.items()), ("", {}))
    code = said.get("exitCode")
    if name == "running":
        css, icon, word = "healthy", "healthy", _("Running")
        if not item.get("ready"):
            css, icon, word = "progressing", "progressing", _("Running, not ready")
        if not heard:
            css, icon, word = "unknown", "unknown", _("Running when last heard of")
    elif name == "terminated":
        good = code == 0
        css, icon = ("healthy", "healthy") if good else ("failed", "failed")
        word = _("Completed") if good else said.get("reason") or _("Ended")
    else:
        reason = said.get("reason", "")
        fine = not reason or reason in STARTING
        css, icon = ("progressing" if fine else "failed"), "waiting"
        word = _("Waiting, %(reason)s") % {"reason": reason} if reason else _("Waiting")
    last = item.get("lastState", {}).get("terminated", {})
    ended = ""
    if last:
        ended = _("The last run ended with %(reason)s, exit code %(code)s.") % {
            "reason": last.get("reason") or _("no reason"),
            "code": last.get("exitCode", "?"),
        }
    elif name == "terminated":
        ended = _("Exit code %(code)s.") % {"code": code}
    return {
        "name": item.get("name", ""),
        "image": item.get("image", ""),
        "init": init,
        "css": css,
        "icon": icon,
        "word": word,
        "since": moment(said.get("startedAt")) if name == "running" and heard else None,
        "note": " ".join(text for text in (said.get("message", ""), ended) if text),
        "ended": bool(last),
    }


def stores(row: Deployment, seen: list[ObservedObject]) -> list[dict[str, Any]]:
    """Each server pod with the claim under it and whether the model is there."""
    claims = {item.name: item.data for item in seen if item.kind == "PersistentVolumeClaim"}
    probes = _probes(row)
    found = []
    for item in seen:
        if item.kind != "Pod" or item.data.get("labels", {}).get(COMPONENT) != "server":
            continue
        claim = next(iter(item.data.get("claims", [])), "")
        about = claims.get(claim, {})
        probe = probes.get(item.name) if isinstance(probes.get(item.name), dict) else {}
        found.append(
            {
                "pod": item.name,
                "claim": claim,
                "phase": about.get("phase", ""),
                "size": size(str(about.get("capacity") or about.get("requested") or "")),
                "storage_class": about.get("storageClassName", ""),
                "present": probe.get("model_present") if probe else None,
                "at": moment(probe.get("at")) if probe else None,
            }
        )
    return found


# What nodes and their controller report of a node in trouble has the type Normal all the same (kubelet
# events/event.go, node lifecycle controller).
_BAD_NEWS = frozenset(
    {"NodeNotReady", "NodeHasInsufficientMemory", "NodeHasDiskPressure", "NodeHasInsufficientPID"}
)


def event(row: ObservedObject) -> dict[str, Any]:
    """An event, with when it was last seen."""
    data = row.data
    about = data.get("involved", {})
    count = data.get("count", 1)
    return {
        "warning": data.get("type") == "Warning" or data.get("reason") in _BAD_NEWS,
        "reason": data.get("reason", ""),
        "message": data.get("message", ""),
        "kind": about.get("kind", ""),
        "name": about.get("name", ""),
        "count": count,
        "times": ngettext("%(n)s time", "%(n)s times", count) % {"n": count},
        "at": moment(data.get("lastSeen")) or moment(data.get("createdAt")) or row.changed_at,
        "source": data.get("source", ""),
    }
