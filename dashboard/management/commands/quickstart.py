"""Everything on one machine: database, broker, practice cluster, web, workers, observer."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import CommandError, call_command
from django.core.management.base import BaseCommand

from dashboard import broker
from dashboard.assets import Collecting
from dashboard.environment import BASE_DIR
from dashboard.first_start import ADMIN, first_account, practice_cluster
from dashboard.supervisor import Program, Supervisor

HOST = "127.0.0.1"
PORT = 8000
SPEED = 1.0  # a pull of deepseek-r1:1.5b then takes about half a minute
START_SECONDS = 180.0
TICK = 0.2


class Command(BaseCommand):
    help = "Start everything on this machine, with a practice cluster; Ctrl-C stops all of it."
    requires_system_checks: list[str] = []  # the programs it starts check themselves

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=PORT, help="of the web pages; 0 takes any free one")
        parser.add_argument(
            "--speed", type=float, default=SPEED, help="factor of the practice cluster's time"
        )
        parser.add_argument("--no-sandbox", action="store_true", help="without the practice cluster")

    def handle(self, *args: Any, **options: Any) -> None:
        var: Path = settings.VAR_DIR
        var.mkdir(parents=True, exist_ok=True)
        with (var / "quickstart.lock").open("w") as lock:
            _hold(lock, var)
            _stop_on_signals()
            port = options["port"] or _free_port()
            _require_free(port)
            supervisor = Supervisor(self._say)
            try:
                self._run(supervisor, var, port, None if options["no_sandbox"] else options["speed"])
            except KeyboardInterrupt:
                self._say("Stopping ...")
            finally:
                supervisor.stop()

    def _run(self, supervisor: Supervisor, var: Path, port: int, speed: float | None) -> None:
        environment = _environment(var, port)

        def start(name: str, *command: str, base: bool = False, heard: bool = True) -> Program:
            log = var / "log" / f"{name}.log"
            program = Program(name, list(command), environment, log, BASE_DIR, base=base, heard=heard)
            supervisor.start(program)
            return program

        kubeconfig = var / "sandbox" / "kubeconfig"
        sandbox = None
        if speed is not None:
            sandbox = start("sandbox", *_sandbox(var, kubeconfig, speed), base=True)
        valkey = self._start_broker(start)
        with Collecting(environment) as collecting:
            call_command("migrate", interactive=False, verbosity=0)
            call_command("createcachetable", verbosity=0)
            if fault := collecting.wait():
                raise CommandError(f"The static files could not be collected: {fault}")
        start("web", *_web(port))
        if valkey is not None:
            self._wait(supervisor, "the broker", lambda: broker.answers(valkey))
        password = first_account()
        if sandbox is not None:
            self._wait(supervisor, "the practice cluster", lambda: b"https://" in sandbox.log.read_bytes())
            practice_cluster(kubeconfig)
        concurrency = str(settings.ENV.worker_concurrency), str(settings.ENV.pull_concurrency)
        start("worker", *_worker("control", "control,sample", concurrency[0]))
        start("pull-worker", *_worker("pull", "pull", concurrency[1]))
        start("observer", sys.executable, "manage.py", "observe")
        self._wait(supervisor, "the web pages", lambda: _ready(port))
        self._welcome(environment["PUBLIC_URL"], password)
        while True:
            supervisor.tend()
            time.sleep(TICK)

    def _start_broker(self, start: Callable[..., Program]) -> Path | None:
        """Start Valkey and return its socket, or None where REDIS_URL names a server already."""
        if os.environ.get("REDIS_URL"):
            return None
        program = broker.server_program()
        if program is None:
            raise CommandError(broker.NONE_FOUND)
        path = Path(settings.REDIS_URL.removeprefix("unix://"))
        # Its advice on the kernel's settings is for servers that keep data.
        start("valkey", *broker.server_command(program, path), base=True, heard=False)
        return path

    def _wait(self, supervisor: Supervisor, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                logs = ", ".join(str(program.log) for program in supervisor.programs)
                raise CommandError(f"{what} did not answer within {START_SECONDS:g} s. See {logs}")
            supervisor.tend()
            time.sleep(TICK / 4)

    def _welcome(self, address: str, password: str | None) -> None:
        began = os.environ.get("PILOTHOUSE_STARTED")
        after = f" after {time.time() - float(began):.0f} s" if began else ""
        self._say(f"\nPilothouse is up{after}: {address}")
        if password is not None:
            self._say(f"Sign in as {ADMIN} with the password {password}")
            self._say("It is shown this once and stored nowhere.")
        else:
            self._say(f"Sign in as {ADMIN}; a new password: ./run manage changepassword {ADMIN}")
        self._say("Ctrl-C stops everything.\n")

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _environment(var: Path, port: int) -> dict[str, str]:
    """What the programs get: the same state and broker for all, and the address that people use."""
    return {
        "PUBLIC_URL": f"http://pilothouse.localhost:{port}",
        **os.environ,
        "VAR_DIR": str(var),
        "DATABASE_URL": settings.ENV.database_url,
        "REDIS_URL": settings.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "dashboard.settings",
        "PYTHONUNBUFFERED": "1",
    }


def _sandbox(var: Path, kubeconfig: Path, speed: float) -> list[str]:
    state = str(var / "sandbox")
    return [
        *(sys.executable, "-m", "sandbox", "--state", state),
        *("--kubeconfig", str(kubeconfig), "--speed", str(speed)),
    ]


def _web(port: int) -> list[str]:
    return [
        *(sys.executable, "-m", "uvicorn", "dashboard.asgi:application", "--host", HOST, "--port", str(port)),
        *("--lifespan", "off", "--no-server-header", "--no-access-log"),
        # An open stream would hold the server back for ever.
        *("--timeout-graceful-shutdown", "3"),
    ]


def _worker(name: str, queues: str, concurrency: str) -> list[str]:
    return [
        *(sys.executable, "-m", "celery", "--app", "dashboard", "worker", "--hostname", f"{name}@%h"),
        *("--queues", queues, "--pool", "threads", "--concurrency", concurrency),
        *("--without-gossip", "--without-mingle", "--without-heartbeat"),
    ]


def _hold(lock: IO[str], var: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise CommandError(f"Pilothouse runs already with its state in {var}.") from error


def _stop_on_signals() -> None:
    """SIGTERM and SIGHUP stop as Ctrl-C does; a second one does not disturb the stopping."""

    def stop(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, stop)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken ({error.strerror}). "
                f"Choose another one: ./run --port {port + 1}, or --port 0 for any."
            ) from error


def _ready(port: int) -> bool:
    host = urlsplit(settings.PUBLIC_URL).netloc
    question = urllib.request.Request(f"http://{HOST}:{port}/readyz", headers={"Host": host})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(question, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
