"""Label and field selectors: the query syntax, the LabelSelector object, and matching.

Wording of refusals: recorded transcripts 08 and 10. Kubernetes documentation: "Labels and Selectors", "Field Selectors".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sandbox import status
from sandbox.status import quote

QUALIFIED_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_VALUE_HELP = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_NAME_HELP = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


@dataclass(frozen=True, slots=True)
class Requirement:
    """operator: in, notin, exists, absent, gt, lt."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "absent":
            return value is None
        if value is None or not re.fullmatch(r"-?\d+", value):
            return False
        bound = int(next(iter(self.values)))
        return int(value) > bound if self.operator == "gt" else int(value) < bound


@dataclass(frozen=True, slots=True)
class Selector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        return all(requirement.matches(labels or {}) for requirement in self.requirements)

    @property
    def empty(self) -> bool:
        return not self.requirements


EVERYTHING = Selector()


def _unparsed(why: str) -> status.ApiError:
    return status.bad_request(f"unable to parse requirement: {why}")


_TOKEN = re.compile(r"\s*(==|!=|[=!<>,()]|[^\s=!<>,()]+|$)")


def _tokens(text: str) -> list[str]:
    found: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.group(1) == "":
            break
        found.append(match.group(1))
        position = match.end()
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def parse(self) -> tuple[Requirement, ...]:
        requirements: list[Requirement] = []
        if not self.tokens:
            return ()
        while True:
            requirements.append(self.requirement())
            token = self.take()
            if token == "":
                return tuple(sorted(requirements, key=lambda requirement: requirement.key))
            if token != ",":
                raise status.bad_request(f"found '{token}', expected: ',' or 'end of string'")
            if self.peek() in ("", ","):
                raise status.bad_request(f"found '{self.peek()}', expected: identifier after ','")

    def requirement(self) -> Requirement:
        absent = self.peek() == "!"
        if absent:
            self.take()
        key = self.take()
        if key == "" or not re.match(r"[^=!<>,()]", key):
            raise _unparsed(f"found '{key}', expected: !, identifier, or 'end of string'")
        check_key(key)
        if absent:
            return Requirement(key, "absent")
        if self.peek() in ("", ","):
            return Requirement(key, "exists")
        operator = self.take()
        if operator in ("in", "notin"):
            return Requirement(key, operator, self.values(key))
        if operator in ("=", "==", "!="):
            value = self.exact_value()
            check_value(key, value)
            return Requirement(key, "notin" if operator == "!=" else "in", frozenset((value,)))
        if operator in (">", "<"):
            value = self.exact_value()
            if not re.fullmatch(r"[+-]?\d+", value):
                raise _unparsed(
                    f"values[0][{key}]: Invalid value: {quote(value)}: for 'Gt', 'Lt' operators, the value must be an integer"
                )
            return Requirement(key, "gt" if operator == ">" else "lt", frozenset((value,)))
        raise _unparsed(f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt")

    def exact_value(self) -> str:
        if self.peek() in ("", ","):
            return ""
        if re.fullmatch(r"[=!<>()]+", self.peek()):
            raise _unparsed(f"found '{self.peek()}', expected: identifier")
        return self.take()

    def values(self, key: str) -> frozenset[str]:
        if self.take() != "(":
            self.position -= 1
            raise _unparsed(f"found '{self.peek()}', expected: '('")
        values: set[str] = set()
        if self.peek() == ")":
            self.take()
            return frozenset(("",))
        while True:
            token = self.peek()
            if token in ("", ",", ")"):
                value = ""
            else:
                value = self.take()
            check_value(key, value)
            values.add(value)
            token = self.take()
            if token == ")":
                return frozenset(values)
            if token != ",":
                raise _unparsed(f"found '{token}', expected: ',' or ')'")


def check_key(key: str) -> None:
    """Raise 400 unless key is a qualified name."""
    prefix, slash, name = key.rpartition("/")
    if (slash and not SUBDOMAIN.fullmatch(prefix)) or not QUALIFIED_NAME.fullmatch(name) or len(name) > 63:
        raise _unparsed(f"<nil>: Invalid value: {quote(key)}: {_NAME_HELP}")


def check_value(key: str, value: str) -> None:
    """Raise 400 unless value is a label value."""
    if not LABEL_VALUE.fullmatch(value):
        raise _unparsed(f"values[0][{key}]: Invalid value: {quote(value)}: {_VALUE_HELP}")
    if len(value) > 63:
        raise _unparsed(f"values[0][{key}]: Invalid value: {quote(value)}: must be no more than 63 bytes")


@lru_cache(maxsize=512)
def parse(text: str) -> Selector:
    """The query syntax, `app=a,tier in (x,y),!old`. Raises ApiError 400."""
    return Selector(_Parser(text).parse())


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """A LabelSelector object; None selects nothing is NOT assumed here: it gives the empty selector (everything)."""
    requirements = [
        Requirement(key, "in", frozenset((str(value),)))
        for key, value in ((selector or {}).get("matchLabels") or {}).items()
    ]
    names = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    for expression in (selector or {}).get("matchExpressions") or []:
        values = frozenset(str(value) for value in expression.get("values") or ())
        requirements.append(Requirement(expression["key"], names[expression["operator"]], values))
    return Selector(tuple(requirements))


def from_labels(labels: Mapping[str, str]) -> Selector:
    """All of these labels."""
    return Selector(tuple(Requirement(key, "in", frozenset((value,))) for key, value in labels.items()))


def text_of(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector in the query syntax, keys sorted: what Scale.status.selector holds."""
    parts: list[tuple[str, str]] = []
    for key, value in ((selector or {}).get("matchLabels") or {}).items():
        parts.append((key, f"{key}={value}"))
    for expression in (selector or {}).get("matchExpressions") or []:
        key, operator = expression["key"], expression["operator"]
        values = ",".join(sorted(expression.get("values") or ()))
        parts.append(
            (
                key,
                {
                    "In": f"{key} in ({values})",
                    "NotIn": f"{key} notin ({values})",
                    "Exists": key,
                    "DoesNotExist": f"!{key}",
                }[operator],
            )
        )
    return ",".join(text for _, text in sorted(parts))


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    label: str
    equal: bool
    value: str


@dataclass(frozen=True, slots=True)
class FieldSelector:
    requirements: tuple[FieldRequirement, ...] = ()

    @property
    def empty(self) -> bool:
        return not self.requirements

    def name(self) -> str:
        """The value of metadata.name if this selects one name: the request is then authorised for that name."""
        for requirement in self.requirements:
            if requirement.label == "metadata.name" and requirement.equal:
                return requirement.value
        return ""

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all((field_value(obj, need.label) == need.value) is need.equal for need in self.requirements)


# Field labels a kind can be selected by, besides metadata.name and metadata.namespace.
FIELD_LABELS: dict[str, tuple[str, ...]] = {
    "Pod": (
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ),
    "Event": (
        "involvedObject.kind",
        "involvedObject.namespace",
        "involvedObject.name",
        "involvedObject.uid",
        "involvedObject.apiVersion",
        "involvedObject.resourceVersion",
        "involvedObject.fieldPath",
        "reason",
        "reportingComponent",
        "source",
        "type",
    ),
    "Namespace": ("status.phase",),
    "Node": ("spec.unschedulable",),
    "Secret": ("type",),
    "Service": ("spec.clusterIP", "spec.type"),
}
_EVENTS_V1 = {
    "regarding.": "involvedObject.",
    "reportingController": "reportingComponent",
}


def field_value(obj: Mapping[str, Any], label: str) -> str:
    if label == "source":
        source = (obj.get("source") or {}).get("component", "")
        return str(source or obj.get("reportingComponent", ""))
    value: Any = obj
    for part in label.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if label in ("spec.unschedulable", "spec.hostNetwork"):
        return "true" if value else "false"
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def split_fields(text: str) -> Sequence[str]:
    """Parts between unescaped commas."""
    return [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", text)]


def parse_fields(text: str, kind: str, group: str = "") -> FieldSelector:
    """`metadata.name=a,status.phase!=Failed` for one kind. Raises ApiError 400 for unknown labels."""
    requirements: list[FieldRequirement] = []
    for part in split_fields(text):
        if not part:
            continue
        match = re.match(r"([^=!]*)(==|!=|=)(.*)", part, re.DOTALL)
        if match is None:
            raise status.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        label, operator, value = match.groups()
        if group == "events.k8s.io":
            for old, new in _EVENTS_V1.items():
                if label.startswith(old):
                    label = new + label[len(old) :]
        if label not in ("metadata.name", "metadata.namespace", *FIELD_LABELS.get(kind, ())):
            raise _unsupported(label, kind)
        requirements.append(FieldRequirement(label, operator != "!=", value))
    return FieldSelector(tuple(requirements))


def _unsupported(label: str, kind: str) -> status.ApiError:
    if kind in FIELD_LABELS:
        return status.bad_request(f"field label not supported: {label}")
    return status.bad_request(
        f'"{label}" is not a known field selector: only "metadata.name", "metadata.namespace"'
    )
