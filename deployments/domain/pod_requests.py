"""What a pod takes of a node in the scheduler's eyes, and what a node has to give.

Objects are the API server's own JSON. Amounts are whole numbers: millicores for ``cpu``, bytes for
``memory``, ``ephemeral-storage``, ``hugepages-*``, pieces for everything else (``pods``,
``nvidia.com/gpu``); rounded up as the scheduler does when it turns quantities into numbers.

Rules: ``k8s.io/component-helpers/resource/helpers.go`` (PodRequests), KEP-753 (sidecars), KEP-2837
(resources of a whole pod), KEP-1287 (resizing in place).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.quantities import parse

CPU, MEMORY, PODS, EPHEMERAL = "cpu", "memory", "pods", "ephemeral-storage"
GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")
_POD_LEVEL = (CPU, MEMORY)
_MAX_RESOURCES = 256  # of one list: a node with every MIG size has some dozens

Amounts = dict[str, int]
_Exact = dict[str, Decimal]


def effective_requests(pod: Mapping[str, Any]) -> Amounts:
    """What a pod object (or a pod template: anything with ``spec``) holds of its node.

    Init containers run before the rest, so the larger of both counts; sidecars (init containers with
    restartPolicy Always) run beside both. Of a container that is being resized the largest of what is
    asked and what was given counts. A limit without a request is a request, as the API server has it.
    Resources of nothing are left out.

    Raises :class:`InvalidInput` for what is no pod: no API server would answer that.
    """
    spec = _mapping(pod.get("spec"), "spec")
    status = _mapping(pod.get("status"), "status")
    resized = _resized(status)
    infeasible = _resize_infeasible(status)
    together: _Exact = {}
    for container in _items(spec.get("containers"), "containers"):
        _add(together, _asked(container, resized.get(str(container.get("name"))), infeasible))
    before: _Exact = {}
    sidecars: _Exact = {}
    for container in _items(spec.get("initContainers"), "initContainers"):
        if container.get("restartPolicy") == "Always":
            asked = _asked(container, resized.get(str(container.get("name"))), infeasible)
            _add(together, asked)
            _add(sidecars, asked)
            _raise_to(before, sidecars)
        else:
            at_once = dict(sidecars)
            _add(at_once, _asked(container, None, infeasible))
            _raise_to(before, at_once)
    _raise_to(together, before)
    for name, value in _exact(_mapping(spec.get("resources"), "resources").get("requests")).items():
        if name in _POD_LEVEL or name.startswith("hugepages-"):
            together[name] = value
    _add(together, _exact(spec.get("overhead")))
    return {name: amount for name, value in together.items() if (amount := _whole(name, value))}


def counts_for_scheduling(pod: Mapping[str, Any]) -> bool:
    """Whether a pod still holds its share of the node: one that is being deleted does, one that ran to
    its end does not."""
    return _mapping(pod.get("status"), "status").get("phase") not in ("Succeeded", "Failed")


def allocatable(node: Mapping[str, Any]) -> Amounts:
    """What pods may take of a node, ``pods`` among it; its capacity where the kubelet has not said.

    Raises :class:`InvalidInput` as :func:`effective_requests` does.
    """
    status = _mapping(node.get("status"), "status")
    given = _exact(status.get("allocatable") or status.get("capacity"))
    return {name: _whole(name, value) for name, value in given.items()}


def add_amounts(total: Amounts, more: Mapping[str, int]) -> None:
    """Add in place, resource by resource."""
    for name, value in more.items():
        total[name] = total.get(name, 0) + value


# -- inside -------------------------------------------------------------------------------------------


def _asked(container: Mapping[str, Any], given: Mapping[str, Any] | None, infeasible: bool) -> _Exact:
    resources = _mapping(container.get("resources"), "resources")
    asked = {**_exact(resources.get("limits")), **_exact(resources.get("requests"))}
    if given is None:
        return asked
    largest = {} if infeasible else asked
    _raise_to(largest, _exact(_mapping(given.get("resources"), "resources").get("requests")))
    _raise_to(largest, _exact(given.get("allocatedResources")))
    return largest


def _resized(status: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Container name -> its status, for those whose kubelet reports what it gave them."""
    return {
        str(entry.get("name")): entry
        for field in ("containerStatuses", "initContainerStatuses")
        for entry in _items(status.get(field), field)
        if entry.get("resources")
    }


def _resize_infeasible(status: Mapping[str, Any]) -> bool:
    return any(
        condition.get("type") == "PodResizePending" and condition.get("reason") == "Infeasible"
        for condition in _items(status.get("conditions"), "conditions")
    )


def _exact(resources: Any) -> _Exact:
    given = _mapping(resources, "resources")
    if len(given) > _MAX_RESOURCES:
        raise InvalidInput("There are more kinds of resources than any node has.", field="resources")
    return {str(name): _quantity(str(value)) for name, value in given.items()}


@lru_cache(maxsize=4096)
def _quantity(text: str) -> Decimal:
    return parse(text)


def _add(total: _Exact, more: _Exact) -> None:
    for name, value in more.items():
        total[name] = total.get(name, Decimal(0)) + value


def _raise_to(total: _Exact, other: _Exact) -> None:
    for name, value in other.items():
        if value > total.get(name, Decimal(0)):
            total[name] = value


def _whole(name: str, value: Decimal) -> int:
    return int((value * 1000 if name == CPU else value).to_integral_value(rounding=ROUND_CEILING))


def _mapping(value: Any, field: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{field} is not an object.", field=field)
    return value


def _items(value: Any, field: str) -> Iterator[Mapping[str, Any]]:
    if value is None:
        return
    if not isinstance(value, Iterable) or isinstance(value, str | bytes | Mapping):
        raise InvalidInput(f"{field} is not a list.", field=field)
    for item in value:
        yield _mapping(item, field)
