"""YAML as a kubeconfig needs it, from people we do not know.

Built from parser events, not by a general loader: no aliases (billion laughs), no tags, no merge
keys, one document, no key twice, bounded depth. Scalars become text, booleans or None; numbers stay
text, since nothing in a kubeconfig is one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from deployments.domain.errors import InvalidInput

MAX_DEPTH = 24
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = {"", "~", "null", "Null", "NULL"}

Value = dict[str, Any] | list[Any] | str | bool | None


def load_one(text: str, *, what: str, field: str) -> Value:
    """The one document in ``text``. Raises :class:`InvalidInput` about ``what`` at ``field``, naming
    the line at most; the text itself is never repeated."""
    events = _events(text, what, field)
    _expect(events, yaml.StreamStartEvent)
    first = next(events)
    if isinstance(first, yaml.StreamEndEvent):
        raise InvalidInput(f"{what} is empty.", field=field)
    value = _value(next(events), events, 0, what, field)
    _expect(events, yaml.DocumentEndEvent)
    if not isinstance(next(events), yaml.StreamEndEvent):
        raise InvalidInput(
            f"{what} holds more than one YAML document.",
            field=field,
            remedy="Leave one, without `---` in between.",
        )
    return value


def _events(text: str, what: str, field: str) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark is not None else ""
        raise InvalidInput(f"{what} is not YAML{where}.", field=field) from None


def _expect(events: Iterator[Any], kind: type) -> None:
    event = next(events)
    assert isinstance(event, kind), event


def _value(event: Any, events: Iterator[Any], depth: int, what: str, field: str) -> Value:
    line = f" (line {event.start_mark.line + 1})"
    if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
        raise InvalidInput(
            f"{what} uses YAML anchors or aliases{line}, which are not accepted.",
            field=field,
            remedy="`kubectl config view --minify --flatten` writes a plain file.",
        )
    if getattr(event, "tag", None):
        raise InvalidInput(f"{what} uses a YAML tag{line}, which is not accepted.", field=field)
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{what} is nested too deeply{line}.", field=field)
    if isinstance(event, yaml.ScalarEvent):
        return _scalar(event)
    if isinstance(event, yaml.SequenceStartEvent):
        items: list[Any] = []
        for item in events:
            if isinstance(item, yaml.SequenceEndEvent):
                break
            items.append(_value(item, events, depth + 1, what, field))
        return items
    members: dict[str, Any] = {}
    for key in events:
        if isinstance(key, yaml.MappingEndEvent):
            break
        at = f" (line {key.start_mark.line + 1})"
        if not isinstance(key, yaml.ScalarEvent) or key.anchor or key.tag or key.value == "<<":
            raise InvalidInput(f"{what} has a key that is not plain text{at}.", field=field)
        if key.value in members:
            raise InvalidInput(f"{what} has the same key twice{at}.", field=field)
        members[key.value] = _value(next(events), events, depth + 1, what, field)
    return members


def _scalar(event: Any) -> str | bool | None:
    text: str = event.value
    if event.implicit[0]:  # plain: neither quoted nor a block
        if text in _NULLS:
            return None
        return _BOOLEANS.get(text, text)
    return text
