"""What an import has to say for itself, line by line."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Line:
    """One place of the file, dotted as it stands there, and one sentence about it."""

    path: str
    sentence: str


@dataclass
class Notes:
    """Collected while a file is read."""

    understood: list[Line] = field(default_factory=list)
    warnings: list[Line] = field(default_factory=list)
    ignored: list[Line] = field(default_factory=list)

    def understand(self, path: str, sentence: str) -> None:
        self.understood.append(Line(path, sentence))

    def warn(self, path: str, sentence: str) -> None:
        self.warnings.append(Line(path, sentence))

    def ignore(self, path: str, sentence: str) -> None:
        self.ignored.append(Line(path, sentence))
