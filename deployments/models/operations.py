"""Asynchronous work as durable rows: the row first, a message second."""

from __future__ import annotations

from django.db import models

from deployments.domain.states import (
    ACTIVE,
    CHANGING,
    OperationKind,
    OperationState,
    Queue,
    StepState,
)
from deployments.models.choices import choices, one_of
from deployments.models.clusters import Cluster
from deployments.models.deployments import Deployment, Release
from deployments.models.teams import Team, User


class Operation(models.Model):
    """One piece of work.

    ``claim_epoch`` rises with every claim; a worker's writes filter on the epoch it got, so that one
    who lost its claim changes nothing. ``wake_at`` parks a QUEUED row. ``step`` is the position of
    the step to run next, ``queue`` the queue that step belongs to. ``request`` is what was asked for,
    ``memory`` what finished steps leave for later ones, ``result`` what came out.
    """

    kind = models.CharField(max_length=20, choices=choices(OperationKind))
    state = models.CharField(max_length=20, choices=choices(OperationState))
    team = models.ForeignKey(Team, null=True, on_delete=models.PROTECT, related_name="operations")
    cluster = models.ForeignKey(Cluster, null=True, on_delete=models.PROTECT, related_name="operations")
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.PROTECT, related_name="operations")
    release = models.ForeignKey(Release, null=True, on_delete=models.PROTECT, related_name="operations")
    title = models.CharField(max_length=200)
    reason = models.CharField(max_length=500, blank=True)
    actor = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="operations")
    actor_name = models.CharField(max_length=150, blank=True)
    request = models.JSONField(default=dict)
    memory = models.JSONField(default=dict)
    result = models.JSONField(default=dict)

    queue = models.CharField(max_length=10, choices=choices(Queue), default=Queue.CONTROL)
    step = models.PositiveSmallIntegerField(default=0)
    claim_epoch = models.PositiveBigIntegerField(default=0)
    worker = models.CharField(max_length=120, blank=True)
    heartbeat_at = models.DateTimeField(null=True)
    wake_at = models.DateTimeField(null=True)
    waiting_for = models.CharField(max_length=300, blank=True)
    message_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    recoveries = models.PositiveIntegerField(default=0)

    cancel_requested_at = models.DateTimeField(null=True)
    cancel_requested_by = models.CharField(max_length=150, blank=True)

    failure = models.CharField(max_length=1000, blank=True)
    failure_tried = models.CharField(max_length=500, blank=True)
    failure_answered = models.CharField(max_length=1000, blank=True)
    failure_remedy = models.CharField(max_length=500, blank=True)
    failure_retryable = models.BooleanField(null=True)

    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    version = models.PositiveBigIntegerField(default=1)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["deployment"],
                condition=models.Q(
                    state__in=sorted(ACTIVE), kind__in=sorted(CHANGING), deployment__isnull=False
                ),
                name="operation_one_changing",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=one_of(OperationState)), name="operation_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(kind__in=one_of(OperationKind)), name="operation_kind_known"
            ),
        ]
        indexes = [
            models.Index(fields=["state", "wake_at"]),
            models.Index(fields=["deployment", "-id"]),
            models.Index(fields=["team", "-id"]),
            models.Index(fields=["expires_at"]),
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.state})"


class OperationStep(models.Model):
    """One resumable step. ``detail`` is the sentence a page shows beside it."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="steps")
    position = models.PositiveSmallIntegerField()
    name = models.CharField(max_length=30)
    state = models.CharField(max_length=10, choices=choices(StepState), default=StepState.TODO)
    detail = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["position"]
        constraints = [models.UniqueConstraint(fields=["operation", "position"], name="step_once")]

    def __str__(self) -> str:
        return f"{self.name}: {self.state}"


class OperationTransition(models.Model):
    """A change of state, with its time and cause."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="transitions")
    before = models.CharField(max_length=20, blank=True)
    after = models.CharField(max_length=20, choices=choices(OperationState))
    cause = models.CharField(max_length=300)
    epoch = models.PositiveBigIntegerField(default=0)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.before} → {self.after}: {self.cause}"


class OperationLog(models.Model):
    """A line of an operation's log, for people."""

    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="log")
    at = models.DateTimeField()
    step = models.CharField(max_length=30, blank=True)
    warning = models.BooleanField(default=False)
    text = models.CharField(max_length=1000)

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text


class PullProgress(models.Model):
    """How far a pull is on one volume, by way of one pod.

    Bytes are whole numbers; ``layers`` is a list of {digest, total, completed, state}; ``rate`` is
    in bytes a second over the last 20 s, ``rates`` the recent ones for a sparkline.
    """

    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="pull")
    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    namespace = models.CharField(max_length=63)
    volume = models.CharField(max_length=300)  # "claim:<uid>" or "pod:<uid>" where the store is not a claim
    pod = models.CharField(max_length=253, blank=True)
    model = models.CharField(max_length=600)
    phase = models.CharField(max_length=60, blank=True)
    layers = models.JSONField(default=list)
    completed = models.BigIntegerField(default=0)
    total = models.BigIntegerField(default=0)
    expected = models.BigIntegerField(default=0)  # from the registry's manifest, 0 if it was not told
    rate = models.FloatField(default=0)
    rates = models.JSONField(default=list)
    attempt = models.PositiveIntegerField(default=0)
    progress_at = models.DateTimeField(null=True)  # the last byte
    stalled_since = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        indexes = [models.Index(fields=["cluster", "volume"])]

    def __str__(self) -> str:
        return f"{self.model} on {self.volume}"


class PullWaiter(models.Model):
    """An operation that goes on when a pull ends: an install waits for one pull per volume."""

    pull = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="waiters")
    operation = models.ForeignKey(Operation, on_delete=models.CASCADE, related_name="awaited_pulls")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["pull", "operation"], name="pull_waiter_once")]

    def __str__(self) -> str:
        return f"{self.operation_id} waits for {self.pull_id}"


class ActivePull(models.Model):
    """The one pull that runs for a volume and model; the row goes when the pull ends."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="+")
    volume = models.CharField(max_length=300)
    model = models.CharField(max_length=600)
    operation = models.OneToOneField(Operation, on_delete=models.CASCADE, related_name="active_pull")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "volume", "model"], name="active_pull_once")
        ]

    def __str__(self) -> str:
        return f"{self.model} on {self.volume}"
