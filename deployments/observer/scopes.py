"""What is watched of a cluster: which kinds, where, and which objects of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from deployments.gateways.kubernetes import ResourceKind
from deployments.observer.reading import DEPLOYMENT_LABEL, EVENT, INVENTORY, LABELLED, POD

MOST_EVENT_WATCHES = 20
MOST_NAMESPACES = 100


@dataclass(frozen=True)
class Scope:
    """What one watch covers; ``namespace`` "" is everywhere."""

    kind: ResourceKind
    namespace: str = ""
    label_selector: str = ""
    field_selector: str = ""

    def __str__(self) -> str:
        return f"{self.kind.kind} in {self.namespace}" if self.namespace else self.kind.kind

    @property
    def all_pods(self) -> bool:
        """Whether this one watch sees every pod, so that nodes can be summed up."""
        return self.kind is POD and not self.namespace and not self.label_selector

    @property
    def of_nodes(self) -> bool:
        """Whether these are events about nodes, which belong to no deployment."""
        return self == NODE_EVENTS


NODE_EVENTS = Scope(EVENT, field_selector="involvedObject.kind=Node")
ALL_PODS = Scope(POD)
_OPTIONAL = frozenset({NODE_EVENTS, *(Scope(kind) for kind in INVENTORY)})


def everywhere(kind: ResourceKind) -> Scope:
    """The scope that sees a whole cluster. Claims that a StatefulSet's controller makes carry the
    template's labels only, the deployment's among them; pods are watched all, for the sums."""
    if kind is EVENT:
        # Everybody's events of a whole cluster are too many; the warnings among them are few.
        return Scope(EVENT, field_selector="type!=Normal")
    if kind is POD or kind in INVENTORY:
        return Scope(kind)
    return Scope(kind, label_selector=DEPLOYMENT_LABEL)


def wanted(namespaces: Sequence[str], forbidden: Collection[Scope]) -> set[Scope]:
    """What to watch where ``forbidden`` may not be: a deployment's objects then in its namespace alone,
    and of the cluster itself nothing."""
    spaces = namespaces[:MOST_NAMESPACES]
    found = {scope for scope in _OPTIONAL if scope not in forbidden}
    for kind in LABELLED:
        scope = everywhere(kind)
        if scope in forbidden:
            found |= {Scope(kind, space, label_selector=DEPLOYMENT_LABEL) for space in spaces}
        else:
            found.add(scope)
    if len(spaces) <= MOST_EVENT_WATCHES or everywhere(EVENT) in forbidden:
        found |= {Scope(EVENT, space) for space in spaces}
    else:
        found.add(everywhere(EVENT))
    return found


def optional(scope: Scope) -> bool:
    """Whether the product works without it: the inventory, and what nodes complain of."""
    return scope in _OPTIONAL
