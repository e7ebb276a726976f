"""What changed between two JSON objects, by field and line by line.

Neither function knows secrets: give masked manifests (``deployments.manifests.masking``).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any

import yaml


class _Absent:
    """Stands where one side has no such field; null is a value of its own."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@dataclass(frozen=True)
class Change:
    """One field. ``before`` or ``after`` is :data:`ABSENT` where the field was added or removed."""

    path: str
    before: Any
    after: Any

    @property
    def kind(self) -> str:
        """ "added", "removed" or "changed"."""
        if self.before is ABSENT:
            return "added"
        return "removed" if self.after is ABSENT else "changed"


# Lists of objects are compared by the field that Kubernetes merges them by, else by position.
_KEYS = ("name", "containerPort", "port", "mountPath", "key", "type")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def changes(before: Any, after: Any) -> list[Change]:
    """The fields that differ, in the order of their paths ("spec.template.env[HOME].value")."""
    found: list[Change] = []
    _walk(before, after, "", found)
    return found


def _walk(before: Any, after: Any, path: str, found: list[Change]) -> None:
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}, key=str):
            _walk(before.get(key, ABSENT), after.get(key, ABSENT), _join(path, str(key)), found)
    elif isinstance(before, list | tuple) and isinstance(after, list | tuple):
        _walk_lists(list(before), list(after), path, found)
    elif type(before) is not type(after) or before != after:
        found.append(Change(path, before, after))


def _walk_lists(before: list[Any], after: list[Any], path: str, found: list[Change]) -> None:
    key = next((k for k in _KEYS if _identifies(k, before) and _identifies(k, after)), None)
    if key is None or not (before or after):
        for place in range(max(len(before), len(after))):
            old = before[place] if place < len(before) else ABSENT
            new = after[place] if place < len(after) else ABSENT
            _walk(old, new, f"{path}[{place}]", found)
        return
    olds = {str(item[key]): item for item in before}
    news = {str(item[key]): item for item in after}
    for name in [*olds, *(name for name in news if name not in olds)]:
        _walk(olds.get(name, ABSENT), news.get(name, ABSENT), f"{path}[{name}]", found)


def _identifies(key: str, items: list[Any]) -> bool:
    if not all(isinstance(item, dict) and key in item for item in items):
        return False
    return len({str(item[key]) for item in items}) == len(items)


def _join(path: str, key: str) -> str:
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


@dataclass(frozen=True)
class DiffLine:
    """One line of a diff. ``kind`` is "same", "add", "del" or "fold"; a fold stands for ``folded``
    equal lines. Line numbers start at 1 and are None where a side has no such line."""

    kind: str
    text: str
    before: int | None = None
    after: int | None = None
    folded: int = 0


def yaml_diff(before: Any, after: Any, *, context: int = 3) -> list[DiffLine]:
    """Two objects as YAML, line by line; None stands for an object that is not there."""
    return line_diff(to_yaml_lines(before), to_yaml_lines(after), context=context)


def to_yaml_lines(value: Any) -> list[str]:
    """YAML as people write it: keys in their own order, one line a value, none for None."""
    if value is None:
        return []
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000)
    return text.splitlines()


def line_diff(old: list[str], new: list[str], *, context: int = 3) -> list[DiffLine]:
    """Equal runs longer than the context on both sides are folded; no line at all where nothing
    differs."""
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    blocks = matcher.get_opcodes()
    if all(tag == "equal" for tag, *_ in blocks):
        return []
    found: list[DiffLine] = []
    for place, (tag, i1, i2, j1, j2) in enumerate(blocks):
        if tag == "equal":
            same = [DiffLine("same", old[i1 + n], i1 + n + 1, j1 + n + 1) for n in range(i2 - i1)]
            found += _fold(same, context, first=place == 0, last=place == len(blocks) - 1)
            continue
        found += [DiffLine("del", old[i], before=i + 1) for i in range(i1, i2)]
        found += [DiffLine("add", new[j], after=j + 1) for j in range(j1, j2)]
    return found


def _fold(same: list[DiffLine], context: int, *, first: bool, last: bool) -> list[DiffLine]:
    head = 0 if first else context
    tail = 0 if last else context
    hidden = len(same) - head - tail
    if hidden <= 1:  # a fold takes a line itself
        return same
    kept = same[len(same) - tail :] if tail else []
    return [*same[:head], DiffLine("fold", "", folded=hidden), *kept]
