"""A small HTTP server on loopback whose answers a test writes as functions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[["Exchange"], None]


class Exchange(BaseHTTPRequestHandler):
    """One request; ``raw`` is its body. Write an answer with :meth:`whole` or :meth:`begin`/:meth:`part`."""

    protocol_version = "HTTP/1.1"
    server: _Server  # type: ignore[assignment]

    def whole(self, status: int, body: bytes | str, kind: str = "application/json", **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def begin(self, kind: str = "application/x-ndjson") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def part(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def finish_parts(self) -> None:
        self.part(b"")

    def _serve(self) -> None:
        self.raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        state = self.server.state
        state.requests.append((self.command, self.path, self.raw))
        path = self.path.partition("?")[0]
        answer = state.answers.get(f"{self.command} {path}") or state.answers.get("*")
        if answer is None:
            self.whole(404, "404 page not found", "text/plain")
            return
        try:
            answer(self)
        except (BrokenPipeError, ConnectionResetError):
            state.gone.set()
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_HEAD = _serve

    def log_message(self, *words: object) -> None:
        pass


@dataclass
class Loopback:
    """``answers`` maps "METHOD /path" to a function; ``gone`` is set when a client hung up."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[tuple[str, str, bytes]] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)
    url: str = ""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    state: Loopback


@contextmanager
def loopback() -> Iterator[Loopback]:
    server = _Server(("127.0.0.1", 0), Exchange)
    server.state = Loopback(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
