"""Faults that can be switched on: what goes wrong, where, how often.

Every fault may be scoped; a scope that is not given matches everything:
    namespace, pod, node, image, model, path, verb, resource    shell patterns (`team-*`); `pod` also matches claims
    times                                                       how often it strikes before it switches itself off

name               parameters besides the scope
slow               seconds (real, 1): every request waits
drop               after_bytes (0): the connection breaks; 0 is before the answer, else in the middle of a proxied one
http_429           retry_after (1): as API priority and fairness refuses
http_5xx           code (503), text
html_answer        code (502), text: a page of some proxy in front of the API server
gone_410           lists, and watches through an ERROR event, are told that their resourceVersion is too old
unauthorized       401
watch_stall        running watches end, new ones are accepted and say nothing
watch_close        running watches end at once, new ones as well
image_pull_error   text: image pulls fail
crash_loop         code (1), text, seconds (1): containers exit
oom                seconds (1): containers are OOMKilled
no_gpu             node, left (0): so many GPUs stay allocatable, as without the device plugin or with broken devices
node_labels        node, labels: name -> value, or null to take one away; as they were when this is switched off
node_not_ready     node: the kubelet is silent
node_lost          node: machine and object are gone, its pods follow; it comes back empty when this is switched off
node_pressure      node, type (MemoryPressure, DiskPressure or PIDPressure): its condition and its taint
cordon             node: unschedulable
taint              node, key (sandbox/taint), effect (NoSchedule)
quota              namespace, hard ({"pods": "0"}): a ResourceQuota `sandbox-fault`
unschedulable      text: the scheduler answers this for pods that wait
evict              reason (Evicted), text: the node fails running pods at once
pod_start_error    reason (FailedMount, FailedAttachVolume or FailedCreatePodSandBox), text: pods stay ContainerCreating
container_error    reason (RunContainerError), text: containers are not started
probe_failure      kind (readiness, liveness or startup), text: these probes fail
lost_claims        bound claims lose their volumes at once
unbound_claims     claims of classes that have a provisioner stay Pending
stalled_pull       at (0.3): model downloads stop there; lines go on
failing_pull_part  at (0.4), times (1): a part fails, `completed` goes down
disk_full          at (0.3): no space left on device
pull_error         text: a model pull ends with this error
lost_model         model: models vanish from volumes at once, and do not stay there while this is on
gpu_exporter       variant: one of exporter_text.VARIANTS or a list of them; megabytes (64) of a huge page
exporters_gone     vendor (all): the exporters' DaemonSets, Services and pods are deleted until this is switched off
prometheus         honor_labels: layout of labels, true or false; answer: empty, error, html, refused or hanging
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox import status
from sandbox.backend import DropConnection, PlainAnswer, RequestInfo, SilentWatch
from sandbox.world.exporter_text import VARIANTS
from sandbox.world.objects import name_of, namespace_of

Object = dict[str, Any]

NAMES = (
    "slow",
    "drop",
    "http_429",
    "http_5xx",
    "html_answer",
    "gone_410",
    "unauthorized",
    "watch_stall",
    "watch_close",
    "image_pull_error",
    "crash_loop",
    "oom",
    "no_gpu",
    "node_labels",
    "node_not_ready",
    "node_lost",
    "node_pressure",
    "cordon",
    "taint",
    "quota",
    "unschedulable",
    "evict",
    "pod_start_error",
    "container_error",
    "probe_failure",
    "lost_claims",
    "unbound_claims",
    "stalled_pull",
    "failing_pull_part",
    "disk_full",
    "pull_error",
    "lost_model",
    "gpu_exporter",
    "exporters_gone",
    "prometheus",
)
SCOPES = ("namespace", "pod", "node", "image", "model", "path", "verb", "resource")
OF_REQUESTS = (
    "slow",
    "unauthorized",
    "drop",
    "http_429",
    "http_5xx",
    "html_answer",
    "gone_410",
    "watch_stall",
    "watch_close",
)
_HTML = "<html><head><title>{0}</title></head><body><h1>{0}</h1>SIMULATED proxy error</body></html>\n"


class FaultError(ValueError):
    """A fault that does not exist or makes no sense; the text says why."""


@dataclass(slots=True)
class Fault:
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    left: int | None = None

    def text(self, name: str, default: str) -> str:
        return str(self.params.get(name, default))

    def number(self, name: str, default: float) -> float:
        return float(self.params.get(name, default))

    def matches(self, **where: str | None) -> bool:
        """Whether each given scope covers the place; a place that has no such part is not covered by its scope."""
        for scope in SCOPES:
            pattern = self.params.get(scope)
            if pattern is None or scope not in where:
                continue
            value = where[scope]
            if value is None or not fnmatch.fnmatchcase(value, str(pattern)):
                return False
        return True


_CHOICES = {
    "node_pressure": ("type", ("MemoryPressure", "DiskPressure", "PIDPressure")),
    "pod_start_error": ("reason", ("FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox")),
    "probe_failure": ("kind", ("readiness", "liveness", "startup")),
}


def _check_choice(name: str, params: dict[str, Any]) -> None:
    """A parameter that has a few values, the first of them by default."""
    if name in _CHOICES:
        member, choices = _CHOICES[name]
        if params.get(member, choices[0]) not in choices:
            raise FaultError(f"{member} must be one of: {', '.join(choices)}")


def _check_labels(labels: Any) -> None:
    if not isinstance(labels, dict) or not all(
        value is None or isinstance(value, str) for value in labels.values()
    ):
        raise FaultError("labels must be an object of texts, or null to take one away")


def _check_variants(wanted: Any) -> None:
    listed = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(listed, list) or not listed or any(entry not in VARIANTS for entry in listed):
        raise FaultError(f"variant must be one or a list of: {', '.join(VARIANTS)}")


def _check_prometheus(params: dict[str, Any]) -> None:
    if params.get("answer") not in (None, "empty", "error", "html", "refused", "hanging"):
        raise FaultError("answer must be one of: empty, error, html, refused, hanging")
    if params.get("honor_labels") not in (None, True, False):
        raise FaultError("honor_labels must be true or false")


class Faults:
    """One fault of each name at a time. on_change(name) is called after each switch. names: those there are."""

    def __init__(self, on_change: Callable[[str], None], names: Sequence[str] = NAMES) -> None:
        self.names = tuple(names)
        self._active: dict[str, Fault] = {}
        self._on_change = on_change
        self._changed = asyncio.Event()

    def all(self) -> dict[str, dict[str, Any]]:
        return {name: fault.params for name, fault in sorted(self._active.items())}

    def get(self, name: str) -> Fault | None:
        return self._active.get(name)

    def set(self, name: str, params: dict[str, Any]) -> None:
        """Switch on, or replace. Raises FaultError."""
        if name not in self.names:
            raise FaultError(f"there is no fault {name!r}; there are: {', '.join(self.names)}")
        times = params.get("times")
        if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
            raise FaultError("times must be a whole number above 0")
        if name == "gpu_exporter":
            _check_variants(params.get("variant"))
        if name == "prometheus":
            _check_prometheus(params)
        _check_choice(name, params)
        if name == "node_labels":
            _check_labels(params.get("labels"))
        for member in ("seconds", "at", "after_bytes", "code", "retry_after", "megabytes", "left"):
            if member in params and (
                isinstance(params[member], bool) or not isinstance(params[member], int | float)
            ):
                raise FaultError(f"{member} must be a number")
        self._active[name] = Fault(name, dict(params), times)
        self._tell(name)

    def clear(self, name: str = "") -> None:
        """Switch one off, or all."""
        for gone in [name] if name else list(self._active):
            if self._active.pop(gone, None) is not None:
                self._tell(gone)

    def _tell(self, name: str) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_change(name)

    async def until_changed(self) -> None:
        await self._changed.wait()

    def use(self, fault: Fault) -> None:
        """Count one strike."""
        if fault.left is not None:
            fault.left -= 1
            if fault.left <= 0 and self._active.get(fault.name) is fault:
                self.clear(fault.name)

    def find(
        self,
        name: str,
        *,
        pod: Object | None = None,
        image: str | None = None,
        model: str | None = None,
        node: str | None = None,
    ) -> Fault | None:
        """The fault if it is on for this place; pod: a pod or claim."""
        fault = self._active.get(name)
        if fault is None:
            return None
        where: dict[str, str | None] = {}
        if pod is not None:
            where = {
                "namespace": namespace_of(pod),
                "pod": name_of(pod),
                "node": (pod.get("spec") or {}).get("nodeName"),
            }
        for scope, value in (("image", image), ("model", model), ("node", node)):
            if value is not None:
                where[scope] = value
        return fault if fault.matches(**where) else None

    # ---- requests

    def _for(self, name: str, info: RequestInfo) -> Fault | None:
        fault = self._active.get(name)
        if fault is None:
            return None
        parent = info.name.split(":")[1] if info.name.count(":") == 2 else info.name.partition(":")[0]
        where: dict[str, str | None] = {
            "namespace": info.namespace or None,
            "path": info.path,
            "verb": info.verb,
            "resource": info.resource or None,
        }
        if info.resource in ("pods", "services", "persistentvolumeclaims"):
            where["pod"] = parent or None
        elif "pod" in fault.params:
            return None
        return fault if fault.matches(**where) else None

    async def before(self, info: RequestInfo) -> None:
        """What a request meets before it is served. Raises ApiError, PlainAnswer, SilentWatch or DropConnection."""
        for name in OF_REQUESTS:
            fault = self._for(name, info)
            if fault is not None:
                await self._strike(name, fault, info)

    async def _strike(self, name: str, fault: Fault, info: RequestInfo) -> None:
        if name == "slow":
            self.use(fault)
            await asyncio.sleep(fault.number("seconds", 1.0))
        elif name == "unauthorized":
            self.use(fault)
            raise status.unauthorized()
        elif name == "drop" and not fault.number("after_bytes", 0):
            self.use(fault)
            raise DropConnection
        elif name == "http_429":
            self.use(fault)
            after = {"Retry-After": str(int(fault.number("retry_after", 1)))}
            raise PlainAnswer(429, "Too many requests, please try again later.\n", after)
        elif name == "http_5xx":
            self.use(fault)
            code = int(fault.number("code", 503))
            reason = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}.get(code, "")
            raise status.ApiError(
                code, reason, fault.text("text", "the server is currently unable to handle the request")
            )
        elif name == "html_answer":
            self.use(fault)
            code = int(fault.number("code", 502))
            text = fault.text("text", _HTML.format(f"{code} Bad Gateway"))
            raise PlainAnswer(code, text, {"Content-Type": "text/html"})
        elif name == "gone_410" and info.verb in ("list", "watch"):
            self.use(fault)
            raise status.expired("The resourceVersion for the provided list is too old.")
        elif name == "watch_stall" and info.verb == "watch":
            self.use(fault)
            raise SilentWatch
        elif name == "watch_close" and info.verb == "watch":
            self.use(fault)
            raise DropConnection

    def breaks_after(self, pod: Object, path: str) -> int | None:
        """After how many bytes of a proxied answer the connection breaks, if it does."""
        fault = self._active.get("drop")
        if fault is None or not fault.number("after_bytes", 0):
            return None
        if not fault.matches(namespace=namespace_of(pod), pod=name_of(pod), path=path):
            return None
        self.use(fault)
        return int(fault.number("after_bytes", 0))
