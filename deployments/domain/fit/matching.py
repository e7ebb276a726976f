"""Selectors, tolerations and affinity terms: whether one of them matches.

Rules: ``k8s.io/component-helpers/scheduling/corev1`` (tolerations, node affinity) and
``k8s.io/apimachinery/pkg/labels`` (label selectors).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deployments.domain.fit.shapes import REQUIRED, Node, PodShape, Spread, Taint, Terms

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}")


def tolerates(tolerations: Iterable[Mapping[str, Any]], taint: Taint) -> bool:
    """Whether one of them lets the pod stand the taint. An empty key or effect means any."""
    for item in tolerations:
        if item.get("effect") and item["effect"] != taint.effect:
            continue
        if item.get("key") and item["key"] != taint.key:
            continue
        operator = item.get("operator") or "Equal"
        if operator == "Exists" or (operator == "Equal" and (item.get("value") or "") == taint.value):
            return True
    return False


def node_matches(terms: Terms, node: Node) -> bool:
    """Whether one of the node selector terms holds; a term without anything in it never does."""
    return any(_term(term, node) for term in terms)


def selects(term: Mapping[str, Any], home: str, labels: Mapping[str, str], namespace: str) -> bool:
    """Whether a pod (anti-)affinity term of a pod in namespace ``home`` means a pod with these labels.

    An empty namespace selector means every namespace; one with content cannot be followed here, and
    counts as no match (shapes.py says that nobody can tell).
    """
    names = term.get("namespaces") or []
    if term.get("namespaceSelector") is None:
        if namespace not in (names or [home]):
            return False
    elif term["namespaceSelector"] and namespace not in names:
        return False
    selector = term.get("labelSelector")
    return selector is not None and label_selector(selector, labels)


def label_selector(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels meet a LabelSelector; an empty one takes everything."""
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(
        _expression(item, labels.get(str(item.get("key")))) for item in selector.get("matchExpressions") or []
    )


def repels(affinity: Mapping[str, Any], home: str, shape: PodShape) -> Iterator[tuple[str, bool]]:
    """Topology keys of the terms by which a pod that is there keeps this one away, and whether that is
    sure: a term that chooses namespaces by their labels may mean this one's. ``affinity`` is the
    ``podAntiAffinity`` of its spec."""
    for term in affinity.get(REQUIRED) or []:
        sure = selects(term, home, shape.labels, shape.namespace)
        if sure or (
            term.get("namespaceSelector")
            and term.get("labelSelector") is not None
            and label_selector(term["labelSelector"], shape.labels)
        ):
            yield str(term.get("topologyKey", "")), sure


def counted(rule: Spread, home: str, labels: Mapping[str, str], namespace: str) -> bool:
    """Whether a pod that is there counts for a spread rule of a pod in namespace ``home``. A rule that
    means every pod counts none (kube-scheduler, ``countPodsMatchSelector``)."""
    selector = rule.selector or {}
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        return False
    return namespace == home and label_selector(selector, labels)


def _term(term: Mapping[str, Any], node: Node) -> bool:
    expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
    if not expressions and not fields:
        return False
    return all(_expression(item, node.labels.get(str(item.get("key")))) for item in expressions) and all(
        item.get("key") == "metadata.name" and _expression(item, node.name) for item in fields
    )


def _expression(item: Mapping[str, Any], value: str | None) -> bool:
    operator, values = item.get("operator"), item.get("values") or []
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator in ("Gt", "Lt") and value is not None and len(values) == 1:
        if not (_WHOLE.fullmatch(value) and _WHOLE.fullmatch(str(values[0]))):
            return False
        return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])
    return False
