"""Walking the chain, wherever its entries come from: the database or an export.

One :class:`Walk` is fed entries and gaps in order; it raises :class:`Broken` at the first thing that does
not fit, and knows at the end what it has seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from deployments.ledger import checkpoints
from deployments.ledger.audit_values import GENESIS, chain
from deployments.ledger.checkpoints import Gap

BACKWARDS_NOTED = 60  # seconds that a clock may go back without a word: writers wait for each other


class Broken(Exception):
    """The chain does not hold at entry ``sequence``; ``sentence`` says how."""

    def __init__(self, sequence: int, sentence: str) -> None:
        super().__init__(f"entry {sequence}: {sentence}")
        self.sequence = sequence
        self.sentence = sentence


@dataclass(frozen=True)
class Verdict:
    """What a walk came to. ``entries`` were read, ``pruned`` are gone by retention's word, ``skipped``
    are known by their digest alone; ``signed_to`` is the last entry that a signed checkpoint covers."""

    entries: int
    last: int
    hash: str
    pruned: int = 0
    skipped: int = 0
    checkpoints: int = 0
    signed_to: int = 0
    broken: Broken | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Walk:
    """``previous`` and ``expected`` are where it stands: the hash so far, and the number that comes next."""

    previous: str = GENESIS
    expected: int = 1
    entries: int = 0
    pruned: int = 0
    skipped: int = 0
    marks: dict[int, set[str]] = field(default_factory=dict)
    faults: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    _latest: str = ""
    _back: tuple[int, str] | None = None
    _backs: int = 0

    def expect(self, sequence: int, hash_: str, fault: str = "") -> None:
        """A checkpoint to meet on the way, and what is wrong with itself."""
        if fault:
            self.faults.setdefault(sequence, fault)
        else:
            self.marks.setdefault(sequence, set()).add(hash_)

    def entry(self, sequence: int, at: str, digest: str, previous: str, hash_: str, covered: str) -> None:
        """One entry: the columns ``digest``, ``previous`` and ``hash`` as they are stored, and
        ``covered``, the digest that its content has."""
        if sequence != self.expected:
            raise Broken(self.expected, "it is missing" if sequence > self.expected else "it is there twice")
        if previous != self.previous:
            raise Broken(sequence, "it does not continue the entry before it")
        if covered != digest:
            raise Broken(sequence, "its content was altered")
        if chain(previous, sequence, digest) != hash_:
            raise Broken(sequence, "its hash does not fit")
        self._look_at_the_clock(sequence, at)
        self.entries += 1
        self._go(sequence, hash_)

    def link(self, digest: str) -> None:
        """An entry of which only the digest is there."""
        self.skipped += 1
        self._go(self.expected, chain(self.previous, self.expected, digest))

    def gap(self, gap: Gap) -> None:
        """A run of deleted entries. Whether somebody may have deleted them is its checkpoint's business."""
        if gap.first != self.expected or gap.last < gap.first:
            raise Broken(self.expected, "it is missing")
        if gap.before != self.previous:
            raise Broken(gap.first, "the entries deleted from here on did not follow the entry before them")
        self.pruned += gap.last - gap.first + 1
        # What a checkpoint inside says can no longer be compared; its signature still holds.
        self._go(gap.last, gap.after)

    def ends_at(self, sequence: int, hash_: str) -> None:
        """Compare with what is said to be the end."""
        if self.expected - 1 < sequence:
            raise Broken(self.expected, "it is missing, and all that follow it")
        if self.expected - 1 > sequence:
            raise Broken(sequence + 1, "it stands behind the end of the chain")
        if self.previous != hash_:
            raise Broken(sequence, "the end of the chain has another hash than it")

    def beyond(self) -> None:
        """Fail where a checkpoint was signed for an entry that is not there (any more)."""
        for sequence in sorted(self.faults):
            raise Broken(
                min(sequence, self.expected), f"its checkpoint is not to be believed: {self.faults[sequence]}"
            )
        ahead = [sequence for sequence in self.marks if sequence >= self.expected]
        if ahead:
            raise Broken(self.expected, f"it is missing: a checkpoint was signed at entry {max(ahead)}")

    def verdict(self, *, checked: int, broken: Broken | None = None) -> Verdict:
        passed = [sequence for sequence in self.marks if sequence < self.expected]
        notes = list(self.notes)
        if self._back is not None:
            sequence, by = self._back
            times = f" and {self._backs - 1} times more" if self._backs > 1 else ""
            notes.append(f"The clock went back at entry {sequence} (to {by}){times}; the order stands.")
        return Verdict(
            self.entries,
            self.expected - 1,
            self.previous,
            self.pruned,
            self.skipped,
            checked,
            max(passed, default=0),
            broken,
            notes,
        )

    def _go(self, sequence: int, hash_: str) -> None:
        if sequence in self.faults:
            raise Broken(sequence, f"its checkpoint is not to be believed: {self.faults[sequence]}")
        said = self.marks.get(sequence)
        if said is not None and said != {hash_}:
            raise Broken(sequence, "a signed checkpoint says that it had another hash")
        self.previous, self.expected = hash_, sequence + 1

    def _look_at_the_clock(self, sequence: int, at: str) -> None:
        # The texts compare like the times, and to the minute is near enough.
        if at[:16] < self._latest[:16] and _seconds(self._latest) - _seconds(at) > BACKWARDS_NOTED:
            self._backs += 1
            self._back = self._back or (sequence, at)
            self._latest = at
        elif at > self._latest:
            self._latest = at


def _seconds(at: str) -> int:
    """Seconds of a time as the digest writes it, reckoned with months of 31 days: good for comparing."""
    try:
        year, month, day = int(at[:4]), int(at[5:7]), int(at[8:10])
        return (
            (((year * 12 + month) * 31 + day) * 24 + int(at[11:13])) * 3600
            + int(at[14:16]) * 60
            + int(at[17:19])
        )
    except ValueError:
        return 0


class Gaps:
    """Gaps by the checkpoint that closes them: whether each checkpoint signed exactly these."""

    def __init__(self) -> None:
        self._hashers: dict[object, tuple[Callable[[bytes], None], Callable[[], str], int]] = {}

    def add(self, checkpoint: object, gap: Gap) -> None:
        """In the order of their numbers."""
        if checkpoint not in self._hashers:
            hasher = hashlib.sha256()
            self._hashers[checkpoint] = (hasher.update, hasher.hexdigest, gap.first)
        self._hashers[checkpoint][0](checkpoints.line_of_gap(gap))

    def compare(self, signed: dict[object, str]) -> None:
        """``signed`` is checkpoint -> the digest of gaps that it says ("" for none)."""
        for checkpoint, (_update, digest, first) in self._hashers.items():
            if signed.get(checkpoint, "") != digest():
                raise Broken(first, "it was deleted, and no signed checkpoint says that it might be")
