"""Pods for people: rows of a list, one pod in full, and the choice of a container whose log is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.presenters import stack
from dashboard.presenters.numbers import memory
from dashboard.presenters.parts import Column, Fact
from dashboard.presenters.states import Words
from dashboard.presenters.words import semicolon
from deployments.domain.errors import InvalidInput
from deployments.domain.quantities import parse
from deployments.models import ObservedObject

GPUS = ("nvidia.com/gpu", "amd.com/gpu")
# Worst first, as the classes of the stylesheet.
BADNESS = {"failed": 0, "degraded": 1, "progressing": 2, "unknown": 3, "healthy": 4}
COLUMNS = (
    Column(gettext_lazy("Pod, container"), "name", css="w240"),
    Column(gettext_lazy("State"), "state"),
    Column(gettext_lazy("Restarts"), "restarts", numeric=True),
    Column(gettext_lazy("CPU"), "cpu", numeric=True),
    Column(gettext_lazy("Memory"), "memory", numeric=True),
    Column(gettext_lazy("GPUs"), "gpus", numeric=True),
    Column(gettext_lazy("Node"), "node"),
    Column(gettext_lazy("Age"), "age", numeric=True),
)
# Exit codes that mean the same everywhere: POSIX shells (126, 127), 128 + the number of a signal.
EXIT_CODES: dict[int, Words] = {
    0: gettext_lazy("it ended by itself, without an error"),
    1: gettext_lazy("the program reported an error"),
    2: gettext_lazy("the program was called wrongly"),
    126: gettext_lazy("the program cannot be executed"),
    127: gettext_lazy("the image has no such program"),
    134: gettext_lazy("the program gave up (SIGABRT)"),
    137: gettext_lazy("it was killed (SIGKILL): by a probe, an eviction, the node or for want of memory"),
    139: gettext_lazy("it crashed (SIGSEGV); often a driver that does not fit the image"),
    143: gettext_lazy("it was asked to end (SIGTERM)"),
}


def exit_meaning(code: object, reason: str = "") -> str:
    """What an exit code means, "" where only the program knows."""
    if reason == "OOMKilled":
        return _("it used more memory than its limit")
    return str(EXIT_CODES.get(code, "")) if isinstance(code, int) else ""


# The list ----------------------------------------------------------------------------------------
def rows(observed: Sequence[ObservedObject], sort: str) -> list[dict[str, Any]]:
    """Pods in the order of ``sort`` (a key of COLUMNS, "-" in front for descending)."""
    found = [_row(item) for item in observed]
    found.sort(key=lambda item: item["name"])
    found.sort(key=_SORTS[sort.removeprefix("-")], reverse=sort.startswith("-"))
    return found


def _row(item: ObservedObject) -> dict[str, Any]:
    row = stack.pod(item)
    ended = [
        status["lastState"]["terminated"]
        for status in _statuses(item.data)
        if status.get("lastState", {}).get("terminated")
    ]
    last: dict[str, Any] = max(ended, key=lambda end: str(end.get("finishedAt", "")), default={})
    asked = {name: asked_for(item.data, name) for name in ("cpu", "memory")}
    # What a container says stands in its own row.
    told = any(row["note"] in each["note"] for each in row["containers"])
    return {
        **row,
        "note": "" if told else row["note"],
        "last_reason": last.get("reason")
        or (_("exit code %(code)s") % {"code": last["exitCode"]} if "exitCode" in last else ""),
        "last_at": stack.moment(last.get("finishedAt")),
        "cpu": asked["cpu"],
        "memory": asked["memory"],
        "gpus": sum(int(asked_for(item.data, name).request or 0) for name in GPUS),
        "deleting": bool(item.data.get("deletedAt")),
    }


_SORTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "name": lambda row: row["name"],
    "state": lambda row: BADNESS.get(row["css"], 3),
    "restarts": lambda row: row["restarts"],
    "cpu": lambda row: row["cpu"].request or 0,
    "memory": lambda row: row["memory"].request or 0,
    "gpus": lambda row: row["gpus"],
    "node": lambda row: row["node"],
    # The older a pod, the greater its age.
    "age": lambda row: -row["created"].timestamp() if row["created"] else 0.0,
}


@dataclass(frozen=True)
class Asked:
    """What a pod's containers ask for together, and how much they may use; None: not limited."""

    request: Decimal | None
    limit: Decimal | None
    words: str
    limit_words: str


def asked_for(data: Mapping[str, Any], resource: str) -> Asked:
    """Of the main containers together: those before them end before these begin."""
    containers = data.get("containers", [])
    request = _sum(
        _amount(item, "requests", resource) or _amount(item, "limits", resource) for item in containers
    )
    limits = [_amount(item, "limits", resource) for item in containers]
    limit = _sum(limits) if limits and all(value is not None for value in limits) else None
    return Asked(request, limit, amount(resource, request), amount(resource, limit))


def amount(resource: str, value: Decimal | None) -> str:
    """A quantity of a resource in words, "" for none."""
    if value is None:
        return ""
    if resource in ("memory", "ephemeral-storage", "storage"):
        return memory(float(value))
    digits = value.normalize().as_tuple().exponent
    places = min(2, max(0, -digits)) if isinstance(digits, int) else 0
    return number_format(value, places)


def _amount(container: Mapping[str, Any], kind: str, resource: str) -> Decimal | None:
    text = container.get(kind, {}).get(resource, "")
    try:
        return parse(text) if text else None
    except InvalidInput:
        return None


def _sum(values: Any) -> Decimal | None:
    known = [value for value in values if value is not None]
    return sum(known, Decimal(0)) if known else None


def _statuses(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [*data.get("initContainerStatuses", []), *data.get("containerStatuses", [])]


# Whose log ---------------------------------------------------------------------------------------
@dataclass(frozen=True)
class LogChoice:
    """A container and how it is. ``there`` is False for a pod that is gone; ``pod`` "" where the
    deployment has none at all."""

    pod: str = ""
    container: str = ""
    there: bool = False
    state: Mapping[str, Any] | None = None
    restarts: int = 0
    ended: bool = False
    """Whether a run before this one has ended."""

    @property
    def of(self) -> str:
        return f"{self.pod}/{self.container}"


def log_choice(observed: Sequence[ObservedObject], of: str) -> LogChoice:
    """The container that ``of`` ("pod/container") names; without one the first of the worst pod,
    servers before others."""
    pod_name, _slash, container = of.partition("/")
    if not pod_name:
        ranked = sorted(observed, key=_interest)
        if not ranked:
            return LogChoice()
        chosen = ranked[0]
    else:
        found = [item for item in observed if item.name == pod_name]
        if not found:
            return LogChoice(pod_name[:253], container[:63])
        chosen = found[0]
    names = container_names(chosen.data)
    if container not in names:
        container = _first_container(chosen.data, names) if not container else container[:63]
    status = next((item for item in _statuses(chosen.data) if item.get("name") == container), {})
    init = container in {item.get("name") for item in chosen.data.get("initContainerStatuses", [])}
    return LogChoice(
        chosen.name,
        container,
        True,
        stack.container(status, init=init) if status else None,
        status.get("restartCount", 0),
        bool(status.get("lastState", {}).get("terminated")),
    )


def _interest(item: ObservedObject) -> tuple[int, int, str]:
    row = stack.pod(item)
    server = item.data.get("labels", {}).get(stack.COMPONENT) == "server"
    return (0 if server else 1, BADNESS.get(row["css"], 3), item.name)


def container_names(data: Mapping[str, Any]) -> list[str]:
    """The main containers first, then what runs before them; without doubles."""
    found = [item.get("name", "") for item in data.get("containers", [])]
    found += [item.get("name", "") for item in data.get("containerStatuses", [])]
    found += [item.get("name", "") for item in data.get("initContainerStatuses", [])]
    return [name for name in dict.fromkeys(found) if name]


def _first_container(data: Mapping[str, Any], names: list[str]) -> str:
    """Whoever holds the pod up, else the first."""
    for item in data.get("initContainerStatuses", []):
        if "running" in item.get("state", {}) or item.get("state", {}).get("terminated", {}).get("exitCode"):
            return str(item.get("name", ""))
    return names[0] if names else ""


def log_groups(
    observed: Sequence[ObservedObject], chosen: LogChoice
) -> list[tuple[str, list[tuple[str, str, bool]]]]:
    """For a select: pod -> (value, container, chosen). A pod that is gone stands first by itself."""
    groups = []
    if chosen.pod and not chosen.there:
        groups.append(
            (_("%(pod)s (gone)") % {"pod": chosen.pod}, [(chosen.of, chosen.container or "-", True)])
        )
    for item in observed:
        options = [
            (
                f"{item.name}/{name}",
                name,
                chosen.there and (item.name, name) == (chosen.pod, chosen.container),
            )
            for name in container_names(item.data)
        ]
        groups.append((item.name, options))
    return groups


# One pod -----------------------------------------------------------------------------------------
QOS: dict[str, Words] = {
    "Guaranteed": gettext_lazy("limits equal requests: ended last when the node runs short"),
    "Burstable": gettext_lazy("may use more than it asks for: ended after those that ask for nothing"),
    "BestEffort": gettext_lazy("asks for nothing: ended first when the node runs short"),
}
VOLUMES: dict[str, Words] = {
    "persistentVolumeClaim": gettext_lazy("claim"),
    "configMap": gettext_lazy("ConfigMap"),
    "secret": gettext_lazy("Secret"),
    "emptyDir": gettext_lazy("empty directory, gone with the pod"),
    "hostPath": gettext_lazy("path of the node"),
    "nfs": gettext_lazy("NFS"),
    "csi": gettext_lazy("CSI volume"),
    "downwardAPI": gettext_lazy("facts about the pod"),
    "projected": gettext_lazy("several sources, with the pod's token"),
    "ephemeral": gettext_lazy("claim that ends with the pod"),
    "image": gettext_lazy("image"),
}
CONDITIONS: dict[str, Words] = {
    "PodScheduled": gettext_lazy("A node was found for it"),
    "PodReadyToStartContainers": gettext_lazy("Its network and volumes are set up"),
    "Initialized": gettext_lazy("What runs before its containers has ended"),
    "ContainersReady": gettext_lazy("Its containers are ready"),
    "Ready": gettext_lazy("It takes requests"),
    "DisruptionTarget": gettext_lazy("It is about to be ended by the cluster"),
}


def facts(item: ObservedObject) -> list[Fact]:
    """Six figures about a pod."""
    data, row = item.data, stack.pod(item)
    cpu, ram = asked_for(data, "cpu"), asked_for(data, "memory")
    gpus = [(name, asked_for(data, name).words) for name in GPUS]
    last = _row(item)
    return [
        Fact(
            _("Ready"),
            _("%(n)s of %(all)s") % {"n": row["ready"], "all": row["containers_all"]},
            _("containers"),
        ),
        Fact(
            _("Restarts"),
            str(row["restarts"]),
            _("last: %(reason)s") % {"reason": last["last_reason"]} if last["last_reason"] else "",
            "",
            last["last_at"],
        ),
        Fact(_("CPU"), cpu.words or _("asks for none"), _up_to(cpu)),
        Fact(_("Memory"), ram.words or _("asks for none"), _up_to(ram)),
        Fact(
            _("GPUs"),
            " ".join(f"{words} × {name}" for name, words in gpus if words) or _("asks for none"),
        ),
        Fact(_("Node"), data.get("node") or _("none yet"), data.get("podIP", "")),
    ]


def _up_to(asked: Asked) -> str:
    return _("may use %(limit)s") % {"limit": asked.limit_words} if asked.limit_words else _("no limit")


def placing(item: ObservedObject) -> list[Fact]:
    """By whom the pod was made and by what it is placed."""
    data = item.data
    owner = data.get("owner", {})
    qos = data.get("qosClass", "")
    found = [
        Fact(
            _("Owner"),
            f"{owner.get('kind', '')} {owner.get('name', '')}".strip() or _("nobody: it is not replaced"),
        ),
        Fact(_("Revision"), data.get("revision", "")),
        Fact(_("Quality of service"), qos, QOS.get(qos, "")),
        Fact(_("Service account"), data.get("serviceAccount", "")),
        Fact(_("Priority class"), data.get("priorityClass", "")),
        Fact(_("Runtime class"), data.get("runtimeClass", "")),
        Fact(_("Restart policy"), data.get("restartPolicy", "")),
        Fact(
            _("Node selector"),
            ", ".join(f"{key}={value}" for key, value in data.get("nodeSelector", {}).items()),
        ),
        Fact(_("Tolerations"), semicolon().join(map(_toleration, data.get("tolerations", [])))),
    ]
    return [fact for fact in found if fact.value]


def _toleration(item: Mapping[str, Any]) -> str:
    key = item.get("key") or _("every taint")
    what = f"{key}={item['value']}" if item.get("value") and item.get("operator") != "Exists" else key
    effect = f":{item['effect']}" if item.get("effect") else ""
    seconds = item.get("seconds")
    return f"{what}{effect}" + (_(" for %(n)s s") % {"n": seconds} if seconds is not None else "")


def conditions(item: ObservedObject) -> list[dict[str, Any]]:
    """In the order in which a pod goes through them."""
    order = {name: place for place, name in enumerate(CONDITIONS)}
    found = sorted(item.data.get("conditions", []), key=lambda each: order.get(each.get("type", ""), 99))
    return [
        {
            "type": each.get("type", ""),
            "words": CONDITIONS.get(each.get("type", ""), ""),
            "status": each.get("status", ""),
            "css": _condition_css(each),
            "reason": each.get("reason", ""),
            "message": each.get("message", ""),
            "since": stack.moment(each.get("lastTransitionTime")),
        }
        for each in found
    ]


def _condition_css(condition: Mapping[str, Any]) -> str:
    good = "False" if condition.get("type") == "DisruptionTarget" else "True"
    status = condition.get("status")
    return "healthy" if status == good else "unknown" if status == "Unknown" else "degraded"


def volumes(item: ObservedObject, claims: Mapping[str, ObservedObject]) -> list[dict[str, Any]]:
    """Each volume with what is behind it and where it is mounted."""
    mounts: dict[str, list[str]] = {}
    for setup in item.data.get("setups", []):
        for mount in setup.get("mounts", []):
            only = _(" (read only)") if mount.get("readOnly") else ""
            mounts.setdefault(mount.get("name", ""), []).append(
                f"{setup.get('name', '')}: {mount.get('path', '')}{only}"
            )
    found = []
    for volume in item.data.get("volumes", []):
        claim = (
            claims.get(volume.get("source", "")) if volume.get("kind") == "persistentVolumeClaim" else None
        )
        about = claim.data if claim else {}
        size = about.get("capacity") or about.get("requested") or volume.get("size", "")
        found.append(
            {
                "name": volume.get("name", ""),
                "kind": VOLUMES.get(volume.get("kind", ""), volume.get("kind", "")),
                "source": volume.get("source", ""),
                "read_only": volume.get("readOnly", False),
                "phase": about.get("phase", ""),
                "storage_class": about.get("storageClassName", ""),
                "size": stack.size(str(size)),
                "mounts": mounts.get(volume.get("name", ""), []),
            }
        )
    return found


def containers(item: ObservedObject) -> list[dict[str, Any]]:
    """Each container with its state, how its last run ended, what it asks for and how it is set up;
    those that run before the others first."""
    data = item.data
    heard = not stack.node_is_silent(data)
    setups = {setup.get("name", ""): setup for setup in data.get("setups", [])}
    specs = {spec.get("name", ""): spec for spec in data.get("containers", [])}
    statuses = {status.get("name", ""): status for status in _statuses(data)}
    before = {status.get("name", "") for status in data.get("initContainerStatuses", [])}
    names = dict.fromkeys([*setups, *statuses, *specs])
    found = []
    for name in names:
        setup, status = setups.get(name) or specs.get(name, {}), statuses.get(name, {})
        init = bool(setup.get("init")) or name in before
        shown = stack.container(status, init=init, heard=heard)
        found.append(
            {
                **shown,
                "name": name,
                "image": shown["image"] or setup.get("image", ""),
                "kind": _("runs beside the others")
                if setup.get("sidecar")
                else _("runs before the others")
                if init
                else "",
                "ready": bool(status.get("ready")) and heard,
                "restarts": status.get("restartCount", 0),
                "message": _message(status),
                "ended": _ended(status),
                "resources": _resources(setup),
                "env": setup.get("env", []),
                "env_from": setup.get("envFrom", []),
                "mounts": setup.get("mounts", []),
            }
        )
    return found


def _message(status: Mapping[str, Any]) -> str:
    state: dict[str, dict[str, str]] = status.get("state", {})
    return next((said.get("message", "") for said in state.values()), "")


def _ended(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The runs that have ended, the newest first: this one, if it has, and the one before."""
    found = []
    for which in ("state", "lastState"):
        end = status.get(which, {}).get("terminated")
        if not end:
            continue
        began, finished = stack.moment(end.get("startedAt")), stack.moment(end.get("finishedAt"))
        found.append(
            {
                "previous": which == "lastState",
                "reason": end.get("reason", ""),
                "code": end.get("exitCode"),
                "meaning": exit_meaning(end.get("exitCode"), end.get("reason", "")),
                "message": end.get("message", ""),
                "at": finished,
                "seconds": (finished - began).total_seconds() if began and finished else None,
            }
        )
    return found


def _resources(setup: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(resource, request, limit) in words."""
    names = dict.fromkeys([*setup.get("requests", {}), *setup.get("limits", {})])
    found = []
    for name in names:
        pair = [_amount(setup, kind, name) for kind in ("requests", "limits")]
        found.append((name, amount(name, pair[0]), amount(name, pair[1])))
    return found
