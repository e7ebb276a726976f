"""Several programs run as one: started together, started again when they die, stopped together.

Each program has a process group of its own, so that Ctrl-C in the terminal reaches this process alone
and the order of stopping is decided here. On Linux the kernel kills a program whose parent is gone
(prctl(2), PR_SET_PDEATHSIG), so that none outlives a supervisor that was killed.
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PR_SET_PDEATHSIG = 1
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds before a dead program is started again
STEADY_SECONDS = 30.0  # a program that lived so long starts with the first pause again
STOP_SECONDS = 3.6  # for the programs that people and work depend on
LAST_SECONDS = 0.7  # for what those stood on
REPEAT_SECONDS = 60.0  # a line that differs from an earlier one in digits only is not repeated sooner
DIGITS = re.compile(r"\d+")
LOUD = re.compile(r"\b(WARNING|ERROR|CRITICAL)\b")

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass
class Program:
    """One program. ``base`` marks what others stand on (broker, practice cluster): stopped last."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path
    directory: Path
    base: bool = False
    heard: bool = True  # whether its loud lines are passed on
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    pause: float = FIRST_PAUSE
    due_at: float = 0.0
    read_to: int = field(default=0, repr=False)
    said: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Supervisor:
    """Starts programs and looks after them; ``say`` gets one line for each thing worth knowing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.programs: list[Program] = []
        self.stopping = False
        self._say = say

    def start(self, program: Program) -> None:
        """Start a program; its output goes to its log, and the log of last time is kept as ``.1``."""
        program.log.parent.mkdir(parents=True, exist_ok=True)
        if program.log.exists():
            program.log.replace(program.log.with_suffix(".log.1"))
        self.programs.append(program)
        self._launch(program)

    def tend(self) -> None:
        """Pass on loud lines, and start again what died. To be called a few times a second."""
        now = time.monotonic()
        for program in self.programs:
            self._pass_on(program)
            if program.process is not None and program.process.poll() is not None:
                if now - program.started_at > STEADY_SECONDS:
                    program.pause = FIRST_PAUSE
                program.due_at = now + program.pause
                self._say(
                    f"{program.name} stopped ({_ending(program.process.returncode)}); "
                    f"starting it again in {program.pause:g} s. See {program.log}"
                )
                program.pause = min(program.pause * 2, LONGEST_PAUSE)
                _signal(program, signal.SIGKILL)  # what it may have left behind in its group
                program.process = None
            elif program.process is None and now >= program.due_at:
                self._launch(program)

    def stop(self) -> None:
        """Stop all: first what people and work depend on, then the base. At most five seconds."""
        self.stopping = True
        for base, seconds in ((False, STOP_SECONDS), (True, LAST_SECONDS)):
            group = [program for program in self.programs if program.base is base and program.running]
            for program in group:
                _signal(program, signal.SIGTERM)
            deadline = time.monotonic() + seconds
            while any(program.running for program in group) and time.monotonic() < deadline:
                time.sleep(0.02)
            for program in group:
                _signal(program, signal.SIGKILL)  # the group too: what the program itself started
                if program.process is not None:
                    program.process.wait()

    def _launch(self, program: Program) -> None:
        parent = os.getpid()

        def tie_to_parent() -> None:
            if _libc is not None:
                _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:  # it died before we asked
                    os._exit(1)

        with program.log.open("ab") as log:
            program.process = subprocess.Popen(
                program.command,
                env=program.environment,
                cwd=program.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=tie_to_parent,  # noqa: PLW1509  (this process has one thread)
            )
        program.started_at = time.monotonic()

    def _pass_on(self, program: Program) -> None:
        if not program.heard:
            return
        with program.log.open("rb") as log:
            log.seek(program.read_to)
            fresh = log.read()
        whole = fresh.rfind(b"\n") + 1
        program.read_to += whole
        now = time.monotonic()
        for line in fresh[:whole].decode(errors="replace").splitlines():
            gist = DIGITS.sub("", line)
            if LOUD.search(line[:120]) and now - program.said.get(gist, -math.inf) > REPEAT_SECONDS:
                program.said[gist] = now
                self._say(f"{program.name}: {line}")


def _signal(program: Program, number: signal.Signals) -> None:
    if program.process is None:
        return
    try:
        os.killpg(program.process.pid, number)
    except ProcessLookupError:
        return  # the whole group is gone already


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
