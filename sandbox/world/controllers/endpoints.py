"""Endpoints and EndpointSlices of services with a selector. Recorded transcript 30."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox import selectors
from sandbox.proxying import port_number
from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key
from sandbox.world.objects import (
    deleting,
    finished,
    is_true,
    name_of,
    namespace_of,
    owner_reference,
    spec_of,
    status_of,
    uid_of,
)

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
SERVICE_LABEL = "kubernetes.io/service-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class EndpointsOfServices(Controller):
    name = "endpoint-slice-controller"
    kinds = ("Service", "Pod")

    def keys(self, event: Event) -> Iterable[Key]:
        obj = event.object
        if event.kind.kind == "Service":
            return [(namespace_of(obj), name_of(obj))]
        found: list[Key] = []
        for service in self.store.each("Service", namespace_of(obj)):
            selector = spec_of(service).get("selector")
            if not selector:
                continue
            matcher = selectors.from_labels(selector)
            if any(
                state is not None and matcher.matches(state["metadata"].get("labels"))
                for state in (obj, event.old)
            ):
                found.append((namespace_of(service), name_of(service)))
        return found

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        service = self.store.get("Service", namespace, name)
        slices = self.store.list("EndpointSlice", namespace, f"{SERVICE_LABEL}={name}")
        managed = [found for found in slices if (found["metadata"].get("generateName") or "") == f"{name}-"]
        if service is None:
            for found in managed:
                self.store.delete("EndpointSlice", namespace, name_of(found))
            if self.store.get("Endpoints", namespace, name) is not None:
                self.store.delete("Endpoints", namespace, name)
            return
        if deleting(service) or not spec_of(service).get("selector"):
            return
        pods = [
            pod
            for pod in self.store.list("Pod", namespace, selectors.from_labels(spec_of(service)["selector"]))
            if status_of(pod).get("podIP") and not finished(pod)
        ]
        self._slice(service, pods, managed)
        self._endpoints(service, pods)

    @staticmethod
    def _serving(service: Object, pod: Object) -> bool:
        return is_true(pod, "Ready") or bool(spec_of(service).get("publishNotReadyAddresses"))

    def _ports(self, service: Object, pods: list[Object]) -> list[Object]:
        found: list[Object] = []
        for port in spec_of(service).get("ports") or []:
            target = port.get("targetPort", port["port"])
            numbers = {number for pod in pods if (number := port_number(pod, target)) is not None}
            for number in sorted(numbers):
                entry = {
                    "name": port.get("name", ""),
                    "protocol": port.get("protocol", "TCP"),
                    "port": number,
                }
                if port.get("appProtocol"):
                    entry["appProtocol"] = port["appProtocol"]
                found.append(entry)
        return found

    def _slice(self, service: Object, pods: list[Object], managed: list[Object]) -> None:
        endpoints = []
        for pod in pods:
            serving, going = self._serving(service, pod), deleting(pod)
            entry: Object = {
                "addresses": [status_of(pod)["podIP"]],
                "conditions": {"ready": serving and not going, "serving": serving, "terminating": going},
                "targetRef": {
                    "kind": "Pod",
                    "namespace": namespace_of(pod),
                    "name": name_of(pod),
                    "uid": uid_of(pod),
                },
                "nodeName": spec_of(pod).get("nodeName", ""),
            }
            if spec_of(pod).get("hostname") and spec_of(pod).get("subdomain") == name_of(service):
                entry["hostname"] = spec_of(pod)["hostname"]
            endpoints.append(entry)
        ports = self._ports(service, pods) if pods else []
        labels = {
            **(service["metadata"].get("labels") or {}),
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            SERVICE_LABEL: name_of(service),
        }
        if spec_of(service).get("clusterIP") == "None":
            labels[HEADLESS_LABEL] = ""
        if not managed:
            self.store.create(
                "EndpointSlice",
                {
                    "metadata": {
                        "generateName": f"{name_of(service)}-",
                        "namespace": namespace_of(service),
                        "labels": labels,
                        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": self.store.now()},
                        "ownerReferences": [owner_reference(service)],
                    },
                    "addressType": "IPv4",
                    "endpoints": endpoints or None,
                    "ports": ports or None,
                },
                manager=MANAGER,
            )
            return
        found = managed[0]
        same = (found.get("endpoints") or []) == endpoints and (found.get("ports") or []) == ports
        if same and found["metadata"].get("labels") == labels:
            return

        def change(obj: Object) -> None:
            obj["endpoints"] = endpoints or None
            obj["ports"] = ports or None
            obj["metadata"]["labels"] = labels
            obj["metadata"]["annotations"] = {
                "endpoints.kubernetes.io/last-change-trigger-time": self.store.now()
            }

        self.store.mutate("EndpointSlice", namespace_of(found), name_of(found), change, manager=MANAGER)

    def _endpoints(self, service: Object, pods: list[Object]) -> None:
        groups: dict[bool, list[Object]] = {True: [], False: []}
        for pod in pods:
            if deleting(pod):
                continue
            groups[self._serving(service, pod)].append(
                {
                    "ip": status_of(pod)["podIP"],
                    "nodeName": spec_of(pod).get("nodeName", ""),
                    "targetRef": {
                        "kind": "Pod",
                        "namespace": namespace_of(pod),
                        "name": name_of(pod),
                        "uid": uid_of(pod),
                    },
                }
            )
        subset: Object = {}
        if groups[True]:
            subset["addresses"] = groups[True]
        if groups[False]:
            subset["notReadyAddresses"] = groups[False]
        if subset:
            ports = self._ports(service, pods)
            subset["ports"] = [
                {name: value for name, value in port.items() if value != "" or name != "name"}
                for port in ports
            ]
        subsets = [subset] if subset else []
        namespace, name = namespace_of(service), name_of(service)
        found = self.store.get("Endpoints", namespace, name)
        if found is None:
            labels = {
                **(service["metadata"].get("labels") or {}),
                "endpoints.kubernetes.io/managed-by": "endpoint-controller",
            }
            made: Object = {"metadata": {"name": name, "namespace": namespace, "labels": labels}}
            if subsets:
                made["subsets"] = subsets
            self.store.create("Endpoints", made, manager=MANAGER)
        elif (found.get("subsets") or []) != subsets:

            def change(obj: Object) -> None:
                obj["subsets"] = subsets

            self.store.mutate("Endpoints", namespace, name, change, manager=MANAGER)
