"""`./run test`: every test in the processes that it needs, and one closing line for all of them.

    ./run test                         unit, core, web, contract and faults on two processes, the browser's beside
    ./run test --long                  also what is marked long
    ./run test tests/core -k install   what is named, with pytest's own arguments

Browser tests run apart: Playwright's synchronous interface keeps an event loop in its thread, and
asynchronous views tested afterwards in that process would fail. Much of their time is waiting, so they
run while the others do; what they print comes when those are through. Where there is no Chromium they
are SKIPPED, or a failure with REQUIRE_BROWSER=1.
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
    with tempfile.TemporaryDirectory(prefix="pilothouse-tests-") as name:
        directory = Path(name)
        in_browsers = browser_tests(tally, directory, [*in_browser, *options]) if in_browser else None
        if others:
            spread = ["-n", PROCESSES, "--dist", "worksteal"] if len(named) != 1 else []
            Run(directory, "others", [*spread, *others, *options]).finish(tally)
        if in_browsers:
            in_browsers.finish(tally)
    close(tally, time.monotonic() - began)
    return int(tally.failed)


def browser_tests(tally: Tally, directory: Path, arguments: list[str]) -> Run | None:
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser:
        return Run(directory, "browser", arguments, CHROMIUM=browser, DJANGO_ALLOW_ASYNC_UNSAFE="1")
    sentence = f"browser tests: no Chromium on the PATH (looked for {', '.join(BROWSERS)})"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        tally.failed = True
        tally.counts["errors"] += 1
        tally.notes.append(f"FAILED {sentence}, and REQUIRE_BROWSER=1")
    else:
        tally.notes.append(f"SKIPPED {sentence}")
    return None


class Run:
    """One pytest, begun at once. Of two at a time only the one that is waited for prints."""

    def __init__(self, directory: Path, name: str, arguments: list[str], **environment: str) -> None:
        self.name = name
        self._report, state = directory / f"{name}.xml", directory / name
        state.mkdir()
        self._printed = directory / f"{name}.txt"
        with self._printed.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-m", "pytest", "-q", "--junitxml", str(self._report), *arguments],
                cwd=ROOT,
                env={**os.environ, "VAR_DIR": str(state), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def finish(self, tally: Tally) -> None:
        """Print what it says until it ends, and count."""
        with self._printed.open("rb") as output:
            while (running := self._process.poll() is None) | bool(said := output.read()):
                sys.stdout.buffer.write(said)
                sys.stdout.flush()
                if running:
                    time.sleep(0.2)
        code = self._process.returncode
        if code not in (0, NO_TESTS):
            tally.failed = True
            tally.notes.append(f"FAILED {self.name} tests (pytest's exit code {code})")
        if not self._report.exists():  # it did not come to running them, or was killed
            tally.failed = True
            tally.counts["errors"] += 1
            return
        for suite in ElementTree.parse(self._report).getroot().iter("testsuite"):
            found = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
            tally.counts.update(failed=found["failures"], errors=found["errors"], skipped=found["skipped"])
            passed = found["tests"] - found["failures"] - found["errors"] - found["skipped"]
            tally.counts["passed"] += passed


def close(tally: Tally, seconds: float) -> None:
    """One line in pytest's own form, so that who reads the end of a log knows all."""
    for note in tally.notes:
        print(note)
    order = ("failed", "passed", "skipped", "errors")
    counted = ", ".join(f"{tally.counts[key]} {key}" for key in order if tally.counts[key])
    print(f" {counted or 'no tests ran'} in {seconds:.2f}s ".center(80, "="), flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
