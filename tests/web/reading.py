"""Reading a page."""

from __future__ import annotations

from django.test import Client


def html(client: Client, address: str, status: int = 200, **headers: str) -> str:
    """The page at an address, which must answer with ``status``."""
    answer = client.get(address, headers=headers)
    assert answer.status_code == status, answer.content.decode()[-2000:]
    return answer.content.decode()
