"""Would it fit: the scheduler's arithmetic as a pure function over plain values.

    sums.add(pod) for every unfinished pod
    fit = replicas([node_of(raw, sums.on(name), sums.pods[name]), ...], shape_of(template, namespace), 2)
    fit.answer, fit.placed, [(item.node.name, item.takes, item.reasons) for item in fit.nodes]

Rules: kube-scheduler 1.36 (plugins NodeUnschedulable, TaintToleration, NodeAffinity, NodePorts,
NodeResourcesFit, VolumeBinding, PodTopologySpread, InterPodAffinity). Preemption is left out:
nobody should have to lose a pod for this one.
"""

from __future__ import annotations

from deployments.domain.fit.filters import Reason, Why, amount
from deployments.domain.fit.place import Answer, Fit, NodeAnswer, place, replicas
from deployments.domain.fit.shapes import Neighbours, Node, PodShape, Taint, node_of, shape_of
from deployments.domain.fit.sums import PodSums

__all__ = [
    "Answer",
    "Fit",
    "Neighbours",
    "Node",
    "NodeAnswer",
    "PodShape",
    "PodSums",
    "Reason",
    "Taint",
    "Why",
    "amount",
    "node_of",
    "place",
    "replicas",
    "shape_of",
]
