"""Prometheus' text format (version 0.0.4), as far as exporters of GPUs speak it.

Prometheus documentation, "Exposition formats": one series a line, ``name{label="value",...} value
[timestamp]``, blanks allowed between the parts, ``#`` before comments, a line feed at the end of every
line, the last one too. What comes in may be cut, repeated or nonsense: a line that is not exactly that
is counted and left out, never half read.

A parser of our own, because ``prometheus_client.parser`` reads every line of a page into objects and
gives up the whole page at its first odd line; here only the wanted names are read, and a block of labels,
which all series of one device share, is taken apart once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MAX_LINE = 16 * 1024
MAX_LABELS = 64
MAX_VALUE = 500

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*+")
_VALUE = re.compile(r"\s*+(\S++)(?:\s++-?\d++)?\s*+")
_PAIR = r'\s*+([a-zA-Z_][a-zA-Z0-9_]*+)\s*+=\s*+"((?:[^"\\]|\\.)*+)"\s*+'
_PAIRS = re.compile(_PAIR)
_BLOCK = re.compile(f"(?:{_PAIR}(?:,|$))*+\\s*+")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n"}


@dataclass(frozen=True, slots=True)
class Series:
    """One line: a number, NaN and infinities included, with its labels. ``age`` is how many seconds ago
    it was measured where the source says so, None for now."""

    name: str
    labels: Mapping[str, str]
    value: float
    age: float | None = None


@dataclass
class Page:
    """What was understood of a page. ``odd`` counts the wanted lines that were not, ``cut`` says that
    the page ended within a line."""

    series: list[Series] = field(default_factory=list)
    odd: int = 0
    cut: bool = False


def parse(body: bytes, wanted: Mapping[str, object]) -> Page:
    """The series of a page whose names are in ``wanted``. Never raises."""
    page = Page()
    text = body.decode("utf-8", "replace")
    lines = text.split("\n")
    # Of a cut number the first digits are a number too: what has no line feed is not there.
    page.cut = bool(lines.pop())
    blocks: dict[str, dict[str, str] | None] = {}
    append, find_name = page.series.append, _NAME.match
    for line in lines:
        found = find_name(line)
        if found is None or (name := found[0]) not in wanted:
            continue
        parts = _parts(line, found.end()) if len(line) <= MAX_LINE else None
        if parts is None:
            page.odd += 1
            continue
        block, value = parts
        if block not in blocks:
            blocks[block] = read_labels(block)
        labels = blocks[block]
        if labels is None:
            page.odd += 1
        else:
            append(Series(name, labels, value))
    return page


def _parts(line: str, start: int) -> tuple[str, float] | None:
    """What stands between the braces of a line, and its number. The last brace ends the labels, as
    there is none after them: a pattern that looks for it takes a time that grows with the square of the
    braces, and who writes an exporter's page can write thousands."""
    block = ""
    rest = line[start:].lstrip()
    if rest.startswith("{"):
        end = rest.rfind("}")
        if end < 0:
            return None
        block, rest = rest[1:end], rest[end + 1 :]
    found = _VALUE.fullmatch(rest)
    value = _number(found[1]) if found else None
    return None if value is None else (block, value)


def read_labels(block: str) -> dict[str, str] | None:
    """The labels between braces, each value cut at ``MAX_VALUE``; None where they are not labels, where
    one comes twice, or where there are more than ``MAX_LABELS``."""
    if _BLOCK.fullmatch(block) is None:
        return None
    pairs = _PAIRS.findall(block)
    labels = {key: _unescaped(value)[:MAX_VALUE] for key, value in pairs}
    return labels if len(labels) == len(pairs) <= MAX_LABELS else None


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[1]), value)


def _number(text: str) -> float | None:
    try:
        return float(text) if "_" not in text else None
    except ValueError:
        return None
