"""The data that page components take: small, frozen, free of models.

A view may as well give dictionaries with the same keys; these exist so that a type checker and a reader
know the keys. Texts may hold markup only where they are ``SafeString``; everything else is escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from dashboard.presenters.states import Words


@dataclass(frozen=True)
class Link:
    """Somewhere to go. ``current`` marks where the reader is, ``count`` a number beside the label."""

    label: Words
    href: str = ""
    current: bool = False
    count: int | None = None
    icon: str = ""


@dataclass(frozen=True)
class Fact:
    """One of at most six figures in a row. ``seen`` is when the figure was taken, ``source`` by whom."""

    label: Words
    value: Words
    note: Words = ""
    source: Words = ""
    seen: datetime | None = None


@dataclass(frozen=True)
class Evidence:
    """Why a health sentence says what it says."""

    text: Words
    icon: str = "box"
    source: Words = ""
    seen: datetime | None = None


@dataclass(frozen=True)
class Step:
    """A step of an operation. ``state`` is a StepState, ``seconds`` how long it took or has run."""

    title: Words
    state: str
    note: Words = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Finding:
    """A finding of a preflight. ``level`` is a FindingLevel; ``fold`` the short form of a passed one."""

    level: str
    title: Words
    evidence: Words = ""
    remedy: Words = ""
    source: Words = ""
    seen: datetime | None = None


@dataclass(frozen=True)
class LogLine:
    """One line of an operation's log. ``level`` is "info", "warning" or "error"."""

    when: datetime
    step: str
    text: str
    level: str = "info"


@dataclass(frozen=True)
class CodeLine:
    """A line of YAML or of a diff. ``sign`` is "", "+", "-" or "h" (a heading); ``number`` its line."""

    text: str
    sign: str = ""
    number: int | None = None


@dataclass(frozen=True)
class Hit:
    """What a search found."""

    title: str
    href: str
    note: Words = ""
    icon: str = "box"


def numbered(text: str) -> list[CodeLine]:
    """A text as lines that carry their numbers."""
    return [CodeLine(line, number=number) for number, line in enumerate(text.splitlines(), start=1)]


def segments(parts: Sequence[tuple[str, float]]) -> list[tuple[str, float, float]]:
    """Parts (css class, amount) -> (class, start, width), both in percent; zero parts fall out."""
    whole = sum(amount for _css, amount in parts)
    placed: list[tuple[str, float, float]] = []
    start = 0.0
    for css, amount in parts:
        if whole and amount > 0:
            width = 100.0 * amount / whole
            placed.append((css, start, width))
            start += width
    return placed


# Columns are constants: told apart as such, their words are not translated to compare them.
@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table. ``sort`` is its key in the address ("" where it does not sort)."""

    label: Words
    sort: str = ""
    numeric: bool = False
    css: str = ""
    hidden_label: bool = False


def ordering(asked: str, columns: Sequence[Column], default: str) -> str:
    """The key to sort by ("name", "-started"): what was asked if a column has it, else ``default``."""
    keys = {column.sort for column in columns if column.sort}
    return asked if asked.removeprefix("-") in keys else default
