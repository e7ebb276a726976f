"""`./run test`: every test in the processes that it needs, and one closing line for all of them.

    ./run test                         unit, core, web, contract and faults on two processes, then the browser's
    ./run test --long                  also what is marked long
    ./run test tests/core -k install   what is named, with pytest's own arguments

Browser tests run apart: Playwright's synchronous interface keeps an event loop in its thread, and
asynchronous views tested afterwards in that process would fail. Where there is no Chromium they are
SKIPPED, or a failure with REQUIRE_BROWSER=1.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BROWSER_TESTS = "tests/e2e"
OTHERS = ["tests/unit", "tests/core", "tests/web", "tests/contract", "tests/faults"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PROCESSES = "2"
NO_TESTS = 5  # pytest's exit code where nothing was collected


@dataclass
class Tally:
    """What pytest's reports counted, and whether any of its runs failed."""

    counts: Counter[str] = field(default_factory=Counter)
    failed: bool = False
    notes: list[str] = field(default_factory=list)


def main(arguments: list[str]) -> int:
    began = time.monotonic()
    long = "--long" in arguments
    arguments = [argument for argument in arguments if argument != "--long"]
    named = [argument for argument in arguments if (ROOT / argument.partition("::")[0]).exists()]
    options = [argument for argument in arguments if argument not in named]
    if not long and "-m" not in options:
        options += ["-m", "not long"]
    in_browser = [path for path in named if path.startswith(BROWSER_TESTS)]
    others = [path for path in named if path not in in_browser]
    if not named:
        in_browser, others = [BROWSER_TESTS], OTHERS
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="pilothouse-tests-") as directory:
        if in_browser:
            run_browser_tests(tally, Path(directory), [*in_browser, *options])
        if others:
            spread = ["-n", PROCESSES, "--dist", "worksteal"] if len(named) != 1 else []
            run(tally, Path(directory), "others", [*spread, *others, *options])
    close(tally, time.monotonic() - began)
    return int(tally.failed)


def run_browser_tests(tally: Tally, directory: Path, arguments: list[str]) -> None:
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser:
        run(tally, directory, "browser", arguments, CHROMIUM=browser, DJANGO_ALLOW_ASYNC_UNSAFE="1")
        return
    sentence = f"browser tests: no Chromium on the PATH (looked for {', '.join(BROWSERS)})"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        tally.failed = True
        tally.counts["errors"] += 1
        tally.notes.append(f"FAILED {sentence}, and REQUIRE_BROWSER=1")
    else:
        tally.notes.append(f"SKIPPED {sentence}")


def run(tally: Tally, directory: Path, name: str, arguments: list[str], **environment: str) -> None:
    report, state = directory / f"{name}.xml", directory / name
    state.mkdir()
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--junitxml", str(report), *arguments],
        cwd=ROOT,
        env={**os.environ, "VAR_DIR": str(state), **environment},
    ).returncode
    if code not in (0, NO_TESTS):
        tally.failed = True
        tally.notes.append(f"FAILED {name} tests (pytest's exit code {code})")
    if not report.exists():  # it did not come to running them, or was killed
        tally.failed = True
        tally.counts["errors"] += 1
        return
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        found = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        tally.counts.update(failed=found["failures"], errors=found["errors"], skipped=found["skipped"])
        tally.counts["passed"] += found["tests"] - found["failures"] - found["errors"] - found["skipped"]


def close(tally: Tally, seconds: float) -> None:
    """One line in pytest's own form, so that who reads the end of a log knows all."""
    for note in tally.notes:
        print(note)
    order = ("failed", "passed", "skipped", "errors")
    counted = ", ".join(f"{tally.counts[key]} {key}" for key in order if tally.counts[key])
    print(f" {counted or 'no tests ran'} in {seconds:.2f}s ".center(80, "="), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
