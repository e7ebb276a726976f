"""Room on the nodes: whether every pod of the stack would find one, and which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deployments.domain.errors import ClusterForbids, ObjectMissing
from deployments.domain.findings import Finding
from deployments.domain.fit import Answer, Fit, Node, PodShape, place, shape_of
from deployments.domain.pod_requests import Amounts, add_amounts, effective_requests
from deployments.domain.spec import ChatSpec, ServerSpec
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from deployments.manifests.labels import CHAT, DEPLOYMENT_LABEL
from deployments.workflows.capacity import Capacity, Pod, given_as_claims, read_capacity
from deployments.workflows.checks import volumes
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.checks.room_words import fit_finding, nodes_forbidden
from deployments.workflows.stack import Stack

ZONE = "topology.kubernetes.io/zone"
COMPONENT = "app.kubernetes.io/component"


@dataclass(frozen=True)
class Room:
    """What came out, for the findings, the checks of GPUs and the table. ``server`` and ``chat`` are
    None where nothing of the kind was placed; ``nodes`` are as they were found."""

    findings: list[Finding] = field(default_factory=list)
    nodes: tuple[Node, ...] = ()
    server: Fit | None = None
    chat: Fit | None = None
    shape: PodShape | None = None
    gpu: str = ""


class _Own:
    """Pods of this deployment make room for themselves: the apply stops a server before it starts its
    successor. Of the chat it starts one more before it stops an old one."""

    def __init__(self, deployment: str) -> None:
        self.deployment = deployment
        self.chats = 0

    def __call__(self, pod: Pod) -> bool:
        labels = (pod.get("metadata") or {}).get("labels") or {}
        if labels.get(DEPLOYMENT_LABEL) != self.deployment:
            return False
        self.chats += labels.get(COMPONENT) == CHAT
        return True


def room(client: ClusterClient, stack: Stack, pulse: Callable[[], None]) -> Room:
    """Place all pods of the stack on the nodes as they are now."""
    server = _template(stack, "StatefulSet")
    least, most = _counts(stack.spec.server)
    if server is None or not least:
        return Room([Finding("fit", PASS, "No server pods are asked for", source="profile")])
    found: list[Finding] = []
    shape = shape_of(server, stack.namespace)
    shape = _as_runtime_class_says(client, stack.spec.server.runtime_class, shape, found)
    chat = _template(stack, "Deployment")
    chat_shape = shape_of(chat, stack.namespace) if chat else PodShape({})
    own = _Own(stack.apply_set.deployment)
    capacity = read_capacity(client, [shape, chat_shape], leave_out=own, pulse=pulse)
    if isinstance(capacity, ClusterForbids):
        return Room([*found, nodes_forbidden(capacity)])
    if capacity.neighbours:
        shape = replace(shape, neighbours=capacity.neighbours[0])
        chat_shape = replace(chat_shape, neighbours=capacity.neighbours[1])
    where = volumes.places(client, stack, most)
    servers = _at_their_volumes(shape, where)
    fit = place(capacity.nodes, servers[:least])
    gpu = stack.spec.server.gpu_vendor.resource if stack.spec.server.gpu_count else ""
    found.append(fit_finding("server", "fit", fit, shape, capacity, claims=_as_claims(client, capacity, gpu)))
    found += _standing(fit, least)
    found += _up_to(capacity, servers, least, fit)
    found += _zones(where, capacity)
    chat_fit = None
    chats = _counts(stack.spec.chat)[0] if chat else 0
    if chats:
        chat_fit = place(fit.left, [chat_shape] * (chats + bool(own.chats)))
        found.append(fit_finding("chat", "chat_fit", chat_fit, chat_shape, capacity))
    return Room(found, capacity.nodes, fit, chat_fit, shape, gpu)


def _template(stack: Stack, kind: str) -> Mapping[str, Any] | None:
    for manifest in stack.manifests:
        if manifest["kind"] == kind:
            template: Mapping[str, Any] = manifest["spec"]["template"]
            return template
    return None


def _counts(component: ServerSpec | ChatSpec) -> tuple[int, int]:
    """How many replicas there have to be, and how many there may come to be."""
    scaling = component.autoscaling
    if scaling.enabled:
        return max(1, scaling.min_replicas), max(1, scaling.min_replicas, scaling.max_replicas)
    return component.replicas, component.replicas


def _at_their_volumes(shape: PodShape, where: Sequence[volumes.Where]) -> list[PodShape]:
    """The replicas, those whose volume has a place already before the others."""
    servers: list[PodShape] = []
    last: volumes.Where | None = None
    for one in sorted(where, key=lambda one: one.terms is None):
        if one != last:
            bound = () if one.terms is None else (one.terms,)
            unseen = (*shape.unseen, one.unknown) if one.unknown else shape.unseen
            servers.append(replace(shape, volumes=bound, unseen=unseen))
        else:
            servers.append(servers[-1])
        last = one
    return servers


def _as_runtime_class_says(
    client: ClusterClient, name: str, shape: PodShape, found: list[Finding]
) -> PodShape:
    """The server's shape with what its runtime class adds on admission: overhead and placement
    (Kubernetes documentation, "Runtime Class")."""
    if not name:
        return shape
    try:
        runtime = client.get(ObjectRef("node.k8s.io/v1", "RuntimeClass", name))
    except ObjectMissing:
        found.append(
            Finding(
                "runtime_class",
                FAIL,
                f"There is no runtime class {name}",
                "pods that name it are refused",
                "Make it, or leave the runtime class empty in the profile.",
                field="runtime_class",
            )
        )
        return shape
    except ClusterForbids as error:
        found.append(
            Finding(
                "runtime_class",
                CANNOT_TELL,
                f"Whether runtime class {name} exists cannot be seen",
                error.answered,
                "Grant get on runtimeclasses (deploy/rbac.yaml).",
                field="runtime_class",
            )
        )
        return replace(shape, unseen=(*shape.unseen, f"what runtime class {name} adds cannot be seen"))
    scheduling = runtime.get("scheduling") or {}
    requests: Amounts = dict(shape.requests)
    overhead = (runtime.get("overhead") or {}).get("podFixed")
    add_amounts(requests, effective_requests({"spec": {"overhead": overhead}}))
    found.append(Finding("runtime_class", PASS, f"Runtime class {name} is there"))
    return replace(
        shape,
        requests=requests,
        node_selector={**shape.node_selector, **(scheduling.get("nodeSelector") or {})},
        tolerations=(*shape.tolerations, *(scheduling.get("tolerations") or ())),
    )


def _as_claims(client: ClusterClient, capacity: Capacity, gpu: str) -> bool:
    """Whether GPUs that no node lists are handed out as claims instead."""
    offered = any(node.capacity.get(gpu) or node.allocatable.get(gpu) for node in capacity.nodes)
    return bool(gpu) and not offered and given_as_claims(client, gpu)


def _standing(fit: Fit, wanted: int) -> Iterator[Finding]:
    """Replicas that would all stand or fall with one node."""
    if wanted > 1 and fit.found == wanted and len(fit.on) == 1:
        node = next(iter(fit.on))
        yield Finding(
            "spread",
            WARN,
            f"All {wanted} server pods would stand on {node}",
            "no other node has room for one",
            "If that node fails, the chat is down. Free room on a second node, or go on with one.",
            source="scheduler arithmetic",
        )


def _up_to(capacity: Capacity, servers: Sequence[PodShape], least: int, fit: Fit) -> Iterator[Finding]:
    """Whether the autoscaler finds room as well."""
    if len(servers) <= least or fit.answer is not Answer.FITS:
        return
    grown = place(capacity.nodes, servers)
    if grown.answer is Answer.DOES_NOT_FIT:
        yield Finding(
            "fit_scaled",
            WARN,
            f"Autoscaling ends at {grown.found} of {len(servers)} server pods",
            grown.why_not,
            "Pods beyond that stay pending: lower the maximum in the profile, or add nodes.",
            source="scheduler arithmetic",
            field="autoscaling",
        )


def _zones(where: Sequence[volumes.Where], capacity: Capacity) -> Iterator[Finding]:
    """A volume that is made before its pod has a node may lie in a zone without room."""
    zones = {node.labels[ZONE] for node in capacity.nodes if ZONE in node.labels}
    if len(zones) > 1 and any(one.at_once and one.terms is None for one in where):
        yield Finding(
            "storage_zone",
            WARN,
            "The volume gets its zone before the pod gets its node",
            f"the class binds at once, and nodes are in {', '.join(sorted(zones)[:6])}",
            "If its volumes belong to one zone, take a class with volumeBindingMode WaitForFirstConsumer.",
            field="storage_class",
        )
