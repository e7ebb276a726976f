"""From the bytes that a container wrote to lines that can be shown: bounded, readable, in order.

A container may write anything: no line feed for gigabytes, colours, bytes that are no text. What is
held of one line is limited, and how much was left out is counted.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

LONGEST = 8 * 1024
"""Bytes that are kept of one line."""

# As the kubelet stamps lines: RFC 3339 with nine digits of a second, in the zone of the node.
_STAMP = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) ?")
# ECMA-48: control sequences (colours, cursor), operating system commands (titles, links), and others.
_ESCAPES = re.compile(
    "(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?|\x1b[ -/]*[0-~]?"
)
# What would reorder or hide text where it is shown: C0 and C1 controls, bidirectional overrides.
_UNSEEN = {
    **{code: chr(0x2400 + code) for code in range(32) if code != 9},
    **dict.fromkeys(
        [127, *range(0x80, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "�"
    ),
}
_DECODER = codecs.getincrementaldecoder("utf-8")
_TROUBLE = re.compile(
    r"\b(?:level=(?:error|fatal)|ERROR|FATAL|CRITICAL|panic:|Traceback \(most recent call last\))|^[EF]\d{4} |^Error\b",
    re.ASCII,
)
_WARNING = re.compile(r"\b(?:level=warn(?:ing)?|WARN(?:ING)?)\b|^W\d{4} ", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class RawLine:
    """A line without its end. ``cut`` is how many bytes of it were left out."""

    data: bytes
    cut: int = 0


@dataclass(frozen=True)
class LogLine:
    """A line that can be shown.

    ``stamp`` is when it was written, in UTC with nine digits of a second, "" where nobody said;
    ``mark`` is "error" or "warning" where the text calls itself that, else "".
    """

    stamp: str
    text: str
    cut: int = 0
    mark: str = ""


class LineSplitter:
    """Cuts pieces of any size into lines and holds at most ``longest`` bytes of an unfinished one."""

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._held = bytearray()
        self._left_out = 0

    def feed(self, piece: bytes) -> Iterator[RawLine]:
        """The lines that end in ``piece``."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._hold(piece, start, end)
            yield self._take()
            start = end + 1
        self._hold(piece, start, len(piece))

    def rest(self) -> RawLine | None:
        """What stands after the last line feed; None where nothing does."""
        return self._take() if self._held or self._left_out else None

    def _hold(self, piece: bytes, start: int, end: int) -> None:
        room = min(end - start, self._longest - len(self._held))
        self._held += piece[start : start + room]
        self._left_out += end - start - room

    def _take(self) -> RawLine:
        line = RawLine(bytes(self._held), self._left_out)
        self._held.clear()
        self._left_out = 0
        return line


def parse(raw: RawLine) -> LogLine:
    """A line as it is shown; its time is taken off its front if it carries one."""
    stamp, data = "", raw.data
    found = _STAMP.match(data)
    if found:
        stamp = _utc(found)
        data = data[found.end() :] if stamp else data
    text = readable(data, whole=not raw.cut)
    mark = "error" if _TROUBLE.search(text) else "warning" if _WARNING.search(text) else ""
    return LogLine(stamp, text, raw.cut, mark)


def readable(data: bytes, *, whole: bool = True) -> str:
    """The text in ``data``: without colours and cursor movements, with a sign for each byte and control
    character that is none. Of what a carriage return overwrote the last state is kept. ``whole`` False:
    the end was cut off, maybe inside of a character."""
    text = _ESCAPES.sub("", _DECODER("replace").decode(data, final=whole))
    if "\r" in text:
        text = next((part for part in reversed(text.split("\r")) if part), "")
    return text.translate(_UNSEEN)


def _utc(found: re.Match[bytes]) -> str:
    seconds, fraction, zone = (part.decode() if part else "" for part in found.groups())
    try:
        moment = datetime.fromisoformat(seconds + ("+00:00" if zone == "Z" else zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{fraction:0<9}Z"


@dataclass
class Place:
    """Where a reader is in a log: the time of the newest line, and how many lines of that very time
    he has. The server counts in whole seconds, so a reader who goes on asks for a second too much and
    leaves out what he has."""

    stamp: str = ""
    seen: int = 0

    @classmethod
    def read(cls, text: str) -> Place:
        """From ``str(place)``; what is none begins at the beginning."""
        stamp, _, seen = text.partition("/")
        if not _FULL.fullmatch(stamp) or not re.fullmatch(r"\d{1,9}", seen, re.ASCII):
            return cls()
        return cls(stamp, int(seen))

    def __str__(self) -> str:
        return f"{self.stamp}/{self.seen}" if self.stamp else ""

    @property
    def since(self) -> str:
        """For ``sinceTime``: the whole second, or ""."""
        return f"{self.stamp[:19]}Z" if self.stamp else ""

    def pass_to(self, line: LogLine) -> None:
        """Note that the reader has ``line``."""
        if line.stamp > self.stamp:
            self.stamp, self.seen = line.stamp, 1
        elif line.stamp and line.stamp == self.stamp:
            self.seen += 1

    def known(self) -> Callable[[LogLine], bool]:
        """Tells line by line, from ``since`` on, whether the reader has it already. The first newer line
        ends that: a clock that is set back later hides nothing."""
        stamp, left, past = self.stamp, self.seen, not self.stamp

        def has(line: LogLine) -> bool:
            nonlocal left, past
            past = past or line.stamp > stamp
            if past or line.stamp < stamp:
                return not past
            left -= 1
            return left >= 0

        return has


_FULL = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", re.ASCII)
