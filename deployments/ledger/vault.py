"""Encryption of stored secrets, with keys that can be rotated.

The first key of ``ENCRYPTION_KEYS`` encrypts, every key decrypts. To rotate: put a new key in
front, run ``manage.py rotate_keys``, take the old key away.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from deployments.domain.errors import Unreadable


def _fernet() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in settings.ENCRYPTION_KEYS])


def seal(value: Any) -> bytes:
    """Encrypt a JSON-ready value."""
    return _fernet().encrypt(json.dumps(value, ensure_ascii=False).encode())


def unseal(token: bytes | memoryview) -> Any:
    """Decrypt what :func:`seal` made. Raises :class:`Unreadable` where no key fits."""
    try:
        return json.loads(_fernet().decrypt(bytes(token)))
    except InvalidToken as error:
        raise Unreadable(
            "A stored secret cannot be read with the keys that this process has.",
            tried="decrypt a stored secret",
            remedy="Put the key that it was written with into ENCRYPTION_KEYS again, or enter the "
            "secret anew.",
        ) from error


def reseal(token: bytes | memoryview) -> bytes:
    """The same secret under the newest key. Raises :class:`Unreadable`."""
    try:
        return _fernet().rotate(bytes(token))
    except InvalidToken as error:
        raise Unreadable("A stored secret cannot be read with any of the keys.") from error


def fingerprint(text: str) -> str:
    """A keyed digest that shows whether a secret changed, and nothing else (12 hex digits).

    It is keyed with SECRET_KEY, not with the rotating keys, so that rotation does not look like a
    change of every secret.
    """
    key = hashlib.sha256(b"fingerprint:" + settings.SECRET_KEY.encode()).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()[:12]
