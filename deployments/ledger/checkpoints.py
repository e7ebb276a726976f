"""Signed statements of how far the chain had come, so that what lies before them cannot be rewritten by
whoever has the database but not the key.

The signed text is JSON as ``deployments.ledger.audit_values.encode`` writes it, with the keys ``at``,
``hash``, ``installation``, ``kind``, ``pruned``, ``sequence`` and ``version``. The signature is Ed25519
(RFC 8032) over its UTF-8 bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.conf import settings
from django.db import transaction

from deployments.domain.audit import CheckpointKind
from deployments.ledger.audit_values import encode, moment
from deployments.models import AuditCheckpoint, AuditHead, Installation

STATEMENT_VERSION = 1
EVERY = timedelta(days=1)


@dataclass(frozen=True)
class Gap:
    """Entries ``first`` to ``last`` are gone; the chain goes from ``before`` to ``after``."""

    first: int
    last: int
    before: str
    after: str


def private_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(base64.urlsafe_b64decode(settings.AUDIT_SIGNING_KEY))


def public_key() -> str:
    """The key to check this installation's checkpoints with, in hexadecimal."""
    return private_key().public_key().public_bytes_raw().hex()


def known_keys() -> frozenset[str]:
    """This installation's public key and those that it had before."""
    return frozenset({public_key(), *settings.AUDIT_PUBLIC_KEYS})


def write(kind: CheckpointKind, now: datetime, gaps: Iterable[Gap] = ()) -> AuditCheckpoint:
    """Sign the head as it is in this transaction, and the ``gaps`` that are closed with it."""
    with transaction.atomic():
        head = AuditHead.objects.get()
        pruned = digest_of_gaps(gaps)
        statement = encode(
            {
                "at": moment(now),
                "hash": head.hash,
                "installation": str(Installation.objects.get().uid),
                "kind": str(kind),
                "pruned": pruned,
                "sequence": head.sequence,
                "version": STATEMENT_VERSION,
            }
        )
        return AuditCheckpoint.objects.create(
            sequence=head.sequence,
            hash=head.hash,
            at=now,
            kind=kind,
            pruned=pruned,
            statement=statement.decode(),
            public_key=public_key(),
            signature=private_key().sign(statement).hex(),
        )


def write_due(now: datetime) -> AuditCheckpoint | None:
    """The daily checkpoint, where a day has passed and something was written since the last one.

    A clock that was set back makes none early and, since the newest one then lies ahead, none for as
    long as it was set back by; so a newest one in the future counts as none.
    """
    newest = AuditCheckpoint.objects.first()
    if newest is not None:
        head = AuditHead.objects.get()
        if newest.sequence >= head.sequence or timedelta() <= now - newest.at < EVERY:
            return None
    elif AuditHead.objects.get().sequence == 0:
        return None
    return write(CheckpointKind.DAILY, now)


def digest_of_gaps(gaps: Iterable[Gap]) -> str:
    """SHA-256 of a line ``first last before after`` and a newline for each gap, in order; "" for none."""
    hasher, any_at_all = hashlib.sha256(), False
    for gap in gaps:
        hasher.update(line_of_gap(gap))
        any_at_all = True
    return hasher.hexdigest() if any_at_all else ""


def line_of_gap(gap: Gap) -> bytes:
    return f"{gap.first} {gap.last} {gap.before} {gap.after}\n".encode()


def fault(statement: str, key: str, signature: str, keys: frozenset[str]) -> str:
    """What is wrong with a checkpoint's signature, "" where nothing is. ``keys`` empty believes any key."""
    if keys and key not in keys:
        return f"it is signed with the key {key[:16]}…, which is not one of ours"
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(
            bytes.fromhex(signature), statement.encode()
        )
    except (InvalidSignature, ValueError):
        return "its signature does not fit"
    return ""


@dataclass(frozen=True)
class Statement:
    """What a checkpoint says, read from its signed text."""

    sequence: int
    hash: str
    installation: str
    pruned: str
    at: str
    kind: str


def read(statement: str) -> Statement:
    """Raises ValueError for a text that is none."""
    said = json.loads(statement)
    if not isinstance(said, dict) or said.get("version") != STATEMENT_VERSION:
        raise ValueError("it is no statement of a version that is known here")
    try:
        found = Statement(
            said["sequence"], said["hash"], said["installation"], said["pruned"], said["at"], said["kind"]
        )
    except KeyError as error:
        raise ValueError(f"it says no {error}") from error
    if isinstance(found.sequence, bool) or not isinstance(found.sequence, int):
        raise ValueError("its sequence is no number")
    return found
