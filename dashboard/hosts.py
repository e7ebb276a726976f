"""Which requests are for a deployment's chat, told by their host."""

from __future__ import annotations


def is_chat_host(host: str, domain: str) -> bool:
    """Whether a Host header (port and case do not matter) names one chat below ``domain``."""
    name = host if host.endswith("]") else host.rsplit(":", 1)[0]
    return name.lower().rstrip(".").endswith(f".{domain}")
