"""The part of PromQL that the simulated Prometheus understands: one selector of instant vectors, or its timestamp().

`name`, `name{label="value", ...}`, `{__name__=~"a|b"}`, with =, !=, =~ and !~, and `timestamp(...)` around one of them.
Everything else is refused.
Prometheus documentation, "Querying basics"; regular expressions are anchored at both ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

_NAME = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)?\s*")
_MATCHER = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*"""
)
_TIMESTAMP = re.compile(r"\s*timestamp\s*\((.*)\)\s*", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'"}


class QueryError(ValueError):
    """The text is no selector; says why in Prometheus' manner."""


@dataclass(frozen=True, slots=True)
class Matcher:
    label: str
    operator: str
    value: str
    pattern: re.Pattern[str] | None = None

    def matches(self, labels: Mapping[str, str]) -> bool:
        """A label that is missing counts as empty."""
        found = labels.get(self.label, "")
        if self.pattern is not None:
            return (self.pattern.fullmatch(found) is not None) == (self.operator == "=~")
        return (found == self.value) == (self.operator == "=")


@dataclass(frozen=True, slots=True)
class Selector:
    """timestamp: whether the time of each sample is asked for instead of its value."""

    matchers: tuple[Matcher, ...]
    timestamp: bool = False

    def matches_name(self, name: str) -> bool:
        return all(
            matcher.matches({"__name__": name}) for matcher in self.matchers if matcher.label == "__name__"
        )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """labels: with __name__."""
        return all(matcher.matches(labels) for matcher in self.matchers)


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]

    def escaped(match: re.Match[str]) -> str:
        letter = match[1]
        if letter not in _ESCAPES:
            raise QueryError(f"unknown escape sequence U+{ord(letter):04X} '{letter}'")
        return _ESCAPES[letter]

    return re.sub(r"\\(.)", escaped, text[1:-1])


def _matcher(label: str, operator: str, value: str) -> Matcher:
    if operator not in ("=~", "!~"):
        return Matcher(label, operator, value)
    try:
        return Matcher(label, operator, value, re.compile(value))
    except re.error as error:
        raise QueryError(f"error parsing regexp: {error}") from None


def parse(text: str) -> Selector:
    """Raises QueryError."""
    within = _TIMESTAMP.fullmatch(text)
    if within is not None and not _TIMESTAMP.fullmatch(within[1]):
        return replace(parse(within[1]), timestamp=True)
    found = _NAME.match(text)
    name = found[1] if found else None
    position = found.end() if found else 0
    matchers = [Matcher("__name__", "=", name)] if name else []
    if position < len(text) and text[position] == "{":
        position += 1
        while position < len(text) and text[position:].lstrip()[:1] != "}":
            part = _MATCHER.match(text, position)
            if part is None:
                raise QueryError(f'parse error: unexpected text in label matching: "{text[position:][:20]}"')
            matchers.append(_matcher(part[1], part[2], _unquote(part[3])))
            position = part.end()
            if text[position : position + 1] == ",":
                position += 1
            elif text[position : position + 1] != "}":
                raise QueryError('parse error: unexpected end of label matching, expected "," or "}"')
        end = text.find("}", position)
        if end < 0:
            raise QueryError("parse error: unclosed left brace")
        position = end + 1
    if text[position:].strip():
        raise QueryError(
            "SIMULATED Prometheus: only one selector of instant vectors is understood, "
            f'not "{text[position:].strip()[:40]}"'
        )
    if all(matcher.matches({}) for matcher in matchers):
        raise QueryError("parse error: vector selector must contain at least one non-empty matcher")
    return Selector(tuple(matchers))
