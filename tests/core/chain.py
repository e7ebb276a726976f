"""The audit's chain, as tests ask for it."""

from __future__ import annotations

from deployments.ledger.verification import verify


def first_broken() -> tuple[int, str] | None:
    """None where the chain holds, else (sequence, what is wrong there)."""
    broken = verify().broken
    return (broken.sequence, broken.sentence) if broken is not None else None
