"""Refresh the Chinese catalogue: ``python -m tests.catalogue``, which needs gettext's programs.

Every string of the pages goes into ``django.po`` and every sentence of the core into ``sentences.po``; what is
no longer written leaves them. What lacks a translation is printed; once it is filled in, the same command
compiles both. ``--collect`` leaves out the compiling.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import django
from django.core.management import call_command
from django.core.management.commands import makemessages

from tests.catalogue import po
from tests.catalogue.check import LANGUAGE, PAGES, SENTENCES
from tests.catalogue.extract import ROOT, WORDS, extract


class Collect(makemessages.Command):
    """Django's command without guesses: a translation that only resembles is none."""

    msgmerge_options = ["-q", "--backup=none", "--update", "--no-fuzzy-matching", "--no-wrap"]


def collect() -> None:
    """Bring both files up to what the sources say today."""
    call_command(
        Collect(),
        locale=[LANGUAGE],
        extensions=["html", "txt", "py"],
        ignore_patterns=["tests", "sandbox", "benchmarks", "var", "node_modules", "vendor"],
        no_location=True,
        no_obsolete=True,
        no_wrap=True,
        verbosity=0,
    )
    texts = sorted({*extract(), *WORDS})
    template = ROOT / SENTENCES.with_suffix(".pot")
    head = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    template.write_text(
        head + "".join(f'\nmsgid {quoted(text)}\nmsgstr ""\n' for text in texts), encoding="utf-8"
    )
    target = ROOT / SENTENCES
    if not target.exists():
        target.write_text(head, encoding="utf-8")
    program("msgmerge", *Collect.msgmerge_options, str(target), str(template))
    program("msgattrib", "--no-obsolete", "--no-wrap", "-o", str(target), str(target))
    template.unlink()


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def program(*command: str) -> None:
    subprocess.run(command, check=True)


def main(arguments: list[str]) -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    os.chdir(ROOT)
    Path(PAGES.parent).mkdir(parents=True, exist_ok=True)
    collect()
    if "--collect" in arguments:
        return 0
    missing = [
        (path.name, entry.source)
        for path in (PAGES, SENTENCES)
        for entry in po.read(ROOT / path).values()
        if not entry.complete
    ]
    for name, source in missing:
        print(f"{name}: not translated: {source!r}")
    for path in (PAGES, SENTENCES):
        program("msgfmt", "--check", "--no-hash", "-o", str(path.with_suffix(".mo")), str(path))
    print(f"{len(missing)} to translate" if missing else "everything is translated")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
