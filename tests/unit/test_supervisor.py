"""Programs are started again when they die, stopped together, and never outlive who started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboard.supervisor import Program, Supervisor

ROOT = Path(__file__).resolve().parents[2]
SLEEP = "import time; time.sleep(60)"
IGNORE = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
STUBBORN = f"{IGNORE}; print('ready', flush=True); time.sleep(60)"


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(said: list[str]) -> Iterator[Supervisor]:
    made = Supervisor(said.append)
    yield made
    made.stop()


def program(directory: Path, code: str, name: str = "thing", base: bool = False) -> Program:
    command = [sys.executable, "-c", code]
    return Program(name, command, dict(os.environ), directory / f"{name}.log", directory, base=base)


def until(condition: Callable[[], bool], supervisor: Supervisor | None = None, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        if supervisor is not None:
            supervisor.tend()
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie that nobody has fetched yet does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_dead_program_is_started_again_and_the_reason_is_said(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    thing = program(tmp_path, SLEEP)
    supervisor.start(thing)
    assert thing.process is not None
    first = thing.process.pid
    os.kill(first, signal.SIGKILL)
    until(lambda: thing.running and thing.process is not None and thing.process.pid != first, supervisor)
    assert any("thing stopped (SIGKILL)" in line and "thing.log" in line for line in said)


def test_one_that_cannot_start_is_tried_with_growing_pauses(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(program(tmp_path, "raise SystemExit(3)"))
    until(lambda: len(said) == 3, supervisor, 20)
    assert [line.split(" in ")[1].split(" s")[0] for line in said] == ["0.5", "1", "2"]
    assert "exit code 3" in said[0]


def test_warnings_reach_the_console_once_and_all_lines_the_log(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    lines = "; ".join(f"print('12:0{n} WARNING disk is full', flush=True)" for n in range(3))
    thing = program(tmp_path, f"print('INFO fine'); {lines}; {SLEEP}")
    supervisor.start(thing)
    until(lambda: thing.log.read_text().count("\n") == 4)
    until(lambda: bool(said), supervisor)
    supervisor.tend()
    assert said == ["thing: 12:00 WARNING disk is full"]


def test_all_stop_within_five_seconds_even_the_stubborn_and_the_base_last(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    base = program(tmp_path, SLEEP, "base", base=True)
    stubborn = program(tmp_path, STUBBORN, "stubborn")
    for each in (base, stubborn):
        supervisor.start(each)
    until(lambda: "ready" in stubborn.log.read_text())
    began = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - began < 5
    assert stubborn.process is not None
    assert base.process is not None
    assert stubborn.process.returncode == -signal.SIGKILL
    assert base.process.returncode == -signal.SIGTERM


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's promise is Linux's")
def test_none_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import os, sys, time; from pathlib import Path; from dashboard.supervisor import Program, Supervisor\n"
        f"p = Program('thing', [sys.executable, '-c', {SLEEP!r}], dict(os.environ), "
        f"Path({str(tmp_path)!r}) / 'thing.log', Path({str(tmp_path)!r}))\n"
        "Supervisor(print).start(p); print(p.process.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not alive(child))
