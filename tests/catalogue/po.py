"""Reading gettext's files, as far as the checks need it: a machine without gettext can check, too."""

from __future__ import annotations

import ast
import gettext
import re
from dataclasses import dataclass, field
from pathlib import Path

_STRING = re.compile(r'^(?:(msgctxt|msgid_plural|msgid|msgstr)(?:\[(\d)\])?\s+)?(".*")$')
_PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd%]|\{\w+\}|</?[a-z][^>]*>")


@dataclass
class Entry:
    """One message. ``translated`` has one text, or one for each plural form."""

    context: str = ""
    source: str = ""
    plural: str = ""
    translated: list[str] = field(default_factory=list)
    fuzzy: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.context, self.source

    @property
    def complete(self) -> bool:
        return bool(self.translated) and all(self.translated) and not self.fuzzy


def read(path: Path) -> dict[tuple[str, str], Entry]:
    """The entries of a .po file by context and source, without its head."""
    entries: dict[tuple[str, str], Entry] = {}
    entry, place, index = Entry(), "", 0

    def close() -> None:
        if entry.source:
            entries[entry.key] = entry

    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#,") and "fuzzy" in line:
            if place == "msgstr":
                close()
                entry, place = Entry(), ""
            entry.fuzzy = True
            continue
        found = _STRING.match(line)
        if not found:
            continue
        keyword, number, quoted = found.groups()
        text = str(ast.literal_eval(quoted))
        if keyword in ("msgctxt", "msgid") and place in ("msgstr", "") and place:
            close()
            entry = Entry()
        if keyword:
            place, index = keyword, int(number or 0)
        if place == "msgctxt":
            entry.context += text
        elif place == "msgid":
            entry.source += text
        elif place == "msgid_plural":
            entry.plural += text
        elif place == "msgstr":
            while len(entry.translated) <= index:
                entry.translated.append("")
            entry.translated[index] += text
    close()
    return entries


def wrong_placeholders(entry: Entry) -> str:
    """What a translation lost or invented of the placeholders and tags; "" for nothing."""
    wanted = _holes(entry.plural or entry.source)
    for text in entry.translated:
        if _holes(text) != wanted:
            return f"{entry.source!r}: {sorted(wanted)} became {sorted(_holes(text))}"
    return ""


def _holes(text: str) -> list[str]:
    return sorted(_PLACEHOLDER.findall(text))


def compiled(path: Path) -> dict[object, str]:
    """What a .mo file holds."""
    with path.open("rb") as opened:
        held: dict[object, str] = gettext.GNUTranslations(opened)._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in held.items() if key}


def to_compile(entries: dict[tuple[str, str], Entry]) -> dict[object, str]:
    """What a .mo file made of these entries holds, keyed as Python's reader keys it."""
    held: dict[object, str] = {}
    for entry in entries.values():
        if not entry.complete:
            continue
        name = f"{entry.context}\x04{entry.source}" if entry.context else entry.source
        if entry.plural:
            held.update({(name, at): text for at, text in enumerate(entry.translated)})
        else:
            held[name] = entry.translated[0]
    return held
