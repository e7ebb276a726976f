"""`./run check`: style, types, import directions, migrations, settings, and what must not be committed."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml
from cryptography.fernet import Fernet

from tests.catalogue.check import complete

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
TOGETHER = 2

# A deployment as it should be: nothing of it may warn.
PRODUCTION = {
    "DATABASE_URL": "postgres://pilothouse@database/pilothouse",
    "REDIS_URL": "redis://valkey:6379/0",
    "SECRET_KEY": secrets.token_urlsafe(60),
    "ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    "AUDIT_SIGNING_KEY": Fernet.generate_key().decode(),
    "PUBLIC_URL": "https://pilothouse.example.com",
    "TRUSTED_PROXY": "1",
    "DEBUG": "0",
}
# Written in halves, so that this file does not hold what it looks for.
REGISTRIES = ("pypi" + ".org", "pythonhosted" + ".org", "registry.npmjs" + ".org", "deb.debian" + ".org")
MIRRORS = ("proxy.golang" + ".org", "crates" + ".io")
MACHINE_PATH = re.compile("/wo" + r"rk/|/ho" + r"me/[a-z]+/|/opt/whe" + "els")
BINARY = {".png", ".ico", ".woff2", ".mo"}


def program(*command: str, **environment: str) -> Callable[[], str]:
    """A check that is a program: "" or what it printed when it failed."""

    def run() -> str:
        done = subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
        return (done.stdout + done.stderr).strip() if done.returncode else ""

    return run


def tracked() -> list[Path]:
    """What is committed or would be. Raises where this is no git checkout: nobody could tell."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def foreign_text() -> str:
    """Package registries' hosts and paths of one machine do not belong into the project."""
    found = []
    for path in tracked():
        if path.suffix in BINARY:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            hosts = [host for host in (*REGISTRIES, *MIRRORS) if host in line]
            if hosts or MACHINE_PATH.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}")
    return "\n".join(found)


def yaml_files() -> str:
    found = []
    for path in (ROOT / "docker-compose.yml", *sorted((ROOT / "deploy").glob("*.yaml"))):
        try:
            documents = [each for each in yaml.safe_load_all(path.read_text()) if each is not None]
        except yaml.YAMLError as error:
            found.append(f"{path.name}: {error}")
            continue
        if not documents:
            found.append(f"{path.name} is empty")
    return "\n".join(found)


def timed(check: Callable[[], str]) -> tuple[str, float]:
    began = time.monotonic()
    return check(), time.monotonic() - began


MANAGE = ("python", "manage.py")
CHECKS: dict[str, Callable[[], str]] = {
    "types": program("mypy"),
    "style": program("ruff", "check", "--output-format", "concise", "."),
    "format": program("ruff", "format", "--check", "."),
    "import directions": program("lint-imports", "--no-cache"),
    "migrations are complete": program(*MANAGE, "makemigrations", "--check", "--dry-run"),
    "settings for deployment": program(*MANAGE, "check", "--deploy", "--fail-level", "WARNING", **PRODUCTION),
    "nothing of one machine": foreign_text,
    "YAML files": yaml_files,
    "Chinese catalogue is complete": complete,
}


def main(arguments: list[str]) -> int:
    wanted = {name: check for name, check in CHECKS.items() if not arguments or name.split()[0] in arguments}
    if not wanted:
        print("There are: " + ", ".join(name.split()[0] for name in CHECKS))
        return 2
    failed = []
    with ThreadPoolExecutor(TOGETHER) as pool:
        running = {name: pool.submit(timed, check) for name, check in wanted.items()}
        for name, outcome in running.items():
            answer, seconds = outcome.result()
            print(f"{'FAILED' if answer else 'ok':7}{name} ({seconds:.0f} s)", flush=True)
            if answer:
                failed.append(name)
                print(answer, flush=True)
    print(
        f"check: {len(failed)} of {len(wanted)} failed: {', '.join(failed)}" if failed else "check: all fine"
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
