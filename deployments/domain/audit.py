"""The words of the audit: classes of entries for retention, kinds of checkpoints, states of a check."""

from __future__ import annotations

from enum import StrEnum


class EntryClass(StrEnum):
    """What retention tells apart. Every entry is in exactly one class: the first that fits."""

    AUDIT = "audit"  # what concerns the audit itself
    REFUSED = "refused"  # what was not allowed
    SESSION = "session"  # who signed in and out
    CHANGE = "change"  # everything else


# The proof that entries were deleted, and by whose word, is kept for ever.
KEPT_FOR_EVER = frozenset({EntryClass.AUDIT})

AUDIT_ACTIONS = "audit."
SESSION_ACTIONS = "session."


class CheckpointKind(StrEnum):
    DAILY = "daily"
    RETENTION = "retention"
    ASKED = "asked"


class VerificationState(StrEnum):
    RUNNING = "running"
    HOLDS = "holds"
    BROKEN = "broken"
    FAILED = "failed"  # it came to no answer


def entry_class(action: str, outcome: str) -> EntryClass:
    """The class of an entry."""
    if action.startswith(AUDIT_ACTIONS):
        return EntryClass.AUDIT
    if outcome == "denied":
        return EntryClass.REFUSED
    if action.startswith(SESSION_ACTIONS):
        return EntryClass.SESSION
    return EntryClass.CHANGE
