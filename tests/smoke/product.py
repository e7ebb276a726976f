"""The whole product as a person starts it, on free ports, with its state in a directory of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
SPEED = "30"  # of the practice cluster's time
START_SECONDS, STOP_SECONDS = 180.0, 10.0
UP = re.compile(r"Pilothouse is up.*?: (http://\S+)")
PASSWORD = re.compile(r"Sign in as (\S+) with the password (\S+)")
T = TypeVar("T")


class Broken(Exception):
    """What was started and driven is broken; the text says how."""


@dataclass(frozen=True)
class Product:
    """What quickstart said when it was up; its state, its logs among it, lies in ``directory``."""

    address: str
    user: str
    password: str
    directory: Path

    @property
    def kubeconfig(self) -> Path:
        """Of the practice cluster."""
        return self.directory / "sandbox" / "kubeconfig"


@contextmanager
def running_product(directory: Path) -> Iterator[Product]:
    """Started, up and stopped again. What it prints is in ``directory``/output.log.

    Raises :class:`Broken` where it ends, or is not up in START_SECONDS.
    """
    output = directory / "output.log"
    ours = {
        "DATABASE_URL",
        "REDIS_URL",
        "PUBLIC_URL",
        "DJANGO_SETTINGS_MODULE",
        "SECRET_KEY",
        "ENCRYPTION_KEYS",
        "AUDIT_SIGNING_KEY",
    }
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    with output.open("wb") as log:
        everything = subprocess.Popen(
            [sys.executable, "manage.py", "quickstart", "--port", "0", "--speed", SPEED],
            cwd=ROOT,
            env={**kept, "VAR_DIR": str(directory), "PYTHONUNBUFFERED": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )

    def greeting() -> Product | None:
        if everything.poll() is not None:
            raise Broken(f"quickstart ended with exit code {everything.returncode}")
        text = output.read_text(errors="replace")
        up, password = UP.search(text), PASSWORD.search(text)
        return Product(up[1], password[1], password[2], directory) if up and password else None

    try:
        yield wait(greeting, START_SECONDS, "everything to be up")
    finally:
        everything.send_signal(signal.SIGTERM)
        try:
            everything.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            everything.kill()
            everything.wait()


def wait(condition: Callable[[], T | None], seconds: float, what: str, *, pause: float = 0.2) -> T:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise Broken(f"waited {seconds:g} s in vain for {what}")
        time.sleep(pause)
    return found
