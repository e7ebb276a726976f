"""The audit: append-only rows, chained by hashes. Written by ``deployments.ledger`` alone.

No foreign keys to people and objects on purpose: an entry outlives the account, the team and the object
it speaks of.
"""

from __future__ import annotations

from django.db import models

from deployments.domain.audit import CheckpointKind, VerificationState
from deployments.domain.states import Outcome
from deployments.models.choices import choices


class AuditEntry(models.Model):
    """Who did what on what, from where, with which outcome and why."""

    sequence = models.PositiveBigIntegerField(primary_key=True)
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=150)
    source = models.CharField(max_length=200, blank=True)  # an address, or "command line", "worker"
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_name = models.CharField(max_length=300, blank=True)
    team_id = models.BigIntegerField(null=True)
    cluster_id = models.BigIntegerField(null=True)
    operation_id = models.BigIntegerField(null=True)
    outcome = models.CharField(max_length=10, choices=choices(Outcome))
    reason = models.TextField(blank=True)
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    manifest_digest = models.CharField(max_length=64, blank=True)
    digest = models.CharField(max_length=64)
    previous = models.CharField(max_length=64)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["-sequence"]
        indexes = [
            models.Index(fields=["object_type", "object_id", "-sequence"]),
            models.Index(fields=["team_id", "-sequence"]),
            # Each filter of the page ends in an index that is already in the page's order.
            models.Index(fields=["actor_name", "-sequence"], name="audit_by_actor"),
            models.Index(fields=["action", "-sequence"], name="audit_by_action"),
            models.Index(fields=["cluster_id", "-sequence"], name="audit_by_cluster"),
            models.Index(fields=["operation_id", "-sequence"], name="audit_by_operation"),
            models.Index(fields=["at", "sequence"], name="audit_by_time"),
            models.Index(
                fields=["outcome", "-sequence"],
                condition=~models.Q(outcome="done"),
                name="audit_by_outcome",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.actor_name} {self.action} {self.object_name}"


class AuditHead(models.Model):
    """The end of the chain: one row, advanced in the transaction of the entry."""

    singleton = models.BooleanField(primary_key=True, default=True)
    sequence = models.PositiveBigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="0" * 64)

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(singleton=True), name="audit_head_one")]

    def __str__(self) -> str:
        return f"{self.sequence} {self.hash}"


class AuditCheckpoint(models.Model):
    """The chain up to ``sequence``, signed. Append-only like the entries.

    ``statement`` is the signed text, byte for byte; the columns beside it are for reading. ``pruned``
    is the digest of the gaps that this checkpoint closes, "" where it closes none.
    """

    sequence = models.PositiveBigIntegerField()
    hash = models.CharField(max_length=64)
    at = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=choices(CheckpointKind))
    pruned = models.CharField(max_length=64, blank=True)
    statement = models.TextField()
    public_key = models.CharField(max_length=64)  # Ed25519, hexadecimal
    signature = models.CharField(max_length=128)  # over the statement's UTF-8, hexadecimal

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["sequence"], name="audit_checkpoint_at")]

    def __str__(self) -> str:
        return f"{self.kind} checkpoint of entry {self.sequence}"


class AuditGap(models.Model):
    """A run of entries that retention deleted: the chain goes from ``before`` to ``after`` over it.

    The signature of its checkpoint covers it. Append-only like the entries.
    """

    first = models.PositiveBigIntegerField(primary_key=True)
    last = models.PositiveBigIntegerField()
    before = models.CharField(max_length=64)
    after = models.CharField(max_length=64)
    checkpoint = models.ForeignKey(AuditCheckpoint, on_delete=models.PROTECT, related_name="gaps")

    class Meta:
        ordering = ["first"]
        constraints = [
            models.CheckConstraint(condition=models.Q(last__gte=models.F("first")), name="audit_gap_runs")
        ]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class AuditGate(models.Model):
    """While its one row is there, entries ``first`` to ``last`` may be deleted.

    ``closes`` refers to a row that cannot exist, by a foreign key that is checked at the commit: a gate
    that was not taken away again makes its transaction fail, so it never outlives one.
    """

    singleton = models.PositiveSmallIntegerField(primary_key=True, default=1)
    first = models.PositiveBigIntegerField()
    last = models.PositiveBigIntegerField()
    closes = models.ForeignKey("self", default=0, on_delete=models.DO_NOTHING, related_name="+")

    class Meta:
        constraints = [models.CheckConstraint(condition=models.Q(singleton=1), name="audit_gate_one")]

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class AuditRetention(models.Model):
    """For how long a class of entries is kept (``deployments.domain.audit``); no row is for ever."""

    entry_class = models.CharField(max_length=20, primary_key=True)
    days = models.PositiveIntegerField()
    applied_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.entry_class}: {self.days} days"


class AuditVerification(models.Model):
    """A walk over the whole chain that somebody asked for, or that was due.

    ``checked`` of ``total`` entries are behind it; ``broken_at`` and ``sentence`` say where and how the
    chain is broken.
    """

    asked_at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True)
    actor_name = models.CharField(max_length=150)
    source = models.CharField(max_length=200, blank=True)
    state = models.CharField(max_length=10, choices=choices(VerificationState))
    message_at = models.DateTimeField(null=True)
    beat_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    checked = models.PositiveBigIntegerField(default=0)
    total = models.PositiveBigIntegerField(default=0)
    broken_at = models.PositiveBigIntegerField(null=True)
    sentence = models.CharField(max_length=500, blank=True)
    notes = models.JSONField(default=list)
    version = models.PositiveBigIntegerField(default=1)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["state"],
                condition=models.Q(state="running"),
                name="audit_verification_one",
            )
        ]

    def __str__(self) -> str:
        return f"{self.state}, {self.checked} of {self.total}"


class AuditTally(models.Model):
    """Refusals of one kind from one place that are counted and not yet written as an entry.

    ``key`` is a digest of what makes them one kind. ``names`` holds some of what was tried.
    """

    key = models.CharField(max_length=64, primary_key=True)
    source = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=60)
    object_type = models.CharField(max_length=40, blank=True)
    count = models.PositiveBigIntegerField(default=0)
    names = models.JSONField(default=list)
    since = models.DateTimeField()
    last_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.count} times {self.action} from {self.source}"
