"""Collecting the static files, and only when they changed: compressing them takes seconds."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Self

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders

from dashboard.environment import BASE_DIR

STAMP = ".collected"


class Collecting:
    """`collectstatic` in a process of its own, beside the database's migration; ended on leaving."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._stamp = Path(settings.STATIC_ROOT) / STAMP
        self._digest = _digest()
        self._process: subprocess.Popen[str] | None = None
        if not self._stamp.exists() or self._stamp.read_text() != self._digest:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "collectstatic", "--no-input", "--clear", "--verbosity", "0"],
                cwd=BASE_DIR,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *about: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def wait(self) -> str:
        """ "" when all is there, else what the command said when it failed."""
        if self._process is None:
            return ""
        said, _ = self._process.communicate()
        if self._process.returncode:
            return said.strip() or f"exit code {self._process.returncode}"
        self._stamp.write_text(self._digest)
        return ""


def _digest() -> str:
    """Changes with every file that would be collected: its name, size and time."""
    digest = hashlib.sha256(settings.STORAGES["staticfiles"]["BACKEND"].encode())
    for finder in get_finders():
        for path, storage in sorted(finder.list([]), key=lambda found: found[0]):
            status = Path(storage.path(path)).stat()
            digest.update(f"{path}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
