"""Whether the registry of a container image answers here. The cluster's own view may differ."""

from __future__ import annotations

import ssl
from collections.abc import Collection
from dataclasses import dataclass

from deployments.gateways.registry.fetch import CannotTell, fetch

DOCKER_HUB = "registry-1.docker.io"


@dataclass(frozen=True)
class RegistryAnswers:
    """The registry at ``host`` speaks the distribution protocol; ``open`` where without sign-in."""

    host: str
    open: bool


def registry_host(image: str) -> str:
    """The host that an image's name means (distribution/reference, familiar names)."""
    first, slash, _ = image.partition("/")
    if not slash or ("." not in first and ":" not in first and first != "localhost"):
        return DOCKER_HUB
    return DOCKER_HUB if first in ("docker.io", "index.docker.io") else first.lower()


def probe_image(
    image: str,
    *,
    allowed_hosts: Collection[str] = (),
    timeout: float = 5.0,
    only_hosts: Collection[str] | None = None,
    trust: ssl.SSLContext | None = None,
) -> RegistryAnswers | CannotTell:
    """Ask ``/v2/`` (OCI distribution specification, end-1): 200, or 401 where a token is wanted. The
    arguments are those of :func:`deployments.gateways.registry.models.model_size`."""
    host = registry_host(image)
    if only_hosts is not None and host not in {one.lower() for one in only_hosts}:
        return CannotTell(f"{host} is not among the allowed registries")
    got = fetch(
        f"https://{host}/v2/", accept="*/*", allowed_hosts=allowed_hosts, timeout=timeout, trust=trust
    )
    if isinstance(got, CannotTell):
        return got
    if got.status in (200, 401):
        return RegistryAnswers(host, open=got.status == 200)
    return CannotTell(f"{host} answers {got.status}, as no registry does")
