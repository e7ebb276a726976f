"""A database with a fleet in it, and the product's processes beside a large practice cluster, for benchmarks.

Everything lives below one directory that the caller throws away. ``DATABASE_URL`` is kept where it is set.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dashboard.broker import NONE_FOUND, answers, server_command, server_program

WAIT = 60.0
CLUSTER = "bench"


@dataclass(frozen=True)
class Stack:
    """A deployment that a cluster's pods are labelled with."""

    uid: str
    namespace: str
    name: str


def until(what: str, condition: Callable[[], Any], seconds: float = WAIT, pause: float = 0.05) -> Any:
    """The first true value of condition; ends the program with a sentence when there is none in time."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            sys.exit(f"after {seconds:g} s there is still no {what}")
        time.sleep(pause)
    return value


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """An API server, asked through urllib: for benchmarks that do not measure their own requests."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        loaded = yaml.safe_load(kubeconfig.read_text())
        cluster, user = loaded["clusters"][0]["cluster"], loaded["users"][0]["user"]
        self.url: str = cluster["server"].rstrip("/")
        self.ca: str = b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=self.ca)
        self.headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if "token" in user:
            self.headers["Authorization"] = f"Bearer {user['token']}"
        else:
            pair = kubeconfig.with_suffix(".pem")
            pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
            pair.chmod(0o600)
            self.context.load_cert_chain(pair)
            pair.unlink()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        data = None if body is None else json.dumps(body).encode()
        message = urllib.request.Request(self.url + path, data, self.headers | headers, method=method)
        with urllib.request.urlopen(message, timeout=60, context=self.context) as answer:
            return json.loads(answer.read() or b"null")

    def stacks(self) -> list[Stack]:
        """Those of a large practice cluster."""
        found = self.ask("GET", "/sandbox/fleet")["stacks"]
        return [Stack(entry["uid"], entry["namespace"], entry["name"]) for entry in found]

    def churn(self, changes: float) -> int:
        """Set the changes a second of a large practice cluster; how many there were so far."""
        return int(self.ask("PUT", "/sandbox/churn", {"changes": changes})["made"])


class Programs:
    """Child processes that end with the benchmark, the last one first; one of each name at a time."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
        """Output goes to ``name``.log. They run from bytecode, as an installation does from its second start
        on: to compile costs a process a fifth of its memory."""
        given = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        given |= {"PYTHONPYCACHEPREFIX": str(self.directory / "bytecode")} | environment
        with self.log(name).open("wb") as log:
            process = subprocess.Popen(list(command), stdout=log, stderr=subprocess.STDOUT, env=given)
        self._running[name] = process
        return process

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def pid(self, name: str) -> int:
        return self._running[name].pid

    def stop(self) -> None:
        last_first = list(reversed(self._running.values()))
        for process in last_first:
            process.send_signal(signal.SIGTERM)
        for process in last_first:
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            if process.poll() is None:
                process.kill()
                process.wait()

    # ---- which ones

    def sandbox(self, **sizes: object) -> Server:
        """A large practice cluster; sizes as the options of ``python -m sandbox --scenario scale``."""
        kubeconfig = self.directory / "kubeconfig"
        command = [sys.executable, "-m", "sandbox", "--scenario", "scale", "--kubeconfig", str(kubeconfig)]
        for name, value in sizes.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        process = self.start("sandbox", command)
        until(
            "practice cluster",
            lambda: process.poll() is not None or b"https://" in self.log("sandbox").read_bytes(),
        )
        if process.poll() is not None:
            sys.exit(self.log("sandbox").read_text())
        return Server(kubeconfig)

    def broker(self) -> None:
        program = server_program()
        if program is None:
            sys.exit(NONE_FOUND)
        path = self.directory / "valkey.sock"
        self.start("valkey", server_command(program, path))
        until("broker", lambda: answers(path))

    def observer(self) -> subprocess.Popen[bytes]:
        return self.start("observer", [sys.executable, "manage.py", "observe"], LOG_LEVEL="INFO")

    def web(self) -> str:
        """The address of the pages."""
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "dashboard.asgi:application", "--host", "127.0.0.1"]
        command += ["--port", str(port), "--lifespan", "off", "--no-access-log"]
        address = f"http://127.0.0.1:{port}"
        self.start("web", [*command, "--timeout-graceful-shutdown", "3"], PUBLIC_URL=address)
        until("web pages", lambda: _connects(port))
        return address


def _connects(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def programs(directory: Path) -> Iterator[Programs]:
    running = Programs(directory)
    try:
        yield running
    finally:
        running.stop()


def set_up_django(directory: Path, pages: bool = False) -> None:
    """Settings, and an empty database that is migrated. Call it before anything of the product is imported.

    pages: whether pages will be drawn, which takes the static files.
    """
    os.environ.update(
        DJANGO_SETTINGS_MODULE="dashboard.settings",
        VAR_DIR=str(directory),
        REDIS_URL=f"unix://{directory / 'valkey.sock'}",
        LOG_LEVEL=os.environ.get("LOG_LEVEL", "WARNING"),
    )
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)
    if pages:
        call_command("collectstatic", interactive=False, verbosity=0)


def make_rows(server: Server, stacks: Sequence[Stack]) -> int:
    """A cluster, and a deployment for each stack, none of them probed. Returns the cluster's primary key."""
    from deployments.commands.clusters import connect_cluster
    from deployments.commands.profiles import create_profile
    from deployments.domain.actors import PILOTHOUSE
    from deployments.domain.spec import StackSpec
    from deployments.gateways.kubernetes import import_context, read_kubeconfig
    from deployments.models import Deployment, Operation, Revision, Team

    team = Team.objects.get()
    loaded = read_kubeconfig(server.kubeconfig.read_bytes())
    credential = import_context(loaded, allow_loopback=True)
    cluster, _ = connect_cluster(
        PILOTHOUSE, name=CLUSTER, credential=credential, teams=[team], namespaces=["*"], simulated=True
    )
    revision = create_profile(PILOTHOUSE, team_id=team.pk, name="bench", spec=StackSpec())
    assert isinstance(revision, Revision)
    Deployment.objects.bulk_create(
        (
            Deployment(
                uid=stack.uid,
                team=team,
                cluster=cluster,
                namespace=stack.namespace,
                name=stack.name,
                revision=revision,
            )
            for stack in stacks
        ),
        batch_size=500,
    )
    # No worker runs here that could do the connection's check.
    Operation.objects.all().delete()
    return int(cluster.pk)


def sign_in() -> dict[str, str]:
    """The Cookie header of a site admin who is signed in; made if there is none yet."""
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from deployments.domain.states import SiteRole
    from deployments.models import User

    user = User.objects.filter(username="bench").first()
    user = user or User.objects.create_user("bench", password=None, site_role=SiteRole.ADMIN)
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    return {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session.session_key}"}
