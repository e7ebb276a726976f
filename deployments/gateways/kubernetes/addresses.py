"""Which addresses an API server may have.

The credential of a cluster is sent to the address in its kubeconfig, and that file comes from
somebody else. So an address is judged twice: as it is written, when the file is imported, and as it
resolves, for every new connection (a name may point somewhere else tomorrow).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from deployments.domain.errors import InvalidInput

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# Services that hand out a machine's credentials to whoever can reach them, beside link-local:
# AWS over IPv6, Alibaba, Oracle, Azure's wire server.
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16")
)
_METADATA_NAMES = frozenset(
    {
        "metadata.google.internal",
        "metadata",
        "instance-data",
        "instance-data.ec2.internal",
        "metadata.azure.internal",
    }
)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(OSError):
    """A name resolved to an address that must never be called; the text is a whole sentence."""


def server_host(url: str) -> tuple[str, int]:
    """Host (without brackets, lower case) and port of an ``https`` server URL.

    Raises :class:`InvalidInput` (field ``server``) for another scheme, for user information, a
    query or a fragment, and for what is no URL. The URL itself is never repeated: it may hold a password.
    """
    remedy = "Use the address that `kubectl config view --minify` shows as server, for example https://10.0.0.1:6443."
    try:
        parts = urlsplit(url.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("The server's address is not a URL.", field="server", remedy=remedy) from None
    if parts.scheme != "https":
        raise InvalidInput(
            "The server must be reached over https; anything else would send the credential in clear.",
            field="server",
            remedy=remedy,
        )
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "The server's address holds a user name or password, which is not supported.",
            field="server",
            remedy=remedy,
        )
    if parts.query or parts.fragment:
        raise InvalidInput(
            "The server's address must not have a query or a fragment.", field="server", remedy=remedy
        )
    text = url.strip()
    if not host or not text.isascii() or any(ord(char) <= 32 or char in "\\<>\"'%{}|^`" for char in text):
        raise InvalidInput("The server's address is not a URL.", field="server", remedy=remedy)
    return host, port if port is not None else 443


def check_server_address(url: str, allow_loopback: bool) -> None:
    """Refuse a server address as it is written; names are not resolved here.

    Raises :class:`InvalidInput` with field ``server``: not https, loopback without permission,
    link-local, or a known metadata service.
    """
    host, _ = server_host(url)
    name = host.rstrip(".")
    if name in _METADATA_NAMES:
        raise InvalidInput(_metadata_sentence("The server"), field="server")
    if name == "localhost" or name.endswith(".localhost"):
        if allow_loopback:
            return
        raise InvalidInput(_LOOPBACK.format("The server"), field="server", remedy=_LOOPBACK_REMEDY)
    address = _literal(name)
    if address is not None:
        problem = address_problem(address, allow_loopback, "The server")
        if problem:
            raise InvalidInput(
                problem,
                field="server",
                remedy=_LOOPBACK_REMEDY if problem == _LOOPBACK.format("The server") else "",
            )


def address_problem(address: IPAddress, allow_loopback: bool, subject: str) -> str:
    """Why this address must not be called, as a sentence about ``subject``, or ""."""
    for candidate in _meanings(address):
        if candidate in _METADATA or candidate.is_link_local:
            return _metadata_sentence(subject)
        if candidate.is_loopback or candidate.is_unspecified:
            if not allow_loopback or candidate.is_unspecified:
                return _LOOPBACK.format(subject)
        elif candidate.is_multicast or candidate == ipaddress.ip_address("255.255.255.255"):
            return f"{subject} has a multicast or broadcast address, which no API server has."
    return ""


def resolve(host: str, port: int, allow_loopback: bool) -> list[tuple[int, str]]:
    """The addresses of a host as (address family, numeric address), all of them allowed.

    One forbidden address among several refuses them all: which of them answers is not ours to
    choose. Raises :class:`AddressRefused`, or ``socket.gaierror`` where the name does not resolve.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return checked(host, found, allow_loopback)


def checked(host: str, found: Sequence[tuple[Any, ...]], allow_loopback: bool) -> list[tuple[int, str]]:
    """The same for an answer of ``getaddrinfo`` that somebody else asked for."""
    answer: list[tuple[int, str]] = []
    for family, _, _, _, sockaddr in found:
        text = str(sockaddr[0])
        problem = address_problem(ipaddress.ip_address(text), allow_loopback, f"The server's name “{host}”")
        if problem:
            raise AddressRefused(problem)
        answer.append((int(family), text))
    return answer


_LOOPBACK = "{} points at this machine itself, which is not allowed here."
_LOOPBACK_REMEDY = "Give the address under which the cluster is reachable from where Pilothouse runs."


def _metadata_sentence(subject: str) -> str:
    return f"{subject} has a link-local or cloud metadata address, which is never a cluster."


def _literal(host: str) -> IPAddress | None:
    """The address a host stands for by itself, in every spelling that a resolver takes (0x7f.1)."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except (OSError, UnicodeError):
        return None


def _meanings(address: IPAddress) -> list[IPAddress]:
    """An IPv6 address may carry an IPv4 one: mapped, translated (NAT64), or tunnelled (6to4)."""
    meanings: list[IPAddress] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return [address.ipv4_mapped]
        if address.sixtofour is not None:
            meanings.append(address.sixtofour)
        if address in _NAT64:
            meanings.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return meanings
