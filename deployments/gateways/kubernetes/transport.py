"""The connection to one API server: TLS, addresses, timeouts, bounded answers.

Everything that talks to a cluster goes through what is made here, the official client included: one
urllib3 pool per cluster, and httpx clients with the same TLS context for what runs through the
proxy. No environment proxies, no redirects, no plain HTTP.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import urllib3
import urllib3.connection
import urllib3.connectionpool
import urllib3.exceptions
from kubernetes.client.rest import RESTClientObject, RESTResponse

from deployments.domain.errors import REPLACE_CREDENTIAL, ClusterError, CredentialRefused, ServerFault
from deployments.gateways.kubernetes.addresses import resolve, server_host
from deployments.gateways.kubernetes.credential import ClusterCredential
from deployments.gateways.kubernetes.errors import from_failure

USER_AGENT = "pilothouse"
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # a page of 500 large pods is about 10 MB


@dataclass(frozen=True)
class Timeouts:
    """Seconds: to connect, between two pieces of an answer, and for an ordinary answer as a whole."""

    connect: float = 5.0
    read: float = 30.0
    total: float = 60.0


def tls_context(credential: ClusterCredential) -> ssl.SSLContext:
    """A context that trusts what the credential says and shows its client certificate.

    Raises :class:`CredentialRefused` where the certificate or the key cannot be loaded.
    """
    context = ssl.create_default_context(cadata=credential.ca_data or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As Go does, on which every other client of a cluster is built: an intermediate or a
    # self-signed server certificate may be the anchor, and old cluster authorities lack the key
    # identifiers that Python 3.13 began to insist on.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if credential.client_certificate and credential.client_key:
        pem = credential.client_certificate.rstrip() + "\n" + credential.client_key
        try:
            _load_pair(context, pem.encode("ascii"))
        except (ssl.SSLError, ValueError):
            raise CredentialRefused(
                "The stored client certificate cannot be used.",
                tried="load the client certificate",
                remedy=REPLACE_CREDENTIAL,
            ) from None
    return context


def _load_pair(context: ssl.SSLContext, pem: bytes) -> None:
    """OpenSSL reads pairs from files only: one in memory where the system has that, so that the key
    never reaches a disk; else a file of ours alone, gone at once."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, pem)
            context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
        finally:
            os.close(descriptor)
        return
    descriptor, path = tempfile.mkstemp()  # mode 0600
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(path, password="")
    finally:
        os.close(descriptor)
        Path(path).unlink()


def keep_alive_options() -> list[tuple[int, int, int]]:
    """Socket options that find out within a minute that the other side is gone: a quiet watch says
    nothing for a long time, and a dead one would look the same."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options


def _connection_class(allow_loopback: bool) -> type[urllib3.connection.HTTPSConnection]:
    class CheckedConnection(urllib3.connection.HTTPSConnection):
        """Connects to addresses that were checked, not to whatever the name resolves to next."""

        def _new_conn(self) -> socket.socket:
            failure: OSError | None = None
            try:
                found = resolve(self._dns_host.strip("[]"), self.port, allow_loopback)
            except socket.gaierror as error:
                raise urllib3.exceptions.NameResolutionError(self.host, self, error) from error
            for family, address in found:
                sock = socket.socket(family, socket.SOCK_STREAM)
                try:
                    for option in self.socket_options or ():
                        sock.setsockopt(*option)
                    if isinstance(self.timeout, int | float):
                        sock.settimeout(self.timeout)
                    sock.connect((address, self.port))
                    return sock
                except OSError as error:
                    sock.close()
                    failure = error
            if isinstance(failure, TimeoutError):
                raise urllib3.exceptions.ConnectTimeoutError(self, "connect timed out") from failure
            raise urllib3.exceptions.NewConnectionError(self, "cannot connect") from failure

    return CheckedConnection


class Transport:
    """HTTP over one pool of connections. Safe to use from several threads."""

    def __init__(self, credential: ClusterCredential, *, allow_loopback: bool, timeouts: Timeouts) -> None:
        server_host(credential.server)
        self.credential = credential
        self.timeouts = timeouts
        self.allow_loopback = allow_loopback
        self.context = tls_context(credential)
        self.base = credential.server.rstrip("/")

        class Pool(urllib3.connectionpool.HTTPSConnectionPool):
            ConnectionCls = _connection_class(allow_loopback)

        options: dict[str, Any] = {"ssl_context": self.context, "socket_options": keep_alive_options()}
        if credential.tls_server_name:
            options["server_hostname"] = credential.tls_server_name
            options["assert_hostname"] = credential.tls_server_name
        self.pool = urllib3.PoolManager(
            num_pools=1, maxsize=16, retries=urllib3.Retry(total=False), **options
        )
        self.pool.pool_classes_by_scheme = {"https": Pool}

    def headers(self) -> dict[str, str]:
        """What every request carries. Holds the credential: not for logs."""
        headers = {"User-Agent": USER_AGENT, "Accept": "application/json"}
        token = self.credential.bearer_token()
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def open(
        self,
        method: str,
        target: str,
        *,
        tried: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        connect: float | None = None,
        read: float | None = None,
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return once the headers are there; the caller reads and releases.

        ``target`` is path and query. A connection that the server closed while it lay in the pool
        is noticed only by using it: then everything but a POST is sent once more.
        """
        timeout = urllib3.Timeout(connect=connect or self.timeouts.connect, read=read or self.timeouts.read)
        for attempt in (1, 2):
            try:
                return self.pool.request(
                    method,
                    self.base + target,
                    body=body,
                    headers={**self.headers(), **(headers or {})},
                    timeout=timeout,
                    preload_content=False,
                    redirect=False,
                )
            except urllib3.exceptions.ProtocolError as error:
                if attempt == 2 or method == "POST":
                    raise from_failure(error, tried) from error
            except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
                raise from_failure(error, tried) from error
        raise AssertionError("unreachable")

    def call(
        self,
        method: str,
        target: str,
        *,
        tried: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        limit: int = MAX_ANSWER_BYTES,
        within: float | None = None,
        total: float | None = None,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send a request and read the whole answer: status, headers, body, whatever the status. ``within``
        is how long to wait for a connection, and for each piece, where the usual patience is too long.

        Raises :class:`ClusterUnreachable` without one, and :class:`ServerFault` for one that is
        longer than ``limit`` bytes or takes longer than ``total`` seconds.
        """
        deadline = time.monotonic() + (total or self.timeouts.total)
        connect = None if within is None else min(within, self.timeouts.connect)
        response = self.open(
            method, target, tried=tried, headers=headers, body=body, connect=connect, read=within
        )
        try:
            data = read_all(response, limit, deadline, tried)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            response.close()
            raise from_failure(error, tried) from error
        except ClusterError:
            response.close()
            raise
        return response.status, response.headers, data

    def close(self) -> None:
        self.pool.clear()


def read_all(response: urllib3.BaseHTTPResponse, limit: int, deadline: float, tried: str) -> bytes:
    """The body, decompressed. An error's body is cut at 64 KB instead of refused."""
    if response.status >= 300:
        limit = min(limit, 64 * 1024)
    pieces, size = [], 0
    for piece in response.stream(min(limit, 256 * 1024), decode_content=True):
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            if response.status >= 300:
                response.close()
                break
            raise ServerFault(
                "The answer is too long to be read.", tried=tried, status=response.status, retryable=False
            )
        if time.monotonic() > deadline:
            raise ServerFault(
                "The cluster's server did not finish its answer in time.", tried=tried, status=response.status
            )
    response.release_conn()
    return b"".join(pieces)


class RestClient(RESTClientObject):
    """Puts the official client on our transport: its own would follow redirects, read without an
    end, wait for ever, and escape characters beyond the basic plane in bodies, which the API server
    cannot read in an apply (recorded transcript 16)."""

    def __init__(self, configuration: Any, transport: Transport) -> None:
        self.configuration = configuration
        self.transport = transport
        self.pool_manager = transport.pool
        self.tried = threading.local()

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> RESTResponse:
        if body is not None and not isinstance(body, bytes):
            body = body.encode() if isinstance(body, str) else to_json(body)
        own = {
            key: value for key, value in (headers or {}).items() if key.lower() in ("accept", "content-type")
        }
        status, answer_headers, data = self.transport.call(
            method,
            url.removeprefix(self.transport.base),
            tried=getattr(self.tried, "words", "talk to the cluster"),
            headers=own,
            body=body,
        )
        answer = RESTResponse(urllib3.HTTPResponse(body=data, headers=answer_headers, status=status))
        answer.data = data  # type: ignore[assignment]
        return answer


def to_json(value: Any) -> bytes:
    """JSON in UTF-8, no escapes. orjson refuses integers beyond 64 bits: those take the long way."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, ensure_ascii=False).encode()


class Stopper:
    """Ends a blocking read when an event is set. One thread serves all streams of the process."""

    def __init__(self, interval: float = 0.2) -> None:
        self._interval = interval
        self._lock = threading.Lock()
        self._watched: dict[int, tuple[Callable[[], bool], urllib3.BaseHTTPResponse]] = {}
        self._thread: threading.Thread | None = None

    def add(self, response: urllib3.BaseHTTPResponse, over: Callable[[], bool]) -> None:
        """Shut ``response`` down soon after ``over()`` is true; ``remove`` it in any case."""
        with self._lock:
            self._watched[id(response)] = (over, response)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="stream-stopper", daemon=True)
                self._thread.start()

    def remove(self, response: urllib3.BaseHTTPResponse) -> None:
        with self._lock:
            self._watched.pop(id(response), None)

    def _run(self) -> None:
        while True:
            time.sleep(self._interval)
            with self._lock:
                if not self._watched:
                    self._thread = None
                    return
                for over, response in list(self._watched.values()):
                    if over():
                        try:
                            response.shutdown()
                        except (OSError, ValueError, RuntimeError):
                            pass  # already closed: what was wanted


STOPPER = Stopper()
