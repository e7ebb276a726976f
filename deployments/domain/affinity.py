"""The shape of a Kubernetes affinity, as far as it can be told without a cluster.

Field names and requirements: Kubernetes API reference, core/v1 Affinity. Unknown fields are named,
since the API server refuses the whole object for one of them.
"""

from __future__ import annotations

from typing import Any

from deployments.domain.errors import InvalidInput
from deployments.domain.names import require_label_key, require_label_value

_MAX_ITEMS = 50

_EXPRESSION = {"key": "str!", "operator": "str!", "values": "strings"}
_SELECTOR = {"matchLabels": "strmap", "matchExpressions": [_EXPRESSION]}
_NODE_TERM = {"matchExpressions": [_EXPRESSION], "matchFields": [_EXPRESSION]}
_POD_TERM = {
    "topologyKey": "str!",
    "labelSelector": _SELECTOR,
    "namespaceSelector": _SELECTOR,
    "namespaces": "strings",
    "matchLabelKeys": "strings",
    "mismatchLabelKeys": "strings",
}
_WEIGHTED_POD = {"weight": "weight!", "podAffinityTerm!": _POD_TERM}
_POD = {
    "requiredDuringSchedulingIgnoredDuringExecution": [_POD_TERM],
    "preferredDuringSchedulingIgnoredDuringExecution": [_WEIGHTED_POD],
}
_GRAMMAR: dict[str, Any] = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms!": [_NODE_TERM]},
        "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": "weight!", "preference!": _NODE_TERM}],
    },
    "podAffinity": _POD,
    "podAntiAffinity": _POD,
}
_NODE_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"})
_LABEL_OPERATORS = frozenset({"In", "NotIn", "Exists", "DoesNotExist"})


def check_affinity(value: dict[str, Any], field: str) -> list[InvalidInput]:
    """Every place in which the object is not an affinity; an empty list where it is one."""
    errors: list[InvalidInput] = []
    _object(value, _GRAMMAR, field, errors)
    return errors


def _object(value: Any, grammar: dict[str, Any], path: str, errors: list[InvalidInput]) -> None:
    if not isinstance(value, dict):
        errors.append(InvalidInput(f"{path} must be an object.", field=path))
        return
    known = {name.removesuffix("!"): rule for name, rule in grammar.items()}
    needed = {
        n.removesuffix("!")
        for n, r in grammar.items()
        if n.endswith("!") or (isinstance(r, str) and r[-1] == "!")
    }
    for name in value:
        if name not in known:
            errors.append(InvalidInput(f"“{name}” does not belong in {path}.", field=path))
    for name in sorted(needed - set(value)):
        errors.append(InvalidInput(f"{path} needs “{name}”.", field=path))
    for name, rule in known.items():
        if name in value:
            _value(value[name], rule, f"{path}.{name}", errors)
    if grammar is _EXPRESSION:
        _expression(value, path, errors)


def _value(value: Any, rule: Any, path: str, errors: list[InvalidInput]) -> None:
    if isinstance(rule, dict):
        _object(value, rule, path, errors)
    elif isinstance(rule, list):
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            errors.append(InvalidInput(f"{path} must be a list of at most {_MAX_ITEMS}.", field=path))
            return
        for place, item in enumerate(value):
            _object(item, rule[0], f"{path}.{place}", errors)
    else:
        sentence = _wrong(value, rule.removesuffix("!"))
        if sentence:
            errors.append(InvalidInput(f"{path} {sentence}", field=path))


def _wrong(value: Any, rule: str) -> str:
    if rule == "str":
        return "" if isinstance(value, str) and value else "must be text."
    if rule == "strings":
        good = isinstance(value, list) and len(value) <= _MAX_ITEMS and all(isinstance(i, str) for i in value)
        return "" if good else "must be a list of texts (put numbers in quotes)."
    if rule == "weight":
        good = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 100
        return "" if good else "must be a whole number from 1 to 100."
    good = isinstance(value, dict) and all(isinstance(i, str) for pair in value.items() for i in pair)
    return "" if good else "must be an object of texts."


def _expression(value: dict[str, Any], path: str, errors: list[InvalidInput]) -> None:
    operator, values = value.get("operator"), value.get("values") or []
    operators = _NODE_OPERATORS if "nodeSelectorTerms" in path or "preference" in path else _LABEL_OPERATORS
    if isinstance(operator, str) and operator not in operators:
        errors.append(
            InvalidInput(f"“{operator}” is no operator; use {', '.join(sorted(operators))}.", field=path)
        )
    elif operator in ("In", "NotIn") and not values:
        errors.append(InvalidInput(f"{operator} needs values.", field=path))
    elif operator in ("Exists", "DoesNotExist") and values:
        errors.append(InvalidInput(f"{operator} takes no values.", field=path))
    elif operator in ("Gt", "Lt") and not (len(values) == 1 and str(values[0]).lstrip("-").isdigit()):
        errors.append(InvalidInput(f"{operator} takes one whole number, in quotes.", field=path))
    elif "matchFields" not in path:
        _label(value.get("key"), values, path, errors)


def _label(key: Any, values: Any, path: str, errors: list[InvalidInput]) -> None:
    """What is no label's key or value, a number with a sign among it. The API server refuses it where it is
    required; in a preference it goes by, and the scheduler then places none of the pods (seen with 1.36)."""
    try:
        if isinstance(key, str) and key:
            require_label_key(key, field=path)
        for text in values if isinstance(values, list) else []:
            if isinstance(text, str):
                require_label_value(text, field=path)
    except InvalidInput as error:
        errors.append(error)
