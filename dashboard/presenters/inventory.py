"""A cluster's inventory in words: how its nodes are, what they have left, what is known and what not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.presenters.clusters import connection
from dashboard.presenters.numbers import cannot_tell, count, finer, memory, share
from dashboard.presenters.parts import Column, Fact
from dashboard.presenters.stack import moment
from dashboard.presenters.states import HEALTH, Look, Words
from deployments.domain.errors import not_listed
from deployments.domain.pod_requests import CPU, EPHEMERAL, MEMORY, PODS
from deployments.domain.states import Health
from deployments.models import Cluster, WatchState
from deployments.selectors.inventory import Inventory, NodeResource, NodeRow
from deployments.sentences import said

SLOTS = 16  # GPUs of a node that are drawn one by one
SEEN_EVERY = 60.0  # seconds; a quiet watch hears a bookmark about once a minute

NAMES: Mapping[str, Words] = {
    CPU: gettext_lazy("CPU"),
    MEMORY: gettext_lazy("Memory"),
    PODS: gettext_lazy("Pods"),
    "nvidia.com/gpu": gettext_lazy("NVIDIA GPUs"),
    "amd.com/gpu": gettext_lazy("AMD GPUs"),
    EPHEMERAL: gettext_lazy("Ephemeral storage"),
}

COLUMNS = (
    Column(gettext_lazy("Node"), "name"),
    Column(gettext_lazy("State"), "state"),
    Column(gettext_lazy("GPUs free"), "gpus"),
    Column(gettext_lazy("CPU requested"), "cpu", css="w150"),
    Column(gettext_lazy("Memory requested"), "memory", css="w150"),
    Column(gettext_lazy("Pods"), "pods", numeric=True),
    Column(gettext_lazy("Taints")),
)

STATES: tuple[tuple[str, Words], ...] = (
    ("trouble", gettext_lazy("in trouble")),
    ("ready", gettext_lazy("ready")),
    ("cordoned", gettext_lazy("cordoned")),
    ("tainted", gettext_lazy("tainted")),
    ("gpu", gettext_lazy("with GPUs")),
    ("free", gettext_lazy("with free GPUs")),
)
_IN_STATE: Mapping[str, Callable[[NodeRow], bool]] = {
    "trouble": lambda row: bool(row.trouble) or not row.ready,
    "ready": lambda row: bool(row.ready) and not row.unschedulable,
    "cordoned": lambda row: row.unschedulable,
    "tainted": lambda row: bool(row.taints),
    "gpu": lambda row: bool(row.gpus),
    "free": lambda row: any((resource.free or 0) > 0 for resource in row.gpus),
}


@dataclass(frozen=True)
class Amount:
    """A resource with its bar: ``share`` is how much of a hundred parts is requested, None where nobody
    can tell. ``slots`` are drawn for few GPUs: "u" used, "" free, "x" broken."""

    name: Words
    share: float | None
    text: str
    note: str
    slots: list[str]


@dataclass(frozen=True)
class Node:
    """A row of the list of nodes. ``troubles`` are (sentence, since) of conditions that are amiss."""

    row: NodeRow
    look: Look
    word: Words
    troubles: list[tuple[str, datetime | None]]
    gpus: list[Amount]
    cpu: Amount | None
    memory: Amount | None
    pods: str
    kind: str
    driver: str
    taints: list[tuple[str, str]]


def choose(nodes: Sequence[NodeRow], state: str, text: str, sort: str) -> list[NodeRow]:
    """The nodes that a reader asked for, in the order he asked for; by name within the same."""
    found = [row for row in nodes if state not in _IN_STATE or _IN_STATE[state](row)]
    if text:
        wanted = text.lower()
        found = [
            row for row in found if wanted in f"{row.name} {row.gpu_product} {row.instance_type}".lower()
        ]
    key = sort.removeprefix("-")
    found.sort(key=lambda row: row.name, reverse=sort == "-name")
    if key != "name":
        # What is not known stands last in either direction.
        found.sort(
            key=lambda row: _order(row, key, reverse=sort.startswith("-")),
        )
    return found


def _order(row: NodeRow, key: str, *, reverse: bool) -> tuple[bool, float]:
    value: float | None
    if key == "gpus":
        value = _sum([resource.free for resource in row.gpus]) if row.gpus else None
    elif key == "state":
        value = 0 if not row.ready else 1 if row.trouble else 2 if row.unschedulable else 3
    elif key == "pods":
        value = row.pods
    else:
        resource = row.resource(key)
        value = requested_share(resource) if resource else None
    if value is None:
        return True, 0.0
    return False, -value if reverse else value


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def node(row: NodeRow) -> Node:
    """A node as the list shows it."""
    look, word = _state(row)
    cpu, mem = row.resource(CPU), row.resource(MEMORY)
    return Node(
        row=row,
        look=look,
        word=word,
        troubles=[(_trouble(item), moment(item.get("lastTransitionTime"))) for item in row.trouble],
        gpus=[gpu_amount(resource) for resource in row.gpus],
        cpu=amount(cpu) if cpu else None,
        memory=amount(mem) if mem else None,
        pods=cannot_tell() if row.pods is None else count(row.pods),
        kind=" · ".join(part for part in (", ".join(row.roles), row.instance_type, row.zone) if part),
        driver=driver(row),
        taints=[taint(item) for item in row.taints],
    )


def _state(row: NodeRow) -> tuple[Look, Words]:
    if row.ready is None:
        return HEALTH[Health.UNKNOWN], _("Silent")
    if not row.ready:
        return HEALTH[Health.FAILED], _("Not ready")
    if row.trouble:
        return HEALTH[Health.DEGRADED], _("Ready, with trouble")
    if row.unschedulable:
        return HEALTH[Health.STOPPED], _("Cordoned")
    return HEALTH[Health.HEALTHY], _("Ready")


def _trouble(condition: Mapping[str, str]) -> str:
    told = condition.get("message") or condition.get("reason") or condition.get("status") or ""
    return f"{condition['type']}: {told}"


def taint(item: Mapping[str, str]) -> tuple[str, str]:
    """A taint's effect, and its key with its value."""
    value = f"={item['value']}" if item.get("value") else ""
    return item.get("effect", ""), f"{item.get('key', '')}{value}"


def driver(row: NodeRow) -> str:
    """Product, driver and CUDA of a node with GPUs; what no label tells is said to be missing."""
    if not row.gpus:
        return ""
    return " · ".join(
        (
            row.gpu_product or _("product not told"),
            _("driver %(version)s") % {"version": row.driver} if row.driver else _("driver not told"),
            *([_("CUDA %(version)s") % {"version": row.cuda}] if row.cuda else []),
        )
    )


def name_of(resource: str) -> Words:
    """The words for a resource; what has none keeps its own name."""
    return NAMES.get(resource, resource)


def quantity(resource: str, value: float) -> str:
    """An amount in the unit of its resource: cores, bytes of memory, pieces."""
    if resource == CPU:
        return ngettext("%(n)s core", "%(n)s cores", 1 if value == 1000 else 2) % {"n": _cores(value)}
    if resource in (MEMORY, EPHEMERAL) or resource.startswith("hugepages-"):
        return memory(value)
    return count(int(value))


def _cores(millicores: float) -> str:
    cores = millicores / 1000
    return number_format(cores, 0 if cores == int(cores) else 1)


def requested_share(resource: NodeResource) -> float | None:
    """In percent; None where it cannot be told. Of nothing, nothing is left."""
    if resource.allocatable == 0 and resource.requested is not None:
        return 100.0 if resource.requested else 0.0
    return share(resource.requested, resource.allocatable)


def amount(resource: NodeResource) -> Amount:
    """A resource with how much of it is requested and what is free."""
    whole = quantity(resource.name, resource.allocatable)
    if resource.requested is None:
        text = _("%(all)s, free: cannot tell") % {"all": whole}
    else:
        left = max(0, resource.allocatable - resource.requested)
        free = _cores(left) if resource.name == CPU else quantity(resource.name, left)
        if free == whole and (requested_share(resource) or 0) >= 1:
            # Beside a bar that says otherwise: the next smaller unit tells them apart.
            free, whole = finer(left), finer(resource.allocatable)
        text = _("%(free)s of %(all)s free") % {"free": free, "all": whole}
    note = ""
    if resource.free is not None and resource.free < 0:
        note = _("more is requested than there is")
    elif resource.unhealthy:
        note = _("%(n)s broken") % {"n": resource.unhealthy}
    return Amount(name_of(resource.name), requested_share(resource), text, note, [])


def gpu_amount(resource: NodeResource) -> Amount:
    """GPUs, one slot for each where they are few."""
    found = amount(resource)
    if resource.requested is None or resource.capacity > SLOTS:
        return found
    used = min(resource.allocatable, resource.requested)
    free = resource.allocatable - used
    slots = [*["u"] * used, *[""] * free, *["x"] * resource.unhealthy]
    return Amount(found.name, found.share, found.text, found.note, slots)


def headline(found: Inventory, missing: Unseen | None) -> str:
    """How the nodes are, in one sentence."""
    if not found.nodes:
        return _("No node is known")
    told = _headline(found)
    return _("When last seen: %(told)s") % {"told": told} if missing else told


def _headline(found: Inventory) -> str:
    ready = sum(1 for row in found.nodes if row.ready)
    amiss = sum(1 for row in found.nodes if row.ready and row.trouble)
    if amiss and ready == len(found.nodes):
        words = ngettext(
            "%(n)s node is ready, with trouble", "%(n)s nodes are ready, %(amiss)s with trouble", ready
        )
        return words % {"n": count(ready), "amiss": count(amiss)}
    if ready == len(found.nodes):
        return ngettext("%(n)s node, ready", "%(n)s nodes, all ready", ready) % {"n": count(ready)}
    return _("%(ready)s of %(n)s nodes are ready") % {"ready": count(ready), "n": count(len(found.nodes))}


def totals(found: Inventory) -> list[Amount]:
    """What the nodes that take pods have together: GPUs first, then CPU, memory, pods."""
    names = dict.fromkeys(resource.name for row in found.nodes for resource in row.gpus)
    return [amount(found.total(name)) for name in (*names, CPU, MEMORY, PODS) if found.total(name).capacity]


def resources(row: NodeRow) -> list[tuple[Words, list[str], Amount]]:
    """Every resource of one node: its name; capacity, allocatable, requested, free; its bar."""
    found = []
    for resource in row.resources:
        values: list[float | None] = [
            resource.capacity,
            resource.allocatable,
            resource.requested,
            resource.free,
        ]
        texts = [cannot_tell() if value is None else quantity(resource.name, value) for value in values]
        found.append((name_of(resource.name), texts, amount(resource)))
    return found


def about(row: NodeRow) -> list[Fact]:
    """What a node is."""
    info = row.data.get("nodeInfo", {})
    unknown = _("not told")
    facts = [
        Fact(_("Kubernetes"), row.version or unknown),
        Fact(_("Architecture"), row.architecture or unknown),
        Fact(_("System"), info.get("osImage") or unknown, info.get("kernelVersion") or ""),
        Fact(_("Containers"), info.get("containerRuntimeVersion") or unknown),
        Fact(_("Instance"), row.instance_type or unknown),
        Fact(_("Zone"), row.zone or unknown),
    ]
    if row.gpus:
        facts += [
            Fact(_("GPU"), row.gpu_product or unknown),
            Fact(_("Driver"), row.driver or unknown),
            Fact(_("CUDA"), row.cuda or unknown, _("the newest that the driver supports")),
        ]
    for address in row.data.get("addresses", []):
        facts.append(Fact(address.get("type", ""), address.get("address", "")))
    return facts


def conditions(row: NodeRow) -> list[tuple[Look, str, str, datetime | None]]:
    """All conditions of a node, those that are amiss first: look, name, what it says, since when."""
    amiss = {item["type"] for item in row.trouble}
    found = []
    for item in row.data.get("conditions", []):
        look = HEALTH[Health.DEGRADED if item["type"] in amiss else Health.HEALTHY]
        told = item.get("message") or item.get("reason") or ""
        found.append(
            (look, f"{item['type']} = {item['status']}", told, moment(item.get("lastTransitionTime")))
        )
    return sorted(found, key=lambda one: one[0] is HEALTH[Health.HEALTHY])


@dataclass(frozen=True)
class Unseen:
    """Why what stands on a page is not what is there now, or why nothing does; what to do, or ""."""

    why: str
    remedy: str


def unseen(cluster: Cluster, seen: Mapping[str, WatchState], kind: str) -> Unseen | None:
    """What keeps a kind of object from being seen: the cluster is out of reach, does not allow it or has not
    been asked yet; None where nothing does."""
    if cluster.last_error:
        told = connection(cluster)
        return Unseen(said(told.sentence), said(told.remedy))
    state = seen.get(kind)
    if state is not None and not state.cluster_wide:
        # Of pods and events, those in the granted namespaces are listed all the same.
        return Unseen(
            said(state.error or not_listed(kind)), _("Have the cluster's admin apply deploy/rbac.yaml.")
        )
    if state is None or (state.listed_at is None and not state.error):
        return Unseen(_("The cluster has not been asked yet."), "")
    if state.error:
        return Unseen(said(state.error), _("It is tried again; if this stays, ask whoever runs the cluster."))
    return None
