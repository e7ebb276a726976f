"""Whether the Chinese catalogue is complete, and its compiled files are those of its sources."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from deployments.sentences import HOLE, SPOKEN
from tests.catalogue import po
from tests.catalogue.extract import ROOT, WORDS, Found, extract

LANGUAGE = "zh_Hans"
PLACE = Path("dashboard/locale") / LANGUAGE / "LC_MESSAGES"
PAGES, SENTENCES = PLACE / "django.po", PLACE / "sentences.po"
SHOWN = 40
AGAIN = "python -m tests.catalogue"


def complete() -> str:
    """What is missing, or "". Without gettext's programs the pages' own strings are not looked for."""
    texts = extract()
    found = [*_sentences(texts), *_holes(texts), *_pages(), *_files()]
    more = f"\n... and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return "\n".join(found[:SHOWN]) + more + (f"\n{AGAIN} refreshes the catalogue." if found else "")


def _sentences(texts: dict[str, Found]) -> list[str]:
    held = po.read(ROOT / SENTENCES)
    wanted = {text: found.places[0] for text, found in texts.items()} | dict.fromkeys(WORDS, "a word")
    return [
        f"{place}: not translated: {text!r}"
        for text, place in wanted.items()
        if ("", text) not in held or not held["", text].complete
    ]


def _holes(texts: dict[str, Found]) -> list[str]:
    """Holes of which deployments/sentences.py says that they hold words, and which no sentence has any more."""
    known = {re.sub(r"_\d+$", "", hole) for text in texts for hole in HOLE.findall(text)}
    return [f"deployments/sentences.py: no sentence has the hole {hole}" for hole in sorted(SPOKEN - known)]


def _pages() -> list[str]:
    held = po.read(ROOT / PAGES)
    if shutil.which("xgettext"):
        with tempfile.TemporaryDirectory() as directory:
            wanted = po.read(_collected(Path(directory)) / PAGES)
    else:
        print("       xgettext is not here: whether new strings of pages lack a translation is skipped")
        wanted = held
    return [
        f"{PAGES.name}: not translated: {source!r}"
        for (context, source) in wanted
        if (context, source) not in held or not held[context, source].complete
    ]


def _files() -> list[str]:
    found = []
    for path in (PAGES, SENTENCES):
        entries = po.read(ROOT / path)
        found += [
            f"{path.name}: {wrong}" for each in entries.values() if (wrong := po.wrong_placeholders(each))
        ]
        made = (ROOT / path).with_suffix(".mo")
        if not made.is_file() or po.compiled(made) != po.to_compile(entries):
            found.append(f"{made.name} is not what {path.name} compiles to")
    return found


def _collected(copy: Path) -> Path:
    """A copy of the sources with a catalogue that holds every string of today."""
    for name in ("dashboard", "deployments", "templates", "tests/catalogue"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("vendor", "__pycache__"))
    for name in ("tests/__init__.py", "tests/settings.py", "manage.py"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, copy / name)
    subprocess.run(
        [sys.executable, "-m", "tests.catalogue", "--collect"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        check=True,
        capture_output=True,
    )
    return copy
