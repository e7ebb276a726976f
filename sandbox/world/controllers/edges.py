"""Ingresses, disruption budgets and nodes: small loops that write one field each.

Ingresses of class `sandbox` get an address; any other class has no controller here and its status stays empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import selectors
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key
from sandbox.world.objects import (
    finished,
    is_ready,
    is_true,
    name_of,
    namespace_of,
    percent,
    spec_of,
    status_of,
)

Object = dict[str, Any]

INGRESS_CLASS = "sandbox"
INGRESS_ADDRESS = "10.99.255.1"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
NOT_READY = "node.kubernetes.io/not-ready"
PRESSURES = {
    f"{name}Pressure": f"node.kubernetes.io/{name.lower()}-pressure" for name in ("Memory", "Disk", "PID")
}


class Ingresses(Controller):
    name = "ingress-controller"
    kinds = ("Ingress",)

    def keys(self, event: Event) -> Iterable[Key]:
        return [] if event.type == "DELETED" else [(namespace_of(event.object), name_of(event.object))]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        found = self.store.get("Ingress", namespace, name)
        if found is None or spec_of(found).get("ingressClassName") != INGRESS_CLASS:
            return
        wanted = {"loadBalancer": {"ingress": [{"ip": INGRESS_ADDRESS}]}}
        if status_of(found) != wanted:

            def write(obj: Object) -> None:
                obj["status"] = wanted

            self.store.mutate("Ingress", namespace, name, write, "status", "sandbox-ingress")


class DisruptionBudgets(Controller):
    name = "controllermanager"
    kinds = ("PodDisruptionBudget", "Pod")

    def keys(self, event: Event) -> Iterable[Key]:
        if event.kind.kind == "PodDisruptionBudget":
            return [] if event.type == "DELETED" else [(namespace_of(event.object), name_of(event.object))]
        found = self.store.each("PodDisruptionBudget", namespace_of(event.object))
        return [(namespace_of(budget), name_of(budget)) for budget in found]

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        budget = self.store.get("PodDisruptionBudget", namespace, name)
        if budget is None:
            return
        spec = spec_of(budget)
        selector = selectors.from_object(spec.get("selector"))
        pods = [pod for pod in self.store.each("Pod", namespace, selector) if not finished(pod)]
        expected, healthy = len(pods), sum(is_ready(pod) for pod in pods)
        if spec.get("maxUnavailable") is not None:
            desired = max(0, expected - percent(spec["maxUnavailable"], expected, up=True))
        else:
            desired = percent(spec.get("minAvailable", 1), expected, up=True)
        allowed = max(0, healthy - desired) if expected else 0
        old = {found["type"]: found for found in status_of(budget).get("conditions") or []}.get(
            "DisruptionAllowed"
        )
        value = "True" if allowed else "False"
        generation = budget["metadata"].get("generation", 0)
        wanted: Object = {
            "observedGeneration": generation,
            "disruptionsAllowed": allowed,
            "currentHealthy": healthy,
            "desiredHealthy": desired,
            "expectedPods": expected,
            "conditions": [
                {
                    "type": "DisruptionAllowed",
                    "status": value,
                    "observedGeneration": generation,
                    "lastTransitionTime": old["lastTransitionTime"]
                    if old is not None and old["status"] == value
                    else self.store.now(),
                    "reason": "SufficientPods" if allowed else "InsufficientPods",
                    "message": "",
                }
            ],
        }
        if status_of(budget) != wanted:

            def write(obj: Object) -> None:
                obj["status"] = wanted

            self.store.mutate(
                "PodDisruptionBudget", namespace, name, write, "status", "kube-controller-manager"
            )


class NodeTaints(Controller):
    """Taints that follow from a node's state: cordoned, not ready (recorded transcript 26b)."""

    name = "node-controller"
    kinds = ("Node",)

    def keys(self, event: Event) -> Iterable[Key]:
        return [] if event.type == "DELETED" else [(name_of(event.object),)]

    def reconcile(self, key: Key) -> None:
        (node_name,) = key
        node = self.store.get("Node", None, node_name)
        if node is None:
            return
        taints = [dict(taint) for taint in spec_of(node).get("taints") or []]
        ready = is_true(node, "Ready")
        wanted = [
            (UNSCHEDULABLE, "NoSchedule", bool(spec_of(node).get("unschedulable"))),
            (NOT_READY, "NoSchedule", not ready),
            (NOT_READY, "NoExecute", not ready),
            *((taint, "NoSchedule", is_true(node, type_)) for type_, taint in PRESSURES.items()),
        ]
        for name, effect, set_ in wanted:
            present = any((taint["key"], taint["effect"]) == (name, effect) for taint in taints)
            if set_ and not present:
                taints.append({"key": name, "effect": effect, "timeAdded": self.store.now()})
            elif present and not set_:
                taints = [taint for taint in taints if (taint["key"], taint["effect"]) != (name, effect)]
        if taints == (spec_of(node).get("taints") or []):
            return

        def write(obj: Object) -> None:
            if taints:
                obj["spec"]["taints"] = taints
            else:
                obj["spec"].pop("taints", None)

        self.store.mutate("Node", None, node_name, write, manager="kube-controller-manager")
