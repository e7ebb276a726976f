"""A small TLS server on loopback that sends exactly the bytes a test wants."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.unit.gateways.kubernetes.authority import Authority


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Answer = Callable[[Request, "socket.socket"], None]


@dataclass
class ScriptedServer:
    """``answers`` maps a path (without its query) to what is done with the connection; "*" is the
    rest. ``requests`` holds what came."""

    url: str
    ca: str
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0


def reply(
    status: int, body: bytes | str = b"", content_type: str = "application/json", **headers: str
) -> Answer:
    data = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]

    def send(_: Request, connection: socket.socket) -> None:
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    return send


def raw(*pieces: bytes, pause: float = 0.0) -> Answer:
    """Send the bytes as they are, then close."""

    def send(_: Request, connection: socket.socket) -> None:
        for number, piece in enumerate(pieces):
            if number and pause:
                time.sleep(pause)
            connection.sendall(piece)
        raise ConnectionAbortedError

    return send


@contextmanager
def scripted_server(
    authority: Authority,
    folder: Path,
    *,
    hosts: tuple[str, ...] = ("127.0.0.1",),
    client_ca: str = "",
    tls: bool = True,
) -> Iterator[ScriptedServer]:
    """Run one; its certificate is for ``hosts``; with ``client_ca`` a client certificate is demanded."""
    certificate, key = authority.issue("server", *hosts)
    (folder / "server.pem").write_text(certificate + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if client_ca:
        context.load_verify_locations(cadata=client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    listener = socket.create_server(("127.0.0.1", 0))
    server = ScriptedServer(f"https://127.0.0.1:{listener.getsockname()[1]}", authority.pem)
    closing = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            connection.settimeout(20)
            if tls:
                connection = context.wrap_socket(connection, server_side=True)
            else:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            stream = connection.makefile("rb")
            while not closing.is_set():
                line = stream.readline().decode("latin-1")
                if not line:
                    return
                method, target, _ = line.split(" ", 2)
                headers: dict[str, str] = {}
                while line := stream.readline().decode("latin-1").strip():
                    name, _, value = line.partition(":")
                    headers[name.lower()] = value.strip()
                body = stream.read(int(headers.get("content-length", "0")))
                request = Request(method, target, headers, body)
                server.requests.append(request)
                path = target.partition("?")[0]
                answer = (
                    server.answers.get(path)
                    or server.answers.get("*")
                    or reply(404, "404 page not found\n", "text/plain")
                )
                answer(request, connection)
        except (OSError, ValueError):
            pass
        finally:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connection.close()

    def accept() -> None:
        while not closing.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            server.connections += 1
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        closing.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
