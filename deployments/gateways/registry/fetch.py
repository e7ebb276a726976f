"""One bounded GET of a registry, whose name somebody typed into a form.

Asked from Pilothouse's own network, so: https alone, no redirect to another host, no address of a
private network unless the host is allowed by name, no credential, no proxy of the environment, at
most 1 MB, one deadline for all of it. A name is resolved once and the checked address is called.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urljoin, urlsplit

import httpx

MAX_BODY = 1024 * 1024
MAX_REDIRECTS = 3
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True)
class CannotTell:
    """No verdict. ``why`` is a clause in lower case: "registry.example.com does not answer"."""

    why: str


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    body: bytes


def fetch(
    url: str,
    *,
    accept: str,
    allowed_hosts: Collection[str],
    timeout: float,
    trust: ssl.SSLContext | None = None,
) -> Got | CannotTell:
    """GET ``url``. ``allowed_hosts`` are "host" or "host:port" that may have private addresses;
    ``timeout`` is in seconds for everything together; ``trust`` replaces the system's certificates."""
    deadline = time.monotonic() + timeout
    first = urlsplit(url).netloc.lower()
    try:
        with httpx.Client(verify=trust or True, trust_env=False, follow_redirects=False) as client:
            for _ in range(MAX_REDIRECTS + 1):
                answer = _once(client, url, accept, allowed_hosts, deadline)
                if isinstance(answer, CannotTell) or answer.status not in (301, 302, 303, 307, 308):
                    return answer
                url = urljoin(url, answer.headers.get("location", ""))
                if urlsplit(url).netloc.lower() != first:
                    return CannotTell(f"{first} sends to another host, which is not followed")
    except (httpx.HTTPError, OSError, ValueError) as error:
        return CannotTell(f"{first} does not answer ({type(error).__name__})")
    return CannotTell(f"{first} redirects too often")


def _once(
    client: httpx.Client, url: str, accept: str, allowed_hosts: Collection[str], deadline: float
) -> Got | CannotTell:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 443
    if parts.scheme != "https":
        return CannotTell(f"{parts.netloc} is not asked without https")
    addresses = _addresses(host, port, allowed=_is_allowed(parts.netloc, host, allowed_hosts))
    if isinstance(addresses, CannotTell):
        return addresses
    response = _send(client, parts, addresses, accept, deadline)
    try:
        body = bytearray()
        for piece in response.iter_bytes():
            body += piece
            if len(body) > MAX_BODY:
                return CannotTell(f"{parts.netloc} answers with more than 1 MB")
            if time.monotonic() > deadline:
                return CannotTell(f"{parts.netloc} does not answer in time")
        return Got(response.status_code, response.headers, bytes(body))
    finally:
        response.close()


def _send(
    client: httpx.Client, parts: SplitResult, addresses: list[str], accept: str, deadline: float
) -> httpx.Response:
    """To the first of the addresses that takes a connection."""
    failure: httpx.HTTPError = httpx.ConnectError("no address")
    for address in addresses:
        shown = f"[{address}]" if ":" in address else address
        request = client.build_request(
            "GET",
            parts._replace(netloc=f"{shown}:{parts.port or 443}").geturl(),
            headers={"Host": parts.netloc, "Accept": accept, "Accept-Encoding": "identity"},
            timeout=max(0.1, deadline - time.monotonic()),
            # The certificate must be the name's, not the address's.
            extensions={"sni_hostname": parts.hostname},
        )
        try:
            return client.send(request, stream=True)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            failure = error
    raise failure


def _is_allowed(netloc: str, host: str, allowed_hosts: Collection[str]) -> bool:
    return any(allowed.lower() in (netloc.lower(), host.lower()) for allowed in allowed_hosts)


def _addresses(host: str, port: int, *, allowed: bool) -> list[str] | CannotTell:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return CannotTell(f"the name {host} is not known here")
    texts = [str(sockaddr[0]) for _, _, _, _, sockaddr in found]
    if not allowed and not all(_is_public(text) for text in texts):
        return CannotTell(f"{host} has a private address, which is not asked from here")
    return list(dict.fromkeys(texts))


def _is_public(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = inner or address
    return address.is_global and not address.is_multicast
